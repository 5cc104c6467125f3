"""Decoding, token by token."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from ._arrays import refuse_gradients
from ._call import Call
from ._handles import info_of
from ._library import AttentionError, CacheOptions, Handle, check, library, sized
from ._plan import plan_sizes
from ._problem import Options, build, integers
from ._teams import team, whole

ArrayT = TypeVar("ArrayT")


class Decoder:
    """Attention over a sequence that grows: each step takes in new tokens' keys and values and attends
    from the new queries to all that is kept.

    Args:
        heads, head_dim: h and d.
        capacity: tokens that a sequence may reach.
        kv_heads, value_dim, batch: hKV, dV and b; by default h, d and 1.
        strategy: ``"flash"``, ``"window(512, sinks: 4)"``, ``"linear"``; what is kept is its matter.
        causal, scale, softcap, alibi, sinks, window, prefix_lengths: as for :func:`attention`; causal
            by default.
        mask: as there, with one row for all queries, over ``capacity`` keys.
        rolling: ``(sinks, window)``: keep the first and the newest tokens only.
        step: tokens of a usual step, which is made ready at once.
        dtype: of queries and outputs, ``"f32"``, ``"f16"`` or ``"bf16"``.
        kv_dtype: of the cache, also ``"int8-token"``; by default ``dtype``.
        threads: one a core that may be used, by default.

    Raises:
        AttentionError: where the library cannot serve the problem.
    """

    def __init__(
        self, *, heads: int, head_dim: int, capacity: int, kv_heads: int | None = None,
        value_dim: int | None = None, batch: int = 1, strategy: str | Sequence[str] = "flash",
        causal: bool = True, scale: float | None = None, softcap: float | None = None,
        mask: Any = None, alibi: Any = None, sinks: Any = None,
        window: tuple[int | None, int | None] | None = None, prefix_lengths: Any = None,
        rolling: tuple[int, int] | None = None, step: int = 1, dtype: str = "f32",
        kv_dtype: str | None = None, threads: int | None = None,
    ) -> None:
        self._sizes = plan_sizes(
            batch, heads, kv_heads, step, capacity, head_dim, value_dim, dtype, kv_dtype, None)
        options = Options.of(
            strategy, window, causal=causal, scale=scale, softcap=softcap, alibi=alibi, sinks=sinks,
            query_lengths=None, key_lengths=None, prefix_lengths=prefix_lengths, offset="bottom-right")
        cache = sized(CacheOptions)
        if rolling is not None:
            if not isinstance(rolling, (list, tuple)) or len(rolling) != 2:
                raise AttentionError(f"rolling = {rolling!r}: must be (sinks, window)")
            cache.rolling = 1
            cache.sinks, cache.window = (whole(size, "rolling") for size in rolling)
        built = build(self._sizes, options, mask)
        self._decoder = Handle(
            library.attnbench_decoder_create, library.attnbench_decoder_destroy,
            ctypes.byref(built.structure), options.strategy.encode(), ctypes.byref(cache),
            team(threads).value)

    @property
    def tokens(self) -> list[int]:
        """Tokens taken in, one number a batch entry."""
        tokens = (ctypes.c_int64 * self._sizes.batch)()
        check(library.attnbench_decoder_tokens(self._decoder.value, tokens, len(tokens)))
        return list(tokens)

    @property
    def cache_bytes(self) -> int:
        """Bytes kept of the past."""
        return info_of(library.attnbench_decoder_info, self._decoder).cache_bytes

    @property
    def workspace_bytes(self) -> int:
        """Bytes held besides."""
        return info_of(library.attnbench_decoder_info, self._decoder).workspace_bytes

    @overload
    def step(
        self, q: ArrayT, k: ArrayT, v: ArrayT, *, new_tokens: Any = ...,
        operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ...,
        return_lse: Literal[False] = ...,
    ) -> ArrayT: ...

    @overload
    def step(
        self, q: ArrayT, k: ArrayT, v: ArrayT, *, new_tokens: Any = ...,
        operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ...,
        return_lse: Literal[True],
    ) -> tuple[ArrayT, ArrayT]: ...

    def step(self, q, k, v, *, new_tokens=None, operands=None, out=None, return_lse=False):
        """Takes in n tokens and computes their outputs.

        Args:
            q: ``[b, h, n, d]``.
            k, v: ``[b, hKV, n, d]`` and ``[b, hKV, n, dV]``.
            new_tokens: ``[b]``, how many of the n rows each entry brings, the first ones.
            operands: what the strategy takes beyond these, by name, of the n tokens.
            out: where the result goes.
            return_lse: also return ``[b, h, n]`` logarithms of denominators.

        Returns:
            ``[b, h, n, dV]``.

        Raises:
            AttentionError: where arrays do not fit, or there is no room. Nothing was taken in then.
        """
        for name, array in (("q", q), ("k", k), ("v", v)):
            refuse_gradients(name, array)
        call = Call(self._decoder)
        out, lse, kept = call.place(self._sizes, q, k, v, out, return_lse)
        counts = integers(new_tokens, "new_tokens")
        if counts is not None and len(counts) != self._sizes.batch:
            raise AttentionError(
                f"new_tokens = {list(counts)}: one per batch entry is needed, {self._sizes.batch}")
        array = None if counts is None else (ctypes.c_int64 * len(counts))(*counts)
        if operands:
            call.name_operands(operands)
        check(library.attnbench_decoder_step(self._decoder.value, call.reference, array))
        del kept
        return out if lse is None else (out, lse)

    def truncate(self, count: int, entry: int | None = None) -> None:
        """Forgets the newest tokens of a batch entry, or of all, until ``count`` are left."""
        entries = range(self._sizes.batch) if entry is None else [whole(entry, "entry")]
        for index in entries:
            check(
                library.attnbench_decoder_truncate(
                    self._decoder.value, index, whole(count, "count")))

    def mark(self) -> None:
        """Remembers what has been taken in, for :meth:`rewind`, instead of what was remembered before."""
        check(library.attnbench_decoder_mark(self._decoder.value))

    def rewind(self) -> None:
        """Goes back to the mark, as often as asked: tokens taken in since are forgotten, as those of a draft
        that was refused.

        Raises:
            AttentionError: where nothing was marked, or a rolling cache has dropped what it needs.
        """
        check(library.attnbench_decoder_rewind(self._decoder.value))
