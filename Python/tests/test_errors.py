"""Bad input raises AttentionError with a text that says what to do, and nothing else happens."""

import numpy as np
import pytest

import attnbench
from test_numpy import draw

q, k, v = draw(1)


@pytest.mark.parametrize("options, text", [
    ({"strategy": "windw(3)"}, "did you mean 'window'"),
    ({"strategy": "window(0)"}, "window w = 0"),
    ({"strategy": ""}, "strategy = ''"),
    ({"strategy": 7}, "strategy = 7: must be a text"),
    ({"strategy": "fla\0sh"}, "must be a text"),
    ({"strategy": ["flash"] * 5}, "one for each of the 6 query heads"),
    ({"strategy": []}, "one a query head"),
    ({"scale": float("nan")}, "scale = nan"),
    ({"scale": "big"}, "scale = 'big': must be a number"),
    ({"softcap": 0}, "softcap = 0.0"),
    ({"softcap": -1}, "softcap = -1.0"),
    ({"offset": "middle"}, "offset = 'middle'"),
    ({"offset": 2**70}, "does not fit 64 bits"),
    ({"offset": 2**40}, "must be within"),
    ({"offset": [1]}, "offset = 1 values: one per batch entry"),
    ({"offset": 1.5}, "offset = 1.5: must be a whole number"),
    ({"alibi": [1.0]}, "alibi = 1 values: one per query head"),
    ({"alibi": [np.inf] * 6}, "alibiSlopes = inf"),
    ({"sinks": 3}, "sinks = 3: must be a list"),
    ({"sinks": [np.nan] * 6}, "sinkLogits = nan"),
    ({"key_lengths": [14, 1]}, "keyLengths = 14"),
    ({"key_lengths": [-1, 1]}, "keyLengths = -1"),
    ({"key_lengths": [1]}, "key_lengths = 1 values"),
    ({"query_lengths": [10, 1]}, "queryLengths = 10"),
    ({"prefix_lengths": [10]}, "prefix_lengths = 1 values"),
    ({"mask": np.ones((9, 12), bool)}, "mask = [9, 12]: must broadcast"),
    ({"mask": np.ones((1, 2, 6, 9, 13), bool)}, "must broadcast"),
    ({"mask": np.ones((9, 13), np.int64)}, "mask = int64: must be bool"),
    ({"mask": [[True]]}, "mask is a list"),
    ({"window": 5}, "window = 5: must be"),
    ({"window": (-2, 0)}, "windowLeft = -2"),
    ({"window": (0, 1 << 40)}, "windowRight = 1099511627776"),
    ({"threads": 0}, "threads = 0"),
    ({"threads": -3}, "threads = -3"),
    ({"threads": 10**6}, "threads 1000000: at most 4096"),
    ({"threads": "all"}, "threads = 'all': must be a whole number"),
    ({"scale": 1e39}, "scale = 1e+39: must be a number of float32"),
    ({"scale": -1e300}, "scale = -1e+300: must be a number of float32"),
    ({"softcap": 1e39}, "softcap = 1e+39: must be a number of float32"),
    ({"alibi": [1e300] + 5 * [0]}, "alibi = 1e+300: must be a number of float32"),
    ({"operands": {"decay": np.zeros((2, 2, 13), np.float32)}}, "decay = given"),
    ({"operands": {"decay": np.zeros((2, 2, 13))}}, "decay = float64"),
    ({"out": np.empty((2, 6, 9, 8), np.float32)}, "out = float32 [2, 6, 9, 8]: must be [2, 6, 9, 7]"),
    ({"out": np.empty((2, 6, 9, 7))}, "out = float64"),
    ({"out": np.empty((2, 6, 9, 14), np.float32)[..., ::2]}, "rows must be contiguous"),
    ({"out": np.broadcast_to(np.float32(0), (2, 6, 9, 7))}, "out: must be writable"),
    ({"out": k}, "out = float32 [2, 2, 13, 5]"),
])
def test_options(options, text):
    with pytest.raises(attnbench.AttentionError) as error:
        attnbench.attention(q, k, v, **options)
    assert text in str(error.value)
    assert isinstance(error.value, ValueError) and error.value.status > 0


