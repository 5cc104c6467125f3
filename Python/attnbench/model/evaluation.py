"""What a plan does to a model: its loss, and its time, beside full attention."""

from __future__ import annotations

import inspect
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from .loading import Tokens, ranges_text
from .losses import token_losses
from .plans import Plan, Use
from .sensitivity import Sensitivities, finite, squared_errors
from .statistics import Estimate, block_mean
from .taps import Survey

FORMAT, VERSION = "attnbench-model-evaluation", 1
STEPS = 8
APART = 1.5
"""Predictions that differ by more say that a plan does not fit a text as it fits those it was chosen on."""
VARIANTS = ("full", "plan")


@dataclass(frozen=True)
class Times:
    """Seconds of full attention and of the plan, one entry a measurement, in interleaved rounds."""

    prefill: Mapping[str, list[float]] = field(default_factory=lambda: {name: [] for name in VARIANTS})
    step: Mapping[str, list[float]] = field(default_factory=lambda: {name: [] for name in VARIANTS})


@dataclass(frozen=True)
class Evaluation:
    """Losses are means over the tokens of the texts, in nats.

    ``predicted`` is made with the errors that the plan states, of the tensors it was chosen on;
    ``predicted_here`` with ``errors``, the layers' relative errors on the texts that the plan is evaluated
    on. No loss of the plan is in either.
    """

    full: Estimate
    plan: Estimate
    increase: Estimate
    predicted: float | None
    times: Times | None
    predicted_here: float | None = None
    errors: Mapping[int, float] | None = None
    sensitivity_text: str = ""


def evaluate(
    model: Any, tokens: Tokens, plan: Plan, use: Use, *, sensitivities: Sensitivities | None = None,
    found: Survey | None = None, full_losses: torch.Tensor | None = None, rounds: int = 3, seed: int = 1,
    progress: Callable[[], None] = lambda: None,
) -> Evaluation:
    """The loss of a plan on some texts, paired token by token with full attention's; times of both.

    Args:
        found: with it and sensitivities the layers' errors on these texts are measured and predicted from.
        full_losses: full attention's, where they are known, ``[texts (n - 1)]``.
        rounds: of timing, after one that does not count; 0 times nothing.
        progress: called after each pass over the texts, ``passes(rounds)`` times at most.
    """
    implementation = model.config._attn_implementation
    if full_losses is None:
        full_losses = all_losses(model, tokens)
        progress()
    predicted, predicted_here, errors = None, None, None
    if sensitivities is not None:
        predicted = plan.predicted_increase(sensitivities.weights)
        if found is not None:
            squared = squared_errors(model, tokens, found, use, plan.replaced, full_losses)
            if squared is not None:
                errors = {layer: math.sqrt(value) for layer, value in squared.items()}
                predicted_here = plan.predicted_increase(sensitivities.weights, errors)
        progress()
    try:
        use(model, plan.heads)
        losses = all_losses(model, tokens)
        progress()
    finally:
        model.set_attn_implementation(implementation)
    return Evaluation(
        block_mean(full_losses), block_mean(losses), block_mean(losses - full_losses), predicted,
        measure_times(model, tokens.rows[0], plan, use, rounds=rounds, seed=seed, progress=progress)
        if rounds else None, predicted_here, errors, "" if sensitivities is None else sensitivities.text)


def all_losses(model: Any, tokens: Tokens) -> torch.Tensor:
    """The texts' losses behind each other, ``[texts (n - 1)]``."""
    return torch.cat([token_losses(model, ids) for ids in tokens.rows])


def timed_passes(rounds: int) -> int:
    """How many passes over the text ``measure_times`` makes."""
    return len(VARIANTS) * (rounds + 1) if rounds else 0


def passes(rounds: int) -> int:
    """How many steps an evaluation reports."""
    return len(VARIANTS) + 1 + timed_passes(rounds)


@torch.inference_mode()
def measure_times(
    model: Any, ids: torch.Tensor, plan: Plan, use: Use, *, rounds: int, seed: int = 1,
    progress: Callable[[], None] = lambda: None,
) -> Times:
    """Rounds of both variants in random order: the prompt into an empty cache, then single tokens."""
    from transformers import DynamicCache

    implementation = model.config._attn_implementation
    parameters = inspect.signature(type(model).forward).parameters
    name = "cache" if "cache" in parameters else "past_key_values"
    order, times = random.Random(seed), Times()
    for index in range(rounds + 1):
        for variant in order.sample(VARIANTS, len(VARIANTS)):
            try:
                if variant == "plan":
                    use(model, plan.heads)
                cache = DynamicCache(config=model.config)
                start = time.perf_counter()
                model(input_ids=ids, use_cache=True, logits_to_keep=1, **{name: cache})
                prefill = time.perf_counter() - start
                steps = []
                for step in range(STEPS + 1):
                    start = time.perf_counter()
                    model(input_ids=ids[:, step : step + 1], use_cache=True, **{name: cache})
                    steps.append(time.perf_counter() - start)
            finally:
                model.set_attn_implementation(implementation)
            if index > 0:
                times.prefill[variant].append(prefill)
                # The first step makes plans ready.
                times.step[variant] += steps[1:]
            progress()
    return times


