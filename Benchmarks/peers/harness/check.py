"""Whether an implementation computes the function it is timed for."""

from __future__ import annotations

from typing import Any

import numpy as np

from .peer import Array
from .problem import Problem
from .reference import BOUNDS, Difference, full_softmax, reference_rows, sampled_rows


class Check:
    """Is it the same function? Sampled rows against fp64, and every element against attnbench."""

    def __init__(self, problem: Problem, inputs: tuple[Array, Array, Array], seed: int):
        self._rows = sampled_rows(problem, seed)
        self._definition = reference_rows(problem, *inputs, self._rows)
        self._full = reference_rows(full_softmax(problem), *inputs, self._rows)
        self._shape = inputs[0].shape
        self._bounds = BOUNDS[problem.dtype]

    def accuracy(self, output: Array) -> dict[str, Any]:
        """Columns of the row; none for an output of another shape."""
        if output.shape != self._shape:
            return {}
        quality = Difference.between(self._sample(output), self._full)
        correctness = Difference.between(self._sample(output), self._definition)
        return {
            "rel_l2_error": quality.relative_l2,
            "max_abs_error": quality.maximum,
            "error_rows_checked": len(self._rows),
            "oracle_rel_l2_error": correctness.relative_l2,
        }

    def failure(self, output: Array, ours: Array | None) -> str | None:
        """Why no time may be reported for this output; None when it is right."""
        if output.shape != self._shape:
            return f"output has shape {output.shape} instead of {self._shape}"
        reference = Difference.between(self._sample(output), self._definition)
        if not self._bounds.allow(reference):
            return f"differs from the fp64 definition: {reference}, {self._bounds}"
        if ours is not None:
            difference = Difference.between(output, ours)
            if not self._bounds.allow(difference):
                return f"differs from attnbench: {difference}, {self._bounds}"
        return None

    def _sample(self, output: Array) -> Array:
        return np.stack([output[head, row] for head, row in self._rows])
