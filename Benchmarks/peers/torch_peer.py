"""PyTorch on the CPU: scaled_dot_product_attention, FlexAttention and linear attention."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from peer import Array, Case, Peer, main

CHUNK = 128
EPSILON = 1e-6


class TorchSDPA(Peer):
    """Inputs [1, h, n, d]."""

    backend: ClassVar[str]

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if not case.is_plain_softmax:
            return "softmax attention over all keys only"
        if case.causal and case.is_decoding:
            return "aligns a causal mask with the first key, not with the last"
        return None

    def __init__(self, case: Case, query: Array, key: Array, value: Array):
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        torch.set_num_threads(case.threads)
        torch.set_grad_enabled(False)
        # For this process, once: the sdpa_kernel context would cost its entry in every timed call.
        # The switches are named for CUDA and hold for the CPU as well.
        torch.backends.cuda.enable_flash_sdp(self.backend == "flash")
        torch.backends.cuda.enable_math_sdp(self.backend == "math")
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        element = torch.bfloat16 if case.dtype == "bf16" else torch.float32
        q, k, v = (torch.from_numpy(x).unsqueeze(0).to(element) for x in (query, key, value))
        grouped = case.heads != case.kv_heads
        self._attend = lambda: scaled_dot_product_attention(
            q, k, v, is_causal=case.causal, enable_gqa=grouped
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

    backend = "flash"


class TorchMath(TorchSDPA):
    """Materialised scores, which is what a mask or an unusual shape falls back to."""

    backend = "math"

    @classmethod
    def scratch_bytes(cls, case: Case) -> int:
        # Scores, their mask or copy, and the softmax of them.
        return 3 * case.score_bytes


class TorchFlex(Peer):
    """Inputs [1, h, n, d]. Compiling needs a C++ compiler and is not timed."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.window is None or case.dtype != "fp32":
            return "compared for windows, in fp32"
        return None

    def __init__(self, case: Case, query: Array, key: Array, value: Array):
        import torch
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        torch.set_num_threads(case.threads)
        torch.set_grad_enabled(False)
        q, k, v = (torch.from_numpy(array).unsqueeze(0) for array in (query, key, value))
        grouped = case.heads != case.kv_heads
        window = case.window or case.n_q

        def visible(b: object, h: object, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
            return (j <= i) & (i - j < window)

        mask = create_block_mask(visible, None, None, case.n_q, case.n_q, device="cpu")
        compiled = torch.compile(flex_attention)
        self._attend = lambda: compiled(q, k, v, block_mask=mask, enable_gqa=grouped)
        self._output: torch.Tensor | None = None

    def run(self) -> None:
        self._output = self._attend()

    def output(self) -> Array:
        if self._output is None:
            raise RuntimeError("nothing has run yet")
        return np.ascontiguousarray(self._output[0].numpy())


class TorchLinear(Peer):
    """einsum over [1, h, n, d]; causal by chunks of 128 with a running state."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if not case.linear:
            return "linear attention only"
        if case.heads != case.kv_heads or case.dtype != "fp32":
            return "as many key heads as query heads, in fp32"
        return None

    def __init__(self, case: Case, query: Array, key: Array, value: Array):
        import torch
        from torch.nn.functional import elu, pad

        torch.set_num_threads(case.threads)
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

        self._attend = chunked if case.causal else full
        self._output: torch.Tensor | None = None

    def run(self) -> None:
        self._output = self._attend()

    def output(self) -> Array:
        if self._output is None:
            raise RuntimeError("nothing has run yet")
        return np.ascontiguousarray(self._output[0].numpy())


main(
    "torch",
    {
        "sdpa.flash": TorchFlash,
        "sdpa.math": TorchMath,
        "flex": TorchFlex,
        "linear": TorchLinear,
    },
)
