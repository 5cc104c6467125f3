#!/usr/bin/env bash
# ONNX's Attention, is_causal with a padding mask [b, 1, 1, n]: three answers to one valid model.
#
# Guess:    the mask only has to broadcast to [b, h, nQ, nKV], says the operator; a row of padding a
#           sequence is the usual mask, so everybody does the same with it.
# Happens:  - onnx's own ReferenceEvaluator cuts the mask by the causal triangle before it broadcasts:
#             every query sees key 0 alone. Do not take it for an oracle here.
#           - ONNX Runtime's kernel for opsets 23 and 24 refuses a mask whose query axis is 1, unless there is one query.
#           - ONNX Runtime for opset 25 has no kernel, runs the operator's definition, and is right.
# Instead:  expand the mask to [b, 1, nQ, nKV] before it goes in. The reference is right then too.
# Seen in:  onnx 1.23.2, onnxruntime 1.32.0.
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
from onnx.reference import ReferenceEvaluator

# Queries of zeros weigh all the keys they see alike; row i of V is unit vector i, so the output is the
# matrix of weights. Key 1 is padding.
n = 4
zeros = np.zeros((1, 1, n, n), np.float32)
padding = np.array([True, False, True, True]).reshape(1, 1, 1, n)
feeds = {"q": zeros, "k": zeros, "v": np.eye(n, dtype=np.float32).reshape(1, 1, n, n)}


def model(opset, mask):
    inputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 1, n, n]) for x in feeds]
    inputs.append(helper.make_tensor_value_info("mask", TensorProto.BOOL, list(mask.shape)))
    node = helper.make_node("Attention", ["q", "k", "v", "mask"], ["y"], is_causal=1)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, n, n])
    graph = helper.make_graph([node], "g", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=11)


def rows(output):
    return " / ".join(" ".join("." if w == 0 else "#" for w in row) for row in output[0, 0])


def runtime(opset, mask):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model(opset, mask).SerializeToString(), options, providers=["CPUExecutionProvider"])
    try:
        return rows(session.run(None, {**feeds, "mask": mask})[0])
    except Exception as error:
        return "refused: " + str(error).strip().split(" was false. ")[-1]


for name, mask in (
    ("[1, 1, 1, 4]", padding),
    ("[1, 1, 4, 4]", np.broadcast_to(padding, (1, 1, n, n)).copy()),
):
    print("mask", name, "(# seen, one row a query)")
    reference = ReferenceEvaluator(model(25, mask)).run(None, {**feeds, "mask": mask})[0]
    print("  onnx reference      ", rows(reference))
    for opset in (23, 24, 25):
        print(f"  onnxruntime, opset {opset}", runtime(opset, mask))
PYTHON

diff - "$work/seen" <<'SEEN'
mask [1, 1, 1, 4] (# seen, one row a query)
  onnx reference       # . . . / # . . . / # . . . / # . . .
  onnxruntime, opset 23 refused: inconsistent q_sequence_length (between attn_mask and Q)
  onnxruntime, opset 24 refused: inconsistent q_sequence_length (between attn_mask and Q)
  onnxruntime, opset 25 # . . . / # . . . / # . # . / # . # #
mask [1, 1, 4, 4] (# seen, one row a query)
  onnx reference       # . . . / # . . . / # . # . / # . # #
  onnxruntime, opset 23 # . . . / # . . . / # . # . / # . # #
  onnxruntime, opset 24 # . . . / # . . . / # . # . / # . # #
  onnxruntime, opset 25 # . . . / # . . . / # . # . / # . # #
SEEN
