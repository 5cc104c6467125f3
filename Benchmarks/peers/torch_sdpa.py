"""PyTorch, scaled_dot_product_attention on the CPU with one backend at a time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from harness.peer import Array, Peer
from harness.problem import Problem


class TorchSDPA(Peer):
    """Inputs [1, h, n, d]."""

    distribution = "torch"
    backend: ClassVar[str]

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        return problem.is_plain_softmax

    def __init__(self, problem: Problem, query: Array, key: Array, value: Array, threads: int):
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        # For this process, once: the sdpa_kernel context would cost its entry in every timed call.
        # The switches are named for CUDA and hold for the CPU as well.
        torch.backends.cuda.enable_flash_sdp(self.backend == "flash")
        torch.backends.cuda.enable_math_sdp(self.backend == "math")
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        element = torch.bfloat16 if problem.dtype == "bf16" else torch.float32
        q, k, v = (torch.from_numpy(x).unsqueeze(0).to(element) for x in (query, key, value))
        grouped = problem.heads != problem.kv_heads
        self._attend = lambda: scaled_dot_product_attention(
            q, k, v, is_causal=problem.causal, enable_gqa=grouped
        )
        self._output: torch.Tensor | None = None

    def run(self) -> None:
        self._output = self._attend()

    def output(self) -> Array:
        if self._output is None:
            raise RuntimeError("nothing has run yet")
        return np.ascontiguousarray(self._output[0].float().numpy())


class TorchFlash(TorchSDPA):
    """Tiled."""

    name = "torch.sdpa.flash"
    backend = "flash"


class TorchMath(TorchSDPA):
    """Materialised scores, which is what a mask or an unusual shape falls back to."""

    name = "torch.sdpa.math"
    backend = "math"

    @classmethod
    def scratch_bytes(cls, problem: Problem) -> int:
        # Scores, their mask or copy, and the softmax of them.
        return 3 * problem.score_bytes
