"""One peer at a driver's command: one JSON request a line in, one JSON answer a line out.

The same requests as attention-worker takes. What is timed is timed here, around the call alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from .peer import Peer
from .problem import Problem

#: Long enough for a library to have started its threads and for these to show who works.
SETTLE_SECONDS = 20e-3


def thread_times() -> dict[int, int]:
    """Nanoseconds on a CPU of each thread of this process."""
    tasks = Path("/proc/self/task")
    return {
        int(task.name): int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()
    }


def busiest(before: dict[int, int], after: dict[int, int], count: int) -> list[int]:
    """The `count` threads that ran most between two readings."""
    ran = {thread: time - before.get(thread, 0) for thread, time in after.items()}
    return sorted(ran, key=lambda thread: ran[thread], reverse=True)[:count]


class Service:
    """One problem at a time."""

    def __init__(self, peer: type[Peer], places: list[list[int]]):
        self._peer = peer
        self._places = places
        self._prepared: Peer | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["command"]:
            case "prepare":
                return self._prepare(request)
            case "run":
                return self._run(request["warm"], request["repeats"])
            case "save":
                np.save(request["path"], self._ready().output(), allow_pickle=False)
                return {}
            case other:
                raise ValueError(f"unknown request {other!r}")

    def _prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        self._prepared = None
        # New threads inherit from this one, which an earlier problem bound to one CPU.
        os.sched_setaffinity(0, sum(self._places, []))
        query, key, value = (np.load(request[role]) for role in ("query", "key", "value"))
        problem = Problem(**request["problem"])
        self._prepared = self._peer(problem, query, key, value, request["threads"])
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


def serve(peer: type[Peer], places: list[list[int]]) -> None:
    """Serves in this process, which keeps to the CPUs of `places`, one place a thread."""
    service = Service(peer, places)
    # Before the library is imported, so that every thread of it inherits this.
    os.sched_setaffinity(0, sum(places, []))
    # Libraries print; answers go where only answers go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer = service.answer(json.loads(line))
        except Exception as error:  # Whatever a library raises is the answer.
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
