#!/usr/bin/env bash
# transformers' dynamic and longrope positions: what a prompt gives depends on the prompts before it, on its
# neighbours in the batch, and on how it was cut.
#
# Guess:    rotation angles are a function of a token's position and of the configuration. In evaluation
#           mode a model without dropout is a function of its tokens, and a cache changes rounding alone.
# Happens:  "dynamic" stretches its angles to the longest sequence seen. That is a state of the module: it
#           grows with every longer call and is reset only by one below max_position_embeddings. The same
#           100 tokens have other logits after a prompt of 200, and get the old ones back after a short
#           prompt; 64 tokens, which fit and need no stretching, stay stretched too. So the order of the
#           texts changes an evaluation.
#           The length is the largest position of the whole batch, so a longer neighbour, or padding to its
#           length, does the same in one call. "longrope" has no history, but the same neighbours: it takes
#           its long factors for all rows when one needs them.
#           With both, cached keys keep the angles of the call they came in by: decoding past the limit
#           mixes two sets and differs from the prompt. No warning in any of these cases.
# Instead:  "yarn", "linear" or "llama3", whose angles are fixed; or call a model of dynamic angles on one
#           token before each text, and evaluate texts one by one without a cache.
# Seen in:  transformers 5.24.0, torch 2.13.0 on the CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0

"$work/venv/bin/python" -W ignore - <<'PYTHON' | tee "$work/seen"
import torch
from transformers import LlamaConfig, LlamaForCausalLM, set_seed

limit = 64
kinds = {
    "linear": {"factor": 2.0},
    "yarn": {"factor": 2.0, "original_max_position_embeddings": limit},
    "dynamic": {"factor": 2.0},
    "longrope": {
        "short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "factor": 4.0,
        "original_max_position_embeddings": limit},
}
text = torch.arange(200) ** 2 * 7 % 61


def fresh(kind):
    set_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        initializer_range=0.3, max_position_embeddings=4 * limit if kind == "longrope" else limit,
        rope_parameters={"rope_type": kind, "rope_theta": 10000.0} | kinds[kind])).eval()


def last(model, length):
    return model(text[None, :length]).logits[0, -1]


@torch.no_grad()
def answers(kind):
    """Logits of one text's last token, in pairs that should agree."""
    long, fits = last(fresh(kind), 100), last(fresh(kind), limit)
    model = fresh(kind)
    last(model, 200)
    yield "64 tokens, after a prompt of 200", last(model, limit), fits
    yield "100 tokens, after a prompt of 200", last(model, 100), long
    last(model, 20)
    yield "100 tokens, after a prompt of 20", last(model, 100), long
    batch, mask = torch.zeros(2, 200, dtype=torch.long), torch.ones(2, 200, dtype=torch.long)
    batch[0, :limit], batch[1], mask[0, limit:] = text[:limit], text, 0
    padded = fresh(kind)(batch, attention_mask=mask).logits[0, limit - 1]
    yield "64 tokens, beside a text of 200", padded, fits
    model, cache = fresh(kind), None
    for first, end in ((0, 60), (60, 100)):
        output = model(text[None, first:end], cache=cache, use_cache=True)
        cache = output.cache
    yield "100 tokens, as 60 and 40", output.logits[0, -1], long


table = {"": list(kinds)}
for kind in kinds:
    for what, found, right in answers(kind):
        gap = ((found - right).abs().max() / right.abs().max()).item()
        table.setdefault(what, []).append("same" if gap < 1e-4 else "other" if gap > 1e-2 else f"{gap:.0e}")
for what, row in table.items():
    print(f"{what:34}", *(f"{word:10}" for word in row[:-1]), row[-1])
PYTHON

diff - "$work/seen" <<'SEEN'
                                   linear     yarn       dynamic    longrope
64 tokens, after a prompt of 200   same       same       other      same
100 tokens, after a prompt of 200  same       same       other      same
100 tokens, after a prompt of 20   same       same       same       same
64 tokens, beside a text of 200    same       same       other      other
100 tokens, as 60 and 40           same       same       other      other
SEEN
