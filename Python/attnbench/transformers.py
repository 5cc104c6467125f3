"""attnbench inside a transformers model.

    import attnbench.transformers
    attnbench.transformers.use(model, "window(512, sinks: 4)")

The model's own visibility is kept: causal masks, padding, sliding windows, sink logits, softcap; a
strategy restricts it further. Prefill and decoding go through the model's own cache. There is no
backward pass. ``model.set_attn_implementation("sdpa")`` takes it out again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import causal_mask_function, sdpa_mask

from ._library import AttentionError
from ._plan import Plan
from .torch import attend

__all__ = ["NAME", "use"]

NAME = "attnbench"
"""What the implementation is called in a model's configuration."""

Strategy = str | Sequence[str]


@dataclass(frozen=True)
class _Layer:
    """What an attention layer runs: one strategy, or one a query head."""

    strategies: tuple[str, ...] = ("flash",)
    is_exact: bool = True
    """Whether the strategies are softmax over all that a mask shows, wherever queries stand."""
    threads: int | None = None

    @property
    def strategy(self) -> str:
        return ", ".join(self.strategies)


def use(
    model: PreTrainedModel, plan: Strategy | Mapping[int, Strategy] = "flash", *,
    threads: int | None = None,
) -> PreTrainedModel:
    """Lets a model's attention layers run strategies.

    Args:
        model: any transformers model whose attention goes through its AttentionInterface.
        plan: a strategy for all layers, ``"flash"``; or a mapping from layer numbers to strategies, where
            layers that are not named run ``"flash"``. A strategy may be a list, one a query head.
        threads: one a core that may be used, by default.

    Returns:
        The model.

    Raises:
        AttentionError: for a strategy that is not known, a layer that the model does not have, or a
            model that has no such layers. The model is then as before.
    """
    layers = {
        module: module.layer_idx for module in model.modules()
        if isinstance(getattr(module, "layer_idx", None), int) and hasattr(module, "is_causal")
    }
    if not layers:
        raise AttentionError(f"model = {type(model).__name__}: has no attention layers with numbers")
    numbers = sorted(set(layers.values()))
    by_layer = dict(plan) if isinstance(plan, Mapping) else dict.fromkeys(numbers, plan)
    for layer in by_layer:
        if layer not in numbers:
            raise AttentionError(
                f"plan = layer {layer!r}: the model's attention layers are {numbers[0]} to {numbers[-1]}")
    chosen = {
        layer: _checked(layer, by_layer.get(layer, "flash"), threads) for layer in numbers}
    if not hasattr(model, "set_attn_implementation"):
        raise AttentionError(f"model = {type(model).__name__}: has no set_attn_implementation")
    model.set_attn_implementation(NAME)
    for module, layer in layers.items():
        module.attnbench_layer = chosen[layer]
    return model


def _checked(layer: Any, strategy: Any, threads: int | None) -> _Layer:
    """What a layer runs, once a plan could be made with it."""
    count = 1 if isinstance(strategy, str) else len(strategy)
    try:
        plan = Plan(heads=count, query_length=1, head_dim=1, strategy=strategy, threads=threads)
    except AttentionError as error:
        raise AttentionError(f"plan, layer {layer}: {error}", error.status) from None
    strategies = (strategy,) if isinstance(strategy, str) else tuple(strategy)
    return _Layer(strategies, plan.operator_class == "exact", threads)


