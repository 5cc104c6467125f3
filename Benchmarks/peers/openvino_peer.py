"""OpenVINO, opset13 ScaledDotProductAttention on the CPU, computing in the type of its tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from peer import Array, Case, Peer, main


def narrowed(array: Array) -> npt.NDArray[np.uint16]:
    """The bits of elements that are bf16 already."""
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def widened(bits: npt.NDArray[np.uint16]) -> Array:
    """Their values."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class OpenVinoSDPA(Peer):
    """Inputs [kv_heads, h / kv_heads, n, d] where heads are grouped, so that the operator
    broadcasts keys and values itself; [1, h, n, d] otherwise."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if not case.is_plain_softmax:
            return "softmax attention over all keys only"
        if case.causal and case.is_decoding:
            return "aligns a causal mask with the first key, not with the last"
        return None

    def __init__(self, case: Case, query: Array, key: Array, value: Array):
        import openvino
        from openvino import opset13

        if case.heads == case.kv_heads:
            tensors = [array[np.newaxis] for array in (query, key, value)]
        else:
            group = case.heads // case.kv_heads
            grouped = query.reshape(case.kv_heads, group, case.n_q, case.head_dim)
            tensors = [grouped, key[:, np.newaxis], value[:, np.newaxis]]
        self._is_bf16 = case.dtype == "bf16"
        element = openvino.Type.bf16 if self._is_bf16 else openvino.Type.f32
        parameters = [opset13.parameter(list(array.shape), element) for array in tensors]
        attention = opset13.scaled_dot_product_attention(*parameters, causal=case.causal)
        compiled = openvino.Core().compile_model(
            openvino.Model([attention], parameters, "attention"),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": element,
                "INFERENCE_NUM_THREADS": case.threads,
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


main("openvino", {"sdpa": OpenVinoSDPA})
