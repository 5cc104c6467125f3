"""Intervals of means of neighbouring tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def shrunk(means: Sequence[float], errors: Sequence[float]) -> list[tuple[float, float]]:
    """Means of one kind, each drawn to their common mean by as much as it is uncertain.

    Their true values are taken as normal about a common mean with a variance between them, which is
    estimated so that the weighted squared deviations are as many as their degrees of freedom (Paule and
    Mandel 1982); each mean then is weighed against the common one by the two variances (empirical
    Bayes). A mean whose standard error is NaN or 0 stays as it is.

    Args:
        errors: standard errors of the means.

    Returns:
        The means with what is left of their standard errors; 0 for those that stayed.
    """
    known = [place for place, error in enumerate(errors) if error > 0]
    result = [(mean, error if error > 0 else 0.0) for mean, error in zip(means, errors)]
    if len(known) < 3:
        return result
    squares = [errors[place] ** 2 for place in known]

    def common(between: float) -> tuple[float, float, float]:
        """The common mean, its variance, the weighted squared deviations from it."""
        weights = [1 / (between + square) for square in squares]
        mean = sum(w * means[place] for w, place in zip(weights, known)) / sum(weights)
        deviations = sum(w * (means[place] - mean) ** 2 for w, place in zip(weights, known))
        return mean, 1 / sum(weights), deviations

    degrees = len(known) - 1
    low = high = 0.0
    if common(0)[2] > degrees:
        # With so large a variance there are fewer than the degrees of freedom.
        high = sum((means[place] - common(0)[0]) ** 2 for place in known)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if common(middle)[2] > degrees else (low, middle)
    mean, variance, _ = common(high)
    for place, square in zip(known, squares):
        share = square / (high + square)
        result[place] = (
            (1 - share) * means[place] + share * mean, math.sqrt(share * high + share**2 * variance))
    return result


def positive_mean(mean: float, error: float) -> float:
    """The mean of a normal distribution from which what is below 0 has been cut off."""
    if not error > 0:
        return max(mean, 0.0)
    z = mean / error
    if z < -20:  # of the tail's series; the quotient below would be 0 / 0 further out
        return error * (-1 / z)
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return mean + error * density / (0.5 * math.erfc(-z / math.sqrt(2)))


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
