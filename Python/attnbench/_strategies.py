"""What strategies there are, and what one that is written out means."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._handles import CLASSES, info_of, make_plan, spec_of
from ._library import library
from ._problem import Options, Sizes


@dataclass(frozen=True)
class Strategy:
    """A way to compute attention, as :func:`strategies` lists it.

    ``operator_class`` is ``"exact"`` (softmax over all visible keys), ``"restricted"`` (softmax over a
    subset of them) or ``"different"`` (another function). ``parameters`` are pairs of label and
    meaning; ``operands`` are tensors that it takes beyond query, key and value, as mappings with
    ``name``, ``axes``, ``meaning`` and ``optional``.
    """

    name: str
    aliases: tuple[str, ...]
    operator_class: str
    summary: str
    source: str
    parameters: tuple[tuple[str, str], ...]
    operands: tuple[Mapping[str, Any], ...]


def strategies() -> list[Strategy]:
    """Every strategy that the library knows by name."""
    return [
        Strategy(
            entry["name"], tuple(entry["aliases"]), entry["class"], entry["summary"], entry["source"],
            tuple((parameter["label"], parameter["help"]) for parameter in entry["parameters"]),
            tuple(entry["operands"]))
        for entry in json.loads(library.attnbench_strategies())
    ]


@functools.lru_cache(maxsize=4096)
def operator_class(strategy: str) -> str:
    """The class of a strategy as it is written, ``"window(512, sinks: 4)"``: see :class:`Strategy`.

    Raises:
        AttentionError: where the library does not know it.
    """
    plan = make_plan(Sizes(1, 1, 1, 1, 1, 1, 1), Options(strategy), None, 1)
    return CLASSES[info_of(library.attnbench_plan_info, plan).operator_class]


@functools.lru_cache(maxsize=4096)
def _resolved(strategy: str, causal: bool, heads: int, key_length: int) -> str:
    """The strategy with its parameters resolved for a number of keys, by the smallest of plans."""
    sizes = Sizes(1, heads, heads, 1, key_length, 1, 1)
    return spec_of(make_plan(sizes, Options(strategy, causal), None, 1))


def is_same(strategy: str, causal: bool, heads: int, one: int, other: int) -> bool:
    """Whether a strategy means the same for two numbers of keys: a stride that is not given follows
    them."""
    return _resolved(strategy, causal, heads, one) == _resolved(strategy, causal, heads, other)


def is_fixed(strategy: str, causal: bool, heads: int) -> bool:
    """Whether a strategy means the same for all numbers of keys, as most do."""
    return is_same(strategy, causal, heads, 1, 1 << 16)
