"""ONNX Runtime, com.microsoft.MultiHeadAttention on the CPU: full attention in fp32."""

from __future__ import annotations

from harness.onnx_model import BoundModel, packed, unpacked
from harness.peer import Array, Peer
from harness.problem import Problem


class OnnxMultiHeadAttention(Peer):
    """Inputs [1, n, h * d], as projections produce them.

    The CPU kernel is for fp32 alone: a model in bf16 is refused (NOT_IMPLEMENTED), and one in fp16
    gets the fp32 kernel between casts, which is no kernel of its own.
    """

    name = "onnxruntime.mha"
    distribution = "onnxruntime"

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        same_heads = problem.heads == problem.kv_heads
        is_served = problem.is_plain_softmax and not problem.causal
        return is_served and same_heads and problem.dtype == "fp32"

    def __init__(self, problem: Problem, query: Array, key: Array, value: Array, threads: int):
        self._heads = problem.heads
        self._model = BoundModel(
            "MultiHeadAttention",
            {"query": packed(query), "key": packed(key), "value": packed(value)},
            {"output": (1, problem.n, problem.heads * problem.head_dim)},
            {"num_heads": problem.heads},
            threads,
        )

    def run(self) -> None:
        self._model.run()

    def output(self) -> Array:
        return unpacked(self._model.output("output"), self._heads)
