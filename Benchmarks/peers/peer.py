"""What a library has to be to be compared, and the line protocol it is served by.

`Benchmarks/Sources/PeerProtocol` states the protocol: one JSON request a line on standard input,
one JSON answer a line on standard output. A library's file ends with a call of `main` and is
started with the name of one of its functions.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

#: The version of the protocol.
VERSION = 1
#: Long enough for a library to have started its threads and for these to show who works.
SETTLE_SECONDS = 20e-3


@dataclass(frozen=True)
class Case:
    """Attention of one sequence: query [heads, n_q, head_dim], key and value [kv_heads, n_kv, ...].

    `window` is the number of keys a causal query sees, its own included. `linear` asks for
    phi(q)^T S / (phi(q)^T z + 1e-6) with phi = elu + 1 instead of softmax. `rule` names a
    recurrence instead of softmax, which begins with a state [kv_heads, head_dim, value_dim] and
    leaves one: gated, delta or gated_delta as ONNX's LinearAttention has them, or ssd, Mamba-2's
    with outputs times 1 / sqrt(head_dim). `additive` asks for the scores of a hidden layer,
    additive_v . tanh(additive_q q + additive_k k), without a scale. `selection` says which of the
    keys that causality leaves a query attends to:

    - blocks: its own block of `block` keys, and those before it whose mean key has the largest
      products with the mean of the `rows` consecutive queries that choose together; `top` in all.
    - given: the blocks of `block` keys that the operand `blocks` has a 1 for, [n_q / block,
      n_kv / block], a row for each block of queries.
    - index: the `top` keys s with the largest sum over h of w[h, t] max(0, q[h, t] . k[s]), of the
      operands index_q [heads of the index, n_q, columns], index_k [1, n_kv, columns] and index_w
      [heads of the index, n_q].

    `dtype` is how tensors are stored, in the words of results.csv. `strategy` is what attnbench
    calls it.
    """

    strategy: str
    batch: int
    heads: int
    kv_heads: int
    n_q: int
    n_kv: int
    head_dim: int
    value_dim: int
    causal: bool
    linear: bool
    dtype: str
    threads: int
    window: int | None = None
    rule: str | None = None
    additive: bool = False
    selection: str | None = None
    block: int | None = None
    top: int | None = None
    rows: int | None = None

    @property
    def is_decoding(self) -> bool:
        """Whether few queries read many keys."""
        return self.n_q < self.n_kv

    @property
    def is_plain_softmax(self) -> bool:
        """Whether every key that causality leaves is seen."""
        return self.is_softmax and self.window is None

    @property
    def is_softmax(self) -> bool:
        """Whether it is softmax of products with all keys or those of a window."""
        return not (self.linear or self.rule or self.additive or self.selection)

    @property
    def is_per_channel(self) -> bool:
        """Whether a recurrence's decay is one a channel of the key, [kv_heads, n_kv, head_dim], and
        not one a head, [kv_heads, n_kv]."""
        return "channel" in self.strategy

    @property
    def is_step(self) -> bool:
        """Whether a recurrence takes in a single token."""
        return self.n_kv == 1

    @property
    def score_bytes(self) -> int:
        """What one fp32 score matrix for every head takes."""
        return 4 * self.heads * self.n_q * self.n_kv


class Peer(ABC):
    """One library's way to compute attention.

    The class answers questions without its library; the library is imported when a peer is made,
    in a process that may already use no other CPUs than those it is given.
    """

    @classmethod
    @abstractmethod
    def refusal(cls, case: Case) -> str | None:
        """Why the library's function does not compute this; None where it does."""

    @classmethod
    def dtype(cls, case: Case) -> str:
        """How its tensors are stored, in the words of results.csv."""
        return case.dtype

    @classmethod
    def scratch_bytes(cls, case: Case) -> int:
        """Memory it takes beyond inputs and output, where that grows with n squared."""
        return 0

    @abstractmethod
    def __init__(self, case: Case, query: Array, key: Array, value: Array):
        """Everything that is not timed: model, session, layout, element type, compilation.

        Arrays are fp32, of numbers that the case's element type has. What a case takes beyond
        query, key and value comes by its name: decay, beta, state, dt, a; additive_q, additive_k,
        additive_v; blocks; index_q, index_k, index_w.
        """

    @abstractmethod
    def run(self) -> None:
        """What is timed."""

    @abstractmethod
    def output(self) -> Array:
        """The result of the last run as [h, n, d] in fp32."""


