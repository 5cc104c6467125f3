"""Order statistics of samples, as attnbench computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

MINIMUM_SAMPLES = 5
RELATIVE_INTERVAL = 0.02


def interval_rank(count: int, confidence: float = 0.95) -> int:
    """The largest j, from 1, for which the j-th smallest and the j-th largest of `count` samples
    hold the median with `confidence`; 1 where none does. Le Boudec 2010, section 2.2."""
    rank, below = 1, 1
    while rank < (count + 1) // 2:
        below += comb(count, rank)
        if 1 - 2 * below / 2**count < confidence:
            break
        rank += 1
    return rank


def quantile(ordered: Sequence[float], share: float) -> float:
    """Linear between order statistics (type 7)."""
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True)
class Summary:
    count: int
    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        ordered = sorted(samples)
        rank = interval_rank(len(ordered))
        return cls(
            len(ordered),
            ordered[0],
            quantile(ordered, 0.25),
            quantile(ordered, 0.5),
            quantile(ordered, 0.75),
            (ordered[rank - 1], ordered[-rank]),
        )

    @property
    def relative_half_width(self) -> float:
        """Half of the interval as a share of the median."""
        return (self.interval[1] - self.interval[0]) / 2 / self.median

    def verdict(self) -> tuple[str, str]:
        """The columns `status` and `reason`."""
        if self.count < MINIMUM_SAMPLES:
            return "low_samples", f"{self.count} of {MINIMUM_SAMPLES} samples"
        if self.relative_half_width > RELATIVE_INTERVAL:
            width = 100 * self.relative_half_width
            return "noisy", f"median known to +-{width:.1f}%, over {100 * RELATIVE_INTERVAL:g}%"
        return "ok", ""