@pytest.mark.parametrize("arrays, text", [
    ((q[0], k, v), "k = [2, 2, 13, 5]: must be"),
    ((q[:1], k, v), "k = [2, 2, 13, 5]: must have the batch"),
    ((q[..., :4], k, v), "must have the batch and the head dimension"),
    ((q, k, v[:, :, :12]), "v = [2, 2, 12, 7]: must have"),
    ((q[:, :5], k, v), "heads = 5: must be a multiple of kvHeads (2)"),
    ((q[:, :0], k, v), "heads = 0"),
    ((q, k[:, :, :0], v[:, :, :0]), "key_length = 0"),
    ((q[:, :, :0], k, v), "query_length = 0"),
    ((q.astype(np.float64), k, v), "q = float64: must be float32"),
    ((q, k.astype(bool), v), "k = bool"),
    ((q, k, v.astype(np.float16)), "v = float16: must be float32 as k"),
    ((q.astype(">f4"), k, v), "q = >f4: must be float32"),
    ((q.tolist(), k, v), "q is a list"),
    ((None, k, v), "q is a NoneType"),
    ((np.float32(1), k, v), "q is a float32"),
    ((q[None], k, v), "q = [1, 2, 6, 9, 5]"),
])
def test_arrays(arrays, text):
    with pytest.raises(attnbench.AttentionError) as error:
        attnbench.attention(*arrays)
    assert text in str(error.value)


def test_outputs_that_overlap():
    both = np.zeros((2, 6, 9, 5), np.float32)
    k5 = np.zeros((2, 2, 13, 5), np.float32)
    with pytest.raises(attnbench.AttentionError, match="output: shares memory with query"):
        attnbench.attention(both, k5, k5, out=both)
    twice = np.lib.stride_tricks.as_strided(
        np.zeros(1000, np.float32), (2, 6, 9, 5), (0, 180, 20, 4))
    with pytest.raises(attnbench.AttentionError, match="must not overlap"):
        attnbench.attention(both, k5, k5, out=twice)


@pytest.mark.parametrize("options, text", [
    ({"heads": 0}, "heads = 0"),
    ({"heads": 1.5}, "heads = 1.5: must be a whole number"),
    ({"dtype": "f64"}, "dtype = 'f64': must be one of"),
    ({"kv_dtype": "int8-token"}, "is for decoders"),
    ({"query_length": 2**62}, "queryLength"),
    ({"head_dim": 2**63}, "does not fit 64 bits"),
])
def test_plans(options, text):
    with pytest.raises(attnbench.AttentionError) as error:
        attnbench.Plan(**{"heads": 2, "query_length": 4, "head_dim": 8} | options)
    assert text in str(error.value)


def test_runs_of_plans():
    plan = attnbench.Plan(heads=6, kv_heads=2, batch=2, query_length=9, key_length=13, head_dim=5)
    with pytest.raises(attnbench.AttentionError, match="value = .2, 2, 13, 7.: the plan was made for"):
        plan.run(q, k, v)
    with pytest.raises(attnbench.AttentionError, match="key_lengths = .1.: one per batch entry"):
        plan.run(q, k, k, key_lengths=[1])
    with pytest.raises(attnbench.AttentionError, match="keyLengths"):
        plan.run(q, k, k, key_lengths=[1, 14])
    with pytest.raises(attnbench.AttentionError, match="query = f16"):
        plan.run(q.astype(np.float16), k, k)


@pytest.mark.parametrize("options, text", [
    ({"capacity": 0}, "key_length = 0"),
    ({"rolling": 4}, "rolling = 4: must be"),
    ({"rolling": (0, 0)}, "window = 0"),
    ({"rolling": (1, 4), "strategy": "window(3)"}, "goes by positions"),
    ({"mask": np.ones((2, 8), bool), "step": 2}, "rows of queries come and go"),
    ({"dtype": "int8-token"}, "storage.query"),
])
def test_decoders(options, text):
    with pytest.raises(attnbench.AttentionError) as error:
        attnbench.Decoder(**{"heads": 2, "head_dim": 4, "capacity": 8} | options)
    assert text in str(error.value)


def test_steps_of_decoders():
    decoder = attnbench.Decoder(heads=6, kv_heads=2, batch=2, head_dim=5, value_dim=7, capacity=13)
    for arrays, text in [((q, k, v), "key = "), ((q[:1], k, v), "query = ")]:
        with pytest.raises(attnbench.AttentionError, match=text):
            decoder.step(*arrays)
    with pytest.raises(attnbench.AttentionError, match="one per batch entry"):
        decoder.step(q, k[:, :, :9], v[:, :, :9], new_tokens=[1])
    with pytest.raises(attnbench.AttentionError, match="newTokens"):
        decoder.step(q, k[:, :, :9], v[:, :, :9], new_tokens=[10, 1])
    with pytest.raises(attnbench.AttentionError, match="entry = 5"):
        decoder.truncate(0, entry=5)
    assert decoder.tokens == [0, 0]
