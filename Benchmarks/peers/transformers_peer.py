"""transformers on the CPU: the PyTorch functions that its models fall back to without kernels."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from peer import Array, Case, Peer, main


def in_pytorch(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself.

    Where fla or mamba_ssm is installed, the module's name stands for theirs, which is for a GPU.
    """
    return inspect.unwrap(function)


class TorchRecurrence(Peer):
    """One of its functions; tensors [1, n, h, d], the state as each wants it."""

    rule: ClassVar[str]
    steps: ClassVar[bool | None] = None
    per_channel: ClassVar[bool] = False

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.rule != cls.rule or case.is_per_channel != cls.per_channel:
            kind = "a channel's decay" if cls.per_channel else "a head's decay"
            return f"{cls.rule} with {kind} only"
        if case.heads != case.kv_heads:
            return "compared with as many key heads as query heads"
        if cls.steps is not None and case.is_step != cls.steps:
            return "what decoding calls" if cls.steps else "what a prompt is given to"
        return None

    def __init__(self, case: Case, query: Array, key: Array, value: Array, **named: Array):
        import torch

        torch.set_num_threads(case.threads)
        torch.set_grad_enabled(False)

        def tensor(array: Array) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array))

        def tokens(array: Array) -> torch.Tensor:
            """[h, n, ...] as [1, n, h, ...]."""
            return tensor(np.moveaxis(array, 0, 1)[np.newaxis])

        self._call = self.prepared(case, tokens, tensor, query, key, value, **named)
        self._output: torch.Tensor | None = None

    def prepared(
        self,
        case: Case,
        tokens: Any,
        tensor: Any,
        query: Array,
        key: Array,
        value: Array,
        **named: Array,
    ) -> Callable[[], Any]:
        """The call that is timed, which returns the output [1, n, h, dV]."""
        raise NotImplementedError

    def run(self) -> None:
        self._output = self._call()

    def output(self) -> Array:
        if self._output is None:
            raise RuntimeError("nothing has run yet")
        return np.ascontiguousarray(np.moveaxis(self._output[0].float().numpy(), 1, 0))


class DeltaRule(TorchRecurrence):
    """query, key, value, g, beta by name; the state [1, h, d, dV]."""

    rule = "gated_delta"

    def function(self) -> Callable[..., Any]:
        raise NotImplementedError

    def prepared(self, case, tokens, tensor, query, key, value, **named):
        function = in_pytorch(self.function())
        arguments = {
            "query": tokens(query), "key": tokens(key), "value": tokens(value),
            "g": tokens(named["decay"]), "beta": tokens(named["beta"]),
            "initial_state": tensor(named["state"][np.newaxis]), "output_final_state": True,
        }  # fmt: skip
        return lambda: function(**arguments)[0]


class GatedDeltaChunks(DeltaRule):
    """Qwen3-Next, for a prompt."""

    steps = False

    def function(self):
        from transformers.models.qwen3_next import modeling_qwen3_next

        return modeling_qwen3_next.torch_chunk_gated_delta_rule


class GatedDeltaSteps(DeltaRule):
    """Qwen3-Next, for decoding."""

    steps = True

    def function(self):
        from transformers.models.qwen3_next import modeling_qwen3_next

        return modeling_qwen3_next.torch_recurrent_gated_delta_rule


class KimiChunks(DeltaRule):
    """Kimi Linear, for a prompt."""

    per_channel = True
    steps = False

    @classmethod
    def scratch_bytes(cls, case: Case) -> int:
        # Decays between all pairs of a chunk of 64, a channel each: a tensor and two made of it.
        return 3 * 4 * case.heads * (case.n_kv + 64) * 64 * case.head_dim

    def function(self):
        from transformers.models.kimi_linear import modeling_kimi_linear

        return modeling_kimi_linear.chunk_kimi_delta_attention


class KimiSteps(DeltaRule):
    """Kimi Linear, for decoding."""

    per_channel = True
    steps = True

    def function(self):
        from transformers.models.kimi_linear import modeling_kimi_linear

        return modeling_kimi_linear.recurrent_kimi_delta_attention


class Mamba2Scan(TorchRecurrence):
    """Mamba-2, for a prompt. It has no scale, so that C gets that of the case; the state is
    [1, h, dV, d]."""

    rule = "ssd"
    steps = False

    def prepared(self, case, tokens, tensor, query, key, value, **named):
        from transformers.models.mamba2 import modeling_mamba2

        arguments = {
            "hidden_states": tokens(value), "dt": tokens(named["dt"]), "A": tensor(named["a"]),
            "B": tokens(key), "C": tokens(query / np.float32(np.sqrt(case.head_dim))),
            # As its configuration has it.
            "chunk_size": 256,
            "initial_states": tensor(named["state"].swapaxes(1, 2)[np.newaxis]),
            "return_final_states": True,
        }  # fmt: skip
        scan = in_pytorch(modeling_mamba2.mamba2_chunk_scan)
        return lambda: scan(**arguments)[0]


class Mamba2Step(TorchRecurrence):
    """Mamba-2, for decoding: writes the new state over the old one, so that every call is given a
    copy, which is timed."""

    rule = "ssd"
    steps = True

    def prepared(self, case, tokens, tensor, query, key, value, **named):
        from transformers.models.mamba2 import modeling_mamba2

        state = tensor(named["state"].swapaxes(1, 2)[np.newaxis])
        current = state.clone()
        heads = case.kv_heads
        arguments = {
            "hidden_states": tokens(value)[:, 0], "dt": tokens(named["dt"])[:, 0, :, None].expand(
                1, heads, case.value_dim),
            "A": tensor(named["a"])[:, None, None].expand(heads, case.value_dim, case.head_dim),
            "B": tokens(key)[:, 0], "C": tokens(query / np.float32(np.sqrt(case.head_dim)))[:, 0],
        }  # fmt: skip

        update = in_pytorch(modeling_mamba2.mamba2_selective_state_update)

        def step():
            current.copy_(state)
            return update(current, **arguments)[:, None]

        return step


main(
    "transformers",
    {
        "gated_delta.chunks": GatedDeltaChunks,
        "gated_delta.steps": GatedDeltaSteps,
        "kimi.chunks": KimiChunks,
        "kimi.steps": KimiSteps,
        "mamba2.scan": Mamba2Scan,
        "mamba2.step": Mamba2Step,
    },
)
