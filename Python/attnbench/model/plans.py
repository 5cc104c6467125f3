"""Plans for a model: a strategy for each query head of each layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._library import AttentionError
from .._strategies import operator_class
from .errors import ModelError, UsageError
from .loading import ranges_text, read_json
from .taps import Survey

MODEL_PLAN, HEAD_PLAN = "attnbench-model-plan", "attnbench-head-plan"
VERSION = 1
ROUNDING = 1e-5
"""A relative error that float32 may have in any order of its sums."""

Strategies = Mapping[int, Sequence[str]]
Use = Callable[[Any, Strategies], None]
"""Puts strategies into a model; layers that are not named run full attention."""


@dataclass(frozen=True)
class Plan:
    """Strategies by layer, and each layer's relative L2 error where the file has it.

    ``inputs`` names the tensors that these errors are of.
    """

    path: str
    heads: Strategies
    errors: Mapping[int, float]
    inputs: str | None = None

    @property
    def replaced(self) -> Strategies:
        """The layers that are off by more than float32's rounding: those where some head's strategy is not
        exact, and those that the file says so of, as of exact attention on products or values of 8 bits."""
        return {
            layer: heads for layer, heads in self.heads.items()
            if self.errors.get(layer, 0.0) > ROUNDING
            or any(operator_class(head) != "exact" for head in set(heads))}

    def predicted_increase(
        self, sensitivities: Mapping[int, float], errors: Mapping[int, float] | None = None
    ) -> float | None:
        """Sum over the layers of sensitivity times squared error, in nats; None where one is missing.

        Args:
            errors: relative errors by layer; those that the plan states by default.
        """
        errors = self.errors if errors is None else errors
        if any(layer not in sensitivities or layer not in errors for layer in self.replaced):
            return None
        return math.fsum(sensitivities[layer] * errors[layer] ** 2 for layer in self.replaced)


def read_plan(path: str, found: Survey, layer: int | None = None) -> Plan:
    """Reads a plan of a model, or of one layer (``attnbench-head-plan``), and holds it to the model.

    Raises:
        ModelError: when the file is no plan or does not fit the model.
        UsageError: when ``--layer`` is missing or not wanted.
    """
    data = read_json(path, "--plan")
    remake = "make one with attnbench recommend --save"
    kind = data.get("format") if isinstance(data, dict) else None
    if kind not in (MODEL_PLAN, HEAD_PLAN):
        raise ModelError(f"--plan {path}: format is {kind!r}, must be {MODEL_PLAN} or {HEAD_PLAN}; {remake}")
    if data.get("version") != VERSION:
        raise ModelError(
            f"--plan {path}: version {data.get('version')!r}, this attnbench reads {VERSION}; {remake}")
    try:
        if kind == MODEL_PLAN:
            if layer is not None:
                raise UsageError(f"--layer {layer}: {path} says itself which layers it is for; leave it out")
            entries = [
                (int(entry["layer"]), list(entry["heads"]), entry.get("rel_l2_error"))
                for entry in data["layers"]]
        else:
            if layer is None:
                raise UsageError(f"--plan {path}: is for one layer; say which with --layer")
            heads = sorted(data["heads"], key=lambda entry: entry["head"])
            measured = data.get("measured") or {}
            entries = [(layer, [entry["strategy"] for entry in heads], measured.get("rel_l2_error"))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"--plan {path}: {error} is missing or of the wrong kind; {remake}") from error
    if not entries:
        raise ModelError(f"--plan {path}: has no layers; {remake}")
    for number, heads, _ in entries:
        if number not in found.layers:
            why = found.left_out.get(number)
            raise ModelError(
                f"--plan {path}: layer {number}: " + (why or
                f"the model's layers are {ranges_text(list(found.layers))}") + "; the plan is for another model")
        if len(heads) != found.layers[number].heads or not all(isinstance(text, str) for text in heads):
            raise ModelError(
                f"--plan {path}: layer {number} has {len(heads)} strategies, the model "
                f"{found.layers[number].heads} query heads; the plan is for another model")
        for text in sorted(set(heads)):
            try:
                operator_class(text)
            except AttentionError as error:
                raise ModelError(f"--plan {path}: layer {number}: {error}") from error
    if len({number for number, _, _ in entries}) < len(entries):
        raise ModelError(f"--plan {path}: a layer stands in it twice; remove one of the entries")
    return Plan(
        path, {number: heads for number, heads, _ in entries},
        {number: float(error) for number, _, error in entries if error is not None},
        data["inputs"] if isinstance(data.get("inputs"), str) else None)


def attnbench_use(threads: int | None) -> Use:
    """Strategies computed by attnbench.

    Raises:
        ModelError: when its library cannot be loaded.
    """
    try:
        from attnbench.transformers import use
    except (ImportError, OSError) as error:
        raise ModelError(
            f"attnbench's library cannot be loaded ({error}); install the wheel that make python builds"
        ) from error

    def run(model: Any, strategies: Strategies) -> None:
        try:
            use(model, strategies, threads=threads)
        except AttentionError as error:
            raise ModelError(str(error)) from error

    return run
