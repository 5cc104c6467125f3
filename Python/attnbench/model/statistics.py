"""Intervals of means of neighbouring tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

BLOCKS = 32
SMALLEST_BLOCK = 16


@dataclass(frozen=True)
class Estimate:
    """A mean with its two-sided 95 % interval; ``low`` and ``high`` are NaN where there is none."""

    mean: float
    low: float
    high: float
    blocks: int
    block_length: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def standard_error(self) -> float:
        return self.half_width / student_quantile(self.blocks - 1)


def block_mean(values: torch.Tensor) -> Estimate:
    """The mean of a series along a text, with an interval that bears autocorrelation.

    Neighbouring tokens' losses are correlated, so that the standard error of independent values would
    be too small. The series is cut into up to 32 blocks of equal length (at least 16 values each; what
    is over at the end counts in the mean only); means of long blocks are nearly independent, and
    Student's t of their spread gives the interval (non-overlapping batch means, Schmeiser 1982).

    Args:
        values: ``[n]``.
    """
    values = values.double()
    mean = values.mean().item()
    count = min(BLOCKS, len(values) // SMALLEST_BLOCK)
    if count < 2:
        return Estimate(mean, math.nan, math.nan, count, len(values))
    length = len(values) // count
    means = values[: count * length].view(count, length).mean(1)
    half = student_quantile(count - 1) * means.std().item() / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, count, length)


def student_quantile(degrees: int) -> float:
    """The 0.975 quantile of Student's t (Abramowitz and Stegun 26.7.5; tabled below 5 degrees)."""
    if degrees < 5:
        return (math.nan, 12.706, 4.303, 3.182, 2.776)[degrees]
    z = 1.959963985
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees ** (power + 1) for power, term in enumerate(terms))
