"""Queries, keys and values of a model's layers, on a text, into a safetensors file.

``layer<i>.q`` ``[h, n, d]``, ``layer<i>.k`` ``[hKV, n, d]`` and ``layer<i>.v`` ``[hKV, n, dV]`` are what
layer i's attention is given: after the rotary embedding and the cache, before heads are repeated. Several
texts stand behind each other on an axis before these, ``[texts, h, n, d]``. What the layer does with
them is in the file's ``__metadata__`` under ``layer<i>``, as a JSON object: ``scale``, ``causal``,
``softcap``, ``window`` (how many keys *before* its own a query sees; a sliding window of W keys has
``window`` W - 1 and ``window_keys`` W), ``chunk`` (keys of an earlier stretch of so many are hidden) and
``sinks`` (a logit a query head); null for what it has not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .errors import ModelError
from .loading import Tokens
from .taps import AttentionCall, LayerAttention, Survey, base, tapped
from .tensorfile import TensorEntry, TensorFile


class _Enough(Exception):
    """The last layer that is wanted has been seen."""


@dataclass(frozen=True)
class Capture:
    """What a capture wrote."""

    path: str
    size: int
    layers: list[int]


@torch.inference_mode()
def capture(
    model: Any, tokens: Tokens, found: Survey, layers: list[int], path: str, *, dtype: str,
    name: str, version: str, progress: Callable[[int], None] = lambda layer: None,
) -> Capture:
    """Runs the model once and writes each layer's tensors as it comes by.

    Needs the memory of the forward pass and of one layer's tensors. The layers after the last that is
    wanted are not run.

    Args:
        tokens: one pass takes all texts.
        layers: numbers in ``found``.
        dtype: ``f16``, ``bf16`` or ``f32``.
        progress: called with each layer's number.

    Raises:
        ModelError: for a full disk, values too large for the type, a layer that does something else
            with many tokens than it did with a few. What stood at the path is then as it was.
    """
    n = tokens.count
    texts = (tokens.texts,) if tokens.texts > 1 else ()
    entries: list[TensorEntry] = []
    for number in layers:
        layer = found.layers[number]
        entries += [
            TensorEntry(f"layer{number}.q", (*texts, layer.heads, n, layer.head_dim)),
            TensorEntry(f"layer{number}.k", (*texts, layer.kv_heads, n, layer.head_dim)),
            TensorEntry(f"layer{number}.v", (*texts, layer.kv_heads, n, layer.value_dim)),
        ]
    waiting = set(layers)
    with TensorFile(path, entries, dtype, _metadata(tokens, found, layers, dtype, name, version)) as file:

        def observe(call: AttentionCall) -> None:
            number = call.layer
            if number not in waiting:
                return
            waiting.discard(number)
            for letter, tensor in (("q", call.query), ("k", call.key), ("v", call.value)):
                if not bool(torch.isfinite(tensor).all()):
                    raise ModelError(
                        f"layer{number}.{letter} holds NaN or infinity: the model itself fails on this text")
                file.put(f"layer{number}.{letter}", tensor if texts else tensor[0])
            progress(number)
            if not waiting:
                raise _Enough

        try:
            with tapped(model, observe):
                base(model)(input_ids=tokens.ids, use_cache=False)
        except _Enough:
            pass
    return Capture(path, file.size, layers)


def _metadata(
    tokens: Tokens, found: Survey, layers: list[int], dtype: str, name: str, version: str
) -> Mapping[str, str]:
    captured = [found.layers[number] for number in layers]
    metadata = {
        "format": "attnbench-capture", "version": "1", "tool_version": version, "model": name,
        "text": tokens.text, "tokens_sha256": tokens.sha256, "n": str(tokens.count),
        "texts": str(tokens.texts),
        "positions": f"0..{tokens.count - 1}", "dtype": dtype,
        "layers": ",".join(map(str, layers)),
        "layers_left_out": json.dumps({str(layer): why for layer, why in found.left_out.items()}),
    }
    # What all layers share is said for the whole file too.
    for field, values in (
        ("causal", {json.dumps(layer.causal) for layer in captured}),
        ("scale", {json.dumps(layer.scale) for layer in captured}),
    ):
        if len(values) == 1:
            metadata[field] = values.pop()
    for layer in captured:
        metadata[f"layer{layer.layer}"] = json.dumps(layer_metadata(layer))
    return metadata


def layer_metadata(layer: LayerAttention) -> dict[str, Any]:
    """The JSON object of one layer."""
    return {
        "causal": layer.causal, "scale": layer.scale, "softcap": layer.softcap,
        "window": None if layer.window is None else layer.window - 1 if layer.causal else layer.window,
        "window_keys": layer.window, "chunk": layer.chunk,
        "sinks": None if layer.sinks is None else list(layer.sinks),
    }
