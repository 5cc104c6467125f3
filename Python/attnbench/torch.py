"""PyTorch's scaled_dot_product_attention, computed by attnbench, as an operator of PyTorch.

    from attnbench.torch import scaled_dot_product_attention

``attnbench::attention`` is registered with shapes for tracing, so that ``torch.compile`` keeps it in the
graph. There is no backward pass: a backward through it raises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ._attention import compute
from ._library import AttentionError
from ._plans import again
from ._problem import Options

__all__ = ["scaled_dot_product_attention"]


def _rows_first(shape: Sequence[int], like: Tensor) -> Tensor:
    """``[b, h, n, dV]`` that lies as ``[b, n, h, dV]``: what projections take without a copy."""
    b, h, n, d = shape
    return like.new_empty((b, n, h, d)).transpose(1, 2)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, sinks: Tensor | None,
    strategy: str, causal: bool, offset: int | None, scale: float | None, softcap: float | None,
    threads: int | None, window: int | None,
) -> Tensor:
    def new_output(shape: Sequence[int]) -> Tensor:
        return _rows_first(shape, query)

    quick_key = None
    if mask is None and sinks is None:
        # Not to be mistaken for calls whose outputs lie otherwise.
        written = (_rows_first, strategy, causal, offset, scale, softcap, threads, window)
        quick_key, found = again(query, key, value, False, written, new_output)
        if found is not None:
            return found
    options = Options.of(
        strategy, None if window is None else (window, None), causal=causal, scale=scale, softcap=softcap, alibi=None,
        sinks=None if sinks is None else sinks.detach(), query_lengths=None, key_lengths=None,
        prefix_lengths=None, offset="bottom-right" if offset is None else offset)
    return compute(
        query, key, value, options, mask=mask, threads=threads, quick_key=quick_key,
        new_output=new_output)


@torch.library.custom_op("attnbench::attention", mutates_args=(), device_types="cpu")
def _operator(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None,
    sinks: Tensor | None = None, strategy: str = "flash", causal: bool = False,
    offset: int | None = None, scale: float | None = None, softcap: float | None = None,
    threads: int | None = None, window: int | None = None,
) -> Tensor:
    return _attention(
        query, key, value, mask, sinks, strategy, causal, offset, scale, softcap, threads, window)


@_operator.register_fake
def _(
    query, key, value, mask=None, sinks=None, strategy="flash", causal=False, offset=None, scale=None,
    softcap=None, threads=None, window=None,
):
    return _rows_first((*query.shape[:3], value.shape[3]), query)


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, sinks: Tensor | None,
    strategy: str, causal: bool, offset: int | None, scale: float | None, softcap: float | None,
    threads: int | None, window: int | None = None,
) -> Tensor:
    """``[b, h, nQ, d]``, ``[b, hKV, nKV, d]``, ``[b, hKV, nKV, dV]`` to ``[b, h, nQ, dV]``.

    ``window`` is how many keys before its own position a query sees, None for all.

    Through the operator where something has to see it: a trace, a gradient, a subclass of Tensor. Its
    dispatch costs as much as a small attention, and plain tensors go without.
    """
    tensors = (query, key, value) if mask is None else (query, key, value, mask)
    is_plain = not torch.compiler.is_compiling() and all(
        type(tensor) is Tensor and tensor.is_cpu for tensor in tensors)
    if is_plain and torch.is_grad_enabled():
        is_plain = not any(tensor.requires_grad for tensor in tensors)
        is_plain = is_plain and (sinks is None or not sinks.requires_grad)
    if is_plain and not _has_modes():
        return _attention(
            query, key, value, mask, sinks, strategy, causal, offset, scale, softcap, threads, window)
    return _operator(
        query, key, value, mask, sinks, strategy, causal, offset, scale, softcap, threads, window)


def _has_modes() -> bool:
    """Whether somebody listens to operators: a tracer, a profiler of modes, a functional transform."""
    return (
        torch._C._len_torch_dispatch_stack() > 0 or torch._C._functorch.peek_interpreter_stack() is not None
    )


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False, *,
    strategy: str = "flash", threads: int | None = None,
) -> Tensor:
    """``torch.nn.functional.scaled_dot_product_attention``, with its meaning.

    Args:
        query: ``[..., h, L, E]``, float32, float16 or bfloat16.
        key, value: ``[..., hKV, S, E]`` and ``[..., hKV, S, Ev]``; leading axes broadcast.
        attn_mask: broadcasts to ``[..., h, L, S]``; bool, where False hides, or added to the scores.
        dropout_p: must be 0.
        is_causal: query i sees keys up to i, whatever the lengths (PyTorch's top-left corner).
        scale: 1 / sqrt(E) by default.
        enable_gqa: h may be a multiple of hKV; query head i reads key/value head i / (h / hKV).
        strategy, threads: as for :func:`attnbench.attention`.

    Returns:
        ``[..., h, L, Ev]``; 0 for a query that sees no key.

    Raises:
        AttentionError: for what is not served: dropout, float64, a device other than the CPU, a mask
            beside ``is_causal``, shapes that do not broadcast.
    """
    if dropout_p != 0.0:
        raise AttentionError(f"dropout_p = {dropout_p}: must be 0; there is no dropout")
    if is_causal and attn_mask is not None:
        raise AttentionError("attn_mask: must be None where is_causal is set; put the causal mask into it")
    if query.dim() < 2 or key.dim() < 2 or value.dim() < 2:
        raise AttentionError(
            f"query, key, value: must have at least 2 axes, and have {query.dim()}, {key.dim()}, "
            f"{value.dim()}", 2)
    if not query.dtype == key.dtype == value.dtype:
        raise AttentionError(
            f"query, key, value = {query.dtype}, {key.dtype}, {value.dtype}: must be of one type", 2)
    if enable_gqa:
        key, value = _shared_heads(query, key, value)
    leading = _leading(query, key, value, enable_gqa)
    (L, E), (S, E_k), (S_v, Ev) = query.shape[-2:], key.shape[-2:], value.shape[-2:]
    if E_k != E or S_v != S:
        raise AttentionError(
            f"query, key, value = {list(query.shape)}, {list(key.shape)}, {list(value.shape)}: must be "
            "[..., L, E], [..., S, E], [..., S, Ev]", 2)
    if attn_mask is not None:
        attn_mask = _mask(attn_mask, query, (*leading, L, S))
    shape = (*leading, L, Ev)
    if 0 in shape:
        return query.new_empty(shape)
    if S == 0:
        return query.new_zeros(shape)
    if E == 0:
        raise AttentionError(f"query = {list(query.shape)}: E must be at least 1", 2)
    kv_heads = key.shape[-3] if enable_gqa and len(leading) > 0 else None
    out = attend(
        _four(query, leading, None), _four(key, leading, kv_heads), _four(value, leading, kv_heads),
        None if attn_mask is None else _four(attn_mask, leading, None), None, strategy, is_causal,
        0, scale, None, threads)
    return out if out.shape == shape else out.reshape(shape)


def _shared_heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of as many heads each."""
    if min(query.dim(), key.dim(), value.dim()) < 3:
        raise AttentionError("enable_gqa: query, key and value must have a heads axis, [..., h, n, d]", 2)
    h, h_k, h_v = query.shape[-3], key.shape[-3], value.shape[-3]
    if h_k == 0 or h_v == 0 or h % h_k or h % h_v:
        raise AttentionError(f"enable_gqa: {h} query heads must be a multiple of {h_k} and {h_v}", 2)
    if h_k != h_v:
        key = key.repeat_interleave(h // h_k, -3)
        value = value.repeat_interleave(h // h_v, -3)
    return key, value


def _leading(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> tuple[int, ...]:
    """The axes before the last two, broadcast; heads are the query's where they are shared."""
    axes = [tuple(tensor.shape[:-2]) for tensor in (query, key, value)]
    if enable_gqa:
        axes = [axis[:-1] + (query.shape[-3],) for axis in axes]
    try:
        return tuple(torch.broadcast_shapes(*axes))
    except RuntimeError as error:
        raise AttentionError(
            f"query, key, value = {list(query.shape)}, {list(key.shape)}, {list(value.shape)}: leading "
            f"axes must broadcast{'' if enable_gqa else '; enable_gqa shares key/value heads'}", 2
        ) from error


def _mask(mask: Tensor, query: Tensor, shape: tuple[int, ...]) -> Tensor:
    if mask.dtype not in (torch.bool, torch.float32, query.dtype):
        raise AttentionError(f"attn_mask = {mask.dtype}: must be bool, float32 or {query.dtype}", 2)
    try:
        return mask.expand(shape)
    except RuntimeError as error:
        raise AttentionError(
            f"attn_mask = {list(mask.shape)}: must broadcast to {list(shape)}", 2) from error


def _four(tensor: Tensor, leading: tuple[int, ...], heads: int | None) -> Tensor:
    """As ``[b, h, n, d]``: leading axes expanded, and made two."""
    if heads is not None:
        leading = (*leading[:-1], heads)
    tensor = tensor.expand(*leading, *tensor.shape[-2:])
    if len(leading) == 2:
        return tensor
    if len(leading) < 2:
        return tensor[(None,) * (2 - len(leading))]
    return tensor.reshape(math.prod(leading[:-1]), leading[-1], *tensor.shape[-2:])
