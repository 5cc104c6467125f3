"""Attention that PyTorch has no function for, as one would write it there.

Tensors are [h, n, d], with as many key heads as query heads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Query rows whose hidden units with all keys, [h, rows, n, hidden], are in memory at a time:
#: 256 MiB for 8 heads, 4,096 keys and 128 units.
ADDITIVE_ROWS = 16
#: The same where the compiler keeps no hidden unit, but scores alone, [h, rows, n]: 64 MiB.
COMPILED_ADDITIVE_ROWS = 512
#: Query rows whose scores of an index with all keys, [heads of the index, rows, n], and where all
#: keys are attended to [h, rows, n], are in memory at a time: 32 and 64 MiB for 32,768 keys.
INDEX_ROWS = 64


def additive(
    q: Tensor, k: Tensor, v: Tensor, query_units: Tensor, key_units: Tensor, weights: Tensor,
    rows: int, chunk: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
) -> Tensor:  # fmt: skip
    """softmax(w . tanh(Wq q + Wk k)) v by chunks of query rows; Wq and Wk [h, hidden, d]."""
    a, b = q @ query_units.mT, k @ key_units.mT
    return torch.cat([chunk(part, b, weights, v) for part in a.split(rows, dim=1)], dim=1)


def additive_chunk(a: Tensor, b: Tensor, weights: Tensor, v: Tensor) -> Tensor:
    """Hidden units broadcast, scores by a product."""
    units = (a.unsqueeze(2) + b.unsqueeze(1)).tanh_()
    scores = (units @ weights[:, None, :, None]).squeeze(-1)
    return scores.softmax(dim=-1) @ v


def fused_additive_chunk(a: Tensor, b: Tensor, weights: Tensor, v: Tensor) -> Tensor:
    """To be compiled: a sum, unlike a product, becomes one loop with the tanh."""
    units = torch.tanh(a.unsqueeze(2) + b.unsqueeze(1))
    return (units * weights[:, None, None, :]).sum(dim=-1).softmax(dim=-1) @ v


def means(x: Tensor, size: int) -> Tensor:
    """Of each `size` consecutive rows, of which the last may be fewer: [h, n / size, d]."""
    whole = x.shape[1] // size * size
    parts = [x[:, :whole].unflatten(1, (-1, size)).mean(dim=2)]
    if whole < x.shape[1]:
        parts.append(x[:, whole:].mean(dim=1, keepdim=True))
    return torch.cat(parts, dim=1)


def best_blocks(q: Tensor, k: Tensor, block: int, top: int, rows: int) -> tuple[Tensor, Tensor]:
    """The blocks of `block` keys that each group of `rows` queries keeps: how many, [groups], and
    which, [h, groups, top], the own one first; beyond their number there are others, which it does
    not keep.

    A group lies within a block, so that it has one that is its own.
    """
    queries = q if rows == 1 else means(q, rows)
    scores = queries @ means(k, block).mT
    groups, blocks = scores.shape[1:]
    own = torch.arange(groups) * rows // block
    number = torch.arange(blocks)
    scores = scores.masked_fill(number > own[:, None], -torch.inf)
    scores = scores.masked_fill(number == own[:, None], torch.inf)
    kept = scores.topk(min(top, blocks), dim=-1).indices
    return (own + 1).clamp(max=kept.shape[-1]), kept


def gathered_blocks(q: Tensor, k: Tensor, v: Tensor, block: int, top: int, rows: int) -> Tensor:
    """Mixture of block attention: block by block, the queries that keep it are gathered and attend
    to it, and what each query has come to is merged by its softmax so far."""
    h, n, d = q.shape
    counts, kept = best_blocks(q, k, block, top, rows)
    groups, blocks = kept.shape[1], -(-n // block)
    keeps = torch.zeros(h, groups, blocks, dtype=torch.bool)
    keeps.scatter_(2, kept, torch.arange(kept.shape[2]).expand_as(kept) < counts[:, None])
    keeps = keeps.repeat_interleave(rows, dim=1)[:, :n]
    q = q * d**-0.5
    out, total = torch.zeros_like(v), q.new_zeros(h, n, 1)
    peak = q.new_full((h, n, 1), -torch.inf)
    for j in range(blocks):
        keys = slice(j * block, min((j + 1) * block, n))
        for head in range(h):
            who = keeps[head, :, j].nonzero().squeeze(1)
            scores = q[head, who] @ k[head, keys].mT
            # Rows before the block's end are its own: nobody before it keeps it.
            own = who < keys.stop
            future = torch.arange(keys.start, keys.stop) > who[own, None]
            scores[own] = scores[own].masked_fill(future, -torch.inf)
            highest = torch.maximum(peak[head, who], scores.amax(dim=-1, keepdim=True))
            weights = torch.exp(scores - highest)
            fades = torch.exp(peak[head, who] - highest)
            total[head, who] = total[head, who] * fades + weights.sum(dim=-1, keepdim=True)
            out[head, who] = out[head, who] * fades + weights @ v[head, keys]
            peak[head, who] = highest
    return out / total


def best_keys(index_q: Tensor, index_k: Tensor, index_w: Tensor, rows: slice, top: int) -> Tensor:
    """The `top` keys with the largest scores of an index for some query rows, [rows, top]: where a
    row sees fewer, keys of the future as well."""
    scores = torch.relu(index_q[:, rows] @ index_k[0, : rows.stop].mT)
    scores = (scores * index_w[:, rows, None]).sum(dim=0)
    positions = torch.arange(rows.stop)
    scores = scores.masked_fill(positions > positions[rows, None], -torch.inf)
    return scores.topk(min(top, rows.stop), dim=-1).indices


def index_chunks(n: int) -> list[slice]:
    """Rows that are scored together."""
    return [slice(first, min(first + INDEX_ROWS, n)) for first in range(0, n, INDEX_ROWS)]


def indexed(
    q: Tensor, k: Tensor, v: Tensor, index_q: Tensor, index_k: Tensor, index_w: Tensor, top: int
) -> Tensor:
    """Causal attention to the best keys of an index, which are gathered row by row; all but the
    index [n, h, d]."""
    out = torch.empty_like(v)
    for rows in index_chunks(len(q)):
        best = best_keys(index_q, index_k, index_w, rows, top)
        for i, keys in zip(range(rows.start, rows.stop), best, strict=True):
            keys = keys[keys <= i]
            scores = torch.einsum("hd,jhd->hj", q[i], k.index_select(0, keys)) * q.shape[2] ** -0.5
            out[i] = torch.einsum("hj,jhd->hd", scores.softmax(dim=-1), v.index_select(0, keys))
    return out


def masked_by_index(
    q: Tensor, k: Tensor, v: Tensor, index_q: Tensor, index_k: Tensor, index_w: Tensor, top: int
) -> Tensor:
    """The same by scores of all keys, of which those that are not kept are hidden."""
    parts = []
    for rows in index_chunks(q.shape[1]):
        best = best_keys(index_q, index_k, index_w, rows, top)
        positions = torch.arange(rows.stop)
        mask = q.new_full((len(best), rows.stop), -torch.inf).scatter_(1, best, 0)
        mask = mask.masked_fill_(positions > positions[rows, None], -torch.inf)
        scores = q[:, rows] @ k[:, : rows.stop].mT * q.shape[2] ** -0.5 + mask
        parts.append(scores.softmax(dim=-1) @ v[:, : rows.stop])
    return torch.cat(parts, dim=1)
