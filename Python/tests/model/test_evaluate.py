"""Losses, sensitivities and plans, held against transformers and a reference in plain torch."""

from __future__ import annotations

import json
import math

import pytest
import torch

from attnbench.model import losses as losses_module
from attnbench.model.evaluation import evaluate, evaluation_json, evaluation_text
from attnbench.model.loading import Tokens
from attnbench.model.losses import token_losses
from attnbench.model.plans import Plan, read_plan
from attnbench.model.sensitivity import measure, read_sensitivities, sensitivity_json
from attnbench.model.statistics import block_mean, student_quantile
from attnbench.model.taps import survey

import model_reference as reference
from conftest import KINDS, make_model


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_that_of_transformers(kind, ids, monkeypatch):
    model = make_model(kind)
    survey(model, ids)
    monkeypatch.setattr(losses_module, "LOGITS_BYTES", 4 * 72 * 7)
    losses = token_losses(model, ids)
    assert losses.shape == (47,)
    with torch.inference_mode():
        expected = model(input_ids=ids, labels=ids).loss
    torch.testing.assert_close(losses.mean(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_sensitivity_is_what_whole_passes_give(kind, ids):
    model = make_model(kind)
    found = survey(model, ids)
    before = model.config._attn_implementation
    layers, full = measure(model, Tokens(ids, "x"), found, reference.use, strategy="window(5, sinks: 1)")
    assert model.config._attn_implementation == before
    torch.testing.assert_close(full, token_losses(model, ids))
    assert [layer.layer for layer in layers] == [0, 1, 2]
    for layer in layers:
        reference.use(model, {layer.layer: ["window(5, sinks: 1)"] * 4})
        changed = token_losses(model, ids)
        model.set_attn_implementation(before)
        assert layer.increase.mean == pytest.approx((changed - full).mean().item(), abs=1e-5)
        assert 0 < layer.squared_error < 2
    # Whole passes, where a model's layers cannot be skipped.
    slow, _ = measure(
        model, Tokens(ids, "x"), type(found)(found.layers, {}, None), reference.use,
        strategy="window(5, sinks: 1)")
    for one, other in zip(layers, slow):
        assert one.squared_error == pytest.approx(other.squared_error, rel=1e-4)
        assert one.increase.mean == pytest.approx(other.increase.mean, abs=1e-5)


def test_replaced_by_itself_nothing_is_lost(ids):
    model = make_model("gemma3")
    found = survey(model, ids)
    layers, _ = measure(model, Tokens(ids, "x"), found, reference.use, strategy="flash")
    for layer in layers:
        assert layer.squared_error < 1e-10 and abs(layer.increase.mean) < 1e-5


def test_evaluation(ids):
    model = make_model("gemma2")
    found = survey(model, ids)
    plan = Plan("plan.json", {0: ["flash"] * 4, 1: ["window(6)", "flash", "window(9, sinks: 2)", "flash"]},
                {1: 0.2})
    result = evaluate(
        model, Tokens(ids, "text"), plan, reference.use, sensitivities={1: 0.5}, rounds=1)
    assert result.predicted == pytest.approx(0.5 * 0.04)
    assert result.increase.mean == pytest.approx(result.plan.mean - result.full.mean, abs=1e-6)
    assert abs(result.increase.mean) > 1e-5
    assert len(result.times.prefill["plan"]) == 1
    data = json.loads(evaluation_json(result, Tokens(ids, "text"), plan, name="m", version="0"))
    assert data["loss_increase"]["mean"] == result.increase.mean
    assert "perplexity" in evaluation_text(result, Tokens(ids, "text"), plan)


def test_sensitivity_file(ids, tmp_path):
    model = make_model("llama")
    found = survey(model, ids)
    tokens = Tokens(ids, "x")
    layers, full = measure(model, tokens, found, reference.use, strategy="window(3)")
    path = tmp_path / "s.json"
    path.write_text(sensitivity_json(layers, tokens, full, name="m", version="0", strategy="window(3)"))
    data = json.loads(path.read_text())
    assert data["format"] == "attnbench-sensitivity" and data["version"] == 1
    assert all(layer["sensitivity"] >= max(0, layer["measured"]) for layer in data["layers"])
    assert read_sensitivities(str(path), "m") == {layer.layer: layer.measured for layer in layers}
    with pytest.raises(Exception, match="is of m, not of other"):
        read_sensitivities(str(path), "other")


def test_block_means_know_of_autocorrelation():
    generator = torch.Generator().manual_seed(11)
    covered = 0
    for _ in range(200):
        noise, value, series = torch.randn(2048, generator=generator), 0.0, []
        for shock in noise.tolist():
            value = 0.9 * value + shock
            series.append(value)
        estimate = block_mean(torch.tensor(series))
        covered += estimate.low <= 0 <= estimate.high
    assert covered >= 180
    assert math.isnan(block_mean(torch.ones(20)).low)


def test_student():
    for degrees, quantile in ((1, 12.706), (4, 2.776), (5, 2.571), (15, 2.131), (31, 2.040)):
        assert student_quantile(degrees) == pytest.approx(quantile, abs=2e-3)


@pytest.mark.parametrize(("data", "layer", "message"), [
    ({"format": "x"}, None, "format is 'x'"),
    ({"format": "attnbench-model-plan", "version": 9}, None, "version 9"),
    ({"format": "attnbench-model-plan", "version": 1, "layers": []}, None, "has no layers"),
    ({"format": "attnbench-model-plan", "version": 1, "layers": [{"layer": 8, "heads": ["flash"] * 4}]},
     None, "layer 8: the model's layers are 0-2"),
    ({"format": "attnbench-model-plan", "version": 1, "layers": [{"layer": 1, "heads": ["flash"]}]},
     None, "layer 1 has 1 strategies, the model 4 query heads"),
    ({"format": "attnbench-model-plan", "version": 1, "layers": [{"heads": []}]}, None, "'layer' is missing"),
    ({"format": "attnbench-head-plan", "version": 1}, None, "say which with --layer"),
    ({"format": "attnbench-model-plan", "version": 1, "layers": []}, 1, "--layer 1: .* leave it out"),
])
def test_plans_that_do_not_fit(data, layer, message, ids, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    with pytest.raises(Exception, match=message):
        read_plan(str(path), survey(make_model("llama"), ids), layer)


def test_plan_of_one_layer(ids, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({
        "format": "attnbench-head-plan", "version": 1, "measured": {"rel_l2_error": 0.1},
        "heads": [{"head": i, "strategy": f"window({i + 1})"} for i in (1, 0, 3, 2)]}))
    plan = read_plan(str(path), survey(make_model("llama"), ids), 2)
    assert plan.heads == {2: [f"window({i})" for i in (1, 2, 3, 4)]} and plan.errors == {2: 0.1}


@pytest.mark.parametrize("kind", KINDS)
def test_attnbench_runs_a_plan_as_the_reference_does(kind, ids):
    """Prefill and decoding, through the model's own cache."""
    attnbench_transformers = pytest.importorskip("attnbench.transformers")
    strategies = {0: ["window(5, sinks: 2)"] * 4, 2: ["window(7)", "flash", "window(30)", "window(3, sinks: 1)"]}
    logits = []
    for use in (reference.use, attnbench_transformers.use):
        model = make_model(kind)
        use(model, strategies)
        with torch.inference_mode():
            first = model(input_ids=ids[:, :40], use_cache=True)
            parts = [first.logits]
            cache = getattr(first, "cache", None) or first.past_key_values
            name = "cache" if "cache" in first else "past_key_values"
            for step in range(40, 48):
                parts.append(model(input_ids=ids[:, step : step + 1], use_cache=True, **{name: cache}).logits)
        logits.append(torch.cat(parts, 1))
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-3, atol=1e-3)
