"""PyTorch on the CPU: its attention functions, and attention that it has no function for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from peer import Array, Case, Peer, main

if TYPE_CHECKING:
    import torch
    from torch.nn.attention.flex_attention import BlockMask

CHUNK = 128
EPSILON = 1e-6


class TorchPeer(Peer):
    """Inputs [1, h, n, d]."""

    def __init__(self, case: Case, query: Array, key: Array, value: Array, **named: Array):
        import torch

        torch.set_num_threads(case.threads)
        torch.set_grad_enabled(False)
        element = torch.bfloat16 if case.dtype == "bf16" else torch.float32
        q, k, v = (torch.from_numpy(x).unsqueeze(0).to(element) for x in (query, key, value))
        operands = {name: torch.from_numpy(array) for name, array in named.items()}
        self._attend = self.prepared(case, q, k, v, **operands)
        self._output: torch.Tensor | None = None

    @abstractmethod
    def prepared(
        self,
        case: Case,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        **named: torch.Tensor,
    ) -> Callable[[], torch.Tensor]:
        """The call that is timed, which returns the output [1, h, n, dV]. What else it takes comes
        by its name and without the batch."""

    def run(self) -> None:
        self._output = self._attend()

    def output(self) -> Array:
        if self._output is None:
            raise RuntimeError("nothing has run yet")
        return np.ascontiguousarray(self._output[0].float().numpy())


class TorchSDPA(TorchPeer):
    """One backend of scaled_dot_product_attention."""

    backend: ClassVar[str]

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if not case.is_plain_softmax:
            return "softmax attention over all keys only"
        if case.causal and case.is_decoding:
            return "aligns a causal mask with the first key, not with the last"
        return None

    def prepared(self, case, q, k, v):
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        # For this process, once: the sdpa_kernel context would cost its entry in every timed call.
        # The switches are named for CUDA and hold for the CPU as well.
        torch.backends.cuda.enable_flash_sdp(self.backend == "flash")
        torch.backends.cuda.enable_math_sdp(self.backend == "math")
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        grouped = case.heads != case.kv_heads
        return lambda: scaled_dot_product_attention(
            q, k, v, is_causal=case.causal, enable_gqa=grouped
        )


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


def is_before(b: object, h: object, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    """Causality for FlexAttention."""
    return j <= i


class TorchFlex(TorchPeer):
    """FlexAttention under a mask of blocks, compiled, which needs a C++ compiler and is not timed.

    Blocks that are selected from the data are selected, and the mask made of them, in every run.
    """

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.dtype != "fp32":
            return "compared in fp32"
        if case.window is None and case.selection not in ("blocks", "given"):
            return "compared for windows and for blocks of keys"
        if case.selection and (not case.causal or case.is_decoding):
            return "blocks of keys are compared for causal prompts"
        if case.selection == "blocks" and case.rows != case.block:
            return "a mask of blocks has blocks of queries, not rows that choose alone"
        if case.selection == "blocks" and case.heads != case.kv_heads:
            return "blocks are selected with as many key heads as query heads"
        return None

    def prepared(self, case, q, k, v, **named):
        import torch
        from torch.nn.attention.flex_attention import flex_attention

        compiled = torch.compile(flex_attention)
        mask = self.mask(case, q, k, **named)
        grouped = case.heads != case.kv_heads
        return lambda: compiled(q, k, v, block_mask=mask(), enable_gqa=grouped)

    def mask(
        self, case: Case, q: torch.Tensor, k: torch.Tensor, **named: torch.Tensor
    ) -> Callable[[], BlockMask]:
        """What makes the mask of a run."""
        from torch.nn.attention.flex_attention import create_block_mask

        if case.selection == "blocks":
            return partial(self.selected, case, q, k)
        if case.selection == "given":
            mask = self.given(case, **named)
        else:
            window = case.window

            def visible(b: object, h: object, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
                return (j <= i) & (i - j < window)

            mask = create_block_mask(visible, None, None, case.n_q, case.n_kv, device="cpu")
        return lambda: mask

    @staticmethod
    def given(case: Case, blocks: torch.Tensor) -> BlockMask:
        """The same for all heads: blocks on the diagonal under causality, the others whole."""
        import torch
        from torch.nn.attention.flex_attention import BlockMask

        def ordered(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            order = blocks.argsort(dim=-1, descending=True, stable=True)
            return blocks.sum(-1)[None, None].int(), order[None, None].int()

        diagonal = torch.eye(*blocks.shape)
        return BlockMask.from_kv_blocks(
            *ordered(blocks * diagonal),
            *ordered(blocks * (1 - diagonal)),
            BLOCK_SIZE=case.block,
            mask_mod=is_before,
            seq_lengths=(case.n_q, case.n_kv),
        )

    @staticmethod
    def selected(case: Case, q: torch.Tensor, k: torch.Tensor) -> BlockMask:
        """The own block under causality, the others that are kept whole."""
        import torch
        from torch.nn.attention.flex_attention import BlockMask

        from torch_functions import best_blocks

        counts, kept = best_blocks(q[0], k[0], case.block, case.top, case.rows)
        heads, groups, top = kept.shape
        # Compiled for a CPU it wants a place for every block of keys, however many are counted.
        indices = torch.zeros(2, 1, heads, groups, -(-case.n_kv // case.block), dtype=torch.int32)
        indices[0, 0, :, :, 0] = kept[:, :, 0]
        indices[1, 0, :, :, : top - 1] = kept[:, :, 1:]
        # In memory of its own for each head: whole blocks are counted by the strides of the others.
        others = (counts - 1).int().repeat(1, heads, 1)
        return BlockMask.from_kv_blocks(
            torch.ones_like(others),
            indices[0],
            others,
            indices[1],
            BLOCK_SIZE=(case.rows, case.block),
            mask_mod=is_before,
            seq_lengths=(case.n_q, case.n_kv),
            # What a gradient would need.
            compute_q_blocks=False,
        )


class TorchFlexPreselected(TorchFlex):
    """The same with the mask made before: attention to the selected blocks alone is timed."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.selection != "blocks":
            return "blocks that are selected from the data only"
        return super().refusal(case)

    def mask(self, case, q, k, **named):
        mask = self.selected(case, q, k)
        return lambda: mask


