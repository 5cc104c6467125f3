"""flash-linear-attention on the CPU: its references in PyTorch.

Its own functions are Triton kernels for a GPU. The references lie in files of their own, which are
loaded by path: importing their package wants Triton.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from peer import Array, Case, Peer, main


def naive(operator: str) -> ModuleType:
    """fla/ops/<operator>/naive.py of the installed package, without the package."""
    package = importlib.util.find_spec("fla")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("fla")
    path = Path(package.submodule_search_locations[0]) / "ops" / operator / "naive.py"
    spec = importlib.util.spec_from_file_location(f"fla_naive_{operator}", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class NaiveChunks(Peer):
    """The chunk forms of simple_gla and gated_delta_rule for a prompt; their recurrent forms, of
    gla and kda as well, for a step. Tensors [1, n, h, d], the state [1, h, d, dV]."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.rule not in ("gated", "gated_delta"):
            return "the rules gated and gated_delta only"
        if case.heads != case.kv_heads:
            return "compared with as many key heads as query heads"
        if case.is_per_channel and not case.is_step:
            return "a prompt with a channel's decay goes token by token there"
        return None

    def __init__(self, case: Case, query: Array, key: Array, value: Array, **named: Array):
        import torch

        torch.set_num_threads(case.threads)
        torch.set_grad_enabled(False)

        def tokens(array: Array) -> torch.Tensor:
            """[h, n, ...] as [1, n, h, ...]."""
            return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, 0, 1)[np.newaxis]))

        function, gate = self.function(case)
        arguments: dict[str, Any] = {
            "q": tokens(query),
            "k": tokens(key),
            "v": tokens(value),
            gate: tokens(named["decay"]),
            "initial_state": torch.from_numpy(named["state"][np.newaxis].copy()),
            "output_final_state": True,
        }
        if "beta" in named:
            arguments["beta"] = tokens(named["beta"])
        self._call = lambda: function(**arguments)[0]
        self._output: torch.Tensor | None = None

    @staticmethod
    def function(case: Case) -> tuple[Callable[..., Any], str]:
        """The function, and what it calls the decay."""
        if case.rule == "gated":
            if case.is_per_channel:
                return naive("gla").naive_recurrent_gla, "gk"
            module = naive("simple_gla")
            if case.is_step:
                return module.naive_recurrent_simple_gla, "g"
            return module.naive_chunk_simple_gla, "g"
        if case.is_per_channel:
            return naive("kda").naive_recurrent_kda, "g"
        module = naive("gated_delta_rule")
        if case.is_step:
            return module.naive_recurrent_gated_delta_rule, "g"
        return module.naive_chunk_gated_delta_rule, "g"

    def run(self) -> None:
        self._output = self._call()

    def output(self) -> Array:
        if self._output is None:
            raise RuntimeError("nothing has run yet")
        return np.ascontiguousarray(np.moveaxis(self._output[0].float().numpy(), 1, 0))


main("fla-core", {"naive": NaiveChunks})
