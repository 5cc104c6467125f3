"""Interleaved rounds: who runs when, and how often."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

#: A turn of a fast call lasts this long in all, so that the clock and the pipe do not matter.
TURN_SECONDS = 5e-3
#: Above this a sleeping thread pool's first call costs nothing that can be seen.
WARM_BELOW_SECONDS = 50e-3
MAXIMUM_REPEATS = 50


@dataclass
class Contestant:
    """An implementation with what it has been measured at."""

    name: str
    #: (untimed calls, timed calls) to wall and processor seconds of one call each.
    take: Callable[[int, int], tuple[list[float], list[float]]]
    #: What one call takes, roughly.
    estimate: float
    samples: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    started: list[float] = field(default_factory=list)

    @property
    def repeats(self) -> int:
        """Timed calls in a turn; the turn's sample is their median."""
        return max(1, min(MAXIMUM_REPEATS, round(TURN_SECONDS / self.estimate)))

    @property
    def warm(self) -> int:
        """Untimed calls before them, which wake the threads and fill the caches."""
        if self.estimate >= WARM_BELOW_SECONDS:
            return 0
        return max(1, self.repeats // 4)

    @property
    def turn_seconds(self) -> float:
        return self.estimate * (self.repeats + self.warm)


def sample_count(turn_seconds: float, seconds: float, minimum: int, maximum: int) -> int:
    """How many turns fit into `seconds`, within bounds."""
    return max(minimum, min(maximum, int(seconds / turn_seconds)))


def takes_part(round_index: int, rounds: int, count: int) -> bool:
    """Whether one with `count` turns has one in this round: spread evenly over all."""
    return (round_index + 1) * count // rounds > round_index * count // rounds


def schedule(counts: list[int], seed: int) -> list[list[int]]:
    """For each round the contestants that take part, in an order shuffled by the seed."""
    generator = random.Random(seed)
    rounds = max(counts, default=0)
    order = []
    for index in range(rounds):
        present = [i for i, count in enumerate(counts) if takes_part(index, rounds, count)]
        generator.shuffle(present)
        order.append(present)
    return order
