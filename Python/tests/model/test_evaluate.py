"""Losses, sensitivities and plans, held against transformers and a reference in plain torch."""

from __future__ import annotations

import json
import math

import pytest
import torch

from attnbench.model import losses as losses_module
from attnbench.model import sensitivity as sensitivity_module
from attnbench.model.evaluation import Evaluation, all_losses, evaluate, evaluation_json, evaluation_text
from attnbench.model.loading import Tokens
from attnbench.model.losses import token_losses
from attnbench.model.plans import Plan, read_plan
from attnbench.model.sensitivity import (
    LayerSensitivity, Sensitivities, measure, read_sensitivities, sensitivity_json, squared_errors, weighed)
from attnbench.model.statistics import Estimate, block_mean, positive_mean, shrunk, student_quantile
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


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_is_measured_where_plans_have_their_errors(kind, ids, monkeypatch):
    """The window is the one of all whose error is nearest to what was asked for."""
    model = make_model(kind)
    found = survey(model, ids)
    asked = 0.3
    monkeypatch.setattr(sensitivity_module, "ERROR", asked)
    layers, _ = measure(model, Tokens(ids, "x"), found, reference.use)
    widths = {max(1, round(48 * share)) for share in sensitivity_module.SHARES}
    for layer in layers:
        errors = {}
        for width in widths:
            strategy = f"window({width}, sinks: 4)"
            squared = squared_errors(
                model, Tokens(ids, "x"), found, reference.use, {layer.layer: [strategy] * 4},
                token_losses(model, ids))
            errors[strategy] = squared[layer.layer] ** 0.5
        assert layer.squared_error**0.5 == pytest.approx(errors[layer.strategy], rel=1e-4)
        best = min(errors.values(), key=lambda error: abs(math.log(max(error, 1e-9) / asked)))
        assert errors[layer.strategy] == pytest.approx(best, rel=1e-4)


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
        model, Tokens(ids, "text"), plan, reference.use, sensitivities=Sensitivities({1: 0.5}, "old.txt"),
        found=found, rounds=1)
    assert result.predicted == pytest.approx(0.5 * 0.04)
    # Layer 0 runs full attention, and needs neither an error nor a sensitivity.
    assert list(result.errors) == [1]
    assert result.predicted_here == pytest.approx(0.5 * result.errors[1] ** 2)
    assert result.increase.mean == pytest.approx(result.plan.mean - result.full.mean, abs=1e-6)
    assert abs(result.increase.mean) > 1e-5
    assert len(result.times.prefill["plan"]) == 1
    data = json.loads(evaluation_json(result, Tokens(ids, "text"), plan, name="m", version="0"))
    assert data["loss_increase"]["mean"] == result.increase.mean
    assert data["predicted_loss_increase_by_errors_here"] == result.predicted_here
    assert data["errors_here"] == {"1": result.errors[1]} and data["sensitivities_of"] == "old.txt"
    assert "perplexity" in evaluation_text(result, Tokens(ids, "text"), plan)


def test_layers_that_are_exact_cost_nothing():
    """By the strategies' class, whatever their names and parameters are, and by what the plan states."""
    plan = Plan("plan.json", {
        0: ["flash", "full"], 1: ["flash", "window(8)"], 2: ["window(left: 3, right: 0)"] * 2,
        3: ["flash(blockQ: 64)", "full"], 4: ["flash(kv: int8-token)"] * 2, 5: ["flash"] * 2},
        {0: 3e-7, 1: 0.1, 2: 0.2, 4: 0.01})
    assert list(plan.replaced) == [1, 2, 4]
    assert plan.predicted_increase({1: 1.0, 2: 0.5, 4: 1.0}) == pytest.approx(0.01 + 0.02 + 0.0001)
    assert plan.predicted_increase({1: 1.0, 2: 0.5}) is None


def test_what_a_prediction_says_it_is_from(ids):
    estimate = Estimate(0.06, 0.05, 0.07, 32, 16)
    plan = Plan(
        "plan.json", {0: ["flash"], 3: ["fixed(8, 2)"], 4: ["window(3)"]}, {3: 0.1, 4: 0.1}, "qkv.safetensors")
    tokens = Tokens(ids, "new.txt")

    def text(predicted, here):
        return evaluation_text(
            Evaluation(estimate, estimate, estimate, predicted, None, here, {3: 0.2, 4: 0.11}, "old.txt"),
            tokens, plan)

    shown = text(0.02, 0.05)
    assert "predicted, by the plan's errors" in shown and "+0.0200 (measured is 3.00 times that)" in shown
    assert "predicted, by errors on this text" in shown and "+0.0500 (measured is 1.20 times that)" in shown
    assert (
        "sensitivities of old.txt; errors: those in plan.json, of qkv.safetensors; and those measured here on "
        "new.txt, without the plan's loss") in shown
    assert (
        "cost 2.5 times as much on new.txt as where it was chosen, most of all in layers 3 (fixed: 1 heads): "
        "choose among windows alone") in shown
    assert "choose among" not in text(0.02, 0.029)
    assert "measured here" not in text(0.02, None)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_on_a_text_are_those_of_the_layers_outputs(kind, ids):
    model = make_model(kind)
    tokens = Tokens(torch.cat([ids, ids.flip(1)]), "x, y")
    found = survey(model, ids)
    strategies = {0: ["window(5)"] * 4, 2: ["flash", "window(4, sinks: 1)", "flash", "window(9)"]}
    losses = all_losses(model, tokens)
    squared = squared_errors(model, tokens, found, reference.use, strategies, losses)
    assert list(squared) == [0, 2]
    # Layer 0's inputs do not depend on what it is replaced by: hooks on its projection see both outputs.
    outputs = []
    handle = found.layers[0].module.o_proj.register_forward_pre_hook(
        lambda module, inputs: outputs.append(inputs[0].double()))
    before = model.config._attn_implementation
    with torch.inference_mode():
        model(input_ids=tokens.ids)
        reference.use(model, {0: strategies[0]})
        model(input_ids=tokens.ids)
    model.set_attn_implementation(before)
    handle.remove()
    difference, whole = (outputs[1] - outputs[0]).square().sum((1, 2)), outputs[0].square().sum((1, 2))
    assert squared[0] == pytest.approx((difference / whole).mean().item(), rel=1e-3)
    assert squared_errors(
        model, tokens, type(found)(found.layers, {}, None), reference.use, strategies, losses) is None


