import importlib.metadata

import ml_dtypes
import numpy as np
import pytest

import attnbench
import reference

# Values are unit normal: some tens of roundings.
TOLERANCE = {np.float32: 1e-5, np.float16: 3e-3, ml_dtypes.bfloat16: 3e-2}


def draw(seed, b=2, h=6, h_kv=2, n_q=9, n_kv=13, d=5, d_v=7, dtype=np.float32):
    random = np.random.default_rng(seed)
    return tuple(
        random.standard_normal(shape).astype(dtype)
        for shape in ((b, h, n_q, d), (b, h_kv, n_kv, d), (b, h_kv, n_kv, d_v)))


def check(result, expected, tolerance=1e-5):
    assert np.isfinite(np.asarray(result, np.float64)).all()
    np.testing.assert_allclose(np.asarray(result, np.float64), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("n_q, n_kv", [(1, 1), (1, 40), (2, 3), (9, 13), (17, 17), (49, 130), (13, 9)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_is_the_definition(n_q, n_kv, dtype):
    q, k, v = draw(1, n_q=n_q, n_kv=n_kv, dtype=dtype)
    for causal in (False, True):
        visible = reference.causal(n_q, n_kv) if causal else None
        expected, lse = reference.attention(q, k, v, visible=visible)
        out, found = attnbench.attention(q, k, v, causal=causal, return_lse=True)
        assert out.dtype == dtype and found.dtype == np.float32 and found.shape == lse.shape
        check(out, expected, TOLERANCE[dtype])
        np.testing.assert_allclose(found, lse, rtol=1e-5, atol=1e-5)


def test_finite_numbers_beyond_float32_stay_finite():
    q, k, v = draw(2)
    limit = float(np.finfo(np.float32).max)
    bias = np.random.default_rng(4).standard_normal((9, 13))
    bias[:, 3], bias[2] = -1e300, -1.797e308
    bias[4, 5] = -np.inf
    near = np.maximum(bias, np.where(np.isfinite(bias), -limit, -np.inf)).astype(np.float32)
    far = attnbench.attention(q, k, v, mask=bias)
    np.testing.assert_array_equal(far, attnbench.attention(q, k, v, mask=near))
    # A row that was hidden as a whole would be 0.
    assert far[:, :, 2].any()
    np.testing.assert_array_equal(
        attnbench.attention(q, k, v, sinks=[-1e300, 1e39] + 4 * [0.5]),
        attnbench.attention(q, k, v, sinks=[-limit, limit] + 4 * [0.5]))


def test_options_are_the_definition():
    q, k, v = draw(2)
    random = np.random.default_rng(3)
    alibi, sinks = random.random(6), random.standard_normal(6)
    bias = random.standard_normal((2, 1, 9, 13)).astype(np.float32)
    mask = random.random((6, 9, 13)) < 0.6
    visible = reference.causal(9, 13)
    for options, known in [
        ({"scale": 0.7, "softcap": 1.5}, {"scale": 0.7, "softcap": 1.5}),
        ({"scale": 0.0}, {"scale": 0.0}),
        ({"alibi": alibi, "causal": True}, {"alibi": alibi, "visible": visible}),
        ({"sinks": sinks, "causal": True}, {"sinks": sinks, "visible": visible}),
        ({"mask": bias}, {"bias": bias}),
        ({"mask": bias.astype(np.float64)}, {"bias": bias}),
        ({"mask": mask}, {"visible": mask}),
        ({"mask": mask, "causal": True}, {"visible": mask & visible}),
        ({"mask": mask[:, :, :1]}, {"visible": mask[:, :, :1]}),
        ({"mask": mask[0, ::-1, ::-1]}, {"visible": mask[0, ::-1, ::-1]}),
        ({"window": (2, 1)}, {"visible": abs(np.arange(9)[:, None] + 4 - np.arange(13) - .5) < 2}),
        (
            {"window": (4, None), "causal": True, "strategy": "full"},
            {"visible": visible & (np.arange(9)[:, None] + 4 - np.arange(13) <= 4)},
        ),
        (
            {"window": (-1, 0), "strategy": "strided(3)"},
            {"visible": visible & np.array(
                [[p - j <= 3 or (p - j) % 3 == 0 for j in range(13)] for p in range(4, 13)])},
        ),
        ({"offset": "top-left", "causal": True}, {"visible": reference.causal(9, 13, 0), "offset": 0}),
        ({"offset": 2, "causal": True}, {"visible": reference.causal(9, 13, 2), "offset": 2}),
        (
            {"offset": [1, 3], "causal": True},
            {"visible": np.stack([reference.causal(9, 13, 1), reference.causal(9, 13, 3)])[:, None]},
        ),
        ({"key_lengths": [5, 13]}, {"visible": (np.arange(13) < [[5], [13]])[:, None, None]}),
        (
            {"prefix_lengths": [11, 0], "causal": True},
            {"visible": np.stack([visible | (np.arange(13) < 11), visible])[:, None]},
        ),
    ]:
        expected, lse = reference.attention(q, k, v, **known)
        out, found = attnbench.attention(q, k, v, return_lse=True, **options)
        check(out, expected)
        np.testing.assert_allclose(found, lse, rtol=1e-5, atol=1e-5)


def test_rows_without_a_key_are_zero():
    q, k, v = draw(4)
    for mask in (np.zeros((1, 13), bool), np.full((1, 13), -np.inf, np.float32)):
        out, lse = attnbench.attention(q, k, v, mask=mask, return_lse=True)
        assert (out == 0).all() and (lse == -np.inf).all()


def test_nothing_hidden_leaks():
    q, k, v = draw(5)
    expected = attnbench.attention(q, k, v, key_lengths=[7, 7])
    k[:, :, 7:], v[:, :, 7:] = np.nan, np.inf
    assert (attnbench.attention(q, k, v, key_lengths=[7, 7]) == expected).all()


def test_strides_need_no_copy_and_change_nothing():
    q, k, v = draw(6)
    expected = attnbench.attention(q, k, v, causal=True)
    fused = np.full((2, 13, 10, 20), np.nan, np.float32)  # [b, n, heads of q, k and v, columns]
    fused[:, :9, :6, :5] = q.swapaxes(1, 2)
    fused[:, :, 6:8, :5] = k.swapaxes(1, 2)
    fused[:, :, 8:, :7] = v.swapaxes(1, 2)
    views = fused[:, :9, :6, :5], fused[:, :, 6:8, :5], fused[:, :, 8:, :7]
    views = tuple(view.swapaxes(1, 2) for view in views)
    for _ in range(3):
        assert (attnbench.attention(*views, causal=True) == expected).all()
    # Other strides than the library's are copied.
    for strange in (lambda x: x[:, :, ::-1], lambda x: np.asfortranarray(x)):
        flipped = [strange(np.ascontiguousarray(strange(x))) for x in (q, k, v)]
        assert (attnbench.attention(*flipped, causal=True) == expected).all()
    unaligned = []
    for x in (q, k, v):
        raw = np.zeros(x.nbytes + 1, np.uint8)
        raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
        unaligned.append(raw[1:].view(np.float32).reshape(x.shape))
    for _ in range(2):
        assert (attnbench.attention(*unaligned, causal=True) == expected).all()


def test_fewer_axes():
    q, k, v = draw(7, b=1, h=1, h_kv=1)
    expected = attnbench.attention(q, k, v)
    assert (attnbench.attention(q[0], k[0], v[0]) == expected[0]).all()
    assert (attnbench.attention(q[0, 0], k[0, 0], v[0, 0]) == expected[0, 0]).all()


def test_broadcast_keys_are_read_in_place():
    q, k, v = draw(8)
    k, v = (np.broadcast_to(x[:1], x.shape) for x in (k, v))
    check(attnbench.attention(q, k, v), reference.attention(q, k, v)[0])


def test_out_is_written_and_returned():
    q, k, v = draw(9)
    expected = attnbench.attention(q, k, v)
    for dtype in (np.float32, np.float16):
        out = np.full((2, 9, 6, 7), np.nan, dtype).swapaxes(1, 2)
        assert attnbench.attention(q, k, v, out=out) is out
        assert (out == expected.astype(dtype)).all()


def test_repeated_calls_read_the_new_arrays():
    for seed in range(5):
        q, k, v = draw(seed)
        check(attnbench.attention(q, k, v), reference.attention(q, k, v)[0])


@pytest.mark.parametrize("strategy", [
    s.name for s in attnbench.strategies()
    if s.name != "nystrom" and all(operand["optional"] for operand in s.operands)])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_strategy_runs(strategy, threads):
    q, k, v = draw(10)
    out = attnbench.attention(q, k, v, strategy, causal=True, threads=threads)
    assert np.isfinite(out).all()
    assert (out == attnbench.attention(q, k, v, strategy, causal=True, threads=threads)).all()


def test_what_has_no_causal_form_says_so():
    q, k, v = draw(10)
    assert np.isfinite(attnbench.attention(q, k, v, "nystrom(3)")).all()
    with pytest.raises(attnbench.AttentionError, match="see its future"):
        attnbench.attention(q, k, v, "nystrom(3)", causal=True)


def test_heads_may_have_strategies():
    q, k, v = draw(11)
    mixed = attnbench.attention(q, k, v, ["flash", "full", "window(3)", "flash", "flash", "flash"])
    for head, strategy in enumerate(["flash", "full", "window(3)"]):
        alone = attnbench.attention(q[:, head:head + 1], k[:, :1], v[:, :1], strategy)
        assert (mixed[:, head:head + 1] == alone).all()


def test_the_wheel_has_the_librarys_version():
    assert importlib.metadata.version("attnbench") == attnbench.__version__


def test_strategies_are_described():
    by_name = {strategy.name: strategy for strategy in attnbench.strategies()}
    assert by_name["flash"].operator_class == "exact"
    assert by_name["window"].operator_class == "restricted"
    assert [label for label, _ in by_name["window"].parameters][:2] == ["w", "global"]
    assert by_name["linear"].operator_class == "different"


def test_plans():
    q, k, v = draw(12)
    plan = attnbench.Plan(
        batch=2, heads=6, kv_heads=2, query_length=9, key_length=13, head_dim=5, value_dim=7,
        strategy="strided", causal=True, threads=1)
    assert (plan.run(q, k, v) == attnbench.attention(q, k, v, "strided", causal=True)).all()
    assert plan.spec == "strided(4)" and plan.operator_class == "restricted" and plan.threads == 1
    assert plan.flops == 2 * plan.pairs * 12 and plan.workspace_bytes > 0
    assert "strided(4)" in repr(plan)
    q = q[:, :, :1]
    plan = attnbench.Plan(
        batch=2, heads=6, kv_heads=2, query_length=1, key_length=13, head_dim=5, value_dim=7)
    assert plan.takes_key_lengths
    expected = attnbench.attention(q, k, v, key_lengths=[4, 11])
    assert (plan.run(q, k, v, key_lengths=[4, 11]) == expected).all()
    out, lse = plan.run(q, k, v, out=np.empty((2, 6, 1, 7), np.float32), return_lse=True)
    assert np.isfinite(out).all() and lse.shape == (2, 6, 1)


def test_a_plans_repeated_runs_read_the_new_arrays():
    rng = np.random.default_rng(5)
    plan = attnbench.Plan(heads=4, kv_heads=2, query_length=3, key_length=7, head_dim=5, causal=True)
    half = attnbench.Plan(
        heads=4, kv_heads=2, query_length=3, key_length=7, head_dim=5, causal=True, out_dtype="f16")
    for return_lse, swap in [(False, False), (False, False), (True, False), (True, True), (False, True)] * 2:
        q, k, v = (rng.standard_normal((1, *shape, 5), np.float32) for shape in ((4, 3), (2, 7), (2, 7)))
        if swap:
            q, k, v = (np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for x in (q, k, v))
        expected = reference.attention(
            q, k, v, visible=np.arange(7) <= np.arange(3)[:, None] + 4)
        found = plan.run(q, k, v, return_lse=return_lse)
        for one, right in zip(found if return_lse else (found,), expected):
            np.testing.assert_allclose(one, right, rtol=1e-5, atol=1e-5)
        narrow = half.run(q, k, v)
        assert narrow.dtype == np.float16
        np.testing.assert_allclose(narrow, expected[0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("kv_dtype, tolerance", [("f32", 1e-5), ("f16", 5e-3), ("int8-token", 5e-2)])
def test_decoders(kv_dtype, tolerance):
    q, k, v = draw(13, n_q=13)
    expected, _ = reference.attention(q, k, v, visible=reference.causal(13, 13))
    decoder = attnbench.Decoder(
        batch=2, heads=6, kv_heads=2, head_dim=5, value_dim=7, capacity=13, kv_dtype=kv_dtype)
    for first, last in [(0, 5), (5, 6), (6, 7), (7, 13)]:
        rows = slice(first, last)
        out, lse = decoder.step(q[:, :, rows], k[:, :, rows], v[:, :, rows], return_lse=True)
        check(out, expected[:, :, rows], tolerance)
        assert lse.shape == (2, 6, last - first)
    assert decoder.tokens == [13, 13] and decoder.cache_bytes > 0
    with pytest.raises(attnbench.AttentionError, match="keyLength = 13"):
        decoder.step(q[:, :, :1], k[:, :, :1], v[:, :, :1])
    decoder.truncate(6)
    decoder.truncate(5, entry=1)
    assert decoder.tokens == [6, 5]
    decoder.step(q[:, :, 5:7], k[:, :, 5:7], v[:, :, 5:7], new_tokens=[0, 1])
    assert decoder.tokens == [6, 6]


def test_rolling_decoders_forget():
    q, k, v = draw(14, n_q=13)
    decoder = attnbench.Decoder(
        batch=2, heads=6, kv_heads=2, head_dim=5, value_dim=7, capacity=13, rolling=(1, 4))
    steps = [
        decoder.step(q[:, :, i:i + 1], k[:, :, i:i + 1], v[:, :, i:i + 1]) for i in range(13)]
    distance = np.arange(13)[:, None] - np.arange(13)
    visible = (distance >= 0) & ((distance < 4) | (np.arange(13) == 0))
    check(np.concatenate(steps, 2), reference.attention(q, k, v, visible=visible)[0])


def test_linear_decoders_keep_a_state():
    q, k, v = draw(15, n_q=13)
    whole = attnbench.attention(q, k, v, "linear", causal=True)
    decoder = attnbench.Decoder(
        batch=2, heads=6, kv_heads=2, head_dim=5, value_dim=7, capacity=13, strategy="linear")
    steps = [
        decoder.step(q[:, :, i:i + 1], k[:, :, i:i + 1], v[:, :, i:i + 1]) for i in range(13)]
    check(np.concatenate(steps, 2), whole, 1e-4)
