#!/usr/bin/env bash
# fla's two references of the gated delta rule, side by side in one file, take decay and beta the other way
# round.
#
# Guess:    naive_recurrent_gated_delta_rule and naive_chunk_gated_delta_rule compute one function, so the
#           arguments that they share come in one order.
# Happens:  the recurrent one takes (q, k, v, beta, g), the chunk one (q, k, v, g, beta). Both gates are
#           [b, n, h], so five arguments by position are taken by either, and one of the two calls computes
#           something else: exp(beta) as what is kept, and g, which is negative, as the strength of writing.
#           In kda and gla's files the gate comes before beta.
# Instead:  give g and beta by name: the two then agree to rounding.
# Seen in:  fla-core 0.6.0, its naive.py loaded by path, torch 2.13.0 on the CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  fla-core==0.6.0 einops==0.8.1 torch==2.13.0

"$work/venv/bin/python" -W ignore - <<'PYTHON' | tee "$work/seen"
import importlib.util
import inspect
import pathlib

import torch

folder = pathlib.Path(importlib.util.find_spec("fla").submodule_search_locations[0], "ops")
spec = importlib.util.spec_from_file_location("naive", folder / "gated_delta_rule" / "naive.py")
naive = importlib.util.module_from_spec(spec)
spec.loader.exec_module(naive)

torch.manual_seed(0)
q, k, v = (torch.randn(1, 64, 2, 8) / 8**0.5 for _ in range(3))
beta, g = torch.rand(1, 64, 2), -torch.rand(1, 64, 2)
recurrent, chunk = naive.naive_recurrent_gated_delta_rule, naive.naive_chunk_gated_delta_rule


def token_by_token():
    """The definition in fp64: S = e^g S, S += beta k (v - S^T k)^T, o = S^T q / sqrt(d)."""
    state, rows = torch.zeros(1, 2, 8, 8, dtype=torch.float64), []
    for t in range(64):
        state = state * g[:, t, :, None, None].double().exp()
        key, value = k[:, t].double(), v[:, t].double()
        new = beta[:, t, :, None] * (value - torch.einsum("bhkv,bhk->bhv", state, key))
        state = state + torch.einsum("bhk,bhv->bhkv", key, new)
        rows.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t].double()) / 8**0.5)
    return torch.stack(rows, 1)


right = token_by_token()
for function in (recurrent, chunk):
    print(function.__name__, *list(inspect.signature(function).parameters)[:5])
    for words, output in (
        ("by name    ", function(q=q, k=k, v=v, g=g, beta=beta)[0]),
        ("beta, g    ", function(q, k, v, beta, g)[0]),
        ("g, beta    ", function(q, k, v, g, beta)[0]),
    ):
        near = torch.allclose(output.double(), right, atol=1e-5)
        print(f"  {words} {'right' if near else 'something else'}")
PYTHON

diff - "$work/seen" <<'SEEN'
naive_recurrent_gated_delta_rule q k v beta g
  by name     right
  beta, g     right
  g, beta     something else
naive_chunk_gated_delta_rule q k v g beta
  by name     right
  beta, g     something else
  g, beta     right
SEEN
