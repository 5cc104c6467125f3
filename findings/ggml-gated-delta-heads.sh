#!/usr/bin/env bash
# ggml_gated_delta_net with fewer key heads than value heads pairs them otherwise than transformers and fla,
# and has its state the other way round.
#
# Guess:    value heads share key heads in consecutive groups, as query heads share key heads in grouped
#           attention and as Qwen3-Next's own code repeats them: value head i takes key head i // (hV / hK).
#           The state is [d, dV] as fla and transformers have it.
# Happens:  value head i takes key head i % hK, as a tiled copy would; and the state, in and out, is
#           transposed, [dV, d] in the order of memory. As ggml wants d = dV here, and hV a multiple of hK,
#           tensors laid out the other way are taken without a word.
# Instead:  give value heads, their gates and states in the order 0, g, 2g, ..., 1, g + 1, ... for groups of
#           g, and transpose the state.
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

tokens, key_heads, value_heads, d = 5, 2, 4, 8
random = np.random.default_rng(0)
q, k = (random.standard_normal((tokens, key_heads, d)) / d**0.5 for _ in range(2))
v = random.standard_normal((tokens, value_heads, d))
g, beta = -random.random((tokens, value_heads, 1)), random.random((tokens, value_heads, 1))
past = random.standard_normal((value_heads, d, d))


def definition(pairs, past):
    """S = e^g S, S += beta k (v - S^T k)^T, o = S^T q / sqrt(d); value head i takes key head pairs[i]."""
    state, rows = past.copy(), []
    for t in range(tokens):
        key, query = k[t, pairs], q[t, pairs]
        state = state * np.exp(g[t])[..., None]
        new = beta[t] * (v[t] - np.einsum("hkv,hk->hv", state, key))
        state = state + key[..., None] * new[:, None]
        rows.append(np.einsum("hkv,hk->hv", state, query) / d**0.5)
    return np.stack(rows), state


def numbers(tensor, count):
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(ggml.ggml_get_data(tensor)))


def tensor(context, array):
    made = ggml.ggml_new_tensor_4d(context, ggml.GGML_TYPE_F32, *array.shape[::-1], 1)
    numbers(made, array.size)[:] = array.ravel()
    return made


context = ggml.ggml_init(ggml.ggml_init_params(mem_size=1 << 24, mem_buffer=None))
inputs = [tensor(context, array) for array in (q, k, v, g, beta, past)]
result = ggml.ggml_gated_delta_net(context, *inputs, 1)
graph = ggml.ggml_new_graph(context)
ggml.ggml_build_forward_expand(graph, result)
ggml.ggml_graph_compute_with_ctx(context, graph, 1)
count = tokens * value_heads * d
found = numbers(result, count + past.size).astype(np.float64)
output = found[:count].reshape(tokens, value_heads, d)
last = found[count:].reshape(past.shape)

for words, pairs in (("i // 2", [0, 0, 1, 1]), ("i % 2 ", [0, 1, 0, 1])):
    for layout, axes in (("[d, dV]", (0, 1, 2)), ("[dV, d]", (0, 2, 1))):
        right, state = definition(pairs, past.transpose(axes))
        agrees = np.allclose(output, right, atol=1e-5)
        same = np.allclose(last, state.transpose(axes), atol=1e-5)
        print(f"key head {words}, state {layout}: output {agrees}, last state {same}")
PYTHON

diff - "$work/seen" <<'SEEN'
key head i // 2, state [d, dV]: output False, last state False
key head i // 2, state [dV, d]: output False, last state False
key head i % 2 , state [d, dV]: output False, last state False
key head i % 2 , state [dV, d]: output True, last state True
SEEN
