"""The driver's arithmetic and its processes; needs numpy and no peer library."""

from __future__ import annotations

import re
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

from harness.bfloat16 import rounded
from harness.ceilings import Ceilings
from harness.problem import Problem
from harness.process import Implementation, ImplementationError
from harness.ratios import ratio_table, seconds_text
from harness.record import RESULT_COLUMNS, Record, cell_text, slug
from harness.reference import BOUNDS, Difference, reference_rows, sampled_rows
from harness.rounds import Contestant, sample_count, schedule
from harness.serve import busiest
from harness.summary import Summary, interval_rank, quantile
from registry import PEERS
from workloads import QUICK, WORKLOADS

ROOT = Path(__file__).resolve().parents[3]


class SummaryTests(unittest.TestCase):
    def test_ranks_are_those_of_the_published_table(self) -> None:
        # Le Boudec 2010, appendix A, symmetric pairs.
        for count, rank in ((1, 1), (5, 1), (6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (31, 10)):
            self.assertEqual(interval_rank(count), rank, count)

    def test_quartiles_are_of_type_seven(self) -> None:
        ordered = [1.0, 2.0, 3.0, 10.0]
        self.assertEqual([quantile(ordered, q) for q in (0, 0.25, 0.5, 1)], [1, 1.75, 2.5, 10])

    def test_one_outlier_does_not_move_the_interval(self) -> None:
        summary = Summary.of([1.0] * 10 + [100.0])
        self.assertEqual((summary.median, summary.interval), (1.0, (1.0, 1.0)))
        self.assertEqual(summary.verdict(), ("ok", ""))

    def test_few_and_scattered_samples_are_named(self) -> None:
        self.assertEqual(Summary.of([1.0] * 4).verdict()[0], "low_samples")
        self.assertEqual(Summary.of([1.0, 1.1, 1.2, 1.3, 1.4, 1.5]).verdict()[0], "noisy")


class RoundTests(unittest.TestCase):
    def test_everyone_gets_the_turns_counted_and_the_order_repeats(self) -> None:
        counts = [3, 10, 5]
        order = schedule(counts, seed=1)
        self.assertEqual(len(order), 10)
        for index, count in enumerate(counts):
            self.assertEqual(sum(index in turn for turn in order), count)
        self.assertEqual(order, schedule(counts, seed=1))
        self.assertNotEqual(order, schedule(counts, seed=2))

    def test_fast_calls_share_a_turn_and_slow_ones_are_not_warmed(self) -> None:
        def take(warm: int, repeats: int) -> tuple[list[float], list[float]]:
            return [], []

        fast, slow = Contestant("a", take, 1e-4), Contestant("b", take, 1.0)
        self.assertEqual((fast.repeats, fast.warm), (50, 12))
        self.assertEqual((slow.repeats, slow.warm), (1, 0))

    def test_sample_counts_keep_their_bounds(self) -> None:
        self.assertEqual(sample_count(1.0, 8, 5, 31), 8)
        self.assertEqual(sample_count(9.0, 8, 5, 31), 5)
        self.assertEqual(sample_count(0.01, 8, 5, 31), 31)


class ReferenceTests(unittest.TestCase):
    def setUp(self) -> None:
        generator = np.random.default_rng(3)
        self.query = generator.standard_normal((4, 9, 5), dtype=np.float32)
        self.key, self.value = generator.standard_normal((2, 2, 9, 5), dtype=np.float32)

    def whole(self, problem: Problem) -> np.ndarray:
        """By the whole matrix instead of row by row."""
        key, value = (np.repeat(x, 2, axis=0).astype(np.float64) for x in (self.key, self.value))
        query = self.query.astype(np.float64)
        distance = np.arange(9)[:, None] - np.arange(9)[None, :]
        seen = (distance >= 0) & (distance < (problem.window or 9)) | (not problem.causal)
        if problem.linear:
            phi = [np.where(x > 0, x + 1, np.exp(x)) for x in (query, key)]
            weights = phi[0] @ phi[1].transpose(0, 2, 1) * seen
        else:
            weights = np.exp(query @ key.transpose(0, 2, 1) / 5**0.5) * seen
        return weights @ value / weights.sum(-1, keepdims=True)

    def test_rows_agree_with_whole_matrices(self) -> None:
        rows = [(head, row) for head in range(4) for row in range(9)]
        for kind in ({}, {"causal": True}, {"causal": True, "window": 3}, {"linear": True},
                     {"linear": True, "causal": True}):  # fmt: skip
            problem = Problem(9, 5, heads=4, kv_heads=2, **kind)
            found = reference_rows(problem, self.query, self.key, self.value, rows)
            expected = self.whole(problem).reshape(-1, 5)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=str(kind))

    def test_a_decoding_step_sees_all_keys(self) -> None:
        rows = [(head, 0) for head in range(4)]
        step = Problem(1, 5, heads=4, kv_heads=2, keys=9)
        found = reference_rows(step, self.query[:, :1], self.key, self.value, rows)
        expected = self.whole(Problem(9, 5, heads=4, kv_heads=2))[:, 0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        with self.assertRaises(ValueError):
            Problem(1, 5, causal=True, keys=9)

    def test_one_key_too_many_is_no_rounding(self) -> None:
        rows = sampled_rows(Problem(9, 5, heads=4, kv_heads=2), seed=1)
        found, expected = (
            reference_rows(
                Problem(9, 5, heads=4, kv_heads=2, causal=True, window=window),
                self.query,
                self.key,
                self.value,
                rows,
            )  # fmt: skip
            for window in (4, 3)
        )
        bounds = BOUNDS["fp32"]
        self.assertFalse(bounds.allow(Difference.between(found, expected)))
        self.assertTrue(bounds.allow(Difference.between(found.astype(np.float32), found)))
        self.assertFalse(bounds.allow(Difference.between(rounded(found.astype("f4")), found)))

    def test_nan_is_no_rounding(self) -> None:
        found = np.array([1.0, np.nan])
        for bounds in BOUNDS.values():
            self.assertFalse(bounds.allow(Difference.between(found, np.ones(2))))


class RecordTests(unittest.TestCase):
    def test_ids_are_as_in_sweeps(self) -> None:
        self.assertEqual(slug("window(512, sinks: 4)"), "window_512_sinks4")
        self.assertEqual(slug("torch.sdpa.flash"), "torch.sdpa.flash")

    def test_columns_are_those_of_attnbench(self) -> None:
        table = ROOT / "Sources/AttentionBench/Record/ResultColumn.swift"
        self.assertEqual(re.findall(r'ResultColumn\("(\w+)"', table.read_text()), RESULT_COLUMNS)

    def test_cells(self) -> None:
        self.assertEqual([cell_text(x) for x in (None, True, 0.1, 3, "a")],
                         ["", "true", "0.1", "3", "a"])  # fmt: skip

    def test_results_are_not_overwritten_and_unknown_columns_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            record = Record(Path(folder))
            record.write_metadata(run_id="r")
            record.add({"strategy": "flash", "status": "ok"}, [])
            with self.assertRaises(KeyError):
                record.add({"colour": "red"}, [])
            record.close()
            with self.assertRaises(FileExistsError):
                Record(Path(folder))
            lines = (Path(folder) / "results.csv").read_text().splitlines()
            self.assertEqual(len(lines), 2)


class RatioTests(unittest.TestCase):
    def row(self, strategy: str, **columns: object) -> dict:
        return {
            "work": "full", "threads": 1, "strategy": strategy, "params": "", "status": "ok",
            "reason": "", "n_q": 9, "n_kv": 9, "time_median_s": 1e-3, "flops": 80_000_000,
            "arithmetic": "f32", "ceilings": Ceilings({"f32": 1e11, "bf16": 2e11}, (9e10, 1e11)),
            **columns,
        }  # fmt: skip

    def test_decoding_is_told_in_bytes_and_of_the_bandwidth(self) -> None:
        ceilings = Ceilings({"f32": 1e11}, (1e11, 1e11), read=25e9)
        step = {"n_q": 1, "bytes_min": 20_000_000, "ceilings": ceilings}
        rows = [self.row("flash", **step), self.row("torch.sdpa.flash", **step)]
        self.assertIn(
            "| full | 1 | 25.0 GB/s | 1 ms, 20.0 GB/s, 80.0 % | 1.00x, 20.0 GB/s, 80.0 % |",
            ratio_table(rows, ["torch.sdpa.flash"]),
        )

    def test_ratios_and_what_could_not_be_measured(self) -> None:
        rows = [
            self.row("flash"),
            self.row("a", time_median_s=2e-3, status="noisy"),
            self.row("b", status="error", reason="differs", time_median_s=None),
        ]
        table = ratio_table(rows, ["a", "b", "c"])
        self.assertIn(
            "| full | 1 | 100 GFLOP/s | 1 ms, 80.0 % | ~2.00x, 40.0 % | error | - |", table
        )
        self.assertIn("- full, 1 threads, b: differs", table)

    def test_each_strategy_of_ours_has_a_line_and_the_ceiling_of_its_products(self) -> None:
        params = "arithmetic: bf16"
        rows = [
            self.row("flash"),
            self.row("flash", params=params, time_median_s=5e-4, arithmetic="bf16"),
            self.row("a", time_median_s=1e-3),
        ]
        lines = ratio_table(rows, ["a"]).splitlines()[2:]
        self.assertEqual(lines, [
            "| full, flash | 1 | 100 GFLOP/s | 1 ms, 80.0 % | 1.00x, 80.0 % |",
            f"| full, flash({params}) | 1 | 200 GFLOP/s | 500 us, 80.0 % | 2.00x, 40.0 % |",
        ])  # fmt: skip

    def test_times(self) -> None:
        self.assertEqual(
            [seconds_text(t) for t in (2.5, 0.0123, 1.26e-4)], ["2.5 s", "12.3 ms", "126 us"]
        )


SPINNER = """
import json, sys, threading
def spin():
    while True: pass
threading.Thread(target=spin, daemon=True).start()
for line in sys.stdin:
    request = json.loads(line)
    if request["command"] == "end": sys.exit(3)
    print(json.dumps({"error": "no"} if request["command"] == "fail" else request), flush=True)
"""


class ProcessTests(unittest.TestCase):
    def setUp(self) -> None:
        with tempfile.TemporaryFile("w") as log:
            self.process = Implementation("spinner", [sys.executable, "-c", SPINNER], log, 30)
            self.assertEqual(self.process.ask("echo", x=1), {"command": "echo", "x": 1})

    def tearDown(self) -> None:
        self.process.close()

    def states(self) -> set[str]:
        child = self.process._process
        assert child is not None
        tasks = Path(f"/proc/{child.pid}/task").iterdir()
        return {(task / "stat").read_text().rsplit(")", 1)[1].split()[0] for task in tasks}

    def test_a_spinning_thread_rests_between_requests(self) -> None:
        self.assertEqual(self.states(), {"T"})
        self.process.ask("echo")
        self.assertEqual(self.states(), {"T"})

    def test_errors_are_told_and_the_process_lives_on(self) -> None:
        with self.assertRaisesRegex(ImplementationError, "no"):
            self.process.ask("fail")
        self.process.ask("echo")

    def test_an_ended_process_is_told_and_started_again(self) -> None:
        with self.assertRaisesRegex(ImplementationError, "exit status 3"):
            self.process.ask("end")
        with tempfile.TemporaryFile("w") as log:
            self.process._log = log
            self.process.ask("echo")


class BindingTests(unittest.TestCase):
    def test_the_threads_that_ran_are_found(self) -> None:
        before, after = {1: 100, 2: 50, 3: 7}, {1: 110, 2: 950, 3: 7, 4: 30}
        self.assertEqual(busiest(before, after, 2), [2, 4])


class RegistryTests(unittest.TestCase):
    def test_every_work_has_a_peer_and_names_differ(self) -> None:
        for name, problem in {**WORKLOADS, **QUICK}.items():
            self.assertTrue(any(peer.serves(problem) for peer in PEERS), name)
        self.assertEqual(len({peer.name for peer in PEERS}), len(PEERS))

    def test_names_of_bf16_work_say_so(self) -> None:
        """`--work *bf16*` selects it."""
        for name, problem in {**WORKLOADS, **QUICK}.items():
            self.assertEqual("bf16" in name, problem.dtype == "bf16", name)


if __name__ == "__main__":
    unittest.main()
