#!/usr/bin/env bash
# transformers' Mamba-2 with a finite time_step_limit: a prompt and its decoding are two models.
#
# Guess:    time_step_limit is a setting of the model: dt is clamped to it wherever dt is used, so that
#           tokens taken in one by one give the logits of the same tokens in one prompt.
# Happens:  the chunked scan, for prompts, clamps dt; the update of the state by a single token, for
#           decoding, is not given the limit. Where the limit cuts something off, logits of decoding differ
#           from those of the prompt, without a warning: by 3e-3 in this small random model, where rounding
#           makes 4e-7. With the default limit, (0, inf), they agree.
# Instead:  leave the limit at (0, inf), or clamp dt before: a prompt cut into parts of two tokens or more is
#           clamped throughout.
# Seen in:  transformers 5.24.0, torch 2.13.0 on the CPU, without mamba_ssm.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0

"$work/venv/bin/python" -W ignore - <<'PYTHON' 2>"$work/log" | tee "$work/seen"
import torch
from transformers import Mamba2Config, Mamba2ForCausalLM, set_seed

tokens = torch.arange(1, 13)[None]


def logits(limit, parts):
    """Of all tokens, taken in as parts of so many."""
    set_seed(0)
    config = Mamba2Config(
        vocab_size=32, hidden_size=32, num_hidden_layers=2, num_heads=4, head_dim=16, state_size=16,
        n_groups=1, chunk_size=8, time_step_limit=limit)
    model = Mamba2ForCausalLM(config).eval()
    cache, rows = None, []
    with torch.no_grad():
        for part in tokens.split(parts, dim=1):
            found = model(part, cache=cache, use_cache=True)
            cache = found.cache
            rows.append(found.logits)
    return torch.cat(rows, 1).double()


for limit in ((0.0, float("inf")), (0.0, 0.01)):
    whole = logits(limit, [12])
    for words, parts in (("8, then 4", [8, 4]), ("8, then 1, 1, 1, 1", [8, 1, 1, 1, 1])):
        gap = float((logits(limit, parts) - whole).abs().max() / whole.abs().max())
        print(f"{limit}: {words:18} {'as one prompt' if gap < 1e-5 else 'something else'}")
PYTHON

diff - "$work/seen" <<'SEEN'
(0.0, inf): 8, then 4          as one prompt
(0.0, inf): 8, then 1, 1, 1, 1 as one prompt
(0.0, 0.01): 8, then 4          as one prompt
(0.0, 0.01): 8, then 1, 1, 1, 1 something else
SEEN
