#!/usr/bin/env bash
# OpenVINO reads ONNX's Attention of opset 25 and leaves its window out.
#
# Guess:    left_window_size and right_window_size act, or the model is refused, as an operator set
#           that the reader does not know should be.
# Happens:  the model is read, compiled and run as full attention: no error, no warning. is_causal of
#           the same node acts.
# Instead:  give the window as attn_mask.
# Seen in:  openvino 2026.4.1; onnx 1.23.2's reference and onnxruntime 1.32.0 heed the window.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON' | tee "$work/seen"
import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

# Queries of zeros weigh all the keys they see alike; row i of V is unit vector i, so the output is the
# matrix of weights.
n = 5
zeros = np.zeros((1, 1, n, n), np.float32)
feeds = {"q": zeros, "k": zeros, "v": np.eye(n, dtype=np.float32).reshape(1, 1, n, n)}


def show(name, output):
    rows = ["".join("." if w == 0 else "#" for w in row) for row in np.asarray(output)[0, 0]]
    print(f"  {name:12}", " ".join(rows))


for attributes in (
    {"left_window_size": 1, "right_window_size": 0},
    {"left_window_size": 1, "right_window_size": -1, "is_causal": 1},
):
    node = helper.make_node("Attention", list(feeds), ["y"], **attributes)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 1, n, n]) for x in feeds],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, n, n])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11)
    data = model.SerializeToString()
    print(attributes)
    show("reference", ReferenceEvaluator(model).run(None, feeds)[0])
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    show("onnxruntime", session.run(None, feeds)[0])
    core = openvino.Core()
    show("openvino", core.compile_model(core.read_model(data), "CPU")(feeds)[0])
PYTHON

diff - "$work/seen" <<'SEEN'
{'left_window_size': 1, 'right_window_size': 0}
  reference    #.... ##... .##.. ..##. ...##
  onnxruntime  #.... ##... .##.. ..##. ...##
  openvino     ##### ##### ##### ##### #####
{'left_window_size': 1, 'right_window_size': -1, 'is_causal': 1}
  reference    #.... ##... .##.. ..##. ...##
  onnxruntime  #.... ##... .##.. ..##. ...##
  openvino     #.... ##... ###.. ####. #####
SEEN
