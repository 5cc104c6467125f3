"""From a model to a plan that keeps a limit on its loss: every step a command of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence

from .errors import INTERRUPTED, ModelError

ATTEMPTS = 3


def find_attnbench(given: str | None) -> str:
    """The ``attnbench`` command.

    Raises:
        ModelError: when there is none.
    """
    found = shutil.which(given or os.environ.get("ATTNBENCH", "attnbench"))
    if found is None:
        raise ModelError(
            (f"--attnbench {given}: no command; " if given else "attnbench: not in PATH; ")
            + "build it with swift build -c release and name it: --attnbench .build/release/attnbench")
    return found


def recommend(
    command: str, inputs: str, sensitivity: str, increase: float, plan: str, record: str,
    extra: Sequence[str], say: Callable[[str], None],
) -> None:
    """Runs ``attnbench recommend`` for all layers, and keeps in ``record`` what it measured.

    Raises:
        ModelError: when it fails.
        KeyboardInterrupt: when it was interrupted.
    """
    _run(
        [command, "recommend", "--inputs", inputs, "--sensitivity", sensitivity, "--max-loss-increase",
         f"{increase:.6g}", "--save", plan, "--record", record, *extra], plan, say)


def plan_again(
    command: str, record: str, increase: float, plan: str, say: Callable[[str], None],
) -> None:
    """Chooses within another limit from what ``recommend`` kept: ``attnbench plan``, which measures nothing.

    Raises:
        ModelError: when it fails.
        KeyboardInterrupt: when it was interrupted.
    """
    _run([command, "plan", record, "--max-loss-increase", f"{increase:.6g}", "--save", plan], plan, say)


def _run(line: Sequence[str], plan: str, say: Callable[[str], None]) -> None:
    """Runs a command that writes ``plan``; its tables go where ours go, to stderr."""
    say(f"$ {shlex.join(line)}")
    name = f"attnbench {line[1]}"
    process = subprocess.Popen(line, stdout=2)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        _leave(process)
        raise
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    if code != 0:
        raise ModelError(f"{name} ended with exit code {code}; what it says is above")
    if not os.path.exists(plan):
        raise ModelError(f"{name} wrote no plan; what it says is above")


def _leave(process: subprocess.Popen[bytes]) -> None:
    """Ends the command without a plan: at a first signal it would save what it has so far, and a plan made
    of half the measurements is not what was asked for; a second one makes it leave at once."""
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
        process.send_signal(number)
        try:
            process.wait(timeout=1)
            return
        except subprocess.TimeoutExpired:
            continue


def windows(n: int) -> str:
    """Candidates of a choice: a dozen windows with sinks, from a sixty-fourth of the tokens to two thirds.

    A window shows every query the same distances: its error is a mean over as many places as there are
    queries, and is about the same on another text. What a pattern shows at places of its own, such as
    the last columns of each block, fits the few keys that carry weight in one text by chance; of many such
    candidates the one that fits best is chosen, and misses on the next text.
    """
    widths = sorted({max(1, round(n / 64 * (64 * 2 / 3) ** (step / 11))) for step in range(12)})
    return ", ".join(f"window({width}, sinks: 4)" for width in widths)


def tightened(predicted: float, measured: float, limit: float) -> float:
    """The limit on the prediction with which the measured increase is likely to keep to ``limit``."""
    return 0.9 * predicted * limit / measured
