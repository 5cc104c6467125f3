"""Implementations in processes of their own, of which only one may use the cores at a time."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, TextIO

#: Settings that would cripple the OpenBLAS under attnbench's baseline; no peer reads them.
BLAS_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_BLOCK_FACTOR")


class ImplementationError(Exception):
    """A request that was answered with an error, or not at all."""


class Implementation:
    """A process that takes JSON requests, started when first asked.

    Between requests it is stopped (SIGSTOP), so that threads that wait by spinning, as those of
    ONNX Runtime and OpenMP do for a while, take nothing from whoever's turn it is.
    """

    def __init__(self, name: str, command: list[str], log: TextIO, timeout: float):
        self.name = name
        self._command = command
        self._log = log
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Sends one request and waits for the answer."""
        process = self._running()
        os.kill(process.pid, signal.SIGCONT)
        try:
            self._send(process, {"command": command, **arguments})
            answer = json.loads(self._line(process))
        except BaseException:
            self.close()
            raise
        self._stop(process)
        if "error" in answer:
            raise ImplementationError(answer["error"])
        return answer

    def close(self) -> None:
        """Ends the process; the next request starts another."""
        process, self._process, self._unread = self._process, None, b""
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            environment = {k: v for k, v in os.environ.items() if k not in BLAS_SETTINGS}
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment,
                bufsize=0,
                cwd=Path(__file__).resolve().parent.parent,
            )
        return self._process

    def _send(self, process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write((json.dumps(request) + "\n").encode())
        except BrokenPipeError:
            raise ImplementationError(self._ending(process)) from None

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        deadline = time.monotonic() + self._timeout
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise ImplementationError(f"no answer within {self._timeout:.0f} s")
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                raise ImplementationError(self._ending(process))
            self._unread += part
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _ending(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return f"the process ended with {how}; see stderr.log"

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        os.kill(process.pid, signal.SIGSTOP)
        # Returns when every thread has stopped, or the process has ended of itself, which the next
        # request reports.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
