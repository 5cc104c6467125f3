#!/usr/bin/env bash
# transformers' gated delta rule in chunks, which a prompt goes through on a CPU: a decay that forgets
# everything costs three digits or gives NaN. Its form for decoding does neither.
#
# Guess:    log decays are at most 0, so every factor exp(...) is at most 1: nothing can overflow. A step of
#           -10,000 makes exp(g) exactly 0 in fp32, which starts the state afresh and loses nothing; -inf
#           is the same 0 said outright. Both forms agree to rounding.
# Happens:  the chunk form sums log decays along a chunk of 64 and takes differences of the sums. After a
#           step of -10,000 the sums have three decimals left, so decays within the rest of that chunk are
#           off by 1e-3; after -1e30 by all they are. -inf minus -inf is NaN, which the solved triangle
#           spreads to tokens before the step, and the state to all later chunks. The recurrent form,
#           which multiplies by exp(g), is right for all of them: so a prompt and its decoding differ.
# Instead:  cut the sequence where the state is to be forgotten, or clamp log decays at -20 or so: e^-20 is
#           below the rounding of a state, and the sums stay small.
# Seen in:  transformers 5.24.0 (qwen3_next), torch 2.13.0 on the CPU. The chunk form of kimi_linear and the
#           naive chunk forms of fla-core 0.6.0 take the same differences.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0

"$work/venv/bin/python" -W ignore - <<'PYTHON' | tee "$work/seen"
import torch
from transformers.models.qwen3_next.modeling_qwen3_next import (
    torch_chunk_gated_delta_rule as chunk,
    torch_recurrent_gated_delta_rule as recurrent,
)

torch.manual_seed(0)
n, d = 192, 16
q, k, v = (torch.randn(1, n, 1, d) for _ in range(3))
q, k = (torch.nn.functional.normalize(x, dim=-1) for x in (q, k))
beta, mild = torch.rand(1, n, 1), -0.2 * torch.rand(1, n, 1)


def definition(g):
    """In fp64."""
    state, rows = torch.zeros(d, d, dtype=torch.float64), []
    for t in range(n):
        state = state * g[0, t].double().exp()
        key, value = k[0, t, 0].double(), v[0, t, 0].double()
        state = state + beta[0, t] * torch.outer(key, value - state.T @ key)
        rows.append(state.T @ q[0, t, 0].double() / d**0.5)
    return torch.stack(rows)


def distance(output, right):
    gap = (output[0, :, 0].double() - right).abs() / right.abs().max()
    if gap.isnan().any():
        first = int(gap.isnan().any(-1).nonzero()[0])
        return f"NaN in {int(gap.isnan().any(-1).sum())} of {n} rows, the first is {first}"
    for bound in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
        if gap.max() < bound:
            return f"within {bound:.0e}"
    return "off by more than 0.1"


# One token of the second chunk, 64 to 127, forgets.
for low in (-20.0, -1e3, -1e4, -1e30, -torch.inf):
    g = mild.clone()
    g[0, 80] = low
    right = definition(g)
    for function in (recurrent, chunk):
        output, _ = function(q, k, v, g, beta)
        print(f"{low:<8g} {function.__name__:33} {distance(output, right)}")
PYTHON

diff - "$work/seen" <<'SEEN'
-20      torch_recurrent_gated_delta_rule  within 1e-06
-20      torch_chunk_gated_delta_rule      within 1e-06
-1000    torch_recurrent_gated_delta_rule  within 1e-06
-1000    torch_chunk_gated_delta_rule      within 1e-04
-10000   torch_recurrent_gated_delta_rule  within 1e-06
-10000   torch_chunk_gated_delta_rule      within 1e-03
-1e+30   torch_recurrent_gated_delta_rule  within 1e-06
-1e+30   torch_chunk_gated_delta_rule      off by more than 0.1
-inf     torch_recurrent_gated_delta_rule  within 1e-06
-inf     torch_chunk_gated_delta_rule      NaN in 128 of 192 rows, the first is 64
SEEN
