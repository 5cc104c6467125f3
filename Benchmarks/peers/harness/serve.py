"""One peer at a driver's command: one JSON request a line in, one JSON answer a line out.

The same requests as attention-worker takes. What is timed is timed here, around the call alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np

from .peer import Peer
from .problem import Problem


class Service:
    """One problem at a time."""

    def __init__(self, peer: type[Peer]):
        self._peer = peer
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
        query, key, value = (np.load(request[role]) for role in ("query", "key", "value"))
        problem = Problem(**request["problem"])
        self._prepared = self._peer(problem, query, key, value, request["threads"])
        return {}

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


def serve(peer: type[Peer], cpus: list[int]) -> None:
    """Binds this process, so that every thread of the library inherits it, and serves."""
    os.sched_setaffinity(0, cpus)
    # Libraries print; answers go where only answers go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    service = Service(peer)
    for line in sys.stdin:
        try:
            answer = service.answer(json.loads(line))
        except Exception as error:  # Whatever a library raises is the answer.
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
