"""One piece of work on every implementation: prepared, checked, then timed in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .peer import Array, Peer
from .problem import Problem
from .process import Implementation, ImplementationError
from .record import Record
from .reference import Difference, full_softmax, reference_rows, sampled_rows
from .rounds import WARM_BELOW_SECONDS, Contestant, sample_count, schedule
from .summary import Summary

OURS = "attnbench"


@dataclass(frozen=True)
class Limits:
    """How long to measure."""

    #: Seconds an implementation gets for one piece of work.
    seconds: float
    minimum_samples: int
    maximum_samples: int


@dataclass(frozen=True)
class Place:
    """The cores of a comparison."""

    threads: int
    binding: str


class Comparison:
    """Compares one thread count's processes on one piece of work after the other."""

    def __init__(
        self,
        place: Place,
        worker: Implementation,
        peers: dict[type[Peer], Implementation],
        record: Record,
        limits: Limits,
        seed: int,
        folder: Path,
        began: float,
    ):
        self._place = place
        self._worker = worker
        self._peers = peers
        self._record = record
        self._limits = limits
        self._seed = seed
        self._folder = folder
        self._began = began

    def run(self, work: str, problem: Problem) -> Iterator[dict[str, Any]]:
        """Writes and yields a row for attnbench and each peer that has such a function."""
        inputs = self._inputs(problem)
        facts = self._worker.ask(
            "prepare",
            strategy=problem.strategy,
            causal=problem.causal,
            threads=self._place.threads,
            binding=self._place.binding,
            **self._paths("query", "key", "value"),
        )
        rows = {OURS: self._row(work, problem, facts, facts["strategy"], facts["parameters"])}
        rows[OURS] |= {key: facts[key] for key in ("workspace_bytes", "isa", "blas_core")}
        contestants = []
        check = Check(problem, inputs, self._seed)
        output = self._output(self._worker)
        rows[OURS] |= check.accuracy(output)
        reason = check.failure(output, None)
        if reason:
            rows[OURS] |= {"status": "error", "reason": reason}
        else:
            contestants.append(self._contestant(OURS, self._worker))
        for peer, process in self._peers.items():
            if not peer.serves(problem):
                continue
            params = str(problem.window or "")
            rows[peer.name] = row = self._row(work, problem, facts, peer.name, params)
            row |= self._prepare(peer, process, problem)
            if row["status"] == "ok":
                found = self._output(process)
                row |= check.accuracy(found)
                reason = check.failure(found, output)
                if reason:
                    row |= {"status": "error", "reason": reason}
                else:
                    contestants.append(self._contestant(peer.name, process))
        yield from self._measured(rows, contestants)

    def _measured(
        self, rows: dict[str, dict[str, Any]], contestants: list[Contestant]
    ) -> Iterator[dict[str, Any]]:
        limits = self._limits
        counts = [
            sample_count(
                c.turn_seconds, limits.seconds, limits.minimum_samples, limits.maximum_samples
            )
            for c in contestants
        ]
        rates = [self._peak()]
        for index, order in enumerate(schedule(counts, self._seed)):
            for number in order:
                contestant = contestants[number]
                if rows[contestant.name]["status"] != "ok":
                    continue
                contestant.started.append(time.monotonic() - self._began)
                try:
                    wall, processor = contestant.take(contestant.warm, contestant.repeats)
                except ImplementationError as error:
                    rows[contestant.name] |= {"status": "error", "reason": str(error)}
                    continue
                contestant.samples.append(float(np.median(wall)))
                contestant.processor.append(float(np.median(processor)))
                contestant.rounds.append(index)
            rates.append(self._peak())
        peak = float(np.median(rates))
        by_name = {contestant.name: contestant for contestant in contestants}
        for name, row in rows.items():
            samples = []
            if row["status"] == "ok":
                samples = self._fill(row, by_name[name], peak)
            self._record.add(row, samples)
            yield row | {"peak": peak, "peak_range": [min(rates), max(rates)]}

    def _fill(self, row: dict[str, Any], of: Contestant, peak: float) -> list[dict[str, Any]]:
        summary = Summary.of(of.samples)
        row["status"], row["reason"] = summary.verdict()
        rate = row["flops"] / summary.median
        row |= {
            "samples": summary.count,
            "time_median_s": summary.median,
            "time_min_s": summary.minimum,
            "time_p25_s": summary.lower_quartile,
            "time_p75_s": summary.upper_quartile,
            "time_ci95_lo_s": summary.interval[0],
            "time_ci95_hi_s": summary.interval[1],
            "cpu_time_s": float(np.median(of.processor)),
            "gflop_per_s": rate / 1e9,
            "pct_of_peak": 100 * rate / peak,
        }
        return [
            {
                "cell_id": row["cell_id"],
                "sample_index": index,
                "round": of.rounds[index],
                "time_s": sample,
                "cpu_time_s": of.processor[index],
                "started_at_s": of.started[index],
            }
            for index, sample in enumerate(of.samples)
        ]

    def _prepare(
        self, peer: type[Peer], process: Implementation, problem: Problem
    ) -> dict[str, Any]:
        needed = peer.scratch_bytes(problem)
        free = available_bytes()
        if needed > 0.8 * free:
            reason = f"needs {needed / 1e9:.1f} GB of scratch, {free / 1e9:.1f} GB are available"
            return {"status": "skipped_memory", "reason": reason}
        try:
            process.ask(
                "prepare",
                problem=problem.as_dict(),
                threads=self._place.threads,
                **self._paths("query", "key", "value"),
            )
        except ImplementationError as error:
            return {"status": "error", "reason": str(error)}
        return {}

    def _contestant(self, name: str, process: Implementation) -> Contestant:
        def take(warm: int, repeats: int) -> tuple[list[float], list[float]]:
            answer = process.ask("run", warm=warm, repeats=repeats)
            return [t / 1e9 for t in answer["wall_ns"]], [t / 1e9 for t in answer["cpu_ns"]]

        estimate = take(0, 1)[0][0]
        if estimate < WARM_BELOW_SECONDS:
            estimate = min(take(0, 3)[0])
        return Contestant(name, take, estimate)

    def _peak(self) -> float:
        return 1e9 * float(self._worker.ask("peak")["gflop_per_s"])

    def _output(self, process: Implementation) -> Array:
        path = self._paths("output")["output"]
        if process is self._worker:
            process.ask("run", warm=0, repeats=1)
        process.ask("save", path=path)
        return np.load(path)

    def _inputs(self, problem: Problem) -> tuple[Array, Array, Array]:
        """Written once, read by all."""
        arrays = []
        for role, heads in enumerate((problem.heads, problem.kv_heads, problem.kv_heads)):
            generator = np.random.default_rng([self._seed, role])
            rows = problem.n if role == 0 else problem.n_kv
            shape = (heads, rows, problem.head_dim)
            arrays.append(generator.standard_normal(shape, dtype=np.float32))
        paths = self._paths("query", "key", "value").values()
        for path, array in zip(paths, arrays, strict=True):
            np.save(path, array, allow_pickle=False)
        query, key, value = arrays
        return query, key, value

    def _paths(self, *roles: str) -> dict[str, str]:
        return {role: str(self._folder / f"{role}.npy") for role in roles}

    def _row(
        self, work: str, problem: Problem, facts: dict[str, Any], strategy: str, params: str
    ) -> dict[str, Any]:
        return {
            "cell_id": f"{strategy}-{work}-t{self._place.threads}",
            "strategy": strategy,
            "params": params,
            "class": problem.operator_class,
            "batch": 1,
            "heads": problem.heads,
            "kv_heads": problem.kv_heads,
            "n": problem.n_kv,
            "n_q": problem.n,
            "n_kv": problem.n_kv,
            "head_dim": problem.head_dim,
            "value_dim": problem.head_dim,
            "dtype": "fp32",
            "causal": problem.causal,
            "threads": self._place.threads,
            "bind": self._place.binding,
            "status": "ok",
            "reason": "",
            "samples": 0,
            # Of the definition, the same for everyone.
            "pairs": facts["pairs"],
            "flops": facts["flops"],
            "bytes_min": facts["bytes_min"],
        }


class Check:
    """Is it the same function? Sampled rows against fp64, and every element against attnbench."""

    def __init__(self, problem: Problem, inputs: tuple[Array, Array, Array], seed: int):
        self._rows = sampled_rows(problem, seed)
        self._definition = reference_rows(problem, *inputs, self._rows)
        self._full = reference_rows(full_softmax(problem), *inputs, self._rows)
        self._shape = inputs[0].shape

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
        if not reference.is_rounding:
            return f"differs from the fp64 definition: {reference}"
        if ours is not None:
            difference = Difference.between(output, ours)
            if not difference.is_rounding:
                return f"differs from attnbench: {difference}"
        return None

    def _sample(self, output: Array) -> Array:
        return np.stack([output[head, row] for head, row in self._rows])


def available_bytes() -> int:
    """MemAvailable."""
    with open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/meminfo does not tell MemAvailable")
