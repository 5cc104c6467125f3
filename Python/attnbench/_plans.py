"""Plans that a thread keeps, and calls on them that are ready to be repeated."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import _arrays as arrays_module
from ._call import Call
from ._handles import info_of, make_plan
from ._library import AttentionError, Handle, library
from ._problem import Options, Sizes
from ._strategies import is_fixed, is_same


class Kept:
    """A plan that is kept, and what the library says of it."""

    __slots__ = ("plan", "workspace", "takes_key_lengths")

    def __init__(self, plan: Handle) -> None:
        info = info_of(library.attnbench_plan_info, plan)
        self.plan = plan
        self.workspace = info.workspace_bytes
        self.takes_key_lengths = bool(info.takes_key_lengths)


@dataclass(slots=True)
class Found:
    """A plan for a problem, and how it is to be run."""

    plan: Handle
    rows: int
    """Key rows that the plan is for."""
    lengths: tuple[int, ...] | None = None
    """Key lengths that the run has to bring; None for the plan's own."""
    is_open: bool = False
    """Whether runs with any number of keys up to `rows`, and otherwise alike, may share it."""


class Plans:
    """Plans that a thread keeps by all that they depend on, and calls on them that are ready to be
    repeated. The plan that was found longest ago goes first."""

    # Layers of a model, each with heads of its own, times the lengths that they take turns with.
    MAXIMUM_COUNT = 256
    MAXIMUM_WORKSPACE = 256 << 20
    # Key lengths are rounded up to a multiple of it where a run may bring its own.
    LENGTH_STEP = 256

    def __init__(self) -> None:
        self.calls: dict[Any, Call] = {}
        self.plans: dict[Any, Kept] = {}
        self.workspace = 0
        # Problems, without their key lengths, whose plans take key lengths.
        self.growing: set[Any] = set()

    def find(
        self, sizes: Sizes, options: Options, threads: int | None, is_shareable: bool
    ) -> Found:
        """A plan for a problem without a mask.

        Sequences that grow by a token a step pose a new problem in each step. Once a plan for such a
        problem has said that it takes key lengths, later ones share plans for rounded-up lengths.
        """
        follows = options.query_lengths is None and options.key_lengths is None and (
            isinstance(options.offset, int)
            and options.offset == sizes.key_length - sizes.query_length)
        # The same problem, in words that stay the same while keys come along.
        own = replace(options, offset="bottom-right") if follows else options
        if own.key_lengths is not None:
            own = replace(own, key_lengths=None)
        problem = (
            sizes.batch, sizes.heads, sizes.kv_heads, sizes.query_length, sizes.head_dim,
            sizes.value_dim, sizes.query_type, sizes.key_value_type, sizes.output_type, own, threads)
        exact = (problem, sizes.key_length, options.key_lengths)
        kept = self._touched(exact)
        if kept is None and is_shareable and problem in self.growing:
            found = self._shared(problem, sizes, options, own, threads)
            if found is not None:
                found.is_open = found.is_open and not follows
                return found
        if kept is None:
            kept = self._add(exact, Kept(make_plan(sizes, options, None, threads)))
            if kept.takes_key_lengths:
                if len(self.growing) >= 4 * self.MAXIMUM_COUNT:
                    self.growing.clear()
                self.growing.add(problem)
        return Found(kept.plan, sizes.key_length)

    def _shared(
        self, problem: Any, sizes: Sizes, options: Options, own: Options, threads: int | None
    ) -> Found | None:
        """As `find`, with a plan for any key lengths up to a rounded one; None where there is none."""
        count = sizes.key_length
        lengths = (count,) * sizes.batch if options.key_lengths is None else options.key_lengths
        # Rows after the arrays' own would be within the plan and outside their memory. What is out of
        # range is refused by the problem's own plan, with its own limits in the text.
        if len(lengths) != sizes.batch or not all(0 <= length <= count for length in lengths):
            return None
        if any(length > count for length in options.prefix_lengths or ()):
            return None
        rows = -(-count // self.LENGTH_STEP) * self.LENGTH_STEP
        try:
            is_constant = is_fixed(options.strategy, options.causal, sizes.heads)
            if not is_constant and not is_same(options.strategy, options.causal, sizes.heads, count, rows):
                rows = count
            key = (problem, rows, None)
            kept = self._touched(key)
            if kept is None:
                kept = self._add(
                    key, Kept(make_plan(replace(sizes, key_length=rows), own, None, threads)))
        except AttentionError:  # Such a length may be too large where the problem's own is not.
            return None
        if not kept.takes_key_lengths:
            return None
        is_open = is_constant and options.key_lengths is None and options.prefix_lengths is None
        return Found(kept.plan, rows, lengths, is_open)

    def _touched(self, key: Any) -> Kept | None:
        kept = self.plans.pop(key, None)
        if kept is not None:
            self.plans[key] = kept
        return kept

    def _add(self, key: Any, kept: Kept) -> Kept:
        if kept.workspace > self.MAXIMUM_WORKSPACE:
            return kept
        while self.plans and (
            len(self.plans) >= self.MAXIMUM_COUNT
            or self.workspace + kept.workspace > self.MAXIMUM_WORKSPACE
        ):
            oldest = self.plans.pop(next(iter(self.plans)))
            self.workspace -= oldest.workspace
            # A call would keep its plan's memory.
            self.calls = {
                quick_key: call for quick_key, call in self.calls.items() if call.plan is not oldest.plan}
        self.plans[key] = kept
        self.workspace += kept.workspace
        return kept

    def add_call(self, quick_key: Any, call: Call) -> None:
        """Keeps a call for repeating as long as its plan is kept."""
        # The newest plan is the one that was just used.
        if not self.plans or next(reversed(self.plans.values())).plan is not call.plan:
            return
        if quick_key not in self.calls and len(self.calls) >= self.MAXIMUM_COUNT:
            del self.calls[next(iter(self.calls))]
        self.calls[quick_key] = call


class _Ready(threading.local):
    def __init__(self) -> None:
        self.plans = Plans()


_ready = _Ready()


def _after_fork() -> None:
    global _ready
    _ready = _Ready()


os.register_at_fork(after_in_child=_after_fork)


def own_plans() -> Plans:
    """Those of the thread that asks."""
    return _ready.plans


def again(
    q: Any, k: Any, v: Any, return_lse: Any, options: tuple, new_output: Callable | None = None
) -> tuple[Any, Any]:
    """What to keep a call by, for `compute`, and the result where there is one; None for either.

    ``options`` are as the caller wrote them, and all that the result depends on besides the arrays.
    """
    key = quick_key_of(q, k, v)
    if key is None:
        return None, None
    key = (key, options, return_lse)
    try:
        call = _ready.plans.calls.get(key)
    except TypeError:  # Lists and arrays among the options are no keys; `Plans` goes by their values.
        return None, None
    return key, None if call is None else call.run_again(q, k, v, return_lse, new_output)


def quick_key_of(q: Any, k: Any, v: Any) -> Any:
    """What a call depends on of its arrays, but for the exact number of keys and how they lie; None where
    there is something to refuse or resolve."""
    kind = type(q)
    if kind is not type(k) or kind is not type(v):
        return None
    if kind is np.ndarray:
        q_strides = q.strides
    else:
        if kind is not arrays_module.torch_tensor or not (q.is_cpu and k.is_cpu and v.is_cpu):
            return None
        if q.requires_grad or k.requires_grad or v.requires_grad:
            return None
        if q.is_neg() or k.is_neg() or v.is_neg():
            return None
        q_strides = q.stride()
    k_shape, v_shape = k.shape, v.shape
    if len(k_shape) < 2 or k_shape[:-1] != v_shape[:-1]:
        return None
    return (
        q.shape, q_strides, q.dtype, k_shape[:-2], k_shape[-1], k.dtype, v_shape[-1], v.dtype,
        -(-k_shape[-2] // Plans.LENGTH_STEP))
