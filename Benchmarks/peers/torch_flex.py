"""PyTorch, FlexAttention compiled: sliding windows by a block mask."""

from __future__ import annotations

import numpy as np

from harness.peer import Array, Peer
from harness.problem import Problem


class TorchFlex(Peer):
    """Inputs [1, h, n, d]. Compiling needs a C++ compiler and is not timed."""

    name = "torch.flex"
    distribution = "torch"

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        return problem.window is not None

    def __init__(self, problem: Problem, query: Array, key: Array, value: Array, threads: int):
        import torch
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        q, k, v = (torch.from_numpy(array).unsqueeze(0) for array in (query, key, value))
        grouped = problem.heads != problem.kv_heads
        window = problem.window or problem.n

        def visible(b: object, h: object, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
            return (j <= i) & (i - j < window)

        mask = create_block_mask(visible, None, None, problem.n, problem.n, device="cpu")
        compiled = torch.compile(flex_attention)
        self._attend = lambda: compiled(q, k, v, block_mask=mask, enable_gqa=grouped)
        self._output: torch.Tensor | None = None

    def run(self) -> None:
        self._output = self._attend()

    def output(self) -> Array:
        if self._output is None:
            raise RuntimeError("nothing has run yet")
        return np.ascontiguousarray(self._output[0].numpy())
