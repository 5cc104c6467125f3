#!/usr/bin/env bash
# ggml_mul_mat on the CPU with weights of fp16: activations of 70,000 make infinity and NaN, where weights of
# bf16, of 8 and of 4 bits are right.
#
# Guess:    weights in fp16 are widened where they meet activations in fp32, and the product and its result
#           are fp32: fp16 is the safe choice among the small types, and coarser types only cost digits.
#           GGML_PREC_F32 asks for fp32 in so many words.
# Happens:  the activations are narrowed to the type that goes with the weights: fp16 for fp16, which ends
#           at 65,504. Above it is infinity, and infinities of two signs are NaN. bf16 has fp32's range, and
#           quantised weights take blocks of 8 bits with a scale of their own, so both come through.
#           ggml_mul_mat_set_prec(GGML_PREC_F32) changes nothing.
#           ggml_flash_attn_ext does the same to its queries: above 65,504 a cache of fp16 gives NaN.
# Instead:  weights of bf16, or of fp32, where a model has activations that large.
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

d, rows = 64, 32
random = np.random.default_rng(0)
weights = random.uniform(-1, 1, (rows, d)).astype(np.float32)
activations = random.uniform(-1, 1, d).astype(np.float32)
activations[:2] = 1, -1


def computed(build):
    context = ggml.ggml_init(ggml.ggml_init_params(mem_size=1 << 22, mem_buffer=None))

    def tensor(type_, array):
        made = ggml.ggml_new_tensor_3d(context, type_, d, array.size // d, 1)
        numbers = array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        ggml.ggml_quantize_chunk(type_, numbers, ggml.ggml_get_data(made), 0, array.size // d, d, None)
        return made

    result = build(context, tensor)
    graph = ggml.ggml_new_graph(context)
    ggml.ggml_build_forward_expand(graph, result)
    ggml.ggml_graph_compute_with_ctx(context, graph, 1)
    count = ggml.ggml_nelements(result)
    output = np.array((ctypes.c_float * count).from_address(ggml.ggml_get_data(result)))
    ggml.ggml_free(context)
    return output


def word(output, right):
    finite = np.isfinite(output)
    if not finite.all():
        kinds = [name for name, test in (("inf", np.isinf), ("NaN", np.isnan)) if test(output).any()]
        return " and ".join(kinds)
    gap = np.abs(output - right).max() / np.abs(right).max()
    return next(f"within {bound:g}" for bound in (1e-6, 1e-3, 1e-2, 0.1, np.inf) if gap < bound)


def product(type_, scale, precision):
    large = (activations * np.float32(scale)).copy()

    def build(context, tensor):
        result = ggml.ggml_mul_mat(
            context, tensor(type_, weights), tensor(ggml.GGML_TYPE_F32, large))
        ggml.ggml_mul_mat_set_prec(result, precision)
        return result

    return word(computed(build), weights.astype(np.float64) @ large)


def attention(type_, scale):
    query = np.full(d, scale, np.float32)
    keys, values = np.zeros((rows, d), np.float32), weights

    def build(context, tensor):
        return ggml.ggml_flash_attn_ext(
            context, tensor(ggml.GGML_TYPE_F32, query), tensor(type_, keys), tensor(type_, values),
            None, 1.0, 0.0, 0.0)

    return word(computed(build), values.astype(np.float64).mean(0))


for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0"):
    type_ = getattr(ggml, f"GGML_TYPE_{name}")
    print(f"weights {name:4}: up to 60,000 {product(type_, 6e4, ggml.GGML_PREC_DEFAULT)}, "
          f"to 70,000 {product(type_, 7e4, ggml.GGML_PREC_DEFAULT)}, "
          f"and GGML_PREC_F32 {product(type_, 7e4, ggml.GGML_PREC_F32)}")
for name in ("F32", "F16", "BF16", "Q8_0"):
    print(f"cache {name:6}: query of 70,000 {attention(getattr(ggml, f'GGML_TYPE_{name}'), 7e4)}")
PYTHON

diff - "$work/seen" <<'SEEN'
weights F32 : up to 60,000 within 1e-06, to 70,000 within 1e-06, and GGML_PREC_F32 within 1e-06
weights F16 : up to 60,000 within 0.001, to 70,000 NaN, and GGML_PREC_F32 NaN
weights BF16: up to 60,000 within 0.01, to 70,000 within 0.01, and GGML_PREC_F32 within 0.01
weights Q8_0: up to 60,000 within 0.01, to 70,000 within 0.01, and GGML_PREC_F32 within 0.01
weights Q4_0: up to 60,000 within 0.1, to 70,000 within 0.1, and GGML_PREC_F32 within 0.1
cache F32   : query of 70,000 within 1e-06
cache F16   : query of 70,000 NaN
cache BF16  : query of 70,000 within 0.01
cache Q8_0  : query of 70,000 within 0.01
SEEN
