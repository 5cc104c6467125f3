"""Attention in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from ._arrays import refuse_gradients
from ._call import Call, checked_output, shared_heads, sizes_of, three_operands
from ._handles import make_plan
from ._plans import Found, again, own_plans
from ._problem import Options
from ._teams import whole

ArrayT = TypeVar("ArrayT")


@overload
def attention(
    q: ArrayT, k: ArrayT, v: ArrayT, strategy: str | Sequence[str] = ..., *, causal: bool = ...,
    scale: float | None = ..., softcap: float | None = ..., mask: Any = ..., alibi: Any = ...,
    sinks: Any = ..., window: tuple[int | None, int | None] | None = ..., query_lengths: Any = ...,
    key_lengths: Any = ..., prefix_lengths: Any = ..., offset: Any = ...,
    operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ...,
    return_lse: Literal[False] = ..., final_state: Any = ..., threads: int | None = ...,
) -> ArrayT: ...


@overload
def attention(
    q: ArrayT, k: ArrayT, v: ArrayT, strategy: str | Sequence[str] = ..., *, causal: bool = ...,
    scale: float | None = ..., softcap: float | None = ..., mask: Any = ..., alibi: Any = ...,
    sinks: Any = ..., window: tuple[int | None, int | None] | None = ..., query_lengths: Any = ...,
    key_lengths: Any = ..., prefix_lengths: Any = ..., offset: Any = ...,
    operands: Mapping[str, Any] | None = ..., out: ArrayT | None = ..., return_lse: Literal[True],
    final_state: Any = ..., threads: int | None = ...,
) -> tuple[ArrayT, ArrayT]: ...


def attention(
    q, k, v, strategy="flash", *, causal=False, scale=None, softcap=None, mask=None, alibi=None,
    sinks=None, window=None, query_lengths=None, key_lengths=None, prefix_lengths=None,
    offset="bottom-right", operands=None, out=None, return_lse=False, final_state=None,
    threads=None,
):
    """Attention: softmax(softcap(scale * q k^T) + bias) v over the keys that a query may see.

    Shapes have b sequences, h query heads, hKV key/value heads (query head i reads key/value head
    i / (h / hKV)), nQ queries, nKV keys; b, or b and h, may be left out of all three arrays.
    Arrays are NumPy's or CPU tensors of PyTorch, float32, float16 or bfloat16, of any strides; rows
    that are contiguous are read in place. Sums are float32 whatever the type.

    Args:
        q: ``[b, h, nQ, d]``.
        k: ``[b, hKV, nKV, d]``.
        v: ``[b, hKV, nKV, dV]``, of the type of ``k``. Where ``q`` and ``k`` have as many heads and ``v`` has
            several times more, each of theirs serves several of its heads.
        strategy: as :func:`strategies` lists them, ``"window(512, sinks: 4)"``; or a list, one a query
            head.
        causal: a query sees only keys up to where it stands.
        scale: the factor on the scores, 1 / sqrt(d) by default.
        softcap: c of c * tanh(score / c).
        mask: broadcasts to ``[b, h, nQ, nKV]``; bool, where False hides, or floating point, which is
            added to the scores and where -inf hides.
        alibi: ``[h]`` slopes m: -m |i + offset - j| is added to the score of query i and key j.
        sinks: ``[h]`` logits that take part in the softmax without a value.
        window: inclusive distances ``(left, right)`` that a query sees, None for no limit.
        query_lengths, key_lengths: ``[b]`` rows in use; the rows after them are not read, and outputs
            of such queries are not written.
        prefix_lengths: ``[b]`` leading keys that a causal mask does not hide.
        offset: query i stands at key i + offset. ``"bottom-right"`` (nKV - nQ: the last query stands at
            the last key), ``"top-left"`` (0), a number, or a list of one a batch entry.
        operands: tensors that the strategy takes beyond these, by name, float32; a recurrence begins with
            the state that is given as ``"state"``.
        out: where the result goes, ``[b, h, nQ, dV]``; by default a new array of the type of ``q``.
        return_lse: also return the natural logarithm of each row's denominator, ``[b, h, nQ]``,
            float32.
        final_state: float32 ``[b, hKV, d, dV]``, overwritten with the state that a recurrence has come to
            after all keys.
        threads: one a core that may be used, by default.

    Returns:
        ``[b, h, nQ, dV]``, of the library of ``q``; with ``return_lse`` a pair. A query that sees no
        key gives 0, and -inf.

    Raises:
        AttentionError: naming the argument, its value, the rule and the fix.
    """
    # What the problem depends on, as cheaply as it can be had: a step of decoding takes microseconds.
    key: Any = None
    if mask is None and operands is None and out is None and query_lengths is None and (
        final_state is None
    ):
        key, found = again(
            q, k, v, return_lse, (
                strategy, causal, scale, softcap, alibi, sinks, window, key_lengths, prefix_lengths, offset,
                threads))
        if found is not None:
            return found
    return _attention(
        q, k, v, strategy, window, causal, scale, softcap, mask, alibi, sinks, query_lengths,
        key_lengths, prefix_lengths, offset, operands, out, return_lse, final_state, threads, key)


def _attention(
    q: Any, k: Any, v: Any, strategy: Any, window: Any, causal: Any, scale: Any, softcap: Any,
    mask: Any, alibi: Any, sinks: Any, query_lengths: Any, key_lengths: Any, prefix_lengths: Any,
    offset: Any, operands: Any, out: Any, return_lse: Any, final_state: Any, threads: Any,
    quick_key: Any,
) -> Any:
    for name, array in (("q", q), ("k", k), ("v", v)):
        refuse_gradients(name, array)
    options = Options.of(
        strategy, window, causal=causal, scale=scale, softcap=softcap, alibi=alibi, sinks=sinks,
        query_lengths=query_lengths, key_lengths=key_lengths, prefix_lengths=prefix_lengths,
        offset=offset)
    return compute(
        q, k, v, options, mask=mask, operands=operands, out=out, return_lse=bool(return_lse),
        final_state=final_state, threads=threads, quick_key=quick_key)


def compute(
    q: Any, k: Any, v: Any, options: Options, *, mask: Any = None,
    operands: Mapping[str, Any] | None = None, out: Any = None, return_lse: bool = False,
    final_state: Any = None, threads: int | None = None, quick_key: Any = None, new_output: Any = None,
) -> Any:
    """Attention with options that have been read; see :func:`attention`.

    ``new_output`` makes the output from its shape, where its layout is not row-major.
    """
    arrays, (q, k, v), types = three_operands(q, k, v)
    own = q
    q, k = shared_heads(arrays, q, k, v)
    if q is not own:
        quick_key = None  # It is of the arrays as they came.
    threads = None if threads is None else whole(threads, "threads")
    shape = tuple(q.shape[:-1]) + tuple(v.shape[-1:])
    out_type = types[0] if out is None else checked_output(arrays, out, shape)
    sizes = sizes_of(q, k, v, types, out_type)
    plans = own_plans()
    if mask is None:
        # Operands may have an axis of keys, whose length is then the problem's.
        found = plans.find(sizes, options, threads, is_shareable=not operands)
    else:
        found = Found(make_plan(sizes, options, mask, threads), sizes.key_length)
    call = Call(found.plan)
    if out is None:
        out = arrays.empty(shape, out_type, q) if new_output is None else new_output(shape)
    kept = call.read(arrays, (q, k, v), types)
    if found.lengths is not None:
        call.bring_lengths(found.rows, found.lengths)
    lse = call.write(arrays, out, out_type, q, return_lse)
    if operands:
        call.name_operands(operands)
    if final_state is not None:
        call.write_state(final_state)
    call.run()
    if quick_key is not None and all(one is own for one, own in zip(kept, (q, k, v))):
        call.count = None if found.is_open else sizes.key_length
        plans.add_call(quick_key, call)
    return out if lse is None else (out, lse)
