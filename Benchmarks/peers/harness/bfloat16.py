"""bf16 in NumPy, which has no such type: the upper half of an fp32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .peer import Array


def rounded(array: Array) -> Array:
    """The nearest bf16 of each finite element, ties to even, as fp32."""
    bits = array.view(np.uint32)
    return widened(((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16))


def narrowed(array: Array) -> npt.NDArray[np.uint16]:
    """The bits of elements that are bf16 already."""
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def widened(bits: npt.NDArray[np.uint16]) -> Array:
    """Their values."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
