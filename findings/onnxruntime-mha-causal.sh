#!/usr/bin/env bash
# ONNX Runtime's MultiHeadAttention, unidirectional with fewer queries than keys: the last query is
# bottom-right, all others are top-left.
#
# Guess:    one alignment for all rows: query i sees keys 0..i, or keys 0..i + nKV - nQ.
# Happens:  queries 0 to nQ - 2 see keys 0..i. The last one sees every key. One query alone, a step of
#           decoding, is a last query and looks right; a prompt in two parts is not.
# Instead:  pass the mask as attention_bias and leave unidirectional at 0.
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
keys = 6
key, value = np.zeros((1, keys, keys), np.float32), np.eye(keys, dtype=np.float32)[None]
for queries in (1, 2, 4, 6):
    feeds = {"q": np.zeros((1, queries, keys), np.float32), "k": key, "v": value}
    node = helper.make_node(
        "MultiHeadAttention", list(feeds), ["y"], domain="com.microsoft", num_heads=1,
        unidirectional=1)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, t.shape) for x, t in feeds.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"])
    print(f"{queries} queries on {keys} keys:")
    for row in session.run(None, feeds)[0][0]:
        print("  " + "".join("." if weight == 0 else "#" for weight in row))
PYTHON

diff - "$work/seen" <<'SEEN'
1 queries on 6 keys:
  ######
2 queries on 6 keys:
  #.....
  ######
4 queries on 6 keys:
  #.....
  ##....
  ###...
  ######
6 queries on 6 keys:
  #.....
  ##....
  ###...
  ####..
  #####.
  ######
SEEN
