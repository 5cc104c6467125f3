"""A model's loss, token by token, in little memory."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from .errors import ModelError
from .taps import base

LOGITS_BYTES = 64 << 20


@torch.inference_mode()
def token_losses(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """``-log p(token i + 1 | tokens to i)`` in nats, for all but the last: ``[1, n]`` to ``[n - 1]``.

    Logits of all positions would take n times the vocabulary; the head is run on as many positions at a
    time as keep them to 64 MiB.
    """
    return _losses_of_output(model, ids, base(model)(input_ids=ids, use_cache=False))


def _losses_of_output(model: Any, ids: torch.Tensor, output: Any) -> torch.Tensor:
    vocabulary = model.get_output_embeddings().weight.shape[0]
    rows = max(1, LOGITS_BYTES // (4 * vocabulary))
    parts = []
    with _answering(base(model), output):
        for start in range(0, ids.shape[1] - 1, rows):
            at = torch.arange(start, min(start + rows, ids.shape[1] - 1))
            # The model's own forward pass does to its logits whatever it does: caps, scales.
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=at).logits[0]
            parts.append(cross_entropy(logits.float(), ids[0, at + 1], reduction="none"))
    return torch.cat(parts)


def check_has_loss(model: Any) -> None:
    """Refuses a model that predicts no tokens."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None or "logits_to_keep" not in inspect.signature(type(model).forward).parameters:
        raise ModelError(
            f"{type(model).__name__}: predicts no next token, so it has no loss to compare; capture and "
            "attnbench recommend work without one")


@contextlib.contextmanager
def _answering(body: torch.nn.Module, output: Any) -> Iterator[None]:
    """A module that gives an answer which is known."""
    body.forward = lambda *arguments, **options: output
    try:
        yield
    finally:
        del body.forward
