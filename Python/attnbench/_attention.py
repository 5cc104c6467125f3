"""Attention in one call, and plans."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, overload

import numpy as np

from . import _arrays as arrays_module
from ._arrays import (
    BF16, BOOL, F16, F32, INT8_TOKEN, TYPE_NAMES, Arrays, arrays_of, fill, refuse_gradients,
)
from ._library import (
    AttentionError, Handle, Info, NamedTensor, Operands, check, library, sized,
)
from ._problem import Options, Sizes, build, integers
from ._teams import team, whole

ArrayT = TypeVar("ArrayT")

CLASSES = ("exact", "restricted", "different")


@dataclass(frozen=True)
class Strategy:
    """A way to compute attention, as :func:`strategies` lists it.

    ``operator_class`` is ``"exact"`` (softmax over all visible keys), ``"restricted"`` (softmax over a
    subset of them) or ``"different"`` (another function). ``parameters`` are pairs of label and
    meaning; ``operands`` are tensors that it takes beyond query, key and value, as mappings with
    ``name``, ``axes``, ``meaning`` and ``optional``.
    """

    name: str
    aliases: tuple[str, ...]
    operator_class: str
    summary: str
    source: str
    parameters: tuple[tuple[str, str], ...]
    operands: tuple[Mapping[str, Any], ...]


def strategies() -> list[Strategy]:
    """Every strategy that the library knows by name."""
    return [
        Strategy(
            entry["name"], tuple(entry["aliases"]), entry["class"], entry["summary"], entry["source"],
            tuple((parameter["label"], parameter["help"]) for parameter in entry["parameters"]),
            tuple(entry["operands"]))
        for entry in json.loads(library.attnbench_strategies())
    ]


def operand(name: str, array: Any, rank: int | None = None) -> tuple[Arrays, Any, int]:
    """An array that may be a query, key or value, with its library and element type."""
    arrays, array = arrays_of(name, array)
    type = arrays.element_type(array)
    if type is None or type == BOOL:
        raise AttentionError(
            f"{name} = {array.dtype}: must be float32, float16 or bfloat16; convert it", 2)
    if not 2 <= array.ndim <= 4 or rank not in (None, array.ndim):
        raise AttentionError(
            f"{name} = {list(array.shape)}: must be [b, h, n, d], [h, n, d] or [n, d], and of as many "
            "axes as the others", 2)
    return arrays, array, type


class Call:
    """The operands of a plan's run, whose shapes and types are known: each run points them at new
    memory. Used by one thread at a time."""

    __slots__ = (
        "plan", "structure", "query", "key", "value", "output", "lse", "reference", "named", "count",
        "rows", "lengths", "strides")

    def __init__(self, plan: Handle) -> None:
        self.plan = plan
        self.structure = sized(Operands)
        # Fields of a structure are made anew at each access; these are kept.
        self.query, self.key = self.structure.query, self.structure.key
        self.value, self.output = self.structure.value, self.structure.output
        self.lse = self.structure.lse
        self.reference = ctypes.byref(self.structure)
        self.named: list[Any] = []
        # Keys that a repeated run has; None for any number up to the plan's rows, then with lengths.
        self.count: int | None = None
        self.rows = 0
        self.lengths: Any = None
        # Of key and value when they were last pointed at memory.
        self.strides: Any = None

    def run_again(
        self, q: Any, k: Any, v: Any, return_lse: Any, new_output: Callable | None = None
    ) -> Any:
        """Runs on arrays that have the key of the call's, see `_quick_key`. None where it cannot take
        them: something is to be copied, refused, or planned anew."""
        count = k.shape[-2]
        if count != self.count:
            if self.count is not None or count > self.rows:
                return None
            for entry in range(len(self.lengths)):
                self.lengths[entry] = count
        is_numpy = type(q) is np.ndarray
        strides = (k.strides, v.strides) if is_numpy else (k.stride(), v.stride())
        if strides != self.strides and not self._step_by(k, v, strides, is_numpy):
            return None
        if is_numpy:
            out = np.empty(q.shape[:-1] + v.shape[-1:], q.dtype)
            self.query.data = q.__array_interface__["data"][0]
            self.key.data = k.__array_interface__["data"][0]
            self.value.data = v.__array_interface__["data"][0]
            self.output.data = out.__array_interface__["data"][0]
        else:
            shape = q.shape[:-1] + v.shape[-1:]
            out = q.new_empty(shape) if new_output is None else new_output(shape)
            self.query.data = q.data_ptr()
            self.key.data = k.data_ptr()
            self.value.data = v.data_ptr()
            self.output.data = out.data_ptr()
        lse = None
        if return_lse:
            arrays, _ = arrays_of("q", q)
            lse = arrays.empty(tuple(q.shape[:-1]), F32, q)
            self.lse.data = arrays.pointer(lse)
        if library.attnbench_plan_run(self.plan.value, self.reference):
            return None
        return out if lse is None else (out, lse)

    def _step_by(self, k: Any, v: Any, strides: Any, is_numpy: bool) -> bool:
        """Takes over the strides of keys and values; what the library refuses, it refuses in the run."""
        for tensor, array, steps in zip((self.key, self.value), (k, v), strides):
            if is_numpy:
                size = array.itemsize
                if any(step % size for step in steps):
                    return False
                steps = [step // size for step in steps]
            tensor.strides[4 - len(steps):] = steps
            if array.shape[-2] == 1:
                # The stride of a single row may be any number, and that of several is checked.
                tensor.strides[2] = array.shape[-1]
        self.strides = strides
        return True

    def run(self) -> None:
        check(library.attnbench_plan_run(self.plan.value, self.reference))

    def place(
        self, sizes: Sizes, q: Any, k: Any, v: Any, out: Any, return_lse: Any
    ) -> tuple[Any, Any, list[Any]]:
        """Points at inputs and outputs, for a plan or decoder of such sizes.

        Returns output, LSE or None, and what has to live during the run.
        """
        arrays, inputs, types = three_operands(q, k, v)
        q = inputs[0]
        shape = tuple(q.shape[:-1]) + (sizes.value_dim,)
        type = sizes.output_type
        if out is not None:
            type = checked_output(arrays, out, shape)
        elif type == BF16 and types[0] != BF16 and arrays is arrays_module.numpy_arrays:
            raise AttentionError("out: must be given where q has no type to make it of, bfloat16")
        else:
            out = arrays.empty(shape, type, q)
        kept = self.read(arrays, inputs, types)
        return out, self.write(arrays, out, type, q, return_lse), kept

    def read(self, arrays: Arrays, inputs: tuple, types: tuple[int, int, int]) -> list[Any]:
        """Points at query, key and value; returns what has to live during the run."""
        return [
            fill(target, arrays, array, type)
            for target, array, type in zip((self.query, self.key, self.value), inputs, types)]

    def write(self, arrays: Arrays, out: Any, type: int, q: Any, return_lse: Any) -> Any:
        """Points at an output, which cannot be a copy, and at a new LSE, which is returned."""
        if fill(self.output, arrays, out, type) is not out:
            raise AttentionError(
                f"out = strides {arrays.strides(out)}: rows must be contiguous and strides not negative; "
                "give an array as numpy.empty makes it", 2)
        if not return_lse:
            return None
        lse = arrays.empty(tuple(out.shape[:-1]), F32, q)
        fill(self.lse, arrays, lse[..., None], F32)
        return lse

    def bring_lengths(self, rows: int, lengths: tuple[int, ...]) -> None:
        """Lets keys and values end before the `rows` that the plan is for: the run says how many there
        are in each batch entry, and those after them need not exist."""
        self.rows, self.lengths = rows, (ctypes.c_int64 * len(lengths))(*lengths)
        self.structure.key_lengths = self.lengths
        for tensor in (self.key, self.value):
            if tensor.shape[2] == 1:
                tensor.strides[2] = tensor.shape[3]  # As in `_step_by`.
            tensor.shape[2] = rows

    def name_operands(self, operands: Mapping[str, Any]) -> None:
        """Adds tensors beyond query, key and value; axes that are missing come last, with size 1."""
        named = (NamedTensor * len(operands))()
        for entry, (name, array) in zip(named, operands.items()):
            arrays, array = arrays_of(name, array)
            if arrays.element_type(array) != F32 or not 1 <= array.ndim <= 4:
                raise AttentionError(
                    f"{name} = {array.dtype} {list(array.shape)}: must be float32 of at most four axes", 2)
            array = array[(...,) + (None,) * (4 - array.ndim)]
            entry.name = name.encode()
            self.named.append(fill(entry.tensor, arrays, array, F32))
        self.named.append(named)
        self.structure.named = named
        self.structure.named_count = len(named)


def three_operands(q: Any, k: Any, v: Any) -> tuple[Arrays, tuple, tuple[int, int, int]]:
    """Query, key and value, of one library and as many axes, with their element types."""
    arrays, q, q_type = operand("q", q)
    k_arrays, k, k_type = operand("k", k, q.ndim)
    v_arrays, v, v_type = operand("v", v, q.ndim)
    if k_arrays is not arrays or v_arrays is not arrays:
        raise AttentionError("q, k, v: must all be NumPy arrays or all PyTorch tensors")
    return arrays, (q, k, v), (q_type, k_type, v_type)


def checked_output(arrays: Arrays, out: Any, shape: tuple[int, ...]) -> int:
    """The element type of an array that is written to."""
    refuse_gradients("out", out)
    own, out = arrays_of("out", out)
    type = own.element_type(out)
    if own is not arrays or type not in (F32, F16, BF16) or tuple(out.shape) != shape:
        raise AttentionError(
            f"out = {out.dtype} {list(out.shape)}: must be {list(shape)} of float32, float16 or "
            f"bfloat16, {arrays.name} as the inputs", 2)
    if not arrays.is_writable(out):
        raise AttentionError("out: must be writable")
    return type


def sizes_of(q: Any, k: Any, v: Any, types: tuple[int, int, int], output_type: int) -> Sizes:
    """The sizes of the problem that three arrays of as many axes pose."""
    def lined(array: Any) -> tuple[int, ...]:
        return (1,) * (4 - array.ndim) + tuple(array.shape)

    (b, h, n_q, d), (b_k, h_kv, n_kv, d_k), value_shape = lined(q), lined(k), lined(v)
    if (b_k, d_k) != (b, d):
        raise AttentionError(
            f"k = {list(k.shape)}: must have the batch and the head dimension of q = {list(q.shape)}", 2)
    if value_shape[:3] != (b, h_kv, n_kv):
        raise AttentionError(
            f"v = {list(v.shape)}: must have batch, heads and length of k = {list(k.shape)}", 2)
    if types[1] != types[2]:
        raise AttentionError(f"v = {v.dtype}: must be {k.dtype} as k", 2)
    return Sizes(
        b, h, h_kv, n_q, n_kv, d, value_shape[3], types[0], types[1], output_type)


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
            kept = self._add(exact, Kept(_make_plan(sizes, options, None, threads)))
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
            is_fixed = _is_fixed(options.strategy, options.causal, sizes.heads)
            if not is_fixed and not _is_same(options.strategy, options.causal, sizes.heads, count, rows):
                rows = count
            key = (problem, rows, None)
            kept = self._touched(key)
            if kept is None:
                kept = self._add(
                    key, Kept(_make_plan(replace(sizes, key_length=rows), own, None, threads)))
        except AttentionError:  # Such a length may be too large where the problem's own is not.
            return None
        if not kept.takes_key_lengths:
            return None
        is_open = is_fixed and options.key_lengths is None and options.prefix_lengths is None
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


def info_of(read: Any, handle: Handle) -> Info:
    """What the library says of a plan or a decoder."""
    info = sized(Info)
    check(read(handle.value, ctypes.byref(info)))
    return info


def _make_plan(sizes: Sizes, options: Options, mask: Any, threads: int | None) -> Handle:
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


@functools.lru_cache(maxsize=4096)
def _resolved(strategy: str, causal: bool, heads: int, key_length: int) -> str:
    """The strategy with its parameters resolved for a number of keys, by the smallest of plans."""
    sizes = Sizes(1, heads, heads, 1, key_length, 1, 1)
    return spec_of(_make_plan(sizes, Options(strategy, causal), None, 1))


def _is_same(strategy: str, causal: bool, heads: int, one: int, other: int) -> bool:
    """Whether a strategy means the same for two numbers of keys: a stride that is not given follows
    them."""
    return _resolved(strategy, causal, heads, one) == _resolved(strategy, causal, heads, other)


def _is_fixed(strategy: str, causal: bool, heads: int) -> bool:
    """Whether a strategy means the same for all numbers of keys, as most do."""
    return _is_same(strategy, causal, heads, 1, 1 << 16)


@overload
def attention(
    q: ArrayT, k: ArrayT, v: ArrayT, strategy: str | Sequence[str] = ..., *, causal: bool = ...,
    scale: float | None = ..., softcap: float | None = ..., mask: Any = ..., alibi: Any = ...,
    sinks: Any = ..., window: tuple[int | None, int | None] | None = ..., query_lengths: Any = ...,
    key_lengths: Any = ..., prefix_lengths: Any = ..., offset: Any = ...,
    operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ...,
    return_lse: Literal[False] = ..., threads: int | None = ...,
) -> ArrayT: ...


@overload
def attention(
    q: ArrayT, k: ArrayT, v: ArrayT, strategy: str | Sequence[str] = ..., *, causal: bool = ...,
    scale: float | None = ..., softcap: float | None = ..., mask: Any = ..., alibi: Any = ...,
    sinks: Any = ..., window: tuple[int | None, int | None] | None = ..., query_lengths: Any = ...,
    key_lengths: Any = ..., prefix_lengths: Any = ..., offset: Any = ...,
    operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ..., return_lse: Literal[True],
    threads: int | None = ...,
) -> tuple[ArrayT, ArrayT]: ...


def attention(
    q, k, v, strategy="flash", *, causal=False, scale=None, softcap=None, mask=None, alibi=None,
    sinks=None, window=None, query_lengths=None, key_lengths=None, prefix_lengths=None,
    offset="bottom-right", operands=None, out=None, return_lse=False, threads=None,
):
    """Attention: softmax(softcap(scale * q k^T) + bias) v over the keys that a query may see.

    Shapes have b sequences, h query heads, hKV key/value heads (query head i reads key/value head
    i / (h / hKV)), nQ queries, nKV keys; b, or b and h, may be left out of all three arrays.
    Arrays are NumPy's or CPU tensors of PyTorch, float32, float16 or bfloat16, of any strides; rows
    that are contiguous are read in place. Sums are float32 whatever the type.

    Args:
        q: ``[b, h, nQ, d]``.
        k: ``[b, hKV, nKV, d]``.
        v: ``[b, hKV, nKV, dV]``, of the type of ``k``.
        strategy: as :func:`strategies` lists them, ``"window(512, sinks: 4)"``; or a list, one a query
            head.
        causal: a query sees only keys up to where it stands.
        scale: the factor on the scores, 1 / sqrt(d) by default.
        softcap: c of c * tanh(score / c).
        mask: broadcasts to ``[b, h, nQ, nKV]``; bool, where False hides, or floating point, which is
            added to the scores and where -inf hides.
        alibi: ``[h]`` slopes m: -m |i + offset - j| is added to the score of query i and key j.
        sinks: ``[h]`` logits that take part in the softmax without a value.
        window: inclusive distances ``(left, right)`` that a query sees, None for no limit.
        query_lengths, key_lengths: ``[b]`` rows in use; the rows after them are not read, and outputs
            of such queries are not written.
        prefix_lengths: ``[b]`` leading keys that a causal mask does not hide.
        offset: query i stands at key i + offset. ``"bottom-right"`` (nKV - nQ: the last query stands at
            the last key), ``"top-left"`` (0), a number, or a list of one a batch entry.
        operands: tensors that the strategy takes beyond these, by name, float32.
        out: where the result goes, ``[b, h, nQ, dV]``; by default a new array of the type of ``q``.
        return_lse: also return the natural logarithm of each row's denominator, ``[b, h, nQ]``,
            float32.
        threads: one a core that may be used, by default.

    Returns:
        ``[b, h, nQ, dV]``, of the library of ``q``; with ``return_lse`` a pair. A query that sees no
        key gives 0, and -inf.

    Raises:
        AttentionError: naming the argument, its value, the rule and the fix.
    """
    # What the problem depends on, as cheaply as it can be had: a step of decoding takes microseconds.
    key: Any = None
    if mask is None and operands is None and out is None and query_lengths is None:
        key, found = again(
            q, k, v, return_lse, (
                strategy, causal, scale, softcap, alibi, sinks, window, key_lengths, prefix_lengths, offset,
                threads))
        if found is not None:
            return found
    return _attention(
        q, k, v, strategy, window, causal, scale, softcap, mask, alibi, sinks, query_lengths,
        key_lengths, prefix_lengths, offset, operands, out, return_lse, threads, key)


def again(
    q: Any, k: Any, v: Any, return_lse: Any, options: tuple, new_output: Callable | None = None
) -> tuple[Any, Any]:
    """What to keep a call by, for `compute`, and the result where there is one; None for either.

    ``options`` are as the caller wrote them, and all that the result depends on besides the arrays.
    """
    key = _quick_key(q, k, v)
    if key is None:
        return None, None
    key = (key, options, return_lse)
    try:
        call = _ready.plans.calls.get(key)
    except TypeError:  # Lists and arrays among the options are no keys; `Plans` goes by their values.
        return None, None
    return key, None if call is None else call.run_again(q, k, v, return_lse, new_output)


def _quick_key(q: Any, k: Any, v: Any) -> Any:
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


def _attention(
    q: Any, k: Any, v: Any, strategy: Any, window: Any, causal: Any, scale: Any, softcap: Any,
    mask: Any, alibi: Any, sinks: Any, query_lengths: Any, key_lengths: Any, prefix_lengths: Any,
    offset: Any, operands: Any, out: Any, return_lse: Any, threads: Any, quick_key: Any,
) -> Any:
    for name, array in (("q", q), ("k", k), ("v", v)):
        refuse_gradients(name, array)
    options = Options.of(
        strategy, window, causal=causal, scale=scale, softcap=softcap, alibi=alibi, sinks=sinks,
        query_lengths=query_lengths, key_lengths=key_lengths, prefix_lengths=prefix_lengths,
        offset=offset)
    return compute(
        q, k, v, options, mask=mask, operands=operands, out=out, return_lse=bool(return_lse),
        threads=threads, quick_key=quick_key)


def compute(
    q: Any, k: Any, v: Any, options: Options, *, mask: Any = None,
    operands: Mapping[str, Any] | None = None, out: Any = None, return_lse: bool = False,
    threads: int | None = None, quick_key: Any = None, new_output: Any = None,
) -> Any:
    """Attention with options that have been read; see :func:`attention`.

    ``new_output`` makes the output from its shape, where its layout is not row-major.
    """
    arrays, (q, k, v), types = three_operands(q, k, v)
    threads = None if threads is None else whole(threads, "threads")
    shape = tuple(q.shape[:-1]) + tuple(v.shape[-1:])
    out_type = types[0] if out is None else checked_output(arrays, out, shape)
    sizes = sizes_of(q, k, v, types, out_type)
    plans = _ready.plans
    if mask is None:
        # Operands may have an axis of keys, whose length is then the problem's.
        found = plans.find(sizes, options, threads, is_shareable=not operands)
    else:
        found = Found(_make_plan(sizes, options, mask, threads), sizes.key_length)
    call = Call(found.plan)
    if out is None:
        out = arrays.empty(shape, out_type, q) if new_output is None else new_output(shape)
    kept = call.read(arrays, (q, k, v), types)
    if found.lengths is not None:
        call.bring_lengths(found.rows, found.lengths)
    lse = call.write(arrays, out, out_type, q, return_lse)
    if operands:
        call.name_operands(operands)
    call.run()
    if quick_key is not None and all(one is own for one, own in zip(kept, (q, k, v))):
        call.count = None if found.is_open else sizes.key_length
        plans.add_call(quick_key, call)
    return out if lse is None else (out, lse)


class Plan:
    """Attention made ready for one problem: checked, sized and allocated once, run any number of times.

    Args:
        heads, query_length, head_dim: h, nQ and d.
        kv_heads, key_length, value_dim, batch: hKV, nKV, dV and b; by default h, nQ, d and 1.
        dtype: of queries, ``"f32"``, ``"f16"`` or ``"bf16"``.
        kv_dtype, out_dtype: of keys and values, and of outputs; by default ``dtype``.
        strategy and the rest: as for :func:`attention`.

    Runs of one plan from several threads take turns.

    Raises:
        AttentionError: where the library cannot serve the problem.
    """

    def __init__(
        self, *, heads: int, query_length: int, head_dim: int, kv_heads: int | None = None,
        key_length: int | None = None, value_dim: int | None = None, batch: int = 1,
        strategy: str | Sequence[str] = "flash", causal: bool = False, scale: float | None = None,
        softcap: float | None = None, mask: Any = None, alibi: Any = None, sinks: Any = None,
        window: tuple[int | None, int | None] | None = None, query_lengths: Any = None,
        key_lengths: Any = None, prefix_lengths: Any = None, offset: Any = "bottom-right",
        dtype: str = "f32", kv_dtype: str | None = None, out_dtype: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._sizes = plan_sizes(
            batch, heads, kv_heads, query_length, key_length, head_dim, value_dim, dtype, kv_dtype,
            out_dtype)
        options = Options.of(
            strategy, window, causal=causal, scale=scale, softcap=softcap, alibi=alibi, sinks=sinks,
            query_lengths=query_lengths, key_lengths=key_lengths, prefix_lengths=prefix_lengths,
            offset=offset)
        if self._sizes.key_value_type == INT8_TOKEN:
            raise AttentionError(
                "kv_dtype = 'int8-token': is for decoders, whose cache it is; use f32, f16 or bf16")
        self._plan = _make_plan(self._sizes, options, mask, threads)
        # Calls that a thread has made ready, by the arrays that they take.
        self._ready = threading.local()
        self._info = info_of(library.attnbench_plan_info, self._plan)
        self._spec = spec_of(self._plan)

    @property
    def spec(self) -> str:
        """The strategy with its parameters resolved."""
        return self._spec

    @property
    def operator_class(self) -> str:
        """``"exact"``, ``"restricted"`` or ``"different"``."""
        return CLASSES[self._info.operator_class]

    @property
    def pairs(self) -> int:
        """(query, key) pairs scored, over batch and heads."""
        return self._info.pairs

    @property
    def flops(self) -> int:
        """Floating-point operations of a run."""
        return self._info.flops

    @property
    def minimum_bytes(self) -> int:
        """Bytes that a run must move at least once."""
        return self._info.minimum_bytes

    @property
    def workspace_bytes(self) -> int:
        """Bytes held beyond inputs and output."""
        return self._info.workspace_bytes

    @property
    def takes_key_lengths(self) -> bool:
        """Whether a run may bring key lengths of its own."""
        return bool(self._info.takes_key_lengths)

    @property
    def threads(self) -> int:
        """Threads that a run takes."""
        return self._info.threads

    @overload
    def run(
        self, q: ArrayT, k: ArrayT, v: ArrayT, *, key_lengths: Any = ...,
        operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ...,
        return_lse: Literal[False] = ...,
    ) -> ArrayT: ...

    @overload
    def run(
        self, q: ArrayT, k: ArrayT, v: ArrayT, *, key_lengths: Any = ...,
        operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ..., return_lse: Literal[True],
    ) -> tuple[ArrayT, ArrayT]: ...

    def run(
        self, q, k, v, *, key_lengths=None, operands=None, out=None, return_lse=False,
    ):
        """Computes attention.

        Args:
            q: ``[b, h, nQ, d]``; b, or b and h, may be left out of all three where they are 1.
            k, v: ``[b, hKV, nKV, d]`` and ``[b, hKV, nKV, dV]``.
            key_lengths: ``[b]`` key rows in use in this run instead of the problem's, for plans that
                take them.
            operands, out, return_lse: as for :func:`attention`.

        Returns:
            ``[b, h, nQ, dV]``; with ``return_lse`` and ``[b, h, nQ]``.

        Raises:
            AttentionError: where arrays do not fit the plan.
        """
        key: Any = None
        # A new output has the type of the queries.
        if key_lengths is None and not operands and out is None and (
            self._sizes.output_type == self._sizes.query_type
        ):
            key = (_quick_key(q, k, v), return_lse)
            ready, call = getattr(self._ready, "call", (None, None))
            found = call.run_again(q, k, v, return_lse) if key == ready else None
            if found is not None:
                return found
        for name, array in (("q", q), ("k", k), ("v", v)):
            refuse_gradients(name, array)
        call = Call(self._plan)
        out, lse, kept = call.place(self._sizes, q, k, v, out, return_lse)
        lengths = integers(key_lengths, "key_lengths")
        if lengths is not None:
            if len(lengths) != self._sizes.batch:
                raise AttentionError(
                    f"key_lengths = {list(lengths)}: one per batch entry is needed, {self._sizes.batch}")
            array = (ctypes.c_int64 * len(lengths))(*lengths)
            call.structure.key_lengths = array
            kept.append(array)
        if operands:
            call.name_operands(operands)
        call.run()
        if key is not None and key[0] is not None and all(
            one is own for one, own in zip(kept, (q, k, v))
        ):
            call.count = self._sizes.key_length
            self._ready.call = (key, call)
        return out if lse is None else (out, lse)

    def __repr__(self) -> str:
        return f"<attnbench.Plan {self._spec}, {self.operator_class}, {self._sizes}>"


def plan_sizes(
    batch: Any, heads: Any, kv_heads: Any, query_length: Any, key_length: Any, head_dim: Any,
    value_dim: Any, dtype: Any, kv_dtype: Any, out_dtype: Any,
) -> Sizes:
    """Sizes and types as callers write them."""
    def type_number(name: str, value: Any) -> int:
        if value not in TYPE_NAMES:
            raise AttentionError(f"{name} = {value!r}: must be one of {', '.join(TYPE_NAMES)}")
        return TYPE_NAMES[value]

    values = {
        "batch": batch, "heads": heads, "kv_heads": heads if kv_heads is None else kv_heads,
        "query_length": query_length,
        "key_length": query_length if key_length is None else key_length, "head_dim": head_dim,
        "value_dim": head_dim if value_dim is None else value_dim,
    }
    numbers = {name: whole(value, name) for name, value in values.items()}
    return Sizes(
        **numbers, query_type=type_number("dtype", dtype),
        key_value_type=type_number("kv_dtype", dtype if kv_dtype is None else kv_dtype),
        output_type=type_number("out_dtype", dtype if out_dtype is None else out_dtype))
