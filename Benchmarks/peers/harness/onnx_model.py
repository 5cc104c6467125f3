"""A model of one ONNX Runtime operator with its inputs and outputs bound to memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .peer import Array


def packed(tensor: Array) -> Array:
    """[h, n, d] as [1, n, h * d]."""
    heads, n, head_dim = tensor.shape
    return np.ascontiguousarray(tensor.transpose(1, 0, 2)).reshape(1, n, heads * head_dim)


def unpacked(tensor: Array, heads: int) -> Array:
    """[1, n, h * d] as [h, n, d]."""
    _, n, width = tensor.shape
    return np.ascontiguousarray(tensor.reshape(n, heads, width // heads).transpose(1, 0, 2))


class BoundModel:
    """One `com.microsoft` operator. Binding spares the allocation and copy of outputs."""

    def __init__(
        self,
        operator: str,
        inputs: dict[str, npt.NDArray],
        outputs: dict[str, tuple[int, ...]],
        attributes: dict[str, Any],
        threads: int,
        shared: dict[str, str] | None = None,
    ):
        """`shared`: outputs that are written into the memory of an input.

        Outputs have the element type of the first input.
        """
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper

        types = {
            "float32": TensorProto.FLOAT,
            "float16": TensorProto.FLOAT16,
            "int32": TensorProto.INT32,
        }
        dtype = next(iter(inputs.values())).dtype
        graph = helper.make_graph(
            [
                helper.make_node(
                    operator, list(inputs), list(outputs), domain="com.microsoft", **attributes
                )
            ],
            operator,
            [
                helper.make_tensor_value_info(name, types[str(array.dtype)], array.shape)
                for name, array in inputs.items()
            ],
            [
                helper.make_tensor_value_info(name, types[str(dtype)], shape)
                for name, shape in outputs.items()
            ],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
            ir_version=onnx.IR_VERSION_2023_5_5,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # One operator has nothing to be fused with; this keeps it the one that was asked for.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._inputs = {name: value(array) for name, array in inputs.items()}
        shared = shared or {}
        self._outputs = {
            name: self._inputs[shared[name]] if name in shared else value(np.zeros(shape, dtype))
            for name, shape in outputs.items()
        }
        self._binding = self._session.io_binding()
        for name, bound in self._inputs.items():
            self._binding.bind_ortvalue_input(name, bound)
        for name, bound in self._outputs.items():
            self._binding.bind_ortvalue_output(name, bound)

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def output(self, name: str) -> Array:
        """In fp32."""
        return self._outputs[name].numpy().astype(np.float32)
