#!/usr/bin/env bash
# mlx.core.softmax of bf16 scores: the weights of 4,096 keys sum to 16.
#
# Guess:    weights sum to 1 within the rounding of bf16. The denominator is a sum like any other, and
#           MLX's own sum of the same array is right.
# Happens:  the denominator is added up in the type of the scores. In bf16 it stays at 256 from 256
#           equal keys on, in fp16 at 2,048, so the weights of n equal keys sum to n / 256 and n / 2,048.
#           nn.softmax does the same; mx.fast.scaled_dot_product_attention does not.
# Instead:  mx.softmax(x, precise=True), which is off by default and documented as a matter of
#           precision, or scores in fp32.
# Seen in:  mlx 0.32.4 on the CPU; 0.28.0, 0.30.0 and 0.31.0 the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check mlx==0.32.4 mlx-cpu==0.32.4

"$work/venv/bin/python" - <<'PYTHON' | tee "$work/seen"
import mlx.core as mx
import mlx.nn as nn

mx.set_default_device(mx.cpu)


def total(weights):
    return weights.astype(mx.float32).sum().item()


for dtype in (mx.bfloat16, mx.float16):
    for n in (256, 4096, 32768):
        scores = mx.zeros(n, dtype=dtype)
        print(
            f"{str(dtype)[9:]:9}{n:6} equal scores: weights sum to",
            f"{total(mx.softmax(scores)):g}, precise {total(mx.softmax(scores, precise=True)):g}",
        )

scores = mx.zeros(4096, dtype=mx.bfloat16)
print(f"nn.softmax: {total(nn.softmax(scores)):g}")
print(f"sum of 4096 ones in bf16: {mx.ones(4096, dtype=mx.bfloat16).sum().item():g}")

query = mx.zeros((1, 1, 1, 64), dtype=mx.bfloat16)
ones = mx.ones((1, 1, 4096, 64), dtype=mx.bfloat16)
output = mx.fast.scaled_dot_product_attention(query, ones, ones, scale=0.125)
print(f"scaled_dot_product_attention over values of 1: {output[0, 0, 0, 0].item():g}")
PYTHON

diff - "$work/seen" <<'SEEN'
bfloat16    256 equal scores: weights sum to 1, precise 1
bfloat16   4096 equal scores: weights sum to 16, precise 1
bfloat16  32768 equal scores: weights sum to 128, precise 1
float16     256 equal scores: weights sum to 1, precise 1
float16    4096 equal scores: weights sum to 2, precise 1
float16   32768 equal scores: weights sum to 16, precise 1
nn.softmax: 16
sum of 4096 ones in bf16: 4096
scaled_dot_product_attention over values of 1: 1
SEEN
