"""The work that every implementation is given."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """Attention of one sequence: query [h, n, d], key and value [kv_heads, n_kv, d].

    `keys` is n_kv where it is not n: a step of decoding, whose queries see all keys.
    `window` is the number of keys a causal query sees, its own included. `linear` asks for
    phi(q)^T S / (phi(q)^T z + 1e-6) with phi = elu + 1 instead of softmax.
    `dtype` is how inputs and output are stored, in the words of results.csv.
    """

    n: int
    head_dim: int
    heads: int = 8
    kv_heads: int = 8
    causal: bool = False
    window: int | None = None
    linear: bool = False
    keys: int | None = None
    dtype: str = "fp32"

    def __post_init__(self) -> None:
        if self.keys is not None and (self.causal or self.linear):
            raise ValueError("a decoding step sees all keys, by softmax")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads on {self.kv_heads}: must be a multiple")
        if self.window is not None and (not self.causal or self.linear):
            raise ValueError("a window goes with causal softmax attention")
        if self.dtype not in ("fp32", "bf16"):
            raise ValueError(f"dtype {self.dtype}: must be fp32 or bf16")
        if self.dtype != "fp32" and not self.is_plain_softmax:
            raise ValueError("windows and linear attention are compared in fp32")

    @property
    def n_kv(self) -> int:
        """Key rows."""
        return self.n if self.keys is None else self.keys

    @property
    def is_decoding(self) -> bool:
        """Whether reading keys and values is what takes the time."""
        return self.keys is not None

    @property
    def strategies(self) -> tuple[str, ...]:
        """What attnbench calls it; the first is what the others' outputs are held against."""
        if self.linear:
            return ("linear",)
        if self.window is not None:
            return (f"window({self.window})",)
        if self.dtype == "bf16" and not self.is_decoding:
            return ("flash", "flash(arithmetic: bf16)")
        return ("flash",)

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
        return 4 * self.heads * self.n * self.n_kv

    def as_dict(self) -> dict[str, Any]:
        """For a request in JSON."""
        return asdict(self)
