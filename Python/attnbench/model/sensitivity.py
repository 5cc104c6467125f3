"""What an error in one layer's attention costs the model.

One layer at a time runs a reduced attention; the loss rises by D, and the layer's output, on the inputs
that full attention would have had, is off by the relative L2 error e. To first order a plan's loss
increase is the sum over its layers of s_l e_l^2 with s_l = D / e^2: errors of different layers are
about as good as uncorrelated, and add up in their squares.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .errors import ModelError
from .loading import Tokens, read_json
from .losses import token_losses
from .plans import Use
from .statistics import Estimate, block_mean
from .taps import AttentionCall, Survey, base, tapped

FORMAT, VERSION = "attnbench-sensitivity", 1


@dataclass(frozen=True)
class LayerSensitivity:
    """Nats of loss for each unit of squared relative error of a layer's output."""

    layer: int
    increase: Estimate
    squared_error: float

    @property
    def measured(self) -> float:
        return self.increase.mean / self.squared_error if self.squared_error else 0.0

    @property
    def weight(self) -> float:
        """At least a standard error: what cannot be told from 0 is not taken to be free."""
        if not self.squared_error:
            return 0.0
        least = self.increase.standard_error
        return max(self.increase.mean, least if least == least else 0.0, 0.0) / self.squared_error

    def as_json(self) -> dict[str, Any]:
        scale = self.squared_error or 1.0
        return {
            "layer": self.layer, "sensitivity": self.weight, "measured": self.measured,
            "interval": [finite(self.increase.low / scale), finite(self.increase.high / scale)],
            "loss_increase": self.increase.mean, "rel_l2_error": self.squared_error**0.5,
        }


def reduced_strategy(n: int) -> str:
    """What a layer is replaced by: a window of an eighth of the tokens, and four sinks."""
    return f"window({max(1, n // 8)}, sinks: 4)"


@torch.inference_mode()
def measure(
    model: Any, tokens: Tokens, found: Survey, use: Use, *, strategy: str | None = None,
    progress: Callable[[int], None] = lambda layer: None,
) -> tuple[list[LayerSensitivity], torch.Tensor]:
    """Replaces each layer's attention in turn.

    The layers before it give what they gave, so each pass starts at the layer that is replaced: L layers
    take about L / 2 passes, with one layer's input kept. Where a model does not allow that, whole passes
    are run.

    Returns:
        The layers' figures, and full attention's losses ``[n - 1]``.
    """
    full, ids = model.config._attn_implementation, tokens.ids
    strategy = strategy or reduced_strategy(tokens.count)
    losses = token_losses(model, ids)
    replay = _Replay(model, found)
    is_exact = replay.check(ids, losses, list(found.layers))
    result: list[LayerSensitivity] = []
    for number, layer in found.layers.items():
        start = replay.advance(ids, number) if is_exact else contextlib.nullcontext()
        with start, _recording(model, number) as expected, contextlib.suppress(_Stop):
            with _stopping_after(layer.module):
                base(model)(input_ids=ids, use_cache=False)
        try:
            use(model, {number: [strategy] * layer.heads})
            start = replay.resume(number) if is_exact else contextlib.nullcontext()
            with start, _recording(model, number) as given:
                changed = token_losses(model, ids)
        finally:
            model.set_attn_implementation(full)
        difference, whole = given[0].double() - expected[0].double(), expected[0].double()
        squared = (difference.square().sum() / whole.square().sum()).item()
        result.append(LayerSensitivity(number, block_mean(changed - losses), squared))
        progress(number)
    return result, losses


class _Stop(Exception):
    """A forward pass has come far enough."""


@contextlib.contextmanager
def _recording(model: Any, number: int) -> Iterator[list[torch.Tensor]]:
    """Collects a layer's attention output."""
    outputs: list[torch.Tensor] = []

    def observe(call: AttentionCall) -> None:
        if call.layer == number:
            outputs.append(call.output)

    with tapped(model, observe):
        yield outputs


