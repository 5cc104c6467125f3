"""Problems as the library takes them, from what Python's callers say."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ._arrays import BOOL, F32, arrays_of, fill
from ._library import AttentionError, Problem, sized
from ._teams import whole

ALIGNMENTS = {"bottom-right": 0, "top-left": 1}


# The largest number of float32, and the least that rounds to its infinity.
FLOAT32_MAX = 2.0**128 - 2.0**104
FLOAT32_END = 2.0**128 - 2.0**103


def number(value: Any, name: str, *, saturating: bool = False) -> float:
    """A real number that float32 has room for: a finite one must not turn into an infinity. `saturating`
    takes the largest one instead, for what stands among scores, where an infinity is no number."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise AttentionError(f"{name} = {value!r}: must be a number") from None
    if math.isfinite(found) and abs(found) >= FLOAT32_END:
        if saturating:
            return math.copysign(FLOAT32_MAX, found)
        raise AttentionError(
            f"{name} = {value!r}: must be a number of float32, in which it is computed, and those end at "
            f"{FLOAT32_MAX:.8g}")
    return found


def floats(values: Any, name: str, *, saturating: bool = False) -> tuple[float, ...] | None:
    """A list of numbers, from any array or sequence; `saturating` as of `number`."""
    if values is None:
        return None
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, (list, tuple)):
        raise AttentionError(f"{name} = {values!r}: must be a list of numbers, one a query head")
    return tuple(number(value, name, saturating=saturating) for value in values)


def integers(values: Any, name: str) -> tuple[int, ...] | None:
    """A list of whole numbers, from any array or sequence."""
    if values is None:
        return None
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, (list, tuple)):
        values = [values]
    return tuple(whole(value, name) for value in values)


def checked_list(values: tuple | None, count: int, name: str, what: str) -> None:
    """Refuses a list of the wrong length, of which the library would read `count`."""
    if values is not None and len(values) != count:
        raise AttentionError(f"{name} = {len(values)} values: one per {what} is needed, {count}")


@dataclass(frozen=True, slots=True)
class Options:
    """What a problem has beyond sizes and types; every value may be part of a key."""

    strategy: str = "flash"
    causal: bool = False
    scale: float | None = None
    softcap: float | None = None
    alibi: tuple[float, ...] | None = None
    sinks: tuple[float, ...] | None = None
    query_lengths: tuple[int, ...] | None = None
    key_lengths: tuple[int, ...] | None = None
    prefix_lengths: tuple[int, ...] | None = None
    offset: Any = "bottom-right"
    window: tuple[int | None, int | None] = (None, None)

    @staticmethod
    def of(
        strategy: Any, window: Any, *, causal: Any, scale: Any, softcap: Any, alibi: Any, sinks: Any,
        query_lengths: Any, key_lengths: Any, prefix_lengths: Any, offset: Any,
    ) -> Options:
        if isinstance(strategy, (list, tuple)):
            if not strategy or not all(isinstance(one, str) for one in strategy):
                raise AttentionError(f"strategy = {strategy!r}: must be texts, one a query head")
            strategy = ", ".join(strategy)
        if not isinstance(strategy, str) or "\0" in strategy:
            raise AttentionError(f"strategy = {strategy!r}: must be a text, as 'window(512)'")
        if not isinstance(offset, str):
            is_list = isinstance(offset, (list, tuple)) or getattr(offset, "ndim", 0) > 0
            values = integers(offset, "offset")
            offset = values if is_list else values[0]
        elif offset not in ALIGNMENTS:
            raise AttentionError(
                f"offset = {offset!r}: must be 'bottom-right', 'top-left', a number or one a batch entry")
        return Options(
            strategy, bool(causal), None if scale is None else number(scale, "scale"),
            None if softcap is None else number(softcap, "softcap"), floats(alibi, "alibi"),
            floats(sinks, "sinks", saturating=True), integers(query_lengths, "query_lengths"),
            integers(key_lengths, "key_lengths"), integers(prefix_lengths, "prefix_lengths"), offset, window_of(window))


