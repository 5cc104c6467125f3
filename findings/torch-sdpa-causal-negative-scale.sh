#!/usr/bin/env bash
# torch's scaled_dot_product_attention on the CPU, is_causal with a negative scale: NaN, without a word.
#
# Guess:    the scale is a factor on the scores like any other, and causality hides keys whatever its sign.
#           The same call with a causal attn_mask, or without causality, is right.
# Happens:  the flash kernel, which is the default, hides keys by -inf in the products and scales them
#           afterwards. A scale below 0 makes +inf of that, and every row that something is hidden from is
#           NaN; the last row, which sees all, is right. The math kernel is right, so whether a call is NaN
#           depends on what sends it there: a value dimension unlike the head dimension, for one.
# Instead:  negate the queries and give the scale's magnitude, or give the mask.
# Seen in:  torch 2.13.0 on the CPU, fp32, bf16 and fp64.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0

"$work/venv/bin/python" -W ignore - <<'PYTHON' | tee "$work/seen"
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as sdpa

torch.manual_seed(0)
q, k, v = (torch.randn(1, 2, 4, 8, dtype=torch.float64) for _ in range(3))
visible = torch.ones(4, 4, dtype=torch.bool).tril()


def right(scale):
    return torch.softmax((scale * q @ k.mT).masked_fill(~visible, -torch.inf), -1) @ v


def rows(output, scale):
    """How many of the 8 rows are NaN, and whether the others are right."""
    nan = output.isnan().any(-1)
    others = torch.allclose(output[~nan].double(), right(scale)[~nan], atol=2e-2)
    return f"{int(nan.sum())} of 8 rows NaN, the others {'right' if others else 'wrong'}"


for dtype in (torch.float64, torch.float32, torch.bfloat16):
    Q, K, V = q.to(dtype), k.to(dtype), v.to(dtype)
    name = str(dtype)[6:]
    print(f"{name:9}causal, scale 0.5:            ", rows(sdpa(Q, K, V, is_causal=True, scale=0.5), 0.5))
    print(f"{name:9}causal, scale -0.5:           ", rows(sdpa(Q, K, V, is_causal=True, scale=-0.5), -0.5))
    print(f"{name:9}the same by a mask:           ", rows(sdpa(Q, K, V, visible, scale=-0.5), -0.5))
    print(f"{name:9}queries negated, scale 0.5:   ", rows(sdpa(-Q, K, V, is_causal=True, scale=0.5), -0.5))
    with sdpa_kernel(SDPBackend.MATH):
        print(f"{name:9}causal, scale -0.5, math:     ", rows(sdpa(Q, K, V, is_causal=True, scale=-0.5), -0.5))
PYTHON

diff - "$work/seen" <<'SEEN'
float64  causal, scale 0.5:             0 of 8 rows NaN, the others right
float64  causal, scale -0.5:            6 of 8 rows NaN, the others right
float64  the same by a mask:            0 of 8 rows NaN, the others right
float64  queries negated, scale 0.5:    0 of 8 rows NaN, the others right
float64  causal, scale -0.5, math:      0 of 8 rows NaN, the others right
float32  causal, scale 0.5:             0 of 8 rows NaN, the others right
float32  causal, scale -0.5:            6 of 8 rows NaN, the others right
float32  the same by a mask:            0 of 8 rows NaN, the others right
float32  queries negated, scale 0.5:    0 of 8 rows NaN, the others right
float32  causal, scale -0.5, math:      0 of 8 rows NaN, the others right
bfloat16 causal, scale 0.5:             0 of 8 rows NaN, the others right
bfloat16 causal, scale -0.5:            6 of 8 rows NaN, the others right
bfloat16 the same by a mask:            0 of 8 rows NaN, the others right
bfloat16 queries negated, scale 0.5:    0 of 8 rows NaN, the others right
bfloat16 causal, scale -0.5, math:      0 of 8 rows NaN, the others right
SEEN
