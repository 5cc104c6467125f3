"""The operands of a run: arrays, held to what a plan takes, and where they lie."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import _arrays as arrays_module
from ._arrays import BF16, BOOL, F16, F32, Arrays, address, arrays_of, fill, refuse_gradients
from ._library import AttentionError, Handle, NamedTensor, Operands, check, library, sized
from ._problem import Sizes


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
            self.query.data = address(q)
            self.key.data = address(k)
            self.value.data = address(v)
            self.output.data = address(out)
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

    def write_state(self, state: Any) -> None:
        """Points at an array for the state after all keys."""
        refuse_gradients("final_state", state)
        arrays, state = arrays_of("final_state", state)
        if arrays.element_type(state) != F32 or state.ndim != 4 or not arrays.is_writable(state):
            raise AttentionError(
                f"final_state = {state.dtype} {list(state.shape)}: must be a writable float32 array "
                "[b, hKV, d, dV]", 2)
        if fill(self.structure.final_state, arrays, state, F32) is not state:
            raise AttentionError(
                f"final_state = strides {arrays.strides(state)}: rows must be contiguous; give an array as "
                "numpy.empty makes it", 2)

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


def shared_heads(arrays: Arrays, q: Any, k: Any, v: Any) -> tuple[Any, Any]:
    """Query and key, each of their heads repeated where several heads of values share it."""
    if q.ndim < 3 or q.shape[-3] != k.shape[-3] or v.shape[-3] % k.shape[-3]:
        return q, k
    share = v.shape[-3] // k.shape[-3]
    return (q, k) if share <= 1 else (arrays.repeat_heads(q, share), arrays.repeat_heads(k, share))


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