def window_of(window: Any) -> tuple[int | None, int | None]:
    """Inclusive distances (left, right); None or -1 for all."""
    if window is None:
        return None, None
    if not isinstance(window, (list, tuple)) or len(window) != 2:
        raise AttentionError(
            f"window = {window!r}: must be (left, right), inclusive distances, None for no limit")
    left, right = (None if side is None else whole(side, "window") for side in window)
    return None if left == -1 else left, None if right == -1 else right


@dataclass(slots=True)
class Sizes:
    """Sizes and element types of a problem."""

    batch: int
    heads: int
    kv_heads: int
    query_length: int
    key_length: int
    head_dim: int
    value_dim: int
    query_type: int = F32
    key_value_type: int = F32
    output_type: int = F32


@dataclass(slots=True)
class BuiltProblem:
    """A problem and what it points to."""

    structure: Problem
    kept: list[Any] = field(default_factory=list)

    def list(self, type: Any, values: Sequence[Any] | None) -> Any:
        if values is None:
            return None
        array = (type * len(values))(*values)
        self.kept.append(array)
        return array


def build(sizes: Sizes, options: Options, mask: Any = None) -> BuiltProblem:
    """A problem, whose lists and mask live as long as what is returned.

    Raises AttentionError for lists of the wrong length and masks that do not broadcast.
    """
    built = BuiltProblem(sized(Problem))
    problem = built.structure
    for name in Sizes.__slots__:
        value = getattr(sizes, name)
        # To the library a size of 0 means a default.
        if value < 1 and not name.endswith("_type"):
            raise AttentionError(f"{name} = {value}: must be at least 1")
        setattr(problem, name, value)
    checked_list(options.alibi, sizes.heads, "alibi", "query head")
    checked_list(options.sinks, sizes.heads, "sinks", "query head")
    for name in ("query_lengths", "key_lengths", "prefix_lengths"):
        values = getattr(options, name)
        checked_list(values, sizes.batch, name, "batch entry")
        setattr(problem, name, built.list(ctypes.c_int64, values))
    problem.causal = options.causal
    if options.scale is not None:
        problem.has_scale, problem.scale = 1, options.scale
    if options.softcap is not None:
        # To the library 0 means none: the caller who writes it means something else.
        if options.softcap == 0:
            raise AttentionError(
                "softcap = 0.0: must be a finite number above 0; leave it out for none")
        problem.softcap = options.softcap
    problem.sink_logits = built.list(ctypes.c_float, options.sinks)
    problem.alibi_slopes = built.list(ctypes.c_float, options.alibi)
    if isinstance(options.offset, str):
        problem.alignment = ALIGNMENTS[options.offset]
    elif isinstance(options.offset, int):
        problem.alignment, problem.offset = 2, options.offset
    else:
        checked_list(options.offset, sizes.batch, "offset", "batch entry")
        problem.alignment = 3
        problem.offsets = built.list(ctypes.c_int64, options.offset)
    left, right = options.window
    if left is not None:
        problem.has_window_left, problem.window_left = 1, left
    if right is not None:
        problem.has_window_right, problem.window_right = 1, right
    if mask is not None:
        add_mask(built, mask, (sizes.batch, sizes.heads, sizes.query_length, sizes.key_length))
    return built


def add_mask(built: BuiltProblem, mask: Any, full: tuple[int, int, int, int]) -> None:
    """Adds a mask, bool or floating point, that broadcasts to `[b, h, nQ, nKV]`."""
    arrays, mask = arrays_of("mask", mask)
    shape = tuple(mask.shape)
    lined = (1,) * (4 - len(shape)) + shape
    if len(shape) > 4 or any(size not in (1, whole) for size, whole in zip(lined, full)):
        raise AttentionError(f"mask = {list(shape)}: must broadcast to [b, h, nQ, nKV] = {list(full)}", 2)
    type = arrays.element_type(mask)
    if type is None:
        if str(mask.dtype).removeprefix("torch.") != "float64":
            raise AttentionError(
                f"mask = {mask.dtype}: must be bool, where False hides, or a floating-point type, which "
                "is added to the scores", 2)
        mask = arrays.to_float32(mask)
        type = F32
    target = built.structure.mask if type == BOOL else built.structure.bias
    built.kept.append(fill(target, arrays, mask, type, any_columns=True))
    # One column for all keys repeats; the other axes may stay 1.
    if target.shape[3] != full[3]:
        target.shape[3] = full[3]
        target.strides[3] = 0
