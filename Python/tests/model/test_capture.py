"""``attnbench-model capture`` against hooks of our own on the projections."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil

import numpy
import pytest
import torch
from safetensors import safe_open

from attnbench.model import capture as capture_module
from attnbench.model import tensorfile
from attnbench.model.command import main
from attnbench.model.errors import ModelError
from attnbench.model.loading import ModelFiles, Tokens
from attnbench.model.taps import survey

from conftest import make_model


def rotated(x: torch.Tensor, theta: float) -> torch.Tensor:
    """The rotary embedding, ``[h, n, d]``: pairs (i, i + d / 2) turned by position * theta^(-2 i / d)."""
    n, d = x.shape[1:]
    angles = torch.arange(n)[:, None] * theta ** (-torch.arange(0, d, 2) / d)
    cos, sin = torch.cos(angles), torch.sin(angles)
    first, second = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def own_capture(model, ids, theta, norms=False):
    """Queries, keys and values by hooks on the projections alone."""
    result, handles = {}, []
    for index, layer in enumerate(model.model.layers):
        block = layer.self_attn
        for letter in "qkv":
            def keep(module, inputs, output, index=index, block=block, letter=letter):
                x = output[0].view(output.shape[1], -1, block.head_dim).transpose(0, 1)
                if norms and letter != "v":
                    x = getattr(block, f"{letter}_norm")(x)
                result[f"layer{index}.{letter}"] = x if letter == "v" else rotated(x, theta(index))
            handles.append(getattr(block, f"{letter}_proj").register_forward_hook(keep))
    with torch.inference_mode():
        model(input_ids=ids)
    for handle in handles:
        handle.remove()
    return result


def read(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_equals_projections_with_own_rotary_embedding(kind, ids, tmp_path):
    model = make_model(kind)
    path = str(tmp_path / "qkv.safetensors")
    found = survey(model, ids)
    capture_module.capture(
        model, Tokens(ids, "made up"), found, list(found.layers), path, dtype="f32", name=kind, version="0")
    tensors, metadata = read(path)
    local = {0: 1e4, 1: 1e4, 2: 1e6}
    own = own_capture(
        make_model(kind), ids, (lambda layer: local[layer]) if kind == "gemma3" else lambda layer: 1e4,
        norms=kind == "gemma3")
    assert set(tensors) == set(own)
    for name, tensor in own.items():
        assert tensors[name].shape == tensor.shape
        torch.testing.assert_close(tensors[name], tensor, rtol=1e-4, atol=1e-5)
    assert metadata["tokens_sha256"] == hashlib.sha256(ids.numpy().astype("<i8").tobytes()).hexdigest()


@pytest.mark.parametrize(("kind", "expected"), [
    ("llama", [dict(scale=0.25, causal=True, window=None, softcap=None, sinks=None)] * 3),
    ("gemma2", [
        dict(scale=20**-0.5, window=window, softcap=2.0, causal=True) for window in (8, None, 8)]),
    ("gemma3", [dict(scale=20**-0.5, window=window, window_keys=window and 9) for window in (8, 8, None)]),
    ("gpt_oss", [dict(window=window) for window in (8, None, 8)]),
])
def test_metadata_say_what_a_layer_computes(kind, expected, folders, text, tmp_path):
    path = str(tmp_path / "qkv.safetensors")
    assert main(["capture", folders[kind], "--text", text, "--n", "40", "-o", path]) == 0
    tensors, metadata = read(path)
    assert tensors["layer1.q"].shape == (4, 40, 16) and tensors["layer1.k"].shape == (2, 40, 16)
    assert tensors["layer0.v"].dtype == torch.float16
    for layer, fields in enumerate(expected):
        stated = json.loads(metadata[f"layer{layer}"])
        for field, value in fields.items():
            assert stated[field] == (pytest.approx(value) if isinstance(value, float) else value), field
        assert (stated["sinks"] is not None) == (kind == "gpt_oss")
    assert metadata["causal"] == "true" and metadata["n"] == "40" and metadata["text"] == "letters.txt"


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_some_layers_in_each_type(dtype, folders, text, tmp_path):
    path = tmp_path / "qkv.safetensors"
    path.write_text("what was there")
    assert main([
        "capture", folders["llama"], "--text", text, "--n", "33", "--layers", "0,2", "--dtype", dtype, "-o",
        str(path)]) == 0
    tensors, _ = read(path)
    assert sorted(tensors) == [f"layer{i}.{letter}" for i in (0, 2) for letter in "kqv"]
    assert os.listdir(tmp_path) == ["qkv.safetensors"]


def test_a_failure_leaves_what_was_there(folders, text, tmp_path, monkeypatch, capsys):
    path = tmp_path / "qkv.safetensors"
    path.write_text("what was there")
    line = ["capture", folders["llama"], "--text", text, "--n", "33", "-o", str(path)]
    writes = os.pwrite
    for error, code in ((OSError(28, "No space left on device"), 1), (KeyboardInterrupt(), 130)):
        count = iter(range(100))

        def failing(*arguments):
            if next(count) == 4:
                raise error
            return writes(*arguments)

        monkeypatch.setattr(tensorfile.os, "pwrite", failing)
        assert main(line) == code
        assert os.listdir(tmp_path) == ["qkv.safetensors"]
        assert path.read_text() == "what was there"
    assert "No space left" in capsys.readouterr().err


def test_too_little_disk_is_said_beforehand(folders, text, tmp_path, monkeypatch, capsys):
    class Usage:
        free = 1000

    monkeypatch.setattr(tensorfile.shutil, "disk_usage", lambda path: Usage)
    path = tmp_path / "qkv.safetensors"
    assert main(["capture", folders["llama"], "--text", text, "--n", "33", "-o", str(path)]) == 1
    assert "1000 B are free" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_link_is_written_through(folders, text, tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "qkv.safetensors"
    link.symlink_to(tmp_path / "real" / "file")
    assert main(["capture", folders["llama"], "--text", text, "--n", "8", "-o", str(link)]) == 0
    assert link.is_symlink() and (tmp_path / "real" / "file").is_file()


@pytest.mark.parametrize(("change", "code", "message"), [
    ({"--n": "5000"}, 1, "has 400 tokens, --n 5000 needs 5000"),
    ({"--n": "-4"}, 64, "--n -4: must be a whole number, 2 or more"),
    ({"--n": "x"}, 64, "--n x: must be a whole number"),
    ({"--layers": "1,7"}, 64, "--layers 1,7: no layer 7 to capture; there are 0-2"),
    ({"--layers": "a"}, 64, "--layers a: 'a' is no layer"),
    ({"--text": "/none"}, 1, "--text /none: No such file"),
    ({"-o": "/none/x"}, 1, "-o /none/x: /none is no folder"),
    ({"-o": "/dev/null"}, 1, "-o /dev/null: is no plain file"),
    ({"MODEL": "/none"}, 1, "MODEL /none: not found"),
    ({"MODEL": "/tmp"}, 1, "MODEL /tmp: a folder without config.json"),
    ({"--dtype": "f8"}, 64, "invalid choice: 'f8'"),
])
def test_what_cannot_be_done_is_said(change, code, message, folders, text, tmp_path, capsys):
    options = {
        "MODEL": folders["llama"], "--text": text, "--n": "16", "-o": str(tmp_path / "x"), **change}
    model = options.pop("MODEL")
    assert main(["capture", model, *(f"{name}={value}" if name != "-o" else f"-o{value}"
                                     for name, value in options.items())]) == code
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_inputs_are_no_outputs(folders, text, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(folders["llama"], model)
    (tmp_path / "link").symlink_to(text)
    for name, path in [("--text", text), ("--text", tmp_path / "link"), ("MODEL", model / "model.safetensors"),
                       ("MODEL", model / "config.json"), ("MODEL", model / "tokenizer.json")]:
        before = pathlib.Path(path).read_bytes()
        assert main(["capture", str(model), "--text", text, "--n", "16", "-o", str(path)]) == 64
        assert f"-o {path}: is {name}" in capsys.readouterr().err
        assert pathlib.Path(path).read_bytes() == before
    assert main(["capture", str(model), "--text", text, "--n", "16", "-o", str(model / "qkv")]) == 0


def test_no_tokenizer(folders, text, tmp_path, capsys):
    make_model("llama").save_pretrained(tmp_path / "bare")
    line = ["capture", str(tmp_path / "bare"), "--text", text, "--n", "16", "-o", str(tmp_path / "x")]
    assert main(line) == 1
    assert "no tokenizer" in capsys.readouterr().err
    assert main([*line, "--tokenizer", folders["llama"]]) == 0


def test_values_too_large_for_f16(ids, tmp_path):
    model = make_model("llama")
    model.model.layers[1].self_attn.v_proj.weight.data *= 1e6
    found = survey(model, ids)
    with pytest.raises(Exception, match="--dtype f16: layer1.v holds .* use --dtype bf16"):
        capture_module.capture(
            model, Tokens(ids, "made up"), found, [0, 1], str(tmp_path / "x"), dtype="f16", name="llama",
            version="0")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["linear", "yarn", "none", None])
def test_scaled_rotary_positions_of_a_gguf_file(tmp_path, kind):
    """transformers drops their scaling without a word, so such a file is refused."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    if kind is not None:
        writer.add_string("llama.rope.scaling.type", kind)
        writer.add_float32("llama.rope.scaling.factor", 4.0)
    writer.add_tensor("token_embd.weight", numpy.zeros((4, 8), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError) as caught:
        ModelFiles.find(str(path)).load("f32")
    assert ("rope.scaling" in str(caught.value)) == (kind in ("linear", "yarn"))


def test_a_part_of_a_gguf_file(tmp_path):
    part = tmp_path / "model.gguf.part00"
    part.write_bytes(b"GGUF")
    with pytest.raises(Exception, match="join them: cat"):
        ModelFiles.find(str(part))


def test_layers_without_attention_are_named(ids):
    config = pytest.importorskip("transformers").Qwen3NextConfig(
        vocab_size=72, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16,
        shared_expert_intermediate_size=16, linear_num_key_heads=2, linear_num_value_heads=2,
        linear_key_head_dim=8, linear_value_head_dim=8, layer_types=["linear_attention", "full_attention"])
    import transformers
    model = transformers.Qwen3NextForCausalLM(config).eval()
    found = survey(model, ids)
    assert list(found.layers) == [1]
    assert "GatedDeltaNet" in found.left_out[0]
