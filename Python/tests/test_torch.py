"""scaled_dot_product_attention against PyTorch's own, over its argument space."""

import itertools
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import attnbench
from attnbench.torch import scaled_dot_product_attention as sdpa

# Of PyTorch and attnbench together, on unit normal values.
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}


def layout(choice, tensor):
    """The same numbers in other strides."""
    match choice.choice(["plain", "interleaved", "sliced", "transposed", "offset"]):
        case "interleaved" if tensor.dim() >= 3:
            return tensor.transpose(-2, -3).contiguous().transpose(-2, -3)
        case "sliced":
            wide = torch.full((*tensor.shape[:-1], 2 * tensor.shape[-1]), torch.nan, dtype=tensor.dtype)
            wide[..., ::2] = tensor
            return wide[..., ::2]
        case "transposed":
            return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
        case "offset":
            long = torch.cat([tensor, tensor[..., :1, :]], -2)
            return long[..., :-1, :]
    return tensor


def random_case(seed):
    choice = random.Random(seed)
    torch.manual_seed(seed)
    dtype = choice.choices(list(TOLERANCE), [4, 1, 1])[0]
    batch = tuple(choice.choice([1, 2, 3]) for _ in range(choice.choice([0, 1, 1, 1, 2])))
    kv_heads = choice.choice([1, 2, 3])
    group = choice.choice([1, 1, 2, 3])
    has_heads = bool(batch) or group > 1 or choice.random() < 0.7
    lengths = [1, 2, 3, 7, 16, 17, 33, 49, 130]
    n_q = choice.choice(lengths)
    n_kv = n_q if choice.random() < 0.4 else choice.choice(lengths)
    d = choice.choice([1, 3, 8, 16, 33, 64])
    d_v = d if choice.random() < 0.6 else choice.choice([1, 5, 8, 32])
    heads = ((kv_heads * group,), (kv_heads,)) if has_heads else ((), ())
    query = torch.randn(*batch, *heads[0], n_q, d).to(dtype)
    key = torch.randn(*batch, *heads[1], n_kv, d).to(dtype)
    value = torch.randn(*batch, *heads[1], n_kv, d_v).to(dtype)
    if group == 1 and batch and choice.random() < 0.2:  # Batches broadcast.
        key, value = key[:1], value[:1]
    options = {"enable_gqa": True} if group > 1 else {}
    if choice.random() < 0.4:
        options["scale"] = choice.choice([0.0, 0.1, 1.0])
    kind = choice.choice(["none", "causal", "bool", "float", "float"])
    if kind == "causal":
        options["is_causal"] = True
    elif kind != "none":
        full = (*query.shape[:-2], n_q, n_kv)
        shape = tuple(size if choice.random() < 0.7 else 1 for size in full)
        shape = shape[choice.randrange(len(shape) - 1):]
        if kind == "bool":
            mask = torch.rand(shape) < choice.choice([0.2, 0.8])
        else:
            mask = torch.randn(shape)
            # Beside the least fp16, 65,504, fp32 rounds scores by 4e-3.
            hidden = [-torch.inf] if dtype == torch.float16 else [-torch.inf, torch.finfo(dtype).min]
            mask[torch.rand(shape) < 0.3] = choice.choice(hidden)
            mask = mask.to(dtype)
        if choice.random() < 0.3 and mask.dim() >= 2:
            mask = mask.transpose(-1, -2).contiguous().transpose(-1, -2)
        options["attn_mask"] = mask
    return tuple(layout(choice, tensor) for tensor in (query, key, value)), options


@pytest.mark.parametrize("first", range(0, 600, 20))
def test_random_cases_agree(first):
    for seed in range(first, first + 20):
        tensors, options = random_case(seed)
        exact = [tensor.double() for tensor in tensors]
        double = dict(options)
        if "attn_mask" in options and options["attn_mask"].dtype != torch.bool:
            double["attn_mask"] = options["attn_mask"].double()
        expected = F.scaled_dot_product_attention(*exact, **double)
        result = sdpa(*tensors, **options)
        assert result.shape == expected.shape and result.dtype == tensors[0].dtype, seed
        error = (result.double() - expected).abs().max()
        assert error <= TOLERANCE[result.dtype], (seed, error, options.keys())


def test_rows_without_a_key_are_zero():
    q, k, v = torch.randn(3, 2, 4, 5, 8)
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[2] = False
    for given in (mask, torch.zeros(5, 5).masked_fill(~mask, -torch.inf)):
        out = sdpa(q, k, v, given)
        assert (out[:, :, 2] == 0).all()
        torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v, given))


def test_empty_tensors():
    for shape, keys in [((0, 2, 3, 4), 3), ((1, 2, 0, 4), 3), ((1, 0, 3, 4), 3), ((1, 2, 3, 4), 0)]:
        q, k = torch.randn(shape), torch.randn(*shape[:2], keys, 4)
        expected = F.scaled_dot_product_attention(q, k, k)
        result = sdpa(q, k, k)
        assert result.shape == expected.shape and (result == expected).all()


