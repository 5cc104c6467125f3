"""ONNX Runtime, com.microsoft.GroupQueryAttention on the CPU: causal, grouped, local window."""

from __future__ import annotations

import numpy as np

from harness.onnx_model import BoundModel, packed, unpacked
from harness.peer import Array, Peer
from harness.problem import Problem


class OnnxGroupQueryAttention(Peer):
    """A prompt without a past. The operator also copies key and value into its cache outputs."""

    name = "onnxruntime.gqa"
    distribution = "onnxruntime"

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        return problem.causal and not problem.linear

    @classmethod
    def scratch_bytes(cls, problem: Problem) -> int:
        return problem.score_bytes

    def __init__(self, problem: Problem, query: Array, key: Array, value: Array, threads: int):
        self._heads = problem.heads
        cache = (1, problem.kv_heads, problem.n, problem.head_dim)
        past = np.zeros((1, problem.kv_heads, 0, problem.head_dim), np.float32)
        self._model = BoundModel(
            "GroupQueryAttention",
            {
                "query": packed(query),
                "key": packed(key),
                "value": packed(value),
                "past_key": past,
                "past_value": past,
                "seqlens_k": np.array([problem.n - 1], np.int32),
                "total_sequence_length": np.array([problem.n], np.int32),
            },
            {
                "output": (1, problem.n, problem.heads * problem.head_dim),
                "present_key": cache,
                "present_value": cache,
            },
            {
                "num_heads": problem.heads,
                "kv_num_heads": problem.kv_heads,
                # As attnbench counts a causal window, with the query's own key; -1 is none.
                "local_window_size": problem.window or -1,
                "smooth_softmax": 0,
            },
            threads,
        )

    def run(self) -> None:
        self._model.run()

    def output(self) -> Array:
        return unpacked(self._model.output("output"), self._heads)
