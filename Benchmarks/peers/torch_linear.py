"""PyTorch, linear attention with phi = elu + 1 as its users write it."""

from __future__ import annotations

import numpy as np

from harness.peer import Array, Peer
from harness.problem import Problem

CHUNK = 128
EPSILON = 1e-6


class TorchLinear(Peer):
    """einsum over [1, h, n, d]; causal by chunks of 128 with a running state."""

    name = "torch.linear"
    distribution = "torch"

    @classmethod
    def serves(cls, problem: Problem) -> bool:
        return problem.linear and problem.heads == problem.kv_heads

    def __init__(self, problem: Problem, query: Array, key: Array, value: Array, threads: int):
        import torch
        from torch.nn.functional import elu, pad

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        tensors = [torch.from_numpy(array).unsqueeze(0) for array in (query, key, value)]

        def full() -> torch.Tensor:
            q, k, v = elu(tensors[0]) + 1, elu(tensors[1]) + 1, tensors[2]
            state = torch.einsum("bhnd,bhne->bhde", k, v)
            norm = torch.einsum("bhnd,bhd->bhn", q, k.sum(dim=2)) + EPSILON
            return torch.einsum("bhnd,bhde->bhne", q, state) / norm.unsqueeze(-1)

        def chunked() -> torch.Tensor:
            b, h, n, d = tensors[0].shape
            fill = -n % CHUNK
            # Padding comes after the features, so that a padded key is zero and adds nothing.
            q, k, v = (
                pad(x, (0, 0, 0, fill)).view(b, h, -1, CHUNK, d)
                for x in (elu(tensors[0]) + 1, elu(tensors[1]) + 1, tensors[2])
            )
            states = torch.einsum("bhcnd,bhcne->bhcde", k, v)
            before = states.cumsum(dim=2) - states
            sums = k.sum(dim=3)
            sums_before = sums.cumsum(dim=2) - sums
            scores = torch.einsum("bhcnd,bhcmd->bhcnm", q, k).tril()
            out = torch.einsum("bhcnm,bhcme->bhcne", scores, v)
            out = out + torch.einsum("bhcnd,bhcde->bhcne", q, before)
            norm = scores.sum(-1) + torch.einsum("bhcnd,bhcd->bhcn", q, sums_before) + EPSILON
            return (out / norm.unsqueeze(-1)).reshape(b, h, -1, d)[:, :, :n]

        self._attend = chunked if problem.causal else full
        self._output: torch.Tensor | None = None

    def run(self) -> None:
        self._output = self._attend()

    def output(self) -> Array:
        if self._output is None:
            raise RuntimeError("nothing has run yet")
        return np.ascontiguousarray(self._output[0].numpy())
