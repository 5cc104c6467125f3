"""What a plan does to a model: its loss, and its time, beside full attention."""

from __future__ import annotations

import inspect
import json
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from .loading import Tokens
from .losses import token_losses
from .plans import Plan, Use
from .sensitivity import finite
from .statistics import Estimate, block_mean

FORMAT, VERSION = "attnbench-model-evaluation", 1
STEPS = 8
VARIANTS = ("full", "plan")


@dataclass(frozen=True)
class Times:
    """Seconds of full attention and of the plan, one entry a measurement, in interleaved rounds."""

    prefill: Mapping[str, list[float]] = field(default_factory=lambda: {name: [] for name in VARIANTS})
    step: Mapping[str, list[float]] = field(default_factory=lambda: {name: [] for name in VARIANTS})


@dataclass(frozen=True)
class Evaluation:
    """Losses are means over the tokens of one text, in nats."""

    full: Estimate
    plan: Estimate
    increase: Estimate
    predicted: float | None
    times: Times | None


def evaluate(
    model: Any, tokens: Tokens, plan: Plan, use: Use, *, sensitivities: Mapping[int, float] | None = None,
    full_losses: torch.Tensor | None = None, rounds: int = 3, seed: int = 1,
    progress: Callable[[], None] = lambda: None,
) -> Evaluation:
    """The loss of a plan on a text, paired token by token with full attention's; times of both.

    Args:
        full_losses: full attention's, where they are known, ``[n - 1]``.
        rounds: of timing, after one that does not count; 0 times nothing.
        progress: called after each pass over the text, ``passes(rounds)`` times at most.
    """
    implementation = model.config._attn_implementation
    if full_losses is None:
        full_losses = token_losses(model, tokens.ids)
        progress()
    try:
        use(model, plan.heads)
        losses = token_losses(model, tokens.ids)
        progress()
    finally:
        model.set_attn_implementation(implementation)
    return Evaluation(
        block_mean(full_losses), block_mean(losses), block_mean(losses - full_losses),
        None if sensitivities is None else plan.predicted_increase(sensitivities),
        measure_times(model, tokens.ids, plan, use, rounds=rounds, seed=seed, progress=progress)
        if rounds else None)


def timed_passes(rounds: int) -> int:
    """How many passes over the text ``measure_times`` makes."""
    return len(VARIANTS) * (rounds + 1) if rounds else 0


def passes(rounds: int) -> int:
    """How many passes over the text an evaluation makes."""
    return len(VARIANTS) + timed_passes(rounds)


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
        "text": tokens.text, "tokens_sha256": tokens.sha256, "n": tokens.count,
        "loss": {"full": estimate(result.full), "plan": estimate(result.plan)},
        "perplexity": {
            "full": finite(exponential(result.full.mean)), "plan": finite(exponential(result.plan.mean))},
        "loss_increase": estimate(result.increase), "predicted_loss_increase": result.predicted,
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
    if result.predicted is not None:
        rows.append(["predicted loss increase", "", "", f"{result.predicted:+.4f}{_factor(result)}"])
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
        f"{tokens.count - 1} predictions on {tokens.text}; interval: 95 %, of the paired differences, from the "
        f"means of {increase.blocks} blocks of {increase.block_length} neighbouring tokens (Student's t)",
    ]
    if result.times is not None:
        count = len(result.times.prefill["full"])
        lines.append(
            f"times: median (fastest to slowest) of {count} interleaved rounds; full is PyTorch's attention; "
            f"prefill of {tokens.count} tokens, then {STEPS} steps a round; torch's threads: "
            f"{torch.get_num_threads()}")
    if result.predicted is None and plan.errors:
        lines.append("next: --sensitivity FILE predicts the increase from the plan's errors")
    return "\n".join(lines)


def exponential(value: float) -> float:
    """exp, infinite where it is too large."""
    return math.exp(value) if value < 700 else math.inf


def _interval(value: Estimate) -> str:
    return "" if math.isnan(value.low) else f" ({value.low:+.4f} to {value.high:+.4f})"


def _factor(result: Evaluation) -> str:
    if not result.predicted or result.predicted < 0 or result.increase.mean <= 0:
        return ""
    return f" (measured is {result.increase.mean / result.predicted:.2f} times that)"


def _range(samples: list[float]) -> str:
    return f"{_seconds(median(samples))} ({_seconds(min(samples))} to {_seconds(max(samples))})"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"
