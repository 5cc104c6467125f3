"""Plans and decoders as the library makes them, and what it says of them."""

from __future__ import annotations

import ctypes
from typing import Any

from ._library import Handle, Info, check, library, sized
from ._problem import Options, Sizes, build
from ._teams import team

CLASSES = ("exact", "restricted", "different")


def info_of(read: Any, handle: Handle) -> Info:
    """What the library says of a plan or a decoder."""
    info = sized(Info)
    check(read(handle.value, ctypes.byref(info)))
    return info


def make_plan(sizes: Sizes, options: Options, mask: Any, threads: int | None) -> Handle:
    built = build(sizes, options, mask)
    return Handle(
        library.attnbench_plan_create, library.attnbench_plan_destroy, ctypes.byref(built.structure),
        options.strategy.encode(), team(threads).value)


def spec_of(plan: Handle) -> str:
    """The strategy of a plan with its parameters resolved."""
    capacity = 4096
    while True:
        text = ctypes.create_string_buffer(capacity)
        check(library.attnbench_plan_spec(plan.value, text, capacity))
        if len(text.value) < capacity - 1:
            return text.value.decode()
        capacity *= 4
