"""Work in bf16: rounding, and what the check allows."""

from __future__ import annotations

import unittest
from collections.abc import Callable

import numpy as np

from harness.bfloat16 import narrowed, rounded, widened
from harness.check import Check
from harness.inputs import normal_inputs
from harness.peer import Array
from harness.problem import Problem

Rounding = Callable[[Array], Array]


class BFloat16Tests(unittest.TestCase):
    def test_rounding_is_to_nearest_ties_to_even(self) -> None:
        unit = 2.0**-7
        given = [1, 1 + unit / 2, 1 + 1.5 * unit, 1 + 0.51 * unit, -1 - 0.49 * unit, 2.0**127, 0]
        expected = [1, 1, 1 + 2 * unit, 1 + unit, -1, 2.0**127, 0]
        found = rounded(np.array(given, np.float32))
        self.assertEqual(found.tolist(), expected)
        np.testing.assert_array_equal(widened(narrowed(found)), found)

    def test_a_bf16_problem_is_plain_softmax(self) -> None:
        Problem(9, 5, causal=True, dtype="bf16")
        for kind in ({"linear": True}, {"causal": True, "window": 3}):
            with self.assertRaises(ValueError):
                Problem(9, 5, dtype="bf16", **kind)
        with self.assertRaises(ValueError):
            Problem(9, 5, dtype="fp64")


class CheckTests(unittest.TestCase):
    """bf16, at the fewest keys that are compared."""

    def setUp(self) -> None:
        self.problem = Problem(1, 64, keys=2000, dtype="bf16")
        self.query, self.key, self.value = inputs = normal_inputs(self.problem, seed=5)
        self.check = Check(self.problem, inputs, seed=1)

    def attend(
        self, key: Array, value: Array, scale: float = 64**-0.5, stored: Rounding = rounded
    ) -> Array:
        """In fp64 but for weights and output, which are `stored`."""
        scores = scale * (self.query.astype(np.float64) @ key.transpose(0, 2, 1))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        sums = weights.sum(-1, keepdims=True)
        return stored((stored(weights.astype(np.float32)) @ value / sums).astype(np.float32))

    def test_inputs_are_bf16_already(self) -> None:
        for array in (self.query, self.key, self.value):
            np.testing.assert_array_equal(rounded(array), array)

    def test_rounding_is_allowed(self) -> None:
        found = self.attend(self.key, self.value)
        self.assertIsNone(self.check.failure(found, None))
        exact = self.attend(self.key, self.value, stored=lambda array: array)
        self.assertIsNone(self.check.failure(found, exact))

    def test_other_functions_are_not(self) -> None:
        def in_eight_bits(x: Array) -> Array:
            scale = np.abs(x).max(-1, keepdims=True) / 127
            return np.round(x / scale) * scale

        for name, found in {
            "a key in a thousand": self.attend(self.key[:, :-2], self.value[:, :-2]),
            "scale": self.attend(self.key, self.value, 1.01 * 64**-0.5),
            "8 bits": self.attend(in_eight_bits(self.key), in_eight_bits(self.value)),
        }.items():
            self.assertIn("bounds", self.check.failure(found, None) or "", name)
