"""Plans in the open."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from ._arrays import INT8_TOKEN, TYPE_NAMES, refuse_gradients
from ._call import Call
from ._handles import CLASSES, info_of, make_plan, spec_of
from ._library import AttentionError, library
from ._plans import quick_key_of
from ._problem import Options, Sizes, integers
from ._teams import whole

ArrayT = TypeVar("ArrayT")


class Plan:
    """Attention made ready for one problem: checked, sized and allocated once, run any number of times.

    Args:
        heads, query_length, head_dim: h, nQ and d.
        kv_heads, key_length, value_dim, batch: hKV, nKV, dV and b; by default h, nQ, d and 1.
        dtype: of queries, ``"f32"``, ``"f16"`` or ``"bf16"``.
        kv_dtype, out_dtype: of keys and values, and of outputs; by default ``dtype``.
        strategy and the rest: as for :func:`attention`.

    Runs of one plan from several threads take turns.

    Raises:
        AttentionError: where the library cannot serve the problem.
    """

    def __init__(
        self, *, heads: int, query_length: int, head_dim: int, kv_heads: int | None = None,
        key_length: int | None = None, value_dim: int | None = None, batch: int = 1,
        strategy: str | Sequence[str] = "flash", causal: bool = False, scale: float | None = None,
        softcap: float | None = None, mask: Any = None, alibi: Any = None, sinks: Any = None,
        window: tuple[int | None, int | None] | None = None, query_lengths: Any = None,
        key_lengths: Any = None, prefix_lengths: Any = None, offset: Any = "bottom-right",
        dtype: str = "f32", kv_dtype: str | None = None, out_dtype: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._sizes = plan_sizes(
            batch, heads, kv_heads, query_length, key_length, head_dim, value_dim, dtype, kv_dtype,
            out_dtype)
        options = Options.of(
            strategy, window, causal=causal, scale=scale, softcap=softcap, alibi=alibi, sinks=sinks,
            query_lengths=query_lengths, key_lengths=key_lengths, prefix_lengths=prefix_lengths,
            offset=offset)
        if self._sizes.key_value_type == INT8_TOKEN:
            raise AttentionError(
                "kv_dtype = 'int8-token': is for decoders, whose cache it is; use f32, f16 or bf16")
        self._plan = make_plan(self._sizes, options, mask, threads)
        # Calls that a thread has made ready, by the arrays that they take.
        self._ready = threading.local()
        self._info = info_of(library.attnbench_plan_info, self._plan)
        self._spec = spec_of(self._plan)

    @property
    def spec(self) -> str:
        """The strategy with its parameters resolved."""
        return self._spec

    @property
    def operator_class(self) -> str:
        """``"exact"``, ``"restricted"`` or ``"different"``."""
        return CLASSES[self._info.operator_class]

    @property
    def pairs(self) -> int:
        """(query, key) pairs scored, over batch and heads."""
        return self._info.pairs

    @property
    def flops(self) -> int:
        """Floating-point operations of a run."""
        return self._info.flops

    @property
    def minimum_bytes(self) -> int:
        """Bytes that a run must move at least once."""
        return self._info.minimum_bytes

    @property
    def workspace_bytes(self) -> int:
        """Bytes held beyond inputs and output."""
        return self._info.workspace_bytes

    @property
    def takes_key_lengths(self) -> bool:
        """Whether a run may bring key lengths of its own."""
        return bool(self._info.takes_key_lengths)

    @property
    def threads(self) -> int:
        """Threads that a run takes."""
        return self._info.threads

    @overload
    def run(
        self, q: ArrayT, k: ArrayT, v: ArrayT, *, key_lengths: Any = ...,
        operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ...,
        return_lse: Literal[False] = ..., final_state: Any = ...,
    ) -> ArrayT: ...

    @overload
    def run(
        self, q: ArrayT, k: ArrayT, v: ArrayT, *, key_lengths: Any = ...,
        operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ..., return_lse: Literal[True],
        final_state: Any = ...,
    ) -> tuple[ArrayT, ArrayT]: ...

    def run(
        self, q, k, v, *, key_lengths=None, operands=None, out=None, return_lse=False,
        final_state=None,
    ):
        """Computes attention.

        Args:
            q: ``[b, h, nQ, d]``; b, or b and h, may be left out of all three where they are 1.
            k, v: ``[b, hKV, nKV, d]`` and ``[b, hKV, nKV, dV]``.
            key_lengths: ``[b]`` key rows in use in this run instead of the problem's, for plans that
                take them.
            operands, out, return_lse, final_state: as for :func:`attention`.

        Returns:
            ``[b, h, nQ, dV]``; with ``return_lse`` and ``[b, h, nQ]``.

        Raises:
            AttentionError: where arrays do not fit the plan.
        """
        key: Any = None
        # A new output has the type of the queries.
        if key_lengths is None and not operands and out is None and final_state is None and (
            self._sizes.output_type == self._sizes.query_type
        ):
            key = (quick_key_of(q, k, v), return_lse)
            ready, call = getattr(self._ready, "call", (None, None))
            found = call.run_again(q, k, v, return_lse) if key == ready else None
            if found is not None:
                return found
        for name, array in (("q", q), ("k", k), ("v", v)):
            refuse_gradients(name, array)
        call = Call(self._plan)
        out, lse, kept = call.place(self._sizes, q, k, v, out, return_lse)
        lengths = integers(key_lengths, "key_lengths")
        if lengths is not None:
            if len(lengths) != self._sizes.batch:
                raise AttentionError(
                    f"key_lengths = {list(lengths)}: one per batch entry is needed, {self._sizes.batch}")
            array = (ctypes.c_int64 * len(lengths))(*lengths)
            call.structure.key_lengths = array
            kept.append(array)
        if operands:
            call.name_operands(operands)
        if final_state is not None:
            call.write_state(final_state)
        call.run()
        if key is not None and key[0] is not None and all(
            one is own for one, own in zip(kept, (q, k, v))
        ):
            call.count = self._sizes.key_length
            self._ready.call = (key, call)
        return out if lse is None else (out, lse)

    def __repr__(self) -> str:
        return f"<attnbench.Plan {self._spec}, {self.operator_class}, {self._sizes}>"


def plan_sizes(
    batch: Any, heads: Any, kv_heads: Any, query_length: Any, key_length: Any, head_dim: Any,
    value_dim: Any, dtype: Any, kv_dtype: Any, out_dtype: Any,
) -> Sizes:
    """Sizes and types as callers write them."""
    def type_number(name: str, value: Any) -> int:
        if value not in TYPE_NAMES:
            raise AttentionError(f"{name} = {value!r}: must be one of {', '.join(TYPE_NAMES)}")
        return TYPE_NAMES[value]

    values = {
        "batch": batch, "heads": heads, "kv_heads": heads if kv_heads is None else kv_heads,
        "query_length": query_length,
        "key_length": query_length if key_length is None else key_length, "head_dim": head_dim,
        "value_dim": head_dim if value_dim is None else value_dim,
    }
    numbers = {name: whole(value, name) for name, value in values.items()}
    return Sizes(
        **numbers, query_type=type_number("dtype", dtype),
        key_value_type=type_number("kv_dtype", dtype if kv_dtype is None else kv_dtype),
        output_type=type_number("out_dtype", dtype if out_dtype is None else out_dtype))
