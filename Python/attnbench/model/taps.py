"""Between a transformers model and its attention.

transformers looks up the attention of each layer by a name in the model's configuration
(``AttentionInterface``), and what the layer's mask is made of by the same name
(``AttentionMaskInterface``). A tap stands under a name of its own, passes every call on to the name
that was there before, and shows it to an observer.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from .errors import ModelError

TAP = "attnbench_tap"
TRIAL_TOKENS = 8


@dataclass(frozen=True)
class AttentionCall:
    """One layer's attention: ``[1, h, n, d]``, ``[1, hKV, n, d]``, ``[1, hKV, n, dV]`` after the rotary
    embedding and the cache, before heads are repeated; ``output`` as ``[1, n, h, dV]``."""

    module: torch.nn.Module
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    options: dict[str, Any]
    output: torch.Tensor

    @property
    def layer(self) -> int | None:
        return getattr(self.module, "layer_idx", None)


Observer = Callable[[AttentionCall], None]


@contextlib.contextmanager
def tapped(model: Any, observer: Observer) -> Iterator[None]:
    """Shows every attention of the model's forward passes to an observer, after it was computed."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    below = model.config._attn_implementation

    def attention(
        module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
        attention_mask: Any, **options: Any,
    ) -> tuple[torch.Tensor, Any]:
        compute = (
            _eager(module) if below in (None, "eager") else ALL_ATTENTION_FUNCTIONS[below])
        result = compute(module, query, key, value, attention_mask, **options)
        observer(AttentionCall(module, query, key, value, options, result[0]))
        return result

    AttentionInterface.register(TAP, attention)
    masks = AttentionMaskInterface()
    AttentionMaskInterface.register(TAP, masks[below or "eager"])
    model.set_attn_implementation(TAP)
    try:
        yield
    finally:
        model.set_attn_implementation(below)


def _eager(module: torch.nn.Module) -> Callable[..., Any]:
    """The attention that a model's own source file has."""
    function = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if function is None:
        raise ModelError(f"{type(module).__name__}: its source has no eager_attention_forward")
    return function


@dataclass(frozen=True)
class LayerAttention:
    """What a model's layer computes, as its own call of the attention says.

    ``window`` is how many keys a query sees, its own among them; ``chunk`` the length of the stretches
    that do not see each other. None for what a layer has not. ``sinks`` are one logit a query head.
    """

    layer: int
    module: torch.nn.Module
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    scale: float
    causal: bool
    softcap: float | None
    window: int | None
    chunk: int | None
    sinks: tuple[float, ...] | None


@dataclass(frozen=True)
class Survey:
    """The attention of every layer, and the layers that do not call it, with the reason."""

    layers: dict[int, LayerAttention]
    left_out: dict[int, str]
    stack: torch.nn.ModuleList | None


@torch.inference_mode()
def survey(model: Any, ids: torch.Tensor) -> Survey:
    """Runs a few tokens to see which layers call the attention, with what shapes and options.

    Sets the model to the attention that its definition is written in where PyTorch's does not serve it
    (softcap, sink logits).

    Raises:
        ModelError: when no layer calls the attention.
    """
    found: dict[int, LayerAttention] = {}

    def observe(call: AttentionCall) -> None:
        if call.layer is not None and call.query.shape[2] == call.key.shape[2]:
            found[call.layer] = _describe(call, model.config.get_text_config())

    body, trial = base(model), ids[:, :TRIAL_TOKENS]
    for attempt in (model.config._attn_implementation, "eager"):
        if attempt != model.config._attn_implementation:
            model.set_attn_implementation(attempt)
        found.clear()
        try:
            with tapped(model, observe):
                body(input_ids=trial, use_cache=False)
            break
        except (ValueError, TypeError, RuntimeError) as error:
            if model.config._attn_implementation == "eager":
                raise ModelError(
                    f"{type(model).__name__}: its forward pass fails on {trial.shape[1]} tokens "
                    f"({str(error)[:200]}); decoders and encoders of text are served") from error
    if any(layer.softcap or layer.sinks for layer in found.values()):
        model.set_attn_implementation("eager")
    if not found:
        raise ModelError(
            f"{type(model).__name__}: none of its layers calls transformers' AttentionInterface, so "
            "nothing can be captured or replaced")
    stack = _stack(body, found)
    count = len(stack) if stack is not None else max(found) + 1
    left_out = {
        layer: _other_kind(stack[layer]) if stack is not None else "does not call the attention"
        for layer in range(count) if layer not in found}
    return Survey(dict(sorted(found.items())), left_out, stack)


def base(model: Any) -> Any:
    """The model without its head."""
    return model.base_model


def _describe(call: AttentionCall, config: Any) -> LayerAttention:
    options, module = call.options, call.module
    scale = options.get("scaling")
    window = options.get("sliding_window")
    causal = options.get("is_causal")
    sinks = options.get("s_aux")
    kinds = getattr(config, "layer_types", None) or []
    layer = call.layer if call.layer is not None else -1
    kind = kinds[layer] if 0 <= layer < len(kinds) else None
    if causal is None:
        causal = getattr(module, "is_causal", True)
    if window is None and kind == "sliding_attention":
        window = getattr(config, "sliding_window", None)
    return LayerAttention(
        layer=layer, module=module, heads=call.query.shape[1], kv_heads=call.key.shape[1],
        head_dim=call.query.shape[3], value_dim=call.value.shape[3],
        scale=call.query.shape[3] ** -0.5 if scale is None else float(scale), causal=bool(causal),
        softcap=None if options.get("softcap") is None else float(options["softcap"]),
        window=None if not window else int(window),
        chunk=getattr(config, "attention_chunk_size", None) if kind == "chunked_attention" else None,
        sinks=None if sinks is None else tuple(float(sink) for sink in sinks.flatten()))


def _stack(body: torch.nn.Module, found: dict[int, LayerAttention]) -> torch.nn.ModuleList | None:
    """The list of the model's layers: the one whose entry i has the attention of layer i."""
    for module in body.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) > max(found):
            if all(any(inner is layer.module for inner in module[number].modules())
                   for number, layer in found.items()):
                return module
    return None


def _other_kind(layer: torch.nn.Module) -> str:
    """What a layer has where others have attention."""
    words = ("attn", "attention", "mixer", "mamba", "conv", "ssm", "delta", "recurrent", "rnn")
    names = [
        type(child).__name__ for name, child in layer.named_children()
        if any(word in name.lower() or word in type(child).__name__.lower() for word in words)
        and not isinstance(child, torch.nn.LayerNorm) and "norm" not in type(child).__name__.lower()]
    return f"{names[0] if names else type(layer).__name__} does not call the attention interface"
