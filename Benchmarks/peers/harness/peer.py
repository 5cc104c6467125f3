"""What a peer has to be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from .problem import Problem

Array = npt.NDArray[np.float32]


class Peer(ABC):
    """One library's way to compute attention.

    The class answers questions without its library; the library is imported when a peer is made,
    in a process that may already use no other cores than those it is given.
    """

    #: The column `strategy` of results.csv: `library.function`.
    name: ClassVar[str]
    #: The package on PyPI, for its version.
    distribution: ClassVar[str]

    @classmethod
    @abstractmethod
    def serves(cls, problem: Problem) -> bool:
        """Whether the library's function computes this at all."""

    @classmethod
    def dtype(cls, problem: Problem) -> str:
        """How its tensors are stored, in the words of results.csv."""
        return problem.dtype

    @classmethod
    def scratch_bytes(cls, problem: Problem) -> int:
        """Memory it takes beyond inputs and output, where that grows with n squared."""
        return 0

    @abstractmethod
    def __init__(self, problem: Problem, query: Array, key: Array, value: Array, threads: int):
        """Everything that is not timed: model, session, layout, element type, compilation.

        Arrays are fp32, of numbers that the problem's element type has.
        """

    @abstractmethod
    def run(self) -> None:
        """What is timed."""

    @abstractmethod
    def output(self) -> Array:
        """The result of the last run as [h, n, d] in fp32."""