@contextlib.contextmanager
def _stopping_after(module: torch.nn.Module) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise _Stop

    handle = module.register_forward_hook(stop)
    try:
        yield
    finally:
        handle.remove()


class _Replay:
    """Forward passes that start in the middle of a model's stack of layers."""

    def __init__(self, model: Any, found: Survey) -> None:
        self.model, self.stack = model, found.stack
        self.reached = 0
        self.input: torch.Tensor | None = None

    def check(self, ids: torch.Tensor, losses: torch.Tensor, numbers: list[int]) -> bool:
        """Whether a pass from the last layer on gives what the whole pass gave."""
        if self.stack is None:
            return False
        try:
            with self.advance(ids, numbers[-1]):
                again = token_losses(self.model, ids)
        except (RuntimeError, TypeError, KeyError, IndexError, AttributeError, ValueError):
            return False
        finally:
            self.reached, self.input = 0, None
        return bool(torch.allclose(again, losses, rtol=1e-4, atol=1e-4))

    def advance(self, ids: torch.Tensor, number: int) -> contextlib.AbstractContextManager[None]:
        """Runs full attention up to a layer's input and keeps it; then as ``resume``."""
        if number > self.reached or self.input is None:
            seen: list[torch.Tensor] = []

            def keep(module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
                seen.append(arguments[0] if arguments else options["hidden_states"])
                raise _Stop

            handle = self.stack[number].register_forward_pre_hook(keep, with_kwargs=True)
            try:
                with self.resume(self.reached), contextlib.suppress(_Stop):
                    base(self.model)(input_ids=ids, use_cache=False)
            finally:
                handle.remove()
            self.reached, self.input = number, seen[0].clone()
        return self.resume(number)

    @contextlib.contextmanager
    def resume(self, number: int) -> Iterator[None]:
        """While it lasts, passes start at a layer, with the input that was kept."""
        if self.input is None:
            yield
            return
        kept = self.input

        def replace(module: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
            if arguments:
                return (kept, *arguments[1:]), options
            return arguments, {**options, "hidden_states": kept}

        handle = self.stack[number].register_forward_pre_hook(replace, with_kwargs=True)
        before = list(self.stack[:number])
        for layer in before:
            layer.forward = lambda hidden_states, *_, **__: hidden_states
        try:
            yield
        finally:
            handle.remove()
            for layer in before:
                del layer.forward


def finite(value: float) -> float | None:
    """A number that JSON has, or None."""
    return value if value == value and abs(value) != float("inf") else None


def sensitivity_json(
    layers: list[LayerSensitivity], tokens: Tokens, losses: torch.Tensor, *, name: str, version: str,
    strategy: str,
) -> str:
    """The file's text."""
    return json.dumps(
        {
            "format": FORMAT, "version": VERSION, "tool_version": version, "model": name,
            "text": tokens.text, "tokens_sha256": tokens.sha256, "n": tokens.count, "strategy": strategy,
            "loss": losses.mean().item(), "layers": [layer.as_json() for layer in layers],
        }, indent=2) + "\n"


def read_sensitivities(path: str, name: str, tokens_sha256: str | None = None) -> Mapping[int, float]:
    """Nats for each unit of squared error, by layer, as measured.

    Args:
        name: the model's.
        tokens_sha256: of the text that they have to be of; None for any.

    Raises:
        ModelError: when the file is none, or of another model.
    """
    data = read_json(path, "--sensitivity")
    again = "remove the file to measure it anew"
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise ModelError(f"--sensitivity {path}: is no {FORMAT} of version {VERSION}; {again}")
    if data.get("model", name) != name:
        raise ModelError(f"--sensitivity {path}: is of {data['model']}, not of {name}; {again}")
    if tokens_sha256 not in (None, data.get("tokens_sha256")):
        raise ModelError(f"--sensitivity {path}: was measured on another text; {again}")
    try:
        return {
            int(layer["layer"]): float(layer.get("measured", layer["sensitivity"]))
            for layer in data["layers"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"--sensitivity {path}: {error} is missing or no number; {again}") from error
