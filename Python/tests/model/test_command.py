"""The command's own part: options, files, exit codes. Attention is the reference's."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors import safe_open

from attnbench.model import evaluation, plans
from attnbench.model.command import main
from attnbench.model.statistics import Estimate

import model_reference as reference

RECOMMEND = """#!{python}
import json, sys
arguments = sys.argv[1:]
value = lambda name: arguments[arguments.index(name) + 1]
if arguments[0] == "recommend":
    assert value("--inputs").endswith(".safetensors")
    layers = json.load(open(value("--sensitivity")))["layers"]
    json.dump(layers, open(value("--record"), "w"))
else:
    # Once is measured; after that is chosen from what was kept.
    assert arguments[0] == "plan" and "--inputs" not in arguments
    layers = json.load(open(arguments[1]))
with open("{log}", "a") as log:
    log.write(value("--max-loss-increase") + "\\n")
width = {width}
json.dump({{"format": "attnbench-model-plan", "version": 1, "layers": [
    {{"layer": layer["layer"], "heads": [f"window({{width}}, sinks: 4)"] * 4, "rel_l2_error": 0.01}}
    for layer in layers]}}, open(value("--save"), "w"))
sys.exit({code})
"""


@pytest.fixture(autouse=True)
def own_attention(monkeypatch):
    monkeypatch.setattr(plans, "attnbench_use", lambda threads: reference.use)


@pytest.fixture
def attnbench(tmp_path):
    """Makes a stand-in for the command ``attnbench``."""
    def make(width="1000", code=0):
        path = tmp_path / "attnbench"
        path.write_text(RECOMMEND.format(
            python=sys.executable, log=tmp_path / "limits", width=width, code=code))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)
    return make


def write_plan(path, strategy="window(6, sinks: 1)"):
    path.write_text(json.dumps({
        "format": "attnbench-model-plan", "version": 1,
        "layers": [{"layer": 1, "heads": [strategy] * 4, "rel_l2_error": 0.3}]}))
    return str(path)


def test_evaluate_measures_sensitivities_once(folders, text, tmp_path, capsys):
    weights = tmp_path / "s.json"
    line = ["evaluate", folders["llama"], "--text", text, "--n", "40", "--rounds", "0"]
    assert main([*line, "--sensitivity", str(weights)]) == 0
    first = weights.read_text()
    data = json.loads(first)
    assert [layer["layer"] for layer in data["layers"]] == [0, 1, 2]
    assert all(layer["strategy"].startswith("window(") for layer in data["layers"])
    capsys.readouterr()
    plan = write_plan(tmp_path / "plan.json")
    assert main([*line, "--sensitivity", str(weights), "--plan", plan, "--json"]) == 0
    assert weights.read_text() == first
    result = json.loads(capsys.readouterr().out)
    assert result["predicted_loss_increase"] == pytest.approx(0.09 * data["layers"][1]["sensitivity"])
    assert list(result["errors_here"]) == ["1"] and result["sensitivities_of"] == "letters.txt"
    assert main([*line, "--sensitivity", str(weights)]) == 64
    assert "exists, and there is no --plan" in capsys.readouterr().err


def test_several_texts(folders, text, tmp_path, capsys):
    other = tmp_path / "other.txt"
    other.write_text(open(text).read()[::-1])
    line = [folders["llama"], "--text", text, "--text", str(other), "--n", "40"]
    inputs, weights = str(tmp_path / "qkv.safetensors"), str(tmp_path / "s.json")
    assert main(["capture", *line, "-o", inputs]) == 0
    assert "note: one text" not in capsys.readouterr().err
    assert main(["evaluate", *line, "--sensitivity", weights]) == 0
    data = json.load(open(weights))
    with safe_open(inputs, "pt") as file:
        metadata = file.metadata()
        both = file.get_tensor("layer1.k")
    assert metadata["texts"] == "2" and metadata["text"] == data["text"] == "letters.txt, other.txt"
    assert metadata["tokens_sha256"] == data["tokens_sha256"] and both.shape == (2, 2, 40, 16)
    for place, path in enumerate((text, str(other))):
        line = [folders["llama"], "--text", path, "--n", "40"]
        assert main(["capture", *line, "-o", inputs]) == 0
        with safe_open(inputs, "pt") as file:
            torch.testing.assert_close(both[place], file.get_tensor("layer1.k"), rtol=1e-3, atol=1e-3)
    assert "note: one text" in capsys.readouterr().err
    plan = write_plan(tmp_path / "plan.json")
    line = [folders["llama"], "--text", text, "--text", str(other), "--n", "40", "--plan", plan]
    assert main(["evaluate", *line, "--rounds", "1"]) == 0
    assert "78 predictions on letters.txt, other.txt" in capsys.readouterr().out
    assert main(["evaluate", folders["llama"], "--text", text, "--text", text, "--n", "40", "--plan", plan]) == 1
    assert "give it once" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "code", "message"), [
    ([], 64, "--plan FILE: missing"),
    (["--layer", "1"], 64, "--layer 1: says which layer"),
    (["--plan", "/none"], 1, "--plan /none: No such file"),
    (["--rounds", "x", "--plan", "p"], 64, "--rounds x: must be a whole number"),
    (["--threads", "0", "--plan", "p"], 64, "--threads 0: must be a whole number, 1 or more"),
])
def test_what_evaluate_refuses(options, code, message, folders, text, capsys):
    assert main(["evaluate", folders["llama"], "--text", text, "--n", "40", *options]) == code
    assert message in capsys.readouterr().err


def test_a_model_without_loss(text, tmp_path, folders, capsys):
    import shutil

    import transformers

    config = transformers.LlamaConfig.from_pretrained(folders["llama"])
    folder = tmp_path / "body"
    shutil.copytree(folders["llama"], folder)
    transformers.LlamaModel(config).save_pretrained(folder)
    line = [str(folder), "--text", text, "--n", "20"]
    assert main(["evaluate", *line, "--plan", write_plan(tmp_path / "p")]) == 1
    assert "predicts no next token" in capsys.readouterr().err
    assert main(["capture", *line, "-o", str(tmp_path / "x")]) == 0


def choose(folders, text, tmp_path, *extra):
    return main([
        "choose", folders["llama"], "--text", text, "--test-text", text, "--n", "64", "--rounds", "0", "-o",
        str(tmp_path / "plan.json"), "--keep", str(tmp_path / "kept"), *extra])


def test_choose_goes_the_whole_way(folders, text, tmp_path, attnbench, capsys):
    command = attnbench()
    assert choose(folders, text, tmp_path, "--max-loss-increase", "0.01", "--attnbench", command) == 0
    shown = capsys.readouterr()
    assert sorted(os.listdir(tmp_path / "kept")) == [
        "choice.json", "plan.json", "qkv.safetensors", "sensitivity.json"]
    assert json.loads((tmp_path / "plan.json").read_text())["format"] == "attnbench-model-plan"
    assert (tmp_path / "limits").read_text() == "0.01\n"
    # Windows by default, of widths that fit the text.
    assert "--strategy 'window(1, sinks: 4), window(2, sinks: 4), " in shown.err
    assert "window(43, sinks: 4)'" in shown.err
    assert shown.err.count("\n$ ") + shown.err.startswith("$ ") == 4
    assert "keeps to --max-loss-increase 0.01" in shown.out
    assert f"note: --test-text {text}: starts as a text that the plan is chosen on" in shown.err


def test_choose_tries_again_and_says_when_it_fails(
    folders, text, tmp_path, attnbench, capsys, monkeypatch
):
    estimate = Estimate(0.02, 0.01, 0.03, 4, 16)
    monkeypatch.setattr(
        evaluation, "evaluate",
        lambda *_, **__: evaluation.Evaluation(estimate, estimate, estimate, 0.01, None))
    assert choose(
        folders, text, tmp_path, "--max-loss-increase", "0.01", "--attnbench", attnbench()) == 1
    shown = capsys.readouterr()
    assert "prove it on one more text" in shown.out
    limits = [float(line) for line in (tmp_path / "limits").read_text().split()]
    assert limits == pytest.approx([0.01, 0.0045, 0.002025], rel=1e-3)
    assert "--max-loss-increase 0.01: the best of 3 plans costs 0.0200" in shown.err
    assert shown.err.count("attnbench recommend") == 1 and shown.err.count("attnbench plan") == 2


@pytest.mark.parametrize(("given", "passed"), [("all", None), ("window(7)", "--strategy 'window(7)'")])
def test_choose_among_other_candidates(given, passed, folders, text, tmp_path, attnbench, capsys):
    line = ["--max-loss-increase", "0.01", "--strategy", given, "--attnbench", attnbench()]
    assert choose(folders, text, tmp_path, *line) == 0
    shown = capsys.readouterr().err
    assert passed in shown if passed else "--strategy" not in shown


def test_choose_passes_on_a_failure(folders, text, tmp_path, attnbench, capsys):
    assert choose(
        folders, text, tmp_path, "--max-loss-increase", "0.01", "--attnbench", attnbench(code=3)) == 1
    assert "attnbench recommend ended with exit code 3" in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()
    assert choose(
        folders, text, tmp_path, "--max-loss-increase", "0.01", "--attnbench", attnbench(code=130)) == 130
    assert choose(folders, text, tmp_path, "--max-loss-increase", "x") == 64
    assert choose(folders, text, tmp_path, "--max-loss-increase", "1", "--attnbench", "/none") == 1


def test_nobody_draws_bars_into_a_file(folders, text, tmp_path):
    """Bars of other packages are switched off before PyTorch, which imports tqdm, is."""
    program = f"""
