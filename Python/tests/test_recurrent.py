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
