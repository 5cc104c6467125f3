"""The machine's limits, from a worker that only answers."""

from __future__ import annotations

import unittest

from harness.ceilings import Ceilings, CeilingSeries


class CeilingTests(unittest.TestCase):
    class Worker:
        """Answers each request with the next of its rates."""

        def __init__(self, **rates: list[float]):
            self._rates = {name: iter(values) for name, values in rates.items()}

        def ask(self, command: str, arithmetic: str = "") -> dict:
            return {"per_second": next(self._rates[arithmetic or command])}

    def series(self, arithmetics: set[str], reads: bool) -> Ceilings:
        rates = {"f32": [1e9, 9e9, 2e9], "bf16": [4e9, 3e9, 5e9], "bandwidth": [7e9, 6e9, 8e9]}
        worker = self.Worker(**rates)
        series = CeilingSeries(worker, arithmetics, reads)
        for _ in range(3):
            series.take()
        return series.ceilings()

    def test_medians_and_range_are_those_of_the_rounds(self) -> None:
        found = self.series({"bf16"}, reads=True)
        self.assertEqual(found, Ceilings({"bf16": 4e9, "f32": 2e9}, (1e9, 9e9), 7e9))
        self.assertEqual(found.as_dict()["read_gb_per_s"], 7.0)

    def test_only_what_is_needed_is_measured(self) -> None:
        found = self.series({"f32"}, reads=False)
        self.assertEqual(found.as_dict().keys(), {"fma_gflop_per_s", "fma_gflop_per_s_range"})
        self.assertIsNone(found.read)
