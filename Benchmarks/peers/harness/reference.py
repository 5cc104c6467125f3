"""The definitions in fp64 on sampled rows, written down once more, independent of attnbench."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .peer import Array
from .problem import Problem

EPSILON = 1e-6


@dataclass(frozen=True)
class Difference:
    maximum: float
    relative_l2: float

    @classmethod
    def between(cls, found: npt.NDArray, expected: npt.NDArray) -> Difference:
        if found.shape != expected.shape:
            raise ValueError(f"shape {found.shape} instead of {expected.shape}")
        gap = found.astype(np.float64) - expected
        norm = float(np.linalg.norm(expected.astype(np.float64)))
        return cls(float(np.abs(gap).max()), float(np.linalg.norm(gap)) / norm)

    def __str__(self) -> str:
        return f"max {self.maximum:.2g}, relative l2 {self.relative_l2:.2g}"


@dataclass(frozen=True)
class Bounds:
    """The largest differences of a correct result."""

    maximum: float
    #: What holds where outputs are small, over many keys.
    relative_l2: float

    def allow(self, difference: Difference) -> bool:
        """False also for NaN."""
        return difference.maximum <= self.maximum and difference.relative_l2 <= self.relative_l2

    def __str__(self) -> str:
        return f"bounds {self.maximum:g} and {self.relative_l2:g}"


#: By the element type of the work. In fp32, rounding to bf16 or tf32 anywhere gives more, and so
#: does one key too many in a window. In bf16, for averages of a thousand values and more: each
#: rounding of output, weights, logits or scaled queries gives a relative l2 of about 0.002, and all
#: four together about 0.005; that of a large logit moves an output by a hundredth of itself.
#: One key in a thousand left out, a scale that is 1 % off, or 8-bit keys and values give more.
BOUNDS = {"fp32": Bounds(5e-5, 2e-4), "bf16": Bounds(5e-3, 7e-3)}


def sampled_rows(problem: Problem, seed: int, count: int = 64) -> list[tuple[int, int]]:
    """(head, row) pairs: the corners and others at random."""
    generator = np.random.default_rng([seed, problem.n, problem.heads])
    corners = [(0, 0), (problem.heads - 1, problem.n - 1)]
    heads = generator.integers(problem.heads, size=count - len(corners))
    rows = generator.integers(problem.n, size=count - len(corners))
    # By head, because a head's keys are widened once.
    return sorted({*corners, *zip(heads.tolist(), rows.tolist(), strict=True)})


def reference_rows(
    problem: Problem, query: Array, key: Array, value: Array, rows: list[tuple[int, int]]
) -> npt.NDArray[np.float64]:
    """The output's `rows` by the definition of `problem`."""
    group = problem.heads // problem.kv_heads
    scale = problem.head_dim**-0.5
    result = []
    keys = values = np.empty((0, 0))
    loaded = None
    for head, row in rows:
        if loaded != head // group:
            loaded = head // group
            keys = key[loaded].astype(np.float64)
            values = value[loaded].astype(np.float64)
        end = row + 1 if problem.causal else problem.n_kv
        start = 0 if problem.window is None else max(0, end - problem.window)
        q = query[head, row].astype(np.float64)
        if problem.linear:
            weights = _feature(keys[start:end]) @ _feature(q)
            result.append(weights @ values[start:end] / (weights.sum() + EPSILON))
        else:
            scores = scale * (keys[start:end] @ q)
            weights = np.exp(scores - scores.max())
            result.append(weights @ values[start:end] / weights.sum())
    return np.stack(result)


def full_softmax(problem: Problem) -> Problem:
    """The same sizes and mask, every key and softmax: what quality is measured against."""
    return replace(problem, window=None, linear=False)


def _feature(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """elu(x) + 1."""
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
