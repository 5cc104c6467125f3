#!/usr/bin/env bash
# ggml_flash_attn_ext on the CPU with a cache of fp16: a long context is added up in fp16 and fades away, or
# is infinity.
#
# Guess:    inputs in fp16 cost their rounding, 5e-4; sums of products are in fp32, as GGML_PREC_F32 asks
#           for. Of fp16, bf16 and Q8_0, fp16 is the most exact cache.
# Happens:  for fewer queries than a tile of 64, so for every step of decoding, the weighted sum of V is kept
#           in fp16 and rounded key by key; it is divided by the sum of weights, which is in fp32, at the
#           end. Equal weights on values of 1 stop at 2,048: the output of 8,192 keys is 0.25 instead of 1.
#           The sum of 2,048 values of 50 passes 65,504, and the output is infinite.
#           64 queries are right, and so are caches of bf16, Q8_0 and fp32. For one query threads share the
#           keys, each with a sum of its own, so the number of threads changes the result.
#           ggml_flash_attn_ext_set_prec changes nothing, no error is raised.
# Instead:  V in fp32, bf16 or Q8_0, with K of the same type.
# Seen in:  ggml-python 0.0.45, built from source on the CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ggml-python==0.0.45 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON' | tee "$work/seen"
import ctypes

import ggml
import numpy as np

d = 64


def attention(type_, keys, value=1.0, queries=1, threads=1, precision=ggml.GGML_PREC_DEFAULT):
    """Of queries and keys of zeros, which weigh all values alike, on equal values: the value is right."""
    context = ggml.ggml_init(ggml.ggml_init_params(mem_size=1 << 25, mem_buffer=None))

    def tensor(type_, rows, number):
        made = ggml.ggml_new_tensor_3d(context, type_, d, rows, 1)
        numbers = (ctypes.c_float * (d * rows))(*[number] * (d * rows))
        ggml.ggml_quantize_chunk(type_, numbers, ggml.ggml_get_data(made), 0, rows, d, None)
        return made

    result = ggml.ggml_flash_attn_ext(
        context, tensor(ggml.GGML_TYPE_F32, queries, 0.0), tensor(type_, keys, 0.0), tensor(type_, keys, value),
        None, 1.0, 0.0, 0.0)
    ggml.ggml_flash_attn_ext_set_prec(result, precision)
    graph = ggml.ggml_new_graph(context)
    ggml.ggml_build_forward_expand(graph, result)
    ggml.ggml_graph_compute_with_ctx(context, graph, threads)
    output = np.array((ctypes.c_float * (d * queries)).from_address(ggml.ggml_get_data(result)))
    ggml.ggml_free(context)
    assert (output == output[0]).all()
    return f"{output[0]:.3g}"


for name in ("F32", "F16", "BF16", "Q8_0"):
    type_ = getattr(ggml, f"GGML_TYPE_{name}")
    print(f"{name}, values of 1")
    print("  2048, 4096, 8192 keys   ", *(attention(type_, keys) for keys in (2048, 4096, 8192)))
    print("  8192 keys, 63, 64 rows  ", *(attention(type_, 8192, queries=rows) for rows in (63, 64)))
    print("  8192 keys, 2, 4 threads ", *(attention(type_, 8192, threads=count) for count in (2, 4)))
    print("  8192 keys, GGML_PREC_F32", attention(type_, 8192, precision=ggml.GGML_PREC_F32))
    print("  2048 keys, values of 50 ", attention(type_, 2048, 50.0))
PYTHON

diff - "$work/seen" <<'SEEN'
F32, values of 1
  2048, 4096, 8192 keys    1 1 1
  8192 keys, 63, 64 rows   1 1
  8192 keys, 2, 4 threads  1 1
  8192 keys, GGML_PREC_F32 1
  2048 keys, values of 50  50
F16, values of 1
  2048, 4096, 8192 keys    1 0.5 0.25
  8192 keys, 63, 64 rows   0.25 1
  8192 keys, 2, 4 threads  0.5 1
  8192 keys, GGML_PREC_F32 0.25
  2048 keys, values of 50  inf
BF16, values of 1
  2048, 4096, 8192 keys    1 1 1
  8192 keys, 63, 64 rows   1 1
  8192 keys, 2, 4 threads  1 1
  8192 keys, GGML_PREC_F32 1
  2048 keys, values of 50  50
Q8_0, values of 1
  2048, 4096, 8192 keys    1 1 1
  8192 keys, 63, 64 rows   1 1
  8192 keys, 2, 4 threads  1 1
  8192 keys, GGML_PREC_F32 1
  2048 keys, values of 50  50
SEEN