class Service:
    """One case at a time."""

    def __init__(self, distribution: str, peer: type[Peer]):
        self._distribution = distribution
        self._peer = peer
        self._places: list[list[int]] = []
        self._prepared: Peer | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["command"]:
            case "hello":
                return self._hello(request["version"], request["places"])
            case "serves":
                return self._offer(Case(**request["case"]))
            case "prepare":
                return self._prepare(Case(**request["case"]), request["operands"])
            case "run":
                return self._run(request["warm"], request["repeats"])
            case "output":
                np.save(request["path"], self._ready().output(), allow_pickle=False)
                return {}
            case "release":
                self._prepared = None
                return {}
            case other:
                raise ValueError(f"unknown request {other!r}")

    def _hello(self, version: int, places: list[list[int]]) -> dict[str, Any]:
        if version != VERSION:
            raise ValueError(f"version {version} of the protocol: this is {VERSION}")
        self._places = places
        # Before the library is imported, so that every thread of it inherits this.
        os.sched_setaffinity(0, sum(places, []))
        installed = metadata.version(self._distribution)
        return {"library": self._distribution, "version": installed}

    def _offer(self, case: Case) -> dict[str, Any]:
        reason = self._peer.refusal(case)
        if reason:
            return {"serves": False, "reason": reason}
        facts = {"dtype": self._peer.dtype(case), "scratch_bytes": self._peer.scratch_bytes(case)}
        return {"serves": True} | facts

    def _prepare(self, case: Case, operands: Mapping[str, str]) -> dict[str, Any]:
        self._prepared = None
        reason = self._peer.refusal(case)
        if reason or case.batch != 1:
            raise ValueError(reason or f"batch {case.batch}: must be 1")
        # New threads inherit from this one, which an earlier case bound to one CPU.
        os.sched_setaffinity(0, sum(self._places, []))
        # All have the batch, or a 1, in front.
        arrays = {name: np.load(path)[0] for name, path in operands.items()}
        self._prepared = self._peer(case, **arrays)
        # Once outside of the readings: some libraries start their threads or compile now.
        self._prepared.run()
        self._bind()
        return {}

    def _bind(self) -> None:
        """Gives each working thread a core of its own, as attnbench's have.

        Left to the scheduler, two threads that are woken together can share a CPU for longer than
        a turn lasts, and the library looks as if it had one thread.
        """
        before, end = thread_times(), time.monotonic() + SETTLE_SECONDS
        self._ready().run()
        while time.monotonic() < end:
            self._ready().run()
        workers = busiest(before, thread_times(), len(self._places))
        for thread, place in zip(workers, self._places, strict=False):
            os.sched_setaffinity(thread, place)

    def _run(self, warm: int, repeats: int) -> dict[str, Any]:
        peer = self._ready()
        for _ in range(warm):
            peer.run()
        wall, processor = [], []
        for _ in range(repeats):
            cpu = time.process_time_ns()
            start = time.perf_counter_ns()
            peer.run()
            wall.append(time.perf_counter_ns() - start)
            processor.append(time.process_time_ns() - cpu)
        return {"wall_ns": wall, "cpu_ns": processor}

    def _ready(self) -> Peer:
        if self._prepared is None:
            raise RuntimeError("nothing is prepared; ask prepare first")
        return self._prepared


def thread_times() -> dict[int, int]:
    """Nanoseconds on a CPU of each thread of this process."""
    times = {}
    for task in Path("/proc/self/task").iterdir():
        # A thread may end between being listed and being read.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            times[int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return times


def busiest(before: Mapping[int, int], after: Mapping[int, int], count: int) -> list[int]:
    """The `count` threads that ran most between two readings."""
    ran = {thread: time - before.get(thread, 0) for thread, time in after.items()}
    return sorted(ran, key=lambda thread: ran[thread], reverse=True)[:count]


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answers requests until there are no more."""
    # Libraries print; answers go where only answers go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        if request["command"] == "quit":
            return
        try:
            found = answer(request)
        except metadata.PackageNotFoundError as error:
            found = {"error": f"the Python package {error.name} is not installed"}
        except Exception as error:  # Whatever a library raises is the answer.
            found = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(found) + "\n")


def main(distribution: str, functions: Mapping[str, type[Peer]]) -> None:
    """Serves the function that is named on the command line.

    `distribution` is the library's package on PyPI, for its version.
    """
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in functions:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(functions)}; started by `make peers`")
    serve(Service(distribution, functions[name]).answer)
