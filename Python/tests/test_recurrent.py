"""Recurrences with operands of their own, beside the recurrence written down in NumPy's float64."""

import numpy as np
import pytest

import attnbench

B, H, HKV, N, D, DV = 2, 4, 2, 61, 12, 9


def draw(seed: int, per_channel: bool):
    generator = np.random.default_rng(seed)
    q = generator.standard_normal((B, H, N, D), np.float32)
    k = generator.standard_normal((B, HKV, N, D), np.float32)
    v = generator.standard_normal((B, HKV, N, DV), np.float32)
    decay = -generator.random((B, HKV, N, D) if per_channel else (B, HKV, N), np.float32)
    decay[:, :, 20] = -1e4
    return q, k, v, decay, generator.random((B, HKV, N), np.float32)


def unit(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-6)


def recurrence(q, k, v, decay, beta, erases: bool):
    q, k, v, decay, beta = (np.asarray(x, np.float64) for x in (q, k, v, decay, beta))
    if decay.ndim == 3:
        decay = decay[..., None]
    state, out = np.zeros((B, HKV, D, DV)), np.zeros((B, H, N, DV))
    for t in range(N):
        state = np.exp(decay[:, :, t])[..., None] * state
        key, value = k[:, :, t], v[:, :, t]
        if erases:
            value = beta[:, :, t, None] * (value - np.einsum("bhdv,bhd->bhv", state, key))
        state += key[..., None] * value[..., None, :]
        out[:, :, t] = np.einsum("bhd,bhdv->bhv", q[:, :, t], state.repeat(H // HKV, 1))
    return out / np.sqrt(D)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("erases", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_recurrences_are_what_they_say(per_channel, erases, threads):
    q, k, v, decay, beta = draw(3, per_channel)
    kind = "channel" if per_channel else "head"
    operands = {"decay": decay}
    strategy = f"gated({kind})"
    if erases:
        operands["beta"] = beta
        strategy = f"gated_delta({kind}, l2)"
        expected = recurrence(unit(q), unit(k), v, decay, beta, True)
    else:
        expected = recurrence(q, k, v, decay, beta, False)
    out = attnbench.attention(q, k, v, strategy, causal=True, operands=operands, threads=threads)
    np.testing.assert_allclose(out, expected, atol=3e-5, rtol=1e-4)


def test_a_missing_operand_and_a_value_out_of_its_domain_are_named():
    q, k, v, decay, _ = draw(4, False)
    with pytest.raises(attnbench.AttentionError, match="decay = missing"):
        attnbench.attention(q, k, v, "gated", causal=True)
    with pytest.raises(attnbench.AttentionError, match="decay.*query, key and value alone"):
        attnbench.attention(q, k, v, "flash", causal=True, operands={"decay": decay})


@pytest.mark.parametrize("per_channel", [False, True])
def test_a_sequence_may_be_cut_where_its_state_goes_on(per_channel):
    q, k, v, decay, beta = draw(5, per_channel)
    strategy = f"gated_delta({'channel' if per_channel else 'head'}, l2)"
    whole, end = np.empty((B, HKV, D, DV), np.float32), np.empty((B, HKV, D, DV), np.float32)
    out = attnbench.attention(
        q, k, v, strategy, causal=True, operands={"decay": decay, "beta": beta}, final_state=whole)
    between = np.empty_like(whole)
    cut = 37
    first = attnbench.attention(
        q[:, :, :cut], k[:, :, :cut], v[:, :, :cut], strategy, causal=True, final_state=between,
        operands={"decay": decay[:, :, :cut], "beta": beta[:, :, :cut]})
    rest = attnbench.attention(
        q[:, :, cut:], k[:, :, cut:], v[:, :, cut:], strategy, causal=True, final_state=end,
        operands={"decay": decay[:, :, cut:], "beta": beta[:, :, cut:], "state": between})
    np.testing.assert_allclose(np.concatenate([first, rest], 2), out, atol=3e-5, rtol=1e-4)
    np.testing.assert_allclose(end, whole, atol=3e-5, rtol=1e-4)


def test_a_state_that_fits_nothing_is_named():
    q, k, v, decay, _ = draw(6, False)
    for state in (np.empty((B, HKV, D, DV)), np.empty((B, HKV, D, DV + 1), np.float32)):
        with pytest.raises(attnbench.AttentionError, match="final_?[sS]tate"):
            attnbench.attention(
                q, k, v, "gated", causal=True, operands={"decay": decay}, final_state=state)
    with pytest.raises(attnbench.AttentionError, match="finalState"):
        attnbench.attention(q, k, v, final_state=np.empty((B, HKV, D, DV), np.float32))


def test_steps_take_operands_and_are_taken_back():
    q, k, v, decay, beta = draw(7, False)
    expected = recurrence(unit(q), unit(k), v, decay, beta, True)
    decoder = attnbench.Decoder(
        heads=H, kv_heads=HKV, head_dim=D, value_dim=DV, batch=B, capacity=N,
        strategy="gated_delta(normalise: l2)")
    with pytest.raises(attnbench.AttentionError, match="mark"):
        decoder.rewind()
    start = 0
    for count in (30, 1, 1, 29):
        part = slice(start, start + count)
        operands = {"decay": decay[:, :, part], "beta": beta[:, :, part]}
        decoder.mark()
        for _ in range(2):
            out = decoder.step(q[:, :, part], k[:, :, part], v[:, :, part], operands=operands)
            np.testing.assert_allclose(out, expected[:, :, part], atol=3e-5, rtol=1e-4)
            if start == 30:
                decoder.rewind()
            else:
                break
        else:
            decoder.step(q[:, :, part], k[:, :, part], v[:, :, part], operands=operands)
        start += count
    assert decoder.tokens == [N] * B


def test_heads_of_queries_and_keys_serve_groups_of_values():
    q, k, v, _, _ = draw(8, False)
    q = q[:, :HKV]
    wide = np.random.default_rng(9).standard_normal((B, 3 * HKV, N, DV)).astype(np.float32)
    for strategy in ("flash", "retention"):
        out = attnbench.attention(q, k, wide, strategy, causal=True)
        repeated = attnbench.attention(q.repeat(3, 1), k.repeat(3, 1), wide, strategy, causal=True)
        np.testing.assert_array_equal(out, repeated)
