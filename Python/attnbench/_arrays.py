"""NumPy arrays and CPU PyTorch tensors as the library's tensors, without a copy where strides allow."""

from __future__ import annotations

import sys
from ctypes import addressof, c_char
from typing import Any, Protocol

import numpy as np

from ._library import AttentionError, Tensor

F32, F16, BF16, INT8_TOKEN, INT8_CHANNEL, BOOL = range(6)
TYPE_NAMES = {"f32": F32, "f16": F16, "bf16": BF16, "int8-token": INT8_TOKEN}


class Arrays(Protocol):
    """What differs between libraries of arrays."""

    def element_type(self, array: Any) -> int | None:
        """The library's number of the array's type; None where it has none."""

    def pointer(self, array: Any) -> int: ...

    def strides(self, array: Any) -> tuple[int, ...] | None:
        """In elements; None where they are no whole numbers of elements, or the array unaligned."""

    def copy(self, array: Any) -> Any:
        """Row-major, in memory of its own."""

    def empty(self, shape: tuple[int, ...], type: int, like: Any) -> Any: ...

    def to_float32(self, array: Any) -> Any: ...

    def is_writable(self, array: Any) -> bool: ...

    def repeat_heads(self, array: Any, times: int) -> Any:
        """A copy in which each head, of the third axis from the end, comes several times in a row."""


def address(array: np.ndarray) -> int:
    """Where an array's first element lies. ``__array_interface__`` makes a dictionary of all that it says;
    the buffer of a writable, row-major array says it in half the time."""
    try:
        return addressof(c_char.from_buffer(array))
    except (BufferError, TypeError, ValueError):
        return array.__array_interface__["data"][0]


class NumpyArrays:
    """NumPy arrays; bf16 as `ml_dtypes` has it."""

    name = "NumPy arrays"

    def element_type(self, array: np.ndarray) -> int | None:
        dtype = array.dtype
        if not dtype.isnative:
            return None
        return {"float32": F32, "float16": F16, "bfloat16": BF16, "bool": BOOL}.get(dtype.name)

    def pointer(self, array: np.ndarray) -> int:
        return address(array)

    def strides(self, array: np.ndarray) -> tuple[int, ...] | None:
        size = array.itemsize
        if self.pointer(array) % size or any(stride % size for stride in array.strides):
            return None
        return tuple(stride // size for stride in array.strides)

    def copy(self, array: np.ndarray) -> np.ndarray:
        return np.array(array, order="C")

    def empty(self, shape: tuple[int, ...], type: int, like: np.ndarray) -> np.ndarray:
        return np.empty(shape, np.float32 if type == F32 else np.float16 if type == F16 else like.dtype)

    def to_float32(self, array: np.ndarray) -> np.ndarray:
        # A finite number stays finite: an infinite one would hide a key.
        limit = np.finfo(np.float32).max.astype(array.dtype)
        return np.where(np.isfinite(array), np.clip(array, -limit, limit), array).astype(np.float32)

    def is_writable(self, array: np.ndarray) -> bool:
        return array.flags.writeable

    def repeat_heads(self, array: np.ndarray, times: int) -> np.ndarray:
        return array.repeat(times, array.ndim - 3)


class TorchArrays:
    """CPU tensors of PyTorch."""

    name = "PyTorch tensors"

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.types = {torch.float32: F32, torch.float16: F16, torch.bfloat16: BF16, torch.bool: BOOL}
        self.dtypes = {F32: torch.float32, F16: torch.float16, BF16: torch.bfloat16}

    def element_type(self, array: Any) -> int | None:
        return self.types.get(array.dtype)

    def pointer(self, array: Any) -> int:
        return array.data_ptr()

    def strides(self, array: Any) -> tuple[int, ...] | None:
        # Views of lazy conjugates and negatives do not exist for real numbers read by address.
        if array.is_neg():
            return None
        return array.stride()

    def copy(self, array: Any) -> Any:
        return array.clone(memory_format=self.torch.contiguous_format).resolve_neg()

    def empty(self, shape: tuple[int, ...], type: int, like: Any) -> Any:
        return self.torch.empty(shape, dtype=self.dtypes[type])

    def to_float32(self, array: Any) -> Any:
        limit = self.torch.finfo(self.torch.float32).max
        return self.torch.where(array.isfinite(), array.clamp(-limit, limit), array).float()

    def is_writable(self, array: Any) -> bool:
        return True

    def repeat_heads(self, array: Any, times: int) -> Any:
        return array.repeat_interleave(times, array.ndim - 3)


numpy_arrays = NumpyArrays()
_torch_arrays: TorchArrays | None = None
# torch.Tensor, once one has been seen.
torch_tensor: type | None = None


def _torch(array: Any) -> TorchArrays | None:
    """The way to PyTorch where `array` is a tensor of it: nobody else's program pays for the import."""
    global _torch_arrays, torch_tensor
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(array, torch.Tensor):
        return None
    if _torch_arrays is None:
        _torch_arrays = TorchArrays(torch)
        torch_tensor = torch.Tensor
    return _torch_arrays


def arrays_of(name: str, array: Any) -> tuple[Arrays, Any]:
    """Which library an array is of, and the array; of other libraries a NumPy view by DLPack.

    Raises AttentionError for what is no array on the CPU.
    """
    if isinstance(array, np.ndarray):
        return numpy_arrays, array
    torch = _torch(array)
    if torch is not None:
        if array.device.type != "cpu":
            raise AttentionError(f"{name} is on {array.device}: must be on the CPU; use {name}.cpu()")
        if array.layout != torch.torch.strided:
            raise AttentionError(f"{name} is {array.layout}: must be strided; use {name}.to_dense()")
        return torch, array
    if hasattr(array, "__dlpack__"):
        try:
            return numpy_arrays, np.from_dlpack(array)
        except (BufferError, RuntimeError, TypeError) as error:
            raise AttentionError(f"{name}: NumPy cannot view it: {error}") from error
    raise AttentionError(
        f"{name} is a {type(array).__name__}: must be a NumPy array, a PyTorch tensor or another array "
        "with DLPack"
    )


def refuse_gradients(name: str, array: Any) -> None:
    """There is no backward pass; a result that silently has no gradient would be wrong."""
    torch = _torch(array)
    if torch is not None and array.requires_grad and torch.torch.is_grad_enabled():
        raise AttentionError(
            f"{name} requires a gradient, and there is no backward pass; use torch.no_grad() or "
            f"{name}.detach()"
        )


def fill(tensor: Tensor, arrays: Arrays, array: Any, type: int, *, any_columns: bool = False) -> Any:
    """Points a tensor of up to four axes at an array; missing axes come first, with size 1.

    Returns the array pointed at, to be kept: a copy where its strides are none of the library's.
    """
    strides = arrays.strides(array)
    shape = tuple(array.shape)
    fits = strides is not None
    if strides is not None:
        rank = len(shape)
        for axis, (size, stride) in enumerate(zip(shape, strides)):
            if size <= 1:
                continue
            if stride < 0 or (not any_columns and axis == rank - 1 and stride != 1):
                fits = False
            if not any_columns and axis == rank - 2 and stride < shape[-1]:
                fits = False
    if not fits:
        array = arrays.copy(array)
        strides = arrays.strides(array)
    ones = 4 - len(shape)
    tensor.data = arrays.pointer(array)
    tensor.type = type
    tensor.shape[:] = (1,) * ones + shape
    tensor.strides[:] = (0,) * ones + tuple(strides)
    return array