class TorchMixtureOfBlocks(TorchPeer):
    """torch_functions.gathered_blocks: mixture of block attention as its authors gather for it."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.selection != "blocks" or not case.causal or case.is_decoding:
            return "a causal prompt with blocks that are selected from the data only"
        if case.block % case.rows != 0:
            return "rows that choose together lie in one block"
        if case.heads != case.kv_heads or case.dtype != "fp32":
            return "as many key heads as query heads, in fp32"
        return None

    @classmethod
    def scratch_bytes(cls, case: Case) -> int:
        # Scores of blocks, those with the future masked, and which are kept.
        blocks = -(-case.n_kv // case.block)
        return case.heads * blocks * (12 * -(-case.n_q // case.rows) + case.n_q)

    def prepared(self, case, q, k, v):
        from torch_functions import gathered_blocks

        sizes = case.block, case.top, case.rows
        return lambda: gathered_blocks(q[0], k[0], v[0], *sizes)[None]


class TorchMaskedByIndex(TorchPeer):
    """torch_functions.masked_by_index, as DeepSeek's own code has it for a prompt."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if case.selection != "index" or not case.causal or case.is_decoding:
            return "a causal prompt with keys that an index selects only"
        if case.heads != case.kv_heads or case.dtype != "fp32":
            return "as many key heads as query heads, in fp32"
        return None

    def prepared(self, case, q, k, v, **named):
        from torch_functions import masked_by_index

        return lambda: masked_by_index(q[0], k[0], v[0], **named, top=case.top)[None]


class TorchIndexed(TorchMaskedByIndex):
    """torch_functions.indexed, on tensors [n, h, d]."""

    def prepared(self, case, q, k, v, **named):
        from torch_functions import indexed

        tokens = [x[0].transpose(0, 1).contiguous() for x in (q, k, v)]
        return lambda: indexed(*tokens, **named, top=case.top).transpose(0, 1)[None]


class TorchAdditive(TorchPeer):
    """torch_functions.additive, operation by operation."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if not case.additive or case.causal or case.selection:
            return "additive attention to all keys only"
        if case.heads != case.kv_heads or case.dtype != "fp32":
            return "as many key heads as query heads, in fp32"
        return None

    def prepared(self, case, q, k, v, **named):
        import torch_functions

        rows, chunk = self.chunks(torch_functions)
        units = (named[f"additive_{name}"] for name in "qkv")
        arguments = (q[0], k[0], v[0], *units)
        return lambda: torch_functions.additive(*arguments, rows, chunk)[None]

    @staticmethod
    def chunks(functions):
        """Rows of a chunk, and what is done with it."""
        return functions.ADDITIVE_ROWS, functions.additive_chunk


class TorchAdditiveCompiled(TorchAdditive):
    """A chunk compiled, which needs a C++ compiler and is not timed."""

    @staticmethod
    def chunks(functions):
        import torch

        # Sizes are constants: the last chunk, if it is shorter, is compiled by itself.
        compiled = torch.compile(functions.fused_additive_chunk, dynamic=False)
        return functions.COMPILED_ADDITIVE_ROWS, compiled


class TorchLinear(TorchPeer):
    """einsum over [1, h, n, d]; causal by chunks of 128 with a running state."""

    @classmethod
    def refusal(cls, case: Case) -> str | None:
        if not case.linear:
            return "linear attention only"
        if case.heads != case.kv_heads or case.dtype != "fp32":
            return "as many key heads as query heads, in fp32"
        return None

    def prepared(self, case, *tensors):
        import torch
        from torch.nn.functional import elu, pad

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

        return chunked if case.causal else full


main(
    "torch",
    {
        "sdpa.flash": TorchFlash,
        "sdpa.math": TorchMath,
        "flex": TorchFlex,
        "flex.preselected": TorchFlexPreselected,
        "moba": TorchMixtureOfBlocks,
        "indexed": TorchIndexed,
        "indexed.masked": TorchMaskedByIndex,
        "additive": TorchAdditive,
        "additive.compiled": TorchAdditiveCompiled,
        "linear": TorchLinear,
    },
)
