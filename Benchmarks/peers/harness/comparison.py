"""One piece of work on every implementation: prepared, checked, then timed in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .ceilings import CeilingSeries
from .check import Check
from .inputs import normal_inputs
from .peer import Array, Peer
from .problem import Problem
from .process import Implementation, ImplementationError
from .record import Record, slug
from .rounds import WARM_BELOW_SECONDS, Contestant, sample_count, schedule
from .summary import Summary

#: What attnbench counts of the definition, the same for everyone.
COUNTS = ("pairs", "flops", "bytes_min")
#: What is known of attnbench beside that.
FACTS = (*COUNTS, "workspace_bytes", "isa", "blas_core")


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


@dataclass
class Entrant:
    """An implementation of one piece of work, prepared or not."""

    #: The strategy as it is written, or the peer's name.
    name: str
    process: Implementation
    #: Columns of results.csv.
    row: dict[str, Any]
    #: What it is known to multiply, whose peak `pct_of_peak` is of: `f32` or `bf16`. Of peers it is
    #: not known.
    arithmetic: str = "f32"

    @property
    def is_well(self) -> bool:
        return self.row["status"] == "ok"

    def fail(self, reason: str) -> None:
        self.row |= {"status": "error", "reason": reason}


class Comparison:
    """Compares one thread count's processes on one piece of work after the other.

    `workers` are attnbench's, at least as many as a piece of work has strategies.
    """

    def __init__(
        self,
        place: Place,
        workers: list[Implementation],
        peers: dict[type[Peer], Implementation],
        record: Record,
        limits: Limits,
        seed: int,
        folder: Path,
        began: float,
    ):
        self._place = place
        self._workers = workers
        self._peers = peers
        self._record = record
        self._limits = limits
        self._seed = seed
        self._folder = folder
        self._began = began

    def run(self, work: str, problem: Problem) -> Iterator[dict[str, Any]]:
        """Writes and yields a row for each strategy of attnbench's and each peer that has such a
        function. Beside the columns a row has the `ceilings` of the work and its `arithmetic`."""
        check = Check(problem, self._inputs(problem), self._seed)
        entrants = self._own(work, problem)
        entrants += self._others(work, problem, entrants)
        ours: Array | None = None
        for entrant in entrants:
            if not entrant.is_well:
                continue
            output = self._output(entrant.process)
            entrant.row |= check.accuracy(output)
            reason = check.failure(output, ours)
            if reason:
                entrant.fail(reason)
            # The first one's, right or wrong.
            ours = output if ours is None else ours
        yield from self._measured(problem, entrants)

    def _own(self, work: str, problem: Problem) -> list[Entrant]:
        """attnbench's strategies, prepared."""
        entrants: list[Entrant] = []
        for strategy, worker in zip(problem.strategies, self._workers, strict=False):
            family, _, params = strategy.rstrip(")").partition("(")
            row = self._row(work, problem, strategy, family, params)
            entrant = Entrant(strategy, worker, row)
            try:
                facts = worker.ask(
                    "prepare",
                    strategy=strategy,
                    causal=problem.causal,
                    dtype=problem.dtype,
                    threads=self._place.threads,
                    binding=self._place.binding,
                    **self._paths("query", "key", "value"),
                )
                row |= {"params": facts["parameters"]} | {key: facts[key] for key in FACTS}
                entrant.arithmetic = facts["arithmetic"]
            except ImplementationError as error:
                # Only the first is sure to run on every processor.
                if not entrants:
                    raise
                entrant.fail(str(error))
            entrants.append(entrant)
        return entrants

    def _others(self, work: str, problem: Problem, own: list[Entrant]) -> list[Entrant]:
        """The peers that have such a function, prepared."""
        entrants = []
        counts = {key: own[0].row[key] for key in COUNTS}
        for peer, process in self._peers.items():
            if not peer.serves(problem):
                continue
            row = self._row(work, problem, peer.name, peer.name, str(problem.window or ""))
            row |= counts | {"dtype": peer.dtype(problem)}
            row |= self._prepare(peer, process, problem)
            entrants.append(Entrant(peer.name, process, row))
        return entrants

    def _measured(self, problem: Problem, entrants: list[Entrant]) -> Iterator[dict[str, Any]]:
        limits = self._limits
        running = [entrant for entrant in entrants if entrant.is_well]
        contestants = [self._contestant(entrant.name, entrant.process) for entrant in running]
        counts = [
            sample_count(
                c.turn_seconds, limits.seconds, limits.minimum_samples, limits.maximum_samples
            )
            for c in contestants
        ]
        series = CeilingSeries(
            self._workers[0], {entrant.arithmetic for entrant in entrants}, problem.is_decoding
        )
        series.take()
        for index, order in enumerate(schedule(counts, self._seed)):
            for number in order:
                contestant, entrant = contestants[number], running[number]
                if not entrant.is_well:
                    continue
                contestant.started.append(time.monotonic() - self._began)
                try:
                    wall, processor = contestant.take(contestant.warm, contestant.repeats)
                except ImplementationError as error:
                    entrant.fail(str(error))
                    continue
                contestant.samples.append(float(np.median(wall)))
                contestant.processor.append(float(np.median(processor)))
                contestant.rounds.append(index)
            series.take()
        ceilings = series.ceilings()
        measured = {contestant.name: contestant for contestant in contestants}
        for entrant in entrants:
            samples = []
            if entrant.is_well:
                peak = ceilings.peaks[entrant.arithmetic]
                samples = self._fill(entrant.row, measured[entrant.name], peak)
            self._record.add(entrant.row, samples)
            yield entrant.row | {"arithmetic": entrant.arithmetic, "ceilings": ceilings}

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

    def _output(self, process: Implementation) -> Array:
        path = self._paths("output")["output"]
        if process in self._workers:
            process.ask("run", warm=0, repeats=1)
        process.ask("save", path=path)
        return np.load(path)

    def _inputs(self, problem: Problem) -> tuple[Array, Array, Array]:
        """Written once, read by all."""
        arrays = normal_inputs(problem, self._seed)
        paths = self._paths("query", "key", "value").values()
        for path, array in zip(paths, arrays, strict=True):
            np.save(path, array, allow_pickle=False)
        return arrays

    def _paths(self, *roles: str) -> dict[str, str]:
        return {role: str(self._folder / f"{role}.npy") for role in roles}

    def _row(
        self, work: str, problem: Problem, name: str, strategy: str, params: str
    ) -> dict[str, Any]:
        return {
            "cell_id": f"{slug(name)}-{work}-t{self._place.threads}",
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
            "dtype": problem.dtype,
            "causal": problem.causal,
            "threads": self._place.threads,
            "bind": self._place.binding,
            "status": "ok",
            "reason": "",
            "samples": 0,
        }


def available_bytes() -> int:
    """MemAvailable."""
    with open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/meminfo does not tell MemAvailable")