@pytest.mark.parametrize("arguments, text", [
    ({"dropout_p": 0.1}, "dropout_p = 0.1"),
    ({"is_causal": True, "attn_mask": torch.ones(5, 5, dtype=torch.bool)}, "is_causal"),
    ({"attn_mask": torch.ones(5, 5, dtype=torch.long)}, "attn_mask = torch.int64"),
    ({"attn_mask": torch.ones(5, 6, dtype=torch.bool)}, "attn_mask = [5, 6]: must broadcast"),
    ({"attn_mask": torch.ones(2, 2, 4, 5, 5, dtype=torch.bool)}, "must broadcast"),
    ({"query": torch.randn(2, 8, 5, 8)}, "leading axes must broadcast; enable_gqa"),
    ({"query": torch.randn(2, 6, 5, 8), "enable_gqa": True}, "6 query heads must be a multiple of 4"),
    ({"query": torch.randn(8)}, "must have at least 2 axes"),
    ({"query": torch.randn(2, 4, 5, 7)}, "must be [..., L, E]"),
    ({"query": torch.randn(2, 4, 5, 8).double()}, "must be of one type"),
    ({"scale": float("inf")}, "scale = inf"),
    ({"strategy": "flush"}, "did you mean 'flash'"),
])
def test_what_is_not_served_raises(arguments, text):
    x = torch.randn(2, 4, 5, 8)
    with pytest.raises(attnbench.AttentionError) as error:
        sdpa(**{"query": x, "key": x, "value": x} | arguments)
    assert text in str(error.value)
    with pytest.raises(attnbench.AttentionError, match="float64"):
        sdpa(x.double(), x.double(), x.double())


def test_gradients_are_refused_where_they_would_be_lost():
    x = torch.randn(1, 2, 5, 8, requires_grad=True)
    with pytest.raises(RuntimeError, match="autograd"):
        sdpa(x, x, x).sum().backward()
    with pytest.raises(attnbench.AttentionError, match="requires a gradient"):
        attnbench.attention(x, x, x)
    with torch.no_grad():
        assert (attnbench.attention(x, x, x) == sdpa(x, x, x)).all()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compile_keeps_the_operator(backend):
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend(backend)(graph, inputs)

    @torch.compile(backend=count, fullgraph=True)
    def layer(x, mask):
        y = sdpa(x * 2, x, x, mask)
        return sdpa(y, x, x, is_causal=True, scale=0.3).transpose(1, 2).reshape(2, 5, -1)

    x, mask = torch.randn(2, 4, 5, 8), torch.rand(5, 5) < 0.7
    with torch.no_grad():
        y = F.scaled_dot_product_attention(x * 2, x, x, mask)
        expected = F.scaled_dot_product_attention(y, x, x, is_causal=True, scale=0.3)
        torch.testing.assert_close(layer(x, mask), expected.transpose(1, 2).reshape(2, 5, -1))
    assert len(graphs) == 1
    assert str(graphs[0].graph).count("attnbench.attention") == 2


def test_operator_is_registered_as_pytorch_wants_it():
    x = torch.randn(2, 4, 5, 8)
    torch.library.opcheck(
        torch.ops.attnbench.attention.default, (x, x[:, :2], x[:, :2, :, :3].contiguous()),
        {"causal": True}, test_utils=("test_schema", "test_faketensor"))


def test_modes_see_the_operator():
    seen = []

    class Listener(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            seen.append(str(function))
            return function(*arguments, **(options or {}))

    x = torch.randn(2, 4, 5, 8)
    with Listener():
        sdpa(x, x, x)
    assert "attnbench.attention.default" in seen


def test_attention_takes_tensors():
    choice = random.Random(1)
    for seed, dtype in itertools.product(range(4), TOLERANCE):
        torch.manual_seed(seed)
        q, k, v = (layout(choice, torch.randn(2, 4, 9, 8).to(dtype)) for _ in range(3))
        for _ in range(2):
            out, lse = attnbench.attention(q, k, v, causal=True, return_lse=True)
            assert isinstance(out, torch.Tensor) and out.dtype == dtype and lse.dtype == torch.float32
            expected = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True)
            assert (out.double() - expected).abs().max() <= TOLERANCE[dtype]
            assert (attnbench.attention(q, k, v, causal=True) == out).all()
    with pytest.raises(attnbench.AttentionError, match="all be NumPy arrays or all PyTorch"):
        attnbench.attention(q, np.ones((2, 4, 9, 8), np.float32), v)
    decoder = attnbench.Decoder(heads=4, batch=2, head_dim=8, capacity=9, dtype="bf16")
    step = decoder.step(q[:, :, :1], k[:, :, :1], v[:, :, :1])
    assert step.dtype == torch.bfloat16
