"""What an error in one layer's attention costs the model.

One layer at a time runs a reduced attention; the loss rises by D, and the layer's output, on the inputs
that full attention would have had, is off by the relative L2 error e. To first order a plan's loss
increase is the sum over its layers of s_l e_l^2 with s_l = D / e^2: errors of different layers are
about as good as uncorrelated, and add up in their squares.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from .errors import ModelError
from .loading import Tokens, read_json
from .losses import token_losses
from .plans import Strategies, Use
from .statistics import Estimate, block_mean, positive_mean, shrunk
from .taps import AttentionCall, Survey, base, tapped

FORMAT, VERSION = "attnbench-sensitivity", 1
ERROR = 0.3
"""The relative error that a layer is given to measure its sensitivity. Losses differ by chance about as much
as a layer errs, and what an error costs goes with its square: a figure from an error of 0.05 is mostly noise,
and a choice finds the layers whose figures are low by chance."""
SHARES = (1 / 8, 1 / 12, 1 / 20, 1 / 32, 1 / 64)
"""Of the tokens: windows that a layer may run instead, the widest first."""


@dataclass(frozen=True)
class LayerSensitivity:
    """Nats of loss for each unit of squared relative error of a layer's output.

    Of several texts the increase is the mean over all their tokens, the squared error the mean of theirs.
    ``weight`` is what a prediction takes, ``strategy`` what the layer ran.
    """

    layer: int
    increase: Estimate
    squared_error: float
    weight: float = 0.0
    strategy: str = ""

    @property
    def measured(self) -> float:
        return self.increase.mean / self.squared_error if self.squared_error else 0.0

    @property
    def standard_error(self) -> float:
        return self.increase.standard_error / self.squared_error if self.squared_error else 0.0

    def as_json(self) -> dict[str, Any]:
        scale = self.squared_error or 1.0
        return {
            "layer": self.layer, "sensitivity": self.weight, "measured": self.measured,
            "interval": [finite(self.increase.low / scale), finite(self.increase.high / scale)],
            "loss_increase": self.increase.mean, "rel_l2_error": self.squared_error**0.5,
            "strategy": self.strategy,
        }


@dataclass(frozen=True)
class Sensitivities:
    """What predictions are made with: a weight for each layer, and the names of the texts it is of."""

    weights: Mapping[int, float]
    text: str


def weighed(layers: Sequence[LayerSensitivity]) -> list[LayerSensitivity]:
    """With the weights: each layer's own figure, drawn to that of all layers where it is uncertain.

    A layer whose figure is low by chance would be given large errors by a choice that goes by it. None is
    taken to be free: an error gains nothing, so that what is below 0 in a figure's distribution is left out.
    """
    figures = shrunk([layer.measured for layer in layers], [layer.standard_error for layer in layers])
    return [
        dataclasses.replace(layer, weight=positive_mean(*figure) if layer.squared_error else 0.0)
        for layer, figure in zip(layers, figures)]


def reduced_strategy(n: int, share: float = SHARES[0]) -> str:
    """What a layer is replaced by: a window of a share of the tokens, and four sinks."""
    return f"window({max(1, round(n * share))}, sinks: 4)"


@torch.inference_mode()
def measure(
    model: Any, tokens: Tokens, found: Survey, use: Use, *, strategy: str | None = None,
    progress: Callable[[int], None] = lambda layer: None,
) -> tuple[list[LayerSensitivity], torch.Tensor]:
    """Replaces each layer's attention in turn, on each text.

    By default each layer runs the window of ``SHARES`` whose error on the first text is nearest to ``ERROR``.
    The layers before it give what they gave, so each pass starts at the layer that is replaced: L layers take
    about L / 2 passes a text, with one layer's input kept, and the search for the windows about four more.
    Where a model does not allow that, whole passes are run, all with the widest of them.

    Args:
        strategy: what each layer runs instead.

    Returns:
        The layers' figures, and full attention's losses ``[texts (n - 1)]``.
    """
    losses: list[torch.Tensor] = []
    changes: dict[int, list[torch.Tensor]] = {number: [] for number in found.layers}
    squared: dict[int, list[float]] = {number: [] for number in found.layers}
    chosen: dict[int, str] = {} if strategy is None else dict.fromkeys(found.layers, strategy)
    for ids in tokens.rows:
        passes = _Passes(model, found, ids, use, token_losses(model, ids))
        losses.append(passes.losses)
        for number, layer in found.layers.items():
            if number not in chosen:
                chosen[number] = passes.window(number)
            error, changed = passes.replaced(number, [chosen[number]] * layer.heads)
            changes[number].append(changed - passes.losses)
            squared[number].append(error)
            progress(number)
    return weighed([
        LayerSensitivity(
            number, block_mean(torch.cat(changes[number])), fmean(squared[number]),
            strategy=chosen[number])
        for number in found.layers]), torch.cat(losses)


@torch.inference_mode()
def squared_errors(
    model: Any, tokens: Tokens, found: Survey, use: Use, strategies: Strategies, losses: torch.Tensor
) -> Mapping[int, float] | None:
    """The squared relative error of each layer's output on some texts, on full attention's inputs.

    No loss is computed. About three passes a text; None where a model's layers cannot be run one by one,
    which would make it many.

    Args:
        losses: full attention's, ``[texts (n - 1)]``.
    """
    squared: dict[int, list[float]] = {number: [] for number in found.layers if number in strategies}
    for ids, known in zip(tokens.rows, losses.split(tokens.count - 1)):
        passes = _Passes(model, found, ids, use, known)
        if not passes.is_exact:
            return None
        for number in squared:
            squared[number].append(passes.error(number, strategies[number])[0])
    return {number: fmean(errors) for number, errors in squared.items()}


class _Passes:
    """Passes over one text in which a single layer's attention is another."""

    def __init__(
        self, model: Any, found: Survey, ids: torch.Tensor, use: Use, losses: torch.Tensor
    ) -> None:
        self.model, self.found, self.ids, self.use, self.losses = model, found, ids, use, losses
        self.replay = _Replay(model, found)
        self.is_exact = self.replay.check(ids, losses, list(found.layers))
        self.known: tuple[int, torch.Tensor] | None = None

    def window(self, number: int) -> str:
        """The window whose error in the layer is nearest to ``ERROR``, by halving ``SHARES``."""
        n, heads = self.ids.shape[1], self.found.layers[number].heads
        if not self.is_exact:
            return reduced_strategy(n)
        errors: dict[int, float] = {}
        low, high = 0, len(SHARES)
        while low < high:
            middle = (low + high) // 2
            errors[middle] = self.error(number, [reduced_strategy(n, SHARES[middle])] * heads)[0] ** 0.5
            if errors[middle] < ERROR:
                low = middle + 1
            else:
                high = middle
        best = min(errors, key=lambda place: abs(math.log(max(errors[place], 1e-9) / ERROR)))
        return reduced_strategy(n, SHARES[best])

    def replaced(self, number: int, strategies: Sequence[str]) -> tuple[float, torch.Tensor]:
        """The squared relative error of the layer's output, and the losses."""
        return self.error(number, strategies, lambda: token_losses(self.model, self.ids))

    def error(
        self, number: int, strategies: Sequence[str], run: Callable[[], Any] | None = None
    ) -> tuple[float, Any]:
        """The error of the layer's output, and what a pass gives; by default it ends with the layer."""
        full = self.model.config._attn_implementation
        run = run or (lambda: self._run_to(number))
        if self.known is None or self.known[0] != number:
            start = self.replay.advance(self.ids, number) if self.is_exact else contextlib.nullcontext()
            with start, _recording(self.model, number) as expected:
                self._run_to(number)
            self.known = number, expected[0].double()
        try:
            self.use(self.model, {number: strategies})
            start = self.replay.resume(number) if self.is_exact else contextlib.nullcontext()
            with start, _recording(self.model, number) as given:
                result = run()
        finally:
            self.model.set_attn_implementation(full)
        whole = self.known[1]
        difference = given[0].double() - whole
        return (difference.square().sum() / whole.square().sum()).item(), result

    def _run_to(self, number: int) -> None:
        with _stopping_after(self.found.layers[number].module), contextlib.suppress(_Stop):
            base(self.model)(input_ids=self.ids, use_cache=False)


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
) -> str:
    """The file's text."""
    return json.dumps(
        {
            "format": FORMAT, "version": VERSION, "tool_version": version, "model": name,
            "text": tokens.text, "texts": tokens.texts, "tokens_sha256": tokens.sha256, "n": tokens.count,
            "loss": losses.mean().item(), "layers": [layer.as_json() for layer in layers],
        }, indent=2) + "\n"


def read_sensitivities(path: str, name: str, tokens_sha256: str | None = None) -> Sensitivities:
    """What an error in each layer costs.

    Args:
        name: the model's.
        tokens_sha256: of the texts that they have to be of; None for any.

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
        return Sensitivities(
            {int(layer["layer"]): float(layer["sensitivity"]) for layer in data["layers"]},
            str(data.get("text", "an unnamed text")))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"--sensitivity {path}: {error} is missing or no number; {again}") from error
