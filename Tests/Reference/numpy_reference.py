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


@dataclass
class Recurrence:
    """The recurrent rules, in the conventions of `attnbench run`.

    q [b, h, nQ, d], k [b, hKV, n, d], v [b, hKV, n, dV]; decay, the natural logarithm of what is kept,
    [b, hKV, n] or [b, hKV, n, d], or None; beta [b, hKV, n] where the delta rule is, else None; addition
    [b, hKV, n, dV] to each token's own output, or None, which a row that is not causal has not, as it
    stands at no token; state [b, hKV, d, dV] to begin with, or None for
    zeros. Query i stands at token i + n - nQ; one that is not causal reads the last state.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    scale: float
    decay: np.ndarray | None = None
    beta: np.ndarray | None = None
    addition: np.ndarray | None = None
    state: np.ndarray | None = None
    causal: bool = True
    # x / sqrt(|x|^2 + 1e-6) for queries and keys.
    unit_length: bool = False
    # Outputs are divided by q^T (the sum of the keys) + 1e-6 instead of multiplied by the scale.
    normalised: bool = False


@dataclass
class Recurred:
    """Outputs [b, h, nQ, dV], the last state [b, hKV, d, dV], and what rounding is proportional to: of an
    output [b, h, nQ, 1], of a state [b, hKV, 1, 1]."""

    output: np.ndarray
    state: np.ndarray
    output_size: np.ndarray
    state_size: np.ndarray


def unit_length(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-6)


def recurrence(problem: Recurrence) -> Recurred:
    """Token by token in fp64.

    Sizes: the largest number that a token's update adds up is what its rounding is proportional to. An
    error lives on as long as the state that has it, so that a size decays like the slowest row of the
    state, and is never less than what the present token adds up.
    """
    p = problem
    q, k, v = (x.astype(np.float64) for x in (p.q, p.k, p.v))
    if p.unit_length:
        q, k = unit_length(q), unit_length(k)
    b, h, n_q, d = q.shape
    h_kv, n, d_v = v.shape[1:]
    group = h // h_kv
    state = np.zeros((b, h_kv, d, d_v)) if p.state is None else p.state.astype(np.float64)
    size = np.abs(state).max((-1, -2), keepdims=True)
    sums = np.zeros((b, h_kv, d))
    output, output_size = np.zeros((b, h, n_q, d_v)), np.zeros((b, h, n_q, 1))

    def read(row: int, token: int) -> None:
        query = q[:, :, row]
        states = np.repeat(state, group, axis=1)
        factor = np.full((b, h, 1), p.scale, np.float64)
        if p.normalised:
            factor = 1 / ((query * np.repeat(sums, group, axis=1)).sum(-1, keepdims=True) + 1e-6)
        output[:, :, row] = factor * np.einsum("bhd,bhde->bhe", query, states)
        reach = np.abs(query).sum(-1, keepdims=True) * np.repeat(size[..., 0], group, axis=1)
        output_size[:, :, row] = np.abs(factor) * reach
        if p.addition is not None and p.causal:
            addition = np.repeat(p.addition[:, :, token].astype(np.float64), group, axis=1)
            output[:, :, row] += addition
            output_size[:, :, row] += np.abs(addition).max(-1, keepdims=True)

    for token in range(n):
        key, value = k[:, :, token, :, None], v[:, :, token, None, :]
        kept = np.ones((b, h_kv, 1, 1))
        if p.decay is not None:
            kept = np.exp(p.decay[:, :, token].astype(np.float64)).reshape(b, h_kv, -1, 1)
        state = kept * state
        added = np.abs(key).max(-2, keepdims=True) * np.abs(value).max(-1, keepdims=True)
        if p.beta is not None:
            beta = p.beta[:, :, token, None, None].astype(np.float64)
            erased = (key * state).sum(-2, keepdims=True)
            summed = (np.abs(key) * np.abs(state)).sum(-2, keepdims=True).max(-1, keepdims=True)
            added = beta * (added + np.abs(key).max(-2, keepdims=True) * summed)
            value = beta * (value - erased)
        state = state + key * value
        sums += k[:, :, token]
        size = np.maximum(kept.max(-2, keepdims=True) * size, np.abs(state).max((-1, -2), keepdims=True))
        size = np.maximum(size, added)
        row = token - (n - n_q)
        if p.causal and row >= 0:
            read(row, token)
    if not p.causal:
        for row in range(n_q):
            read(row, row + n - n_q)
    return Recurred(output, state, output_size, size)
