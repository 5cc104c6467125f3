"""OpenVINO, opset13 ScaledDotProductAttention on the CPU, computing in the type of its tensors."""

from __future__ import annotations

import numpy as np

from harness.bfloat16 import narrowed, widened
from harness.peer import Array, Peer
from harness.problem import Problem


class OpenVinoSDPA(Peer):
    """Inputs [kv_heads, h / kv_heads, n, d] where heads are grouped, so that the operator
    broadcasts keys and values itself; [1, h, n, d] otherwise."""

    name = "openvino.sdpa"
    distribution = "openvino"

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        return problem.is_plain_softmax

    def __init__(self, problem: Problem, query: Array, key: Array, value: Array, threads: int):
        import openvino
        from openvino import opset13

        if problem.heads == problem.kv_heads:
            tensors = [array[np.newaxis] for array in (query, key, value)]
        else:
            group = problem.heads // problem.kv_heads
            grouped = query.reshape(problem.kv_heads, group, problem.n, problem.head_dim)
            tensors = [grouped, key[:, np.newaxis], value[:, np.newaxis]]
        self._is_bf16 = problem.dtype == "bf16"
        element = openvino.Type.bf16 if self._is_bf16 else openvino.Type.f32
        parameters = [opset13.parameter(list(array.shape), element) for array in tensors]
        attention = opset13.scaled_dot_product_attention(*parameters, causal=problem.causal)
        compiled = openvino.Core().compile_model(
            openvino.Model([attention], parameters, self.name),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": element,
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
        self._shape = query.shape
        self._request = compiled.create_infer_request()
        # Kept: the request reads them where they are.
        self._arrays = [narrowed(array) if self._is_bf16 else array for array in tensors]
        for index, array in enumerate(self._arrays):
            tensor = openvino.Tensor(array, openvino.Shape(array.shape), element)
            self._request.set_input_tensor(index, tensor)

    def run(self) -> None:
        self._request.infer()

    def output(self) -> Array:
        found = self._request.get_output_tensor(0).data
        # NumPy has no bf16; OpenVINO shows the bits as fp16.
        values = widened(found.view(np.uint16)) if self._is_bf16 else np.array(found)
        return values.reshape(self._shape)
