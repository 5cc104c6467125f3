"""Teams of threads, one a number of threads, shared by all plans of the process."""

from __future__ import annotations

import ctypes
import os
import threading

from ._library import AttentionError, Handle, TeamOptions, library, sized

_lock = threading.Lock()
_teams: dict[tuple[int, str | None], Handle] = {}


def whole(value: object, name: str) -> int:
    """A whole number that fits the library's 64 bits."""
    try:
        number = value.__index__()  # type: ignore[attr-defined]
    except AttributeError:
        raise AttentionError(f"{name} = {value!r}: must be a whole number") from None
    if not -(2**63) <= number < 2**63:
        raise AttentionError(f"{name} = {number}: does not fit 64 bits")
    return number


def team(threads: int | None, binding: str | None = None) -> Handle:
    """The team of so many threads; of one a core that may be used where None.

    Raises AttentionError when threads cannot be started or bound.
    """
    number = 0 if threads is None else whole(threads, "threads")
    if threads is not None and number < 1:
        raise AttentionError(
            f"threads = {number}: must be at least 1; leave it out for one a core", 8)
    key = (number, binding)
    with _lock:
        if key not in _teams:
            options = sized(TeamOptions)
            options.threads = number
            options.binding = None if binding is None else binding.encode()
            _teams[key] = Handle(
                library.attnbench_team_create, library.attnbench_team_destroy, ctypes.byref(options))
        return _teams[key]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    # Handles of the parent: forgetting them here does nothing there.
    _teams.clear()


os.register_at_fork(after_in_child=_after_fork)
