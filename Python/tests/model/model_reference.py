"""The strategies ``flash`` and ``window(w, sinks: s)`` in plain torch: what attnbench is held against."""

from __future__ import annotations

import re

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

NAME = "attnbench_reference"


def visible(strategy: str, rows: int, columns: int) -> torch.Tensor:
    """``[rows, columns]``: what a strategy shows under a causal mask; the last row stands at the last key."""
    position = torch.arange(columns - rows, columns)[:, None]
    key = torch.arange(columns)[None]
    shown = key <= position
    if strategy == "flash":
        return shown
    width, sinks = re.fullmatch(r"window\((\d+)(?:, sinks: (\d+))?\)", strategy).groups()
    return shown & ((key > position - int(width)) | (key < int(sinks or 0)))


def attention(
    module, query, key, value, attention_mask, scaling=None, softcap=None, s_aux=None, **_
):
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query.double() @ key.double().transpose(2, 3) * (scaling or query.shape[3] ** -0.5)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is not None:
        scores = scores.masked_fill(attention_mask < -1, -torch.inf)
    strategies = getattr(module, "reference_strategies", None) or ["flash"] * query.shape[1]
    shown = torch.stack([visible(text, *scores.shape[2:]) for text in strategies])
    scores = scores.masked_fill(~shown, -torch.inf)
    if s_aux is not None:
        sinks = s_aux.double().view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    return (weights @ value.double()).to(query.dtype).transpose(1, 2).contiguous(), None


def use(model, strategies) -> None:
    """As ``attnbench.transformers.use``."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)
    for module in model.modules():
        if isinstance(getattr(module, "layer_idx", None), int):
            module.reference_strategies = strategies.get(module.layer_idx)
