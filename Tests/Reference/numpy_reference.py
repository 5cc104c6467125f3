"""Attention by its definition in NumPy, in fp64, one row after the other of the contract.

Order: scale, softcap, bias and ALiBi, mask, softmax with the sink logit. A row that sees no key
gives output 0 and log-sum-exp -inf; what stands in hidden rows of k and v takes no part.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Problem:
    """[b, h, nQ, d], [b, hKV, nKV, d], [b, hKV, nKV, dV] and the options."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    scale: float
    causal: bool = False
    offsets: np.ndarray | None = None
    query_lengths: np.ndarray | None = None
    key_lengths: np.ndarray | None = None
    prefix_lengths: np.ndarray | None = None
    mask: np.ndarray | None = None
    bias: np.ndarray | None = None
    slopes: np.ndarray | None = None
    softcap: float | None = None
    sink_logits: np.ndarray | None = None
    window: tuple[int, int, int] | None = None
    visible: np.ndarray = field(init=False)

    def __post_init__(self):
        b, h, n_q, _ = self.q.shape
        n_kv = self.k.shape[2]
        shape = (b, h, n_q, n_kv)
        # [b, 1, nQ, nKV] positions and keys.
        self.position = np.arange(n_q)[None, None, :, None] + self.offsets[:, None, None, None]
        key = np.arange(n_kv)[None, None, None, :]
        visible = np.ones(shape, bool)
        if self.causal:
            prefix = 0 if self.prefix_lengths is None else self.prefix_lengths[:, None, None, None]
            visible &= (key <= self.position) | (key < prefix)
        if self.window:
            left, right, sinks = self.window
            near = np.ones(shape, bool)
            if left >= 0:
                near &= key >= self.position - left
            if right >= 0:
                # Under a causal mask there is nothing to the right, a prefix apart.
                near &= key <= self.position + (0 if self.causal else right)
            elif self.causal:
                near &= key <= self.position
            visible &= near | (key < sinks)
        if self.key_lengths is not None:
            visible &= key < self.key_lengths[:, None, None, None]
        if self.query_lengths is not None:
            visible &= np.arange(n_q)[None, None, :, None] < self.query_lengths[:, None, None, None]
        if self.mask is not None:
            visible &= padded(self.mask, n_kv, False)
        if self.bias is not None:
            visible &= padded(self.bias, n_kv, -np.inf) != -np.inf
        self.visible = visible


def padded(array: np.ndarray, columns: int, fill) -> np.ndarray:
    """A mask whose last axis is 1 or ends early, at full length."""
    missing = columns - array.shape[-1]
    if missing == 0 or array.shape[-1] == 1:
        return array
    widths = [(0, 0)] * (array.ndim - 1) + [(0, missing)]
    return np.pad(array, widths, constant_values=fill)


def attention(problem: Problem):
    """Output, log-sum-exp and the scores of the four stages, in fp64."""
    p = problem
    group = p.q.shape[1] // p.k.shape[1]
    q = p.q.astype(np.float64)
    k = np.repeat(p.k.astype(np.float64), group, axis=1)
    v = np.repeat(p.v.astype(np.float64), group, axis=1)
    with np.errstate(all="ignore"):
        raw = p.scale * (q @ np.swapaxes(k, -1, -2))
        capped = raw if p.softcap is None else p.softcap * np.tanh(raw / p.softcap)
        biased = capped
        if p.bias is not None:
            biased = biased + padded(p.bias.astype(np.float64), k.shape[2], -np.inf)
        if p.slopes is not None:
            distance = np.abs(p.position - np.arange(k.shape[2]))
            biased = biased - p.slopes[None, :, None, None] * distance
    masked = np.where(p.visible, biased, -np.inf)
    sees = masked.max(axis=-1, keepdims=True, initial=-np.inf) > -np.inf
    sinks = np.full((1, q.shape[1], 1, 1), -np.inf)
    if p.sink_logits is not None:
        sinks = p.sink_logits.astype(np.float64)[None, :, None, None]
    top = np.where(sees, np.maximum(masked.max(axis=-1, keepdims=True), sinks), 0)
    weights = np.where(p.visible, np.exp(masked - top), 0)
    total = weights.sum(axis=-1, keepdims=True) + np.where(sees, np.exp(sinks - top), 0)
    with np.errstate(all="ignore"):
        probabilities = np.where(sees, weights / total, 0)
        lse = np.where(sees, top + np.log(total), -np.inf)[..., 0]
    # Hidden rows of v take no part, whatever stands in them.
    used = p.visible.any(axis=2)[..., None]
    output = probabilities @ np.where(used, v, 0)
    return output, lse, (raw, capped, masked, probabilities)
