"""Sequences that grow by a token a step share plans, and get what a plan of their own gives."""

import threading

import numpy as np
import pytest

import attnbench
from attnbench import _plans

# Around what key lengths are rounded up to, and where default strides change.
LENGTHS = [1, 2, 5, 7, 143, 144, 145, 255, 256, 257, 511, 512, 513, 575, 576, 577, 700]
STRATEGIES = [
    strategy.name for strategy in attnbench.strategies()
    if strategy.name != "nystrom" and all(operand["optional"] for operand in strategy.operands)] + [
    "window(40)", "window(20, sinks: 3)", "window(30, global: 2)", "window(left: 9, right: 2)", "strided(7)",
    "fixed(16, 3)", "fixed(c: 3)", "flash(blockK: 64)", "flash(kv: f16)",
    ["flash", "strided", "window(33)", "fixed(32, 5)", "flash", "window(33)"],
    ["flash", "linear", "full", "strided", "flash", "flash"],
]
HEADS = dict(heads=6, kv_heads=2, head_dim=5, value_dim=7, batch=2)


def name(strategy):
    return strategy if isinstance(strategy, str) else ", ".join(strategy)


@pytest.fixture
def made(monkeypatch):
    """The key lengths of plans as they are made, from when there are none."""
    lengths = []
    make = _plans.make_plan

    def counted(sizes, *arguments):
        if sizes.head_dim > 1:  # Not the smallest, which are asked what a strategy means.
            lengths.append(sizes.key_length)
        return make(sizes, *arguments)

    monkeypatch.setattr(_plans, "make_plan", counted)
    monkeypatch.setattr(_plans, "_ready", _plans._Ready())
    return lengths


def cache(seed, n_q=1, n=800, dtype=np.float32):
    """Queries, and a cache in which no row has been filled."""
    random = np.random.default_rng(seed)
    q, k, v = (
        random.standard_normal(shape).astype(dtype) for shape in ((2, 6, n_q, 5), (2, 2, n, 5), (2, 2, n, 7)))
    return q, (k, v), (np.full_like(k, np.nan), np.full_like(v, np.nan))


def grow(rows, into, count):
    """The cache's first rows, filled; those after them are NaN."""
    for row, place in zip(rows, into):
        place[:, :, :count] = row[:, :, :count]
    return tuple(place[:, :, :count] for place in into)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=name)
@pytest.mark.parametrize("n_q, causal", [(1, True), (1, False), (3, True), (5, False), (9, True)])
def test_every_length_gives_what_its_own_plan_gives(strategy, n_q, causal):
    q, rows, into = cache(1, n_q)
    for count in LENGTHS:
        k, v = grow(rows, into, count)
        plan = attnbench.Plan(
            query_length=n_q, key_length=count, strategy=strategy, causal=causal, **HEADS)
        expected, expected_lse = plan.run(q, k, v, return_lse=True)
        for _ in range(2):  # The second is a call that is repeated.
            out, lse = attnbench.attention(q, k, v, strategy, causal=causal, return_lse=True)
            assert (out == expected).all() and (lse == expected_lse).all(), count


