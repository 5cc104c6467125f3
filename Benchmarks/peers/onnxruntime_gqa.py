"""ONNX Runtime, com.microsoft.GroupQueryAttention on the CPU: causal, grouped, local window, and
decoding from a cache."""

from __future__ import annotations

import numpy as np

from harness.onnx_model import BoundModel, packed, unpacked
from harness.peer import Array, Peer
from harness.problem import Problem


class OnnxGroupQueryAttention(Peer):
    """A prompt without a past, or one step after a past of all keys but the last.

    The operator writes key and value into its cache outputs. In a step these are the memory of the
    past itself, as in a decoder that keeps its cache, so that only the new row is written.

    Work in bf16 is done in fp16, the 2-byte type that the CPU kernel has.
    """

    name = "onnxruntime.gqa"
    distribution = "onnxruntime"

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        return (problem.causal or problem.is_decoding) and not problem.linear

    @classmethod
    def dtype(cls, problem: Problem) -> str:
        return "fp16" if problem.dtype == "bf16" else problem.dtype

    @classmethod
    def scratch_bytes(cls, problem: Problem) -> int:
        return problem.score_bytes

    def __init__(self, problem: Problem, query: Array, key: Array, value: Array, threads: int):
        self._heads = problem.heads
        dtype = np.float16 if self.dtype(problem) == "fp16" else np.float32
        query, key, value = (array.astype(dtype, copy=False) for array in (query, key, value))
        cache = (1, problem.kv_heads, problem.n_kv, problem.head_dim)
        past = [np.zeros((1, problem.kv_heads, 0, problem.head_dim), dtype)] * 2
        shared = {}
        if problem.is_decoding:
            # A cache as long as it will be; its last row is written in the step.
            past = [key[np.newaxis].copy(), value[np.newaxis].copy()]
            shared = {"present_key": "past_key", "present_value": "past_value"}
            key, value = key[:, -1:], value[:, -1:]
        self._model = BoundModel(
            "GroupQueryAttention",
            {
                "query": packed(query),
                "key": packed(key),
                "value": packed(value),
                "past_key": past[0],
                "past_value": past[1],
                "seqlens_k": np.array([problem.n_kv - 1], np.int32),
                "total_sequence_length": np.array([problem.n_kv], np.int32),
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
            shared,
        )

    def run(self) -> None:
        self._model.run()

    def output(self) -> Array:
        return unpacked(self._model.output("output"), self._heads)
