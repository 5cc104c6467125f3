"""What goes wrong, as a person reads it: the argument, its value, the rule, the fix."""

from __future__ import annotations

SUCCESS = 0
FAILURE = 1
USAGE = 64
INTERRUPTED = 130


class ModelError(Exception):
    """A step that cannot be done."""

    exit_code = FAILURE


class UsageError(ModelError):
    """A command line that cannot be meant."""

    exit_code = USAGE
