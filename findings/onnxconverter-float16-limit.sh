#!/usr/bin/env bash
# onnxconverter-common's convert_float_to_float16 cuts weights at 10,000, ONNX Runtime's at 65,504.
#
# Guess:    onnxruntime.transformers.float16 is the same function under another name, and both leave
#           alone what fp16 can hold.
# Happens:  the older one replaces everything above 10,000 by 10,000, though fp16 reaches 65,504, and
#           raises what is below 1e-7 to 1e-7. A bias of -20,000 and one of -60,000 become equal. The
#           warning names one value a side, and here it is infinity, which both functions let pass.
# Instead:  max_finite_val=65504.0, min_positive_val=6e-8 says what fp16 can hold.
# Seen in:  onnxconverter-common 1.16.0 beside onnxruntime 1.32.0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  onnxconverter-common==1.16.0 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

"$work/venv/bin/python" - <<'PYTHON' | tee "$work/seen"
import warnings

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnxconverter_common import float16 as common
from onnxruntime.transformers import float16 as runtime

weights = np.array([1, 20_000, -60_000, 70_000, np.inf, 8e-8], np.float32)


def converted(convert, **limits):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [6])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [6])
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", [value], [result],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stored = numpy_helper.to_array(convert(model, **limits).graph.initializer[0])
    return " ".join(f"{x:g}" for x in stored), [str(w.message) for w in caught]


print("given      ", " ".join(f"{x:g}" for x in weights))
text, said = converted(common.convert_float_to_float16)
print("common     ", text)
for line in said:
    print("  warning: ", line)
print("common, set", converted(
    common.convert_float_to_float16, max_finite_val=65504.0, min_positive_val=6e-8)[0])
print("onnxruntime", converted(runtime.convert_float_to_float16)[0])
PYTHON

diff - "$work/seen" <<'SEEN'
given       1 20000 -60000 70000 inf 8e-08
common      1 10000 -10000 10000 inf 1.19209e-07
  warning:  the float32 number inf will be truncated to 10000.0
  warning:  the float32 number 7.999999951380232e-08 will be truncated to 1e-07
  warning:  the float32 number -60000.0 will be truncated to -10000.0
common, set 1 20000 -60000 65504 inf 5.96046e-08
onnxruntime 1 20000 -60000 65504 inf 5.96046e-08
SEEN
