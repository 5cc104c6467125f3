"""Attention as a textbook writes it, in fp64: what the library's results are held against."""

from __future__ import annotations

import numpy as np


def attention(
    q, k, v, *, scale=None, softcap=None, bias=None, visible=None, alibi=None, sinks=None, offset=None,
):
    """`[b, h, nQ, d]`, `[b, hKV, nKV, d]`, `[b, hKV, nKV, dV]` to output and LSE in fp64.

    `visible` broadcasts to `[b, h, nQ, nKV]`; `bias` is added to the scores.
    """
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    (b, h, n_q, d), n_kv = q.shape, k.shape[2]
    k, v = (np.repeat(x, h // k.shape[1], axis=1) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (d**-0.5 if scale is None else scale)
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    positions = np.arange(n_q)[:, None] + (n_kv - n_q if offset is None else offset)
    if bias is not None:
        scores = scores + np.asarray(bias, np.float64)
    if alibi is not None:
        scores = scores - np.asarray(alibi)[:, None, None] * abs(positions - np.arange(n_kv))
    if visible is not None:
        scores = np.where(visible, scores, -np.inf)
    sinks = np.full(h, -np.inf) if sinks is None else np.asarray(sinks, np.float64)
    sinks = np.broadcast_to(sinks[:, None, None], (b, h, n_q, 1))
    largest = np.maximum(scores.max(-1, keepdims=True), sinks)
    largest = np.where(np.isfinite(largest), largest, 0)
    weights = np.exp(scores - largest)
    total = weights.sum(-1, keepdims=True)
    empty = total == 0
    total = np.where(empty, 1, total + np.exp(sinks - largest))
    with np.errstate(divide="ignore"):
        lse = np.where(empty, -np.inf, np.log(total) + largest)[..., 0]
    return weights @ v / total, lse


def causal(n_q, n_kv, offset=None):
    """`[nQ, nKV]`, True where a query sees a key."""
    return np.arange(n_kv) <= np.arange(n_q)[:, None] + (n_kv - n_q if offset is None else offset)