import sys
assert "tqdm" not in sys.modules
from attnbench.model.command import main
assert main(["capture", {folders["llama"]!r}, "--text", {text!r}, "--n", "16", "-o", "x"]) == 0
import tqdm
assert tqdm.tqdm([1]).disable
"""
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "it/s" not in done.stderr and "x: 3 layers of" in done.stderr


WAITING = """#!{python}
import pathlib, signal, sys, time
log = pathlib.Path("{log}")
def heard(number, frame):
    with log.open("a") as file:
        file.write("signal ")
    if log.read_text().count("signal") == 2:
        sys.exit(130)
signal.signal(signal.SIGINT, heard)
log.write_text("started ")
while True:
    time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_choose_takes_recommend_along_when_it_is_ended(number, folders, text, tmp_path, capsys):
    log, command, plan = tmp_path / "log", tmp_path / "attnbench", tmp_path / "plan.json"
    command.write_text(WAITING.format(python=sys.executable, log=log))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    plan.write_text("what was there")

    def end():
        while not log.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=end)
    thread.start()
    assert choose(folders, text, tmp_path, "--max-loss-increase", "0.01", "--attnbench", str(command)) == 130
    thread.join()
    assert "interrupted: no file was changed" in capsys.readouterr().err
    assert log.read_text() == "started signal signal " and plan.read_text() == "what was there"
    # What was done is kept, and used by the next run.
    kept = sorted(os.listdir(tmp_path / "kept"))
    assert kept == ["qkv.safetensors", "sensitivity.json"]