def test_sensitivities_of_several_texts_are_pooled(ids):
    model = make_model("llama")
    found = survey(model, ids)
    texts = [Tokens(ids, "x"), Tokens(ids.flip(1), "y")]
    both, losses = measure(
        model, Tokens(torch.cat([text.ids for text in texts]), "x, y"), found, reference.use,
        strategy="window(5)")
    single = [measure(model, text, found, reference.use, strategy="window(5)") for text in texts]
    torch.testing.assert_close(losses, torch.cat([full for _, full in single]))
    for layer, first, second in zip(both, single[0][0], single[1][0]):
        assert layer.measured == pytest.approx(
            (first.increase.mean + second.increase.mean) / (first.squared_error + second.squared_error),
            abs=1e-5)


def test_uncertain_sensitivities_are_drawn_to_the_common_one():
    def layer(number, sensitivity, error):
        half = error * student_quantile(31)
        return LayerSensitivity(
            number, Estimate(sensitivity / 4, (sensitivity - half) / 4, (sensitivity + half) / 4, 32, 64), 0.25)

    layers = [
        layer(0, 0.1, 0.005), layer(1, 0.2, 0.005), layer(2, 0.3, 0.005), layer(3, -0.5, 0.4),
        layer(4, 2.0, 0.8), layer(5, -0.01, 0.005)]
    weights = [layer.weight for layer in weighed(layers)]
    assert weights[:3] == pytest.approx([0.1, 0.2, 0.3], abs=2e-3)
    # Of these two next to nothing is known.
    assert 0.05 < weights[3] < 0.25 and 0.1 < weights[4] < 1
    # This one is known to be small; it is not free.
    assert 0 < weights[5] < 0.005


def test_shrinking_nears_the_true_values():
    generator = torch.Generator().manual_seed(3)
    true = 0.2 + 0.1 * torch.randn(400, generator=generator)
    errors = torch.linspace(0.01, 0.6, 400)
    means = true + errors * torch.randn(400, generator=generator)
    found = shrunk(means.tolist(), errors.tolist())
    shifted = torch.tensor([mean for mean, _ in found])
    spread = torch.tensor([error for _, error in found])
    assert (shifted - true).square().mean() < 0.11 ** 2 < (means - true).square().mean() / 4
    assert 0.9 < ((shifted - true) / spread).square().mean().sqrt() < 1.1
    # All alike, and nothing to learn from.
    assert [mean for mean, _ in shrunk([1.0, 1.1, 0.9], [1.0] * 3)] == pytest.approx([1.0] * 3)
    assert shrunk([1.0, 2.0, 3.0], [math.nan] * 3) == [(1.0, 0.0), (2.0, 0.0), (3.0, 0.0)]


def test_mean_of_what_is_above_zero():
    values = torch.randn(1_000_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for mean in (-2.0, -0.5, 0.0, 1.0, 8.0):
        shifted = values + mean
        assert positive_mean(mean, 1.0) == pytest.approx(shifted[shifted > 0].mean().item(), rel=2e-2)
    assert positive_mean(-20.001, 1) == pytest.approx(positive_mean(-19.999, 1), rel=1e-2)
    assert (positive_mean(-1.0, 0.0), positive_mean(-1.0, math.nan), positive_mean(2.0, 0.0)) == (0, 0, 2)


def test_sensitivity_file(ids, tmp_path):
    model = make_model("llama")
    found = survey(model, ids)
    tokens = Tokens(ids, "x")
    layers, full = measure(model, tokens, found, reference.use, strategy="window(3)")
    path = tmp_path / "s.json"
    path.write_text(sensitivity_json(layers, tokens, full, name="m", version="0"))
    data = json.loads(path.read_text())
    assert data["format"] == "attnbench-sensitivity" and data["version"] == 1
    assert all(layer["sensitivity"] > 0 and layer["strategy"] == "window(3)" for layer in data["layers"])
    assert read_sensitivities(str(path), "m") == Sensitivities(
        {layer.layer: layer.weight for layer in layers}, "x")
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
    ({"format": "attnbench-model-plan", "version": 1, "layers": [{"layer": 1, "heads": ["flush"] * 4}]},
     None, "--plan .*: layer 1: .*flush"),
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