def _forward(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, dropout: float = 0.0, scaling: float | None = None,
    is_causal: bool | None = None, softcap: float | None = None, s_aux: torch.Tensor | None = None,
    sliding_window: int | None = None, position_bias: torch.Tensor | None = None, **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """AttentionInterface: query `[b, h, nQ, d]`, key `[b, hKV, nKV, d]`, to `[b, nQ, h, dV]`."""
    if dropout:
        raise AttentionError(f"dropout = {dropout}: must be 0; there is no dropout, use model.eval()")
    if kwargs.get("output_attentions"):
        raise AttentionError(
            "output_attentions: weights are never stored; use model.set_attn_implementation('eager')")
    layer = getattr(module, "attnbench_layer", _Layer())
    strategy = layer.strategy
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    causal, offset, mask = bool(is_causal), None, attention_mask
    window = None
    length = getattr(mask, "attnbench_length", None)
    if length is not None and causal and not torch.compiler.is_compiling():
        # A cache may have rows that no token has filled yet. Without them causality says it all, or a
        # window does, and a step of decoding needs no plan of its own for a mask of its own.
        window = getattr(mask, "attnbench_window", None)
        key, value = key[:, :, :length], value[:, :, :length]
        mask = None
        if position_bias is not None:
            position_bias = position_bias[..., :length]
    n_kv = key.shape[2]
    if mask is not None and causal:
        # Where queries stand matters to patterns, and a mask alone does not say it.
        offset = getattr(attention_mask, "attnbench_offset", None)
        causal = offset is not None
        if not causal and not layer.is_exact:
            raise AttentionError(
                f"strategy = {strategy}: this mask does not say where its queries stand among the keys; "
                "use 'flash' for such layers, or let the model make its masks")
    if mask is None and causal and sliding_window is not None and sliding_window < n_kv:
        window = sliding_window
    if position_bias is not None:
        if mask is None:
            mask = position_bias
        elif mask.dtype == torch.bool:
            mask = torch.where(mask, position_bias, -torch.inf)
        else:
            mask = mask + position_bias
    out = attend(
        query, key, value, mask, s_aux, strategy, causal, offset, scaling, softcap, layer.threads,
        None if window is None else window - 1)
    return out.transpose(1, 2).contiguous(), None


def _mask(
    batch_size: int, q_length: int, kv_length: int, q_offset: Any = 0, kv_offset: Any = 0,
    mask_function: Any = None, attention_mask: torch.Tensor | None = None,
    local_size: int | None = None, allow_is_causal_skip: bool = True, **kwargs: Any,
) -> torch.Tensor | None:
    """AttentionMaskInterface: None where causality says all, else a mask `[b, 1, nQ, nKV]`.

    A mask that is causal carries where its first query stands. One that says nothing else carries how
    many leading keys any query sees, so that the layer need not read it; so does one of a sliding window
    and nothing else, which carries the window besides.
    """
    traced = torch.compiler.is_compiling()
    kv_offset = kv_offset if traced else int(kv_offset)
    is_causal = not traced and (allow_is_causal_skip or mask_function is causal_mask_function)
    offset = int(q_offset) - kv_offset if is_causal else 0
    length = offset + q_length
    # Where it may not be left out, somebody may be about to change it; not so in a step of decoding.
    is_plain = (
        is_causal and (allow_is_causal_skip or q_length == 1) and 0 < length <= kv_length
        and (attention_mask is None or _hides_nothing(attention_mask, kv_offset, length))
    )
    is_short = is_plain and (
        local_size is None or length <= local_size
        # Chunks, unlike windows, go by positions from the beginning of the text.
        and (kv_offset == 0 or _is_window(mask_function, local_size))
    )
    if is_short and allow_is_causal_skip and length == kv_length:
        return None
    mask = sdpa_mask(
        batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask, local_size,
        allow_is_causal_skip=False, **kwargs)
    if is_causal and mask is not None:
        mask.attnbench_offset = offset
        if is_short:
            mask.attnbench_length = length
        elif is_plain and _is_window(mask_function, local_size):
            mask.attnbench_length, mask.attnbench_window = length, local_size
    return mask


def _hides_nothing(padding: torch.Tensor, first: int, count: int) -> bool:
    end = first + count
    return padding.dim() == 2 and padding.shape[-1] >= end and bool(padding[:, first:end].all())


def _is_window(mask_function: Any, size: int) -> bool:
    """Whether a causal mask of a local size is a window of so many keys, and not chunks of it."""
    zero = torch.zeros((), dtype=torch.long)
    return all(
        bool(mask_function(zero, zero, zero + query, zero + key)) == visible
        for query, key, visible in (
            (size, 1, True), (size, 0, False), (size, size, True), (2 * size, size + 1, True),
            (2 * size, size, False), (1, 2, False)))


AttentionInterface.register(NAME, _forward)
AttentionMaskInterface.register(NAME, _mask)
