"""Small random models: attnbench in them computes what they computed before."""

import pytest
import torch
import transformers
from transformers.masking_utils import (
    causal_mask_function, chunked_causal_mask_function, sliding_window_causal_mask_function,
)

import attnbench
import attnbench.transformers
from attnbench import _plans

COMMON = dict(
    vocab_size=64, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=6,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=256, pad_token_id=0)


def llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**COMMON))


def gemma2():
    return transformers.Gemma2ForCausalLM(transformers.Gemma2Config(
        **COMMON, sliding_window=7, attn_logit_softcapping=2.0, query_pre_attn_scalar=9))


def gemma3():
    return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(
        **COMMON, sliding_window=7,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"]))


def mistral():
    return transformers.MistralForCausalLM(transformers.MistralConfig(**COMMON, sliding_window=7))


def gpt_oss():
    return transformers.GptOssForCausalLM(transformers.GptOssConfig(
        **COMMON, sliding_window=7, num_local_experts=2, num_experts_per_tok=1,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"]))


def bert():
    return transformers.BertModel(transformers.BertConfig(
        vocab_size=64, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6))


MODELS = {make.__name__: make for make in (llama, gemma2, gemma3, mistral, gpt_oss)}


def made_of(name):
    torch.manual_seed(1)
    model = MODELS[name]().eval()
    if name == "gpt_oss":
        for module in model.modules():
            if hasattr(module, "sinks"):
                torch.nn.init.normal_(module.sinks)
    return model


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def logits(model, tokens, **options):
    return model(tokens, **options).logits


@pytest.mark.parametrize("name", MODELS)
def test_prefill_and_decoding_are_the_models_own(name):
    model = made_of(name)
    tokens = torch.randint(1, 64, (2, 33))
    model.set_attn_implementation("eager")
    expected = logits(model, tokens)
    assert attnbench.transformers.use(model) is model
    assert model.config._attn_implementation == attnbench.transformers.NAME
    torch.testing.assert_close(logits(model, tokens), expected, atol=2e-5, rtol=2e-5)
    # In chunks, then token by token, through the model's cache.
    cache = None
    parts = []
    for first, last in [(0, 20), (20, 25), (25, 26), (26, 27), (27, 33)]:
        output = model(tokens[:, first:last], past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        parts.append(output.logits)
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_the_models_own(name, side):
    model = made_of(name)
    tokens = torch.randint(1, 64, (3, 19))
    padding = torch.ones_like(tokens)
    for row, count in enumerate([0, 4, 11]):
        if count:
            padding[row, slice(None, count) if side == "left" else slice(-count, None)] = 0
    model.set_attn_implementation("eager")
    expected = logits(model, tokens, attention_mask=padding)[padding.bool()]
    attnbench.transformers.use(model)
    result = logits(model, tokens, attention_mask=padding)[padding.bool()]
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_is_the_models_own(name, cache):
    model = made_of(name)
    tokens = torch.randint(1, 64, (2, 12))
    options = dict(
        max_new_tokens=15, do_sample=False, attention_mask=torch.ones_like(tokens),
        cache_implementation=cache, disable_compile=True)
    model.set_attn_implementation("eager")
    expected = model.generate(tokens, **options)
    attnbench.transformers.use(model)
    assert (model.generate(tokens, **options) == expected).all()


def test_a_plan_names_layers_and_heads():
    model = made_of("llama")
    tokens = torch.randint(1, 64, (1, 33))
    attnbench.transformers.use(model)
    full = logits(model, tokens)
    attnbench.transformers.use(model, {1: "window(4)", 2: ["flash"] * 3 + ["window(5)"] * 3})
    changed = logits(model, tokens)
    assert (changed[:, :4] - full[:, :4]).abs().max() < 2e-5
    assert (changed[:, 10:] - full[:, 10:]).abs().max() > 1e-4
    attnbench.transformers.use(model, "window(64)")
    torch.testing.assert_close(logits(model, tokens), full, atol=2e-5, rtol=2e-5)


def test_a_strategy_stays_within_the_models_window():
    model = made_of("mistral")
    tokens = torch.randint(1, 64, (1, 33))
    model.set_attn_implementation("eager")
    expected = logits(model, tokens)
    for strategy in ("full", "window(7)", "window(20)"):
        attnbench.transformers.use(model, strategy)
        torch.testing.assert_close(logits(model, tokens), expected, atol=2e-5, rtol=2e-5)
    # Heads of their own, and without a mask.
    attnbench.transformers.use(model, ["full", "window(9, sinks: 1)"] * 3)
    layer = model.model.layers[0].self_attn
    query, key, value = torch.randn(1, 6, 33, 16), *torch.randn(2, 1, 2, 33, 16)
    out, _ = attnbench.transformers._forward(layer, query, key, value, None, sliding_window=7)
    distance = torch.arange(33)[:, None] - torch.arange(33)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, (distance >= 0) & (distance < 7), enable_gqa=True)
    torch.testing.assert_close(out, expected.transpose(1, 2), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_strategies_decode_as_they_prefill(cache):
    model = made_of("llama")
    attnbench.transformers.use(model, "window(4, sinks: 1)")
    options = dict(do_sample=False, cache_implementation=cache, disable_compile=True)
    tokens = torch.randint(1, 64, (1, 12))
    generated = model.generate(tokens, max_new_tokens=9, **options)
    whole = logits(model, generated[:, :-1])
    assert (whole[:, 11:].argmax(-1) == generated[:, 12:]).all()
    # Padding on the left moves no window.
    padded = torch.cat([torch.zeros(1, 5, dtype=torch.long), generated[:, :-1]], 1)
    positions = (torch.arange(padded.shape[1]) - 5).clamp(min=0)[None]
    attnbench.transformers.use(model, "window(4)")
    whole = logits(model, generated[:, :-1])
    result = logits(model, padded, attention_mask=(padded > 0).long(), position_ids=positions)
    torch.testing.assert_close(result[:, 5:], whole, atol=2e-5, rtol=2e-5)


@pytest.fixture
def made(monkeypatch):
    """The key lengths of the models' plans as they are made, from when there are none."""
    lengths = []
    make = _plans.make_plan

    def counted(sizes, *arguments):
        if sizes.head_dim > 1:
            lengths.append(sizes.key_length)
        return make(sizes, *arguments)

    monkeypatch.setattr(_plans, "make_plan", counted)
    monkeypatch.setattr(_plans, "_ready", _plans._Ready())
    return lengths


@pytest.mark.parametrize("name, cache", [*((name, "dynamic") for name in MODELS), ("llama", "static")])
@pytest.mark.parametrize("plan", [
    "flash", "window(5, sinks: 1)",
    {0: "window(4)", 1: ["flash"] * 6, 2: ["flash"] * 3 + ["strided(3)"] * 3}])
def test_steps_of_decoding_share_plans(name, cache, plan, made):
    model = made_of(name)
    attnbench.transformers.use(model, plan)
    counts = []
    model.register_forward_hook(lambda *_: counts.append(len(made)))
    model.generate(
        torch.randint(1, 64, (1, 12)), min_new_tokens=30, max_new_tokens=30, do_sample=False,
        cache_implementation=cache, disable_compile=True)
    # The prompt, a first step of its own length, and steps for a rounded length; windows have rolled on.
    assert len(counts) == 30 and counts[2] == counts[-1] <= 9


def test_windows_are_the_models_own_for_lists_of_flash(made):
    """And no mask is read for them."""
    model = made_of("gemma3")
    tokens = torch.randint(1, 64, (1, 33))
    attnbench.transformers.use(model)
    expected = logits(model, tokens)
    attnbench.transformers.use(model, {layer: ["flash"] * 6 for layer in range(3)})
    made.clear()
    for _ in range(3):
        assert (logits(model, tokens) == expected).all()
    assert len(made) == 2  # With a window and without.


@pytest.mark.parametrize("strategy", ["flash", "full", "window(5)"])
def test_a_position_bias_goes_with_a_window(strategy):
    torch.manual_seed(1)
    model = made_of("llama")
    attnbench.transformers.use(model, strategy)
    layer = model.model.layers[0].self_attn
    for n_q, n_kv in ((1, 20), (9, 20), (20, 20)):
        query, key, value = torch.randn(2, 6, n_q, 16), *torch.randn(2, 2, 2, n_kv, 16)
        bias = torch.randn(1, 6, n_q, n_kv)
        out, _ = attnbench.transformers._forward(
            layer, query, key, value, None, sliding_window=7, position_bias=bias)
        distance = torch.arange(n_kv - n_q, n_kv)[:, None] - torch.arange(n_kv)
        visible = (distance >= 0) & (distance < (5 if strategy == "window(5)" else 7))
        expected = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, torch.where(visible, bias, -torch.inf), enable_gqa=True)
        torch.testing.assert_close(out, expected.transpose(1, 2), atol=2e-5, rtol=2e-5)


def test_what_masks_say():
    mask = attnbench.transformers._mask
    window, chunks = sliding_window_causal_mask_function(4), chunked_causal_mask_function(4, torch.zeros(1))
    # Nothing but causality.
    assert mask(1, 3, 8, 5, 0, causal_mask_function) is None
    assert mask(1, 1, 4, 9, 6, window, local_size=4) is None
    assert mask(1, 3, 4, 1, 0, chunks, local_size=4) is None
    # Rows that nobody has filled yet, and padding of what came before the keys.
    assert mask(1, 3, 9, 5, 0, causal_mask_function).attnbench_length == 8
    assert mask(1, 1, 9, 5, 0, causal_mask_function, allow_is_causal_skip=False).attnbench_length == 6
    padding = torch.ones(1, 10, dtype=torch.bool).index_fill(1, torch.tensor([0, 5]), False)
    assert mask(1, 1, 4, 9, 6, window, padding, local_size=4) is None
    found = mask(1, 2, 9, 5, 0, window, local_size=4)
    assert (found.attnbench_length, found.attnbench_window) == (7, 4)
    # Keys that something else hides.
    for found in (
        mask(1, 1, 4, 9, 6, chunks, local_size=4), mask(1, 1, 4, 8, 5, window, padding, local_size=4),
        mask(1, 3, 9, 5, 0, causal_mask_function, padding),
        mask(1, 3, 9, 5, 0, causal_mask_function, padding[:, 6:7].expand(1, 7)),
        mask(1, 3, 8, 5, 0, causal_mask_function, allow_is_causal_skip=False),
    ):
        assert not hasattr(found, "attnbench_length")
    assert mask(1, 1, 4, 9, 6, chunks, local_size=4).flatten().tolist() == [False, False, True, True]


def test_masks_that_say_nothing_of_positions_are_for_exact_strategies():
    model = made_of("llama")
    tokens = torch.randint(1, 64, (1, 9))
    mask = torch.ones(9, 9, dtype=torch.bool).tril()[None, None]
    attnbench.transformers.use(model)
    torch.testing.assert_close(
        logits(model, tokens, attention_mask=mask), logits(model, tokens), atol=2e-5, rtol=2e-5)
    attnbench.transformers.use(model, "window(4)")
    with pytest.raises(attnbench.AttentionError, match="where its queries stand"):
        logits(model, tokens, attention_mask=mask)


def test_attention_to_both_sides():
    torch.manual_seed(1)
    model = bert().eval()
    tokens = torch.randint(1, 64, (2, 19))
    padding = torch.ones_like(tokens)
    padding[1, 12:] = 0
    for mask in (None, padding):
        model.set_attn_implementation("eager")
        expected = model(tokens, attention_mask=mask).last_hidden_state
        model.set_attn_implementation(attnbench.transformers.NAME)
        result = model(tokens, attention_mask=mask).last_hidden_state
        keep = padding.bool() if mask is not None else slice(None)
        torch.testing.assert_close(result[keep], expected[keep], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("plan, text", [
    ("windw(3)", "did you mean 'window'"),
    ({1: "window(0)"}, "plan, layer 1: window w = 0"),
    ({3: "flash"}, "plan = layer 3: the model's attention layers are 0 to 2"),
    ({0: []}, "plan, layer 0"),
])
def test_bad_plans_change_nothing(plan, text):
    model = made_of("llama")
    before = model.config._attn_implementation
    with pytest.raises(attnbench.AttentionError) as error:
        attnbench.transformers.use(model, plan)
    assert text in str(error.value)
    assert model.config._attn_implementation == before


def test_dropout_is_refused():
    model = made_of("llama").train()
    model.config.attention_dropout = 0.1
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.1
    attnbench.transformers.use(model)
    with pytest.raises(attnbench.AttentionError, match="dropout = 0.1"):
        logits(model, torch.randint(1, 64, (1, 5)))
