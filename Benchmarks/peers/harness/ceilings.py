"""What the machine can do at most, measured beside the implementations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .process import Implementation


@dataclass(frozen=True)
class Ceilings:
    """The limits that one piece of work is held against: medians over its rounds."""

    #: Operations a second of products, by what is multiplied: `f32` or `bf16`.
    peaks: dict[str, float]
    #: The slowest and the fastest burst in fp32: drift shows here.
    range: tuple[float, float]
    #: Bytes a second read beyond the caches; None where reading is not what takes the time.
    read: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As meta.json has them."""
        entry: dict[str, Any] = {
            "fma_gflop_per_s": self.peaks["f32"] / 1e9,
            "fma_gflop_per_s_range": [rate / 1e9 for rate in self.range],
        }
        if "bf16" in self.peaks:
            entry["bf16_gflop_per_s"] = self.peaks["bf16"] / 1e9
        if self.read is not None:
            entry["read_gb_per_s"] = self.read / 1e9
        return entry


class CeilingSeries:
    """Bursts of one piece of work, one of each kind a round."""

    def __init__(self, worker: Implementation, arithmetics: Iterable[str], reads: bool):
        self._worker = worker
        # fp32 always: by its drift a disturbed machine is known.
        self._peaks: dict[str, list[float]] = {name: [] for name in sorted({"f32", *arithmetics})}
        self._reads = reads
        self._rates: list[float] = []

    def take(self) -> None:
        for arithmetic, rates in self._peaks.items():
            rates.append(self._worker.ask("peak", arithmetic=arithmetic)["per_second"])
        if self._reads:
            self._rates.append(self._worker.ask("bandwidth")["per_second"])

    def ceilings(self) -> Ceilings:
        return Ceilings(
            {name: float(np.median(rates)) for name, rates in self._peaks.items()},
            (min(self._peaks["f32"]), max(self._peaks["f32"])),
            float(np.median(self._rates)) if self._rates else None,
        )
