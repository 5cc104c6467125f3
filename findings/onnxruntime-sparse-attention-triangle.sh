#!/usr/bin/env bash
# ONNX Runtime's SparseAttention: blocks above the diagonal are counted, and the count can turn the block
# mask off.
#
# Guess:    the operator is unidirectional, so a block above the diagonal has nothing to say: a layout and
#           its lower triangle give one output. A row without blocks gives 0.
# Happens:  the kernel tells by counts alone whether there is anything to mask. A row I that lists I + 1
#           blocks is taken as full, whichever they are; a layout of nb rows that lists nb (nb + 1) / 2 or
#           more is taken as full in all its rows. Those rows see every key up to their own, without a
#           word. A window |I - J| <= 1 that is left symmetric has 3 blocks in each of its middle rows,
#           and of 4 rows it is caught by both counts. Blocks above the diagonal are neither refused nor
#           are they out of bounds: the shape check allows nb^2 of them.
#           A row that lists nothing sees every key up to its own too, all with one weight.
# Instead:  cut the layout to its lower triangle before it becomes rows and columns, and set rows of
#           nothing to 0 afterwards.
# Seen in:  onnxruntime 1.32.0, CPU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON' | tee "$work/seen"
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

# Queries of zeros weigh all the keys they see alike; row i of V is unit vector i, so the output is the
# matrix of weights.
block, blocks = 16, 4
n = block * blocks
zeros, value = np.zeros((1, n, n), np.float32), np.eye(n, dtype=np.float32)[None]


def weights(layout):
    cache, length = np.zeros((1, 1, n, n), np.float32), np.array([n], np.int32)
    feeds = {
        "query": zeros, "key": zeros, "value": value, "past_key": cache, "past_value": cache.copy(),
        "rows": np.append(0, layout.sum(1).cumsum())[None].astype(np.int32),
        "columns": layout.nonzero()[1][None].astype(np.int32), "total": length, "lengths": length.copy()}
    results = {"output": zeros, "present_key": cache, "present_value": cache}
    node = helper.make_node(
        "SparseAttention", list(feeds), list(results), domain="com.microsoft", num_heads=1,
        kv_num_heads=1, sparse_block_size=block)
    graph = helper.make_graph([node], "g", *(
        [helper.make_tensor_value_info(x, helper.np_dtype_to_tensor_dtype(t.dtype), t.shape)
         for x, t in tensors.items()] for tensors in (feeds, results)))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"])
    # The operator wants each present in the memory of its past.
    binding = session.io_binding()
    values = {x: onnxruntime.OrtValue.ortvalue_from_numpy(t) for x, t in feeds.items()}
    for name, tensor in values.items():
        binding.bind_ortvalue_input(name, tensor)
    binding.bind_output("output")
    binding.bind_ortvalue_output("present_key", values["past_key"])
    binding.bind_ortvalue_output("present_value", values["past_value"])
    session.run_with_iobinding(binding)
    return binding.get_outputs()[0].numpy()[0]


def rows(layout):
    return " ".join("".join("#" if seen else "." for seen in row) for row in layout)


def blocks_of(matrix):
    return matrix.reshape(blocks, block, blocks, block).any((1, 3))


i, j = np.indices((blocks, blocks))
window = abs(i - j) <= 1
lower = np.tril(window)
row_2 = np.where(i == 2, window, lower)
empty = np.where(i == 2, False, lower)
print(f"{'':26}{'listed':20} {'its triangle':20} seen")
for name, layout in (
    ("window, lower triangle", lower), ("window, symmetric", window),
    ("row 2 alone symmetric", row_2), ("row 2 empty", empty),
):
    found = weights(layout)
    print(f"{name:26}{rows(layout)}  {rows(np.tril(layout))}  {rows(blocks_of(found))}")
mean = np.tri(n) / np.arange(1, n + 1)[:, None]
part = slice(2 * block, 3 * block)
print("the empty row is the mean of the values so far:", np.allclose(found[part], mean[part]))
PYTHON

diff - "$work/seen" <<'SEEN'
                          listed               its triangle         seen
window, lower triangle    #... ##.. .##. ..##  #... ##.. .##. ..##  #... ##.. .##. ..##
window, symmetric         ##.. ###. .### ..##  #... ##.. .##. ..##  #... ##.. ###. ####
row 2 alone symmetric     #... ##.. .### ..##  #... ##.. .##. ..##  #... ##.. ###. ..##
row 2 empty               #... ##.. .... ..##  #... ##.. .... ..##  #... ##.. ###. ..##
the empty row is the mean of the values so far: True
SEEN