def evaluation_json(result: Evaluation, tokens: Tokens, plan: Plan, *, name: str, version: str) -> str:
    """The whole result, every sample of the times included."""
    def estimate(value: Estimate) -> dict[str, Any]:
        return {
            "mean": value.mean, "low": finite(value.low), "high": finite(value.high),
            "blocks": value.blocks, "block_tokens": value.block_length}

    data: dict[str, Any] = {
        "format": FORMAT, "version": VERSION, "tool_version": version, "model": name, "plan": plan.path,
        "text": tokens.text, "texts": tokens.texts, "tokens_sha256": tokens.sha256, "n": tokens.count,
        "loss": {"full": estimate(result.full), "plan": estimate(result.plan)},
        "perplexity": {
            "full": finite(exponential(result.full.mean)), "plan": finite(exponential(result.plan.mean))},
        "loss_increase": estimate(result.increase), "predicted_loss_increase": result.predicted,
        "predicted_loss_increase_by_errors_here": result.predicted_here,
        "errors_here": None if result.errors is None else {
            str(layer): finite(error) for layer, error in result.errors.items()},
        "plan_errors_of": plan.inputs, "sensitivities_of": result.sensitivity_text or None,
        "torch_threads": torch.get_num_threads(),
    }
    if result.times is not None:
        data["prefill_s"], data["decode_step_s"] = dict(result.times.prefill), dict(result.times.step)
    return json.dumps(data, indent=2)


def evaluation_text(result: Evaluation, tokens: Tokens, plan: Plan) -> str:
    """The result as a table, with what it means below."""
    full, given, increase = result.full, result.plan, result.increase
    ratio = exponential(increase.mean)
    rows = [
        ["", "full", "plan", "plan against full"],
        ["loss, nats a token", f"{full.mean:.4f}", f"{given.mean:.4f}",
         f"{increase.mean:+.4f}{_interval(increase)}"],
        ["perplexity", f"{exponential(full.mean):.4g}", f"{exponential(given.mean):.4g}",
         f"{100 * (ratio - 1):+.2f} %"],
    ]
    for label, value in (
        ("predicted, by the plan's errors", result.predicted),
        ("predicted, by errors on this text", result.predicted_here),
    ):
        if value is not None:
            rows.append([label, "", "", f"{value:+.4f}{_factor(value, result.increase.mean)}"])
    if result.times is not None:
        for label, samples in (("prefill", result.times.prefill), ("decode step", result.times.step)):
            medians = {name: median(samples[name]) for name in VARIANTS}
            rows.append([
                label, *(_range(samples[name]) for name in VARIANTS),
                f"{medians['full'] / medians['plan']:.2f} times as fast"])
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += [
        "",
        f"{tokens.predictions} predictions on {tokens.text}; interval: 95 %, of the paired differences, "
        f"from the means of {increase.blocks} blocks of {increase.block_length} neighbouring tokens (Student's t)",
    ]
    if result.times is not None:
        count = len(result.times.prefill["full"])
        lines.append(
            f"times: median (fastest to slowest) of {count} interleaved rounds; full is PyTorch's attention; "
            f"prefill of {tokens.count} tokens, then {STEPS} steps a round; torch's threads: "
            f"{torch.get_num_threads()}")
    lines += _basis(result, tokens, plan)
    if result.predicted is None and result.predicted_here is None and plan.errors:
        lines.append("next: --sensitivity FILE predicts the increase from the plan's errors")
    return "\n".join(lines)


def exponential(value: float) -> float:
    """exp, infinite where it is too large."""
    return math.exp(value) if value < 700 else math.inf


def _interval(value: Estimate) -> str:
    return "" if math.isnan(value.low) else f" ({value.low:+.4f} to {value.high:+.4f})"


def _factor(predicted: float, measured: float) -> str:
    if predicted <= 0 or measured <= 0:
        return ""
    return f" (measured is {measured / predicted:.2f} times that)"


def _basis(result: Evaluation, tokens: Tokens, plan: Plan) -> list[str]:
    """What the predictions were computed from, and what to do where they are apart."""
    if result.predicted is None and result.predicted_here is None:
        return []
    sources = []
    if result.predicted is not None:
        sources.append(f"those in {plan.path}" + (f", of {plan.inputs}" if plan.inputs else ""))
    if result.predicted_here is not None:
        sources.append(f"those measured here on {tokens.text}, without the plan's loss")
    lines = [
        "predicted: sum over layers of sensitivity x squared error; sensitivities of "
        f"{result.sensitivity_text}; errors: " + "; and ".join(sources)]
    if result.predicted and result.predicted_here and result.predicted_here > APART * result.predicted:
        lines.append(
            f"the plan's errors cost {result.predicted_here / result.predicted:.1f} times as much on "
            f"{tokens.text} as where it was chosen{_grown(result.errors or {}, plan)}: choose among windows "
            "alone (--strategy), and on a text of this kind too (--text A --text B)")
    return lines


def _grown(errors: Mapping[int, float], plan: Plan) -> str:
    """The layers whose errors are larger than the plan says, and what most of their heads run."""
    grown = [
        layer for layer, error in errors.items()
        if layer in plan.errors and error**2 > APART * plan.errors[layer] ** 2]
    if not grown:
        return ""
    families = Counter(head.partition("(")[0] for layer in grown for head in plan.heads[layer])
    return (
        f", most of all in layers {ranges_text(grown)} ("
        + ", ".join(f"{name}: {count} heads" for name, count in families.most_common()) + ")")


def _range(samples: list[float]) -> str:
    return f"{_seconds(median(samples))} ({_seconds(min(samples))} to {_seconds(max(samples))})"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"