OPTIONS = {
    "top-left": dict(offset="top-left"),
    "offset": dict(offset=3),
    "offsets": dict(offset=[250, 1]),
    "scores": dict(scale=0.3, softcap=2.0, alibi=[0.5, 0.25, 0.1, 0.0, 1.0, 2.0], sinks=[0.1] * 6),
    "queries": dict(query_lengths=[2, 1]),
    "prefix": dict(prefix_lengths=[1, 0]),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("strategy", ["flash", "window(20, sinks: 3)", "strided", "fixed(16, 3)"])
def test_options_mean_the_same_at_every_length(options, strategy):
    q, rows, into = cache(2, 2)
    for count in LENGTHS[1:]:
        k, v = grow(rows, into, count)
        plan = attnbench.Plan(
            query_length=2, key_length=count, strategy=strategy, causal=True, **options, **HEADS)
        expected, out = (np.zeros((2, 6, 2, 7), np.float32) for _ in range(2))
        plan.run(q, k, v, out=expected)
        attnbench.attention(q, k, v, strategy, causal=True, out=out, **options)
        assert (out == expected).all(), count
        if "query_lengths" not in options:  # Which leave rows of a new array as they are.
            for _ in range(2):
                assert (attnbench.attention(q, k, v, strategy, causal=True, **options) == expected).all()


def test_an_offset_may_follow_the_length(made):
    q, rows, into = cache(3)
    for count in range(300, 340):
        k, v = grow(rows, into, count)
        out = attnbench.attention(q, k, v, "window(20)", causal=True, offset=count - 1)
        assert (out == attnbench.attention(q, k, v, "window(20)", causal=True)).all()
    assert made == [300, 512]


@pytest.mark.parametrize(
    "strategy", ["flash", "window(20, sinks: 3)", "fixed(16, 3)", ["flash", "window(9)"] * 3])
def test_few_plans_are_made(strategy, made):
    q, rows, into = cache(4)
    for count in range(200, 800):
        attnbench.attention(q, *grow(rows, into, count), strategy, causal=True)
    assert made == [200, 256, 512, 768, 1024]
    # Another sequence, from the beginning.
    for count in range(1, 300):
        attnbench.attention(q, *grow(rows, into, count), strategy, causal=True)
    assert made == [200, 256, 512, 768, 1024]


@pytest.mark.parametrize("strategy", ["full", "linear", "flash(kv: f16)"])
def test_plans_that_take_no_lengths_are_made_once_a_length(strategy, made):
    q, rows, into = cache(5)
    for count in range(200, 220):
        for _ in range(2):
            attnbench.attention(q, *grow(rows, into, count), strategy, causal=True)
    assert made == list(range(200, 220))


def test_prefill_makes_plans_of_its_own(made):
    q, rows, into = cache(6, 40)
    for count in (300, 301, 302):
        attnbench.attention(q, *grow(rows, into, count), causal=True)
    assert made == [300, 301, 302]


def test_key_lengths_may_grow_in_arrays_that_do_not(made):
    q, rows, into = cache(7, 2)
    for count in range(2, 600, 7):
        lengths = [count, count // 2]
        grow(rows, into, count)
        out = attnbench.attention(q, *into, "window(50, sinks: 2)", causal=True, key_lengths=lengths)
        for entry, length in enumerate(lengths):
            alone = attnbench.Plan(
                heads=6, kv_heads=2, query_length=2, key_length=length, head_dim=5, value_dim=7,
                strategy="window(50, sinks: 2)", causal=True)
            mine = slice(entry, entry + 1)
            assert (out[mine] == alone.run(q[mine], *(x[mine, :, :length] for x in into))).all()
    shared = [length for length in made if length >= 800]
    assert shared == [800, 1024]


@pytest.mark.parametrize("options, text", [
    (dict(key_lengths=[301, 1]), r"keyLengths = 301: must be in 0\.\.\.300"),
    (dict(key_lengths=[-1, 1]), "keyLengths = -1"),
    (dict(key_lengths=[1]), "key_lengths = 1 values"),
    (dict(prefix_lengths=[270, 1]), r"prefixLengths = 270: must be in 0\.\.\.260"),
])
def test_what_is_out_of_range_stays_an_error(options, text):
    """The rounded length has room for it, and the arrays have not."""
    q, rows, into = cache(8)
    k, v = grow(rows, into, 300)
    for count in (299, 300):
        attnbench.attention(q, k[:, :, :count], v[:, :, :count], causal=True)
    if "prefix_lengths" in options:
        for count in (299, 300):
            attnbench.attention(q, k[:, :, :count], v[:, :, :count], causal=True, **options)
        k, v = k[:, :, :260], v[:, :, :260]
    with pytest.raises(attnbench.AttentionError, match=text):
        attnbench.attention(q, k, v, causal=True, **options)


def test_a_single_row_may_have_any_stride():
    q, (k, v), _ = cache(9)
    for count in (3, 2):
        attnbench.attention(q, k[:, :, :count], v[:, :, :count], causal=True)
    expected = attnbench.attention(q, k[:, :, :1].copy(), v[:, :, :1].copy(), causal=True)
    for step in (-1, 1, 5):
        single = [np.lib.stride_tricks.as_strided(x, (2, 2, 1, x.shape[3]), (
            *x.strides[:2], 4 * step, 4)) for x in (k, v)]
        assert (attnbench.attention(q, *single, causal=True) == expected).all()


def test_arrays_of_any_layout():
    q, (k, v), _ = cache(10)
    for count in range(250, 260):
        expected = attnbench.Plan(
            query_length=1, key_length=count, strategy="window(30)", causal=True, **HEADS
        ).run(q, k[:, :, :count], v[:, :, :count])
        by_token = [np.ascontiguousarray(x[:, :, :count].swapaxes(1, 2)).swapaxes(1, 2) for x in (k, v)]
        transposed = [
            np.ascontiguousarray(x[:, :, :count].swapaxes(2, 3)).swapaxes(2, 3) for x in (k, v)]
        reversed_ = [np.ascontiguousarray(x[:, :, :count][:, :, ::-1])[:, :, ::-1] for x in (k, v)]
        # Rows that are no whole number of elements apart.
        odd = [
            np.zeros((2, 2, count), [("row", np.float32, size), ("byte", "u1")])["row"] for size in (5, 7)]
        for array, x in zip(odd, (k, v)):
            array[...] = x[:, :, :count]
        assert odd[0].strides[2] == 21
        for arrays in (by_token, transposed, by_token, reversed_, odd, by_token):
            assert (attnbench.attention(q, *arrays, "window(30)", causal=True) == expected).all()
    one = [x[0, 0] for x in (q, k, v)]
    for count in range(250, 260):
        alone = attnbench.attention(one[0], one[1][:count], one[2][:count], causal=True)
        np.testing.assert_allclose(alone, attnbench.attention(
            one[0], one[1][:count], one[2][:count], "full", causal=True), atol=1e-5)


def test_tensors_of_every_type():
    torch = pytest.importorskip("torch")
    from attnbench.torch import scaled_dot_product_attention as sdpa

    for dtype, tolerance in ((torch.float32, 2e-5), (torch.float16, 4e-3), (torch.bfloat16, 4e-2)):
        q, k, v = (torch.randn(2, h, n, 16).to(dtype) for h, n in ((6, 1), (2, 600), (2, 600)))
        k[:, :, 520:] = v[:, :, 520:] = torch.nan
        for count in range(500, 521):
            rows = k[:, :, :count], v[:, :, :count]
            expected = torch.nn.functional.scaled_dot_product_attention(
                *(x.double() for x in (q, *rows)), enable_gqa=True)
            out = sdpa(q, *rows, enable_gqa=True)
            assert out.dtype == dtype and (out - expected).abs().max() < tolerance
            assert (attnbench.attention(q, *rows) == out).all()
            rows = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in rows]
            assert (sdpa(q, *rows, enable_gqa=True) == out).all()


def test_each_thread_has_plans_of_its_own(made):
    q, rows, into = cache(11)
    k, v = grow(rows, into, 700)
    plan = attnbench.Plan(query_length=1, key_length=700, causal=True, **HEADS)
    expected = plan.run(q, k, v, key_lengths=[300, 300])
    results = []

    def work():
        for count in range(290, 301):
            out = attnbench.attention(q, k[:, :, :count], v[:, :, :count], causal=True)
        results.append(out)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all((out == expected).all() for out in results)


def test_plans_that_go_take_their_calls_along(made, monkeypatch):
    monkeypatch.setattr(_plans.Plans, "MAXIMUM_COUNT", 3)
    q, (k, v), _ = cache(12)
    plans = _plans._ready.plans
    for count in range(2, 40):
        attnbench.attention(q, k[:, :, :count], v[:, :, :count], "full")
        assert len(plans.plans) <= 3 and len(plans.calls) <= 3
        kept = [one.plan for one in plans.plans.values()]
        assert all(any(call.plan is plan for plan in kept) for call in plans.calls.values())
        assert plans.workspace == sum(one.workspace for one in plans.plans.values())
    # What was used last stays.
    made.clear()
    for _ in range(3):
        for count in (38, 39):
            attnbench.attention(q, k[:, :, :count], v[:, :, :count], "full", threads=1)
    assert made == [38, 39]
    # A plan that is too large to keep leaves no call behind, which would hold it.
    monkeypatch.setattr(_plans.Plans, "MAXIMUM_WORKSPACE", 0)
    before = len(plans.calls)
    attnbench.attention(q, k[:, :, :41], v[:, :, :41], "full")
    assert len(plans.calls) == before
