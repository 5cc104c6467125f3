"""The work that every implementation is given."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """Self-attention of one sequence: query [h, n, d], key and value [kv_heads, n, d], fp32.

    `window` is the number of keys a causal query sees, its own included. `linear` asks for
    phi(q)^T S / (phi(q)^T z + 1e-6) with phi = elu + 1 instead of softmax.
    """

    n: int
    head_dim: int
    heads: int = 8
    kv_heads: int = 8
    causal: bool = False
    window: int | None = None
    linear: bool = False

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads on {self.kv_heads}: must be a multiple")
        if self.window is not None and (not self.causal or self.linear):
            raise ValueError("a window goes with causal softmax attention")

    @property
    def strategy(self) -> str:
        """What attnbench calls it."""
        if self.linear:
            return "linear"
        return "flash" if self.window is None else f"window({self.window})"

    @property
    def operator_class(self) -> str:
        """The column `class` of results.csv."""
        if self.linear:
            return "different"
        return "exact" if self.window is None else "restricted"

    @property
    def is_plain_softmax(self) -> bool:
        """Whether every key that causality leaves is seen."""
        return not self.linear and self.window is None

    @property
    def score_bytes(self) -> int:
        """What one fp32 score matrix for every head takes."""
        return 4 * self.heads * self.n * self.n

    def as_dict(self) -> dict[str, Any]:
        """For a request in JSON."""
        return asdict(self)
