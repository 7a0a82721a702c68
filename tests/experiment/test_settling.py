"""What the data decide: how descriptions are scaled, and sizes and epochs that follow them."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from tests import tiny
from zsl_jax import data
from zsl_jax.config import defaults, presets
from zsl_jax.data.scaling import SEMANTICS
from zsl_jax.errors import InputError
from zsl_jax.experiment import runs, settling
from zsl_jax.training.workdir import SCALER, SETTLED


def config_of(scaling: str = "validated") -> Any:
    config = tiny.synthetic(tiny.narrow(defaults.zerodiff()))
    config.data.synthetic.update({"seen": 12, "trainval": 240, "test_seen": 24, "noise": 0.3})
    config.data.semantics_scaling = scaling
    return config.lock()


def odd(config: Any, **scales: Any) -> Any:
    """The data set, but descriptions are given on other scales."""
    dataset = data.load(config.data, 0)
    given = dataset.given_semantics * np.array(scales.get("by", 1.0)) + np.array(scales.get("plus", 0.0))
    return dataclasses.replace(dataset, semantics=given.astype(np.float32), given_semantics=given)


def test_the_best_on_validation_is_taken_and_said_with_what_the_others_scored():
    """All attributes of a class times its own factor: only their direction says what the class looks like."""
    config, factors = config_of(), np.random.default_rng(0).uniform(0.1, 10, size=(15, 1))
    dataset = odd(config, by=factors)
    scores = settling.validation_scores(config, dataset)
    assert set(scores) == set(SEMANTICS)
    settled, found = settling.settle(config, dataset)
    assert max(scores, key=lambda kind: np.mean(scores[kind])) == settled.data.semantics_scaling == "l2"
    assert settled.dfg.semantics_scaling == settled.drg.semantics_scaling == "l2"
    np.testing.assert_allclose(np.linalg.norm(found.semantics, axis=1), 1, rtol=1e-6)
    assert all(f"{kind} {np.mean(t1):.1f}" in found.notes[-1] for kind, t1 in scores.items())
    assert "L2-normalised" in found.described_by
    assert settling.values(config, settled) == {
        f"{section}.semantics_scaling": "l2" for section in ("data", "drg", "dfg")
    }


@pytest.mark.parametrize(("better", "taken"), [((1.0, 1.1, 1.2), "standard"), ((9.0, -6.0, 0.3), "maximum")])
def test_of_draws_what_is_not_clearly_worse_stays_as_given(monkeypatch, better, taken):
    """The mean lead is the same, 1.1."""
    config = config_of()
    tied = (50.0, 60.0, 70.0)
    scores = dict.fromkeys(SEMANTICS, tied) | {"standard": tuple(np.add(tied, better).tolist())}
    monkeypatch.setattr(settling, "validation_scores", lambda *_: scores)
    assert settling.settle_semantics(config, data.load(config.data, 0))[0].data.semantics_scaling == taken


def test_no_test_row_takes_part():
    config = config_of()
    dataset = data.load(config.data, 0)
    rows = np.concatenate([dataset.splits.test_seen, dataset.splits.test_unseen])
    x, semantics = dataset.x.copy(), np.asarray(dataset.given_semantics).copy()
    x[rows] = 1e3
    semantics[dataset.unseen] = 7
    other = dataclasses.replace(dataset, views={"x": x}, semantics=semantics.astype(np.float32))
    assert settling.validation_scores(config, dataset) == settling.validation_scores(config, other)


def test_what_is_asked_for_is_left_alone():
    config = config_of("standard")
    dataset = data.load(config.data, 0)
    settled, found = settling.settle(config, dataset)
    assert (settled, found) == (config, dataset)
    np.testing.assert_allclose(dataset.semantics[dataset.seen].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.semantics[dataset.seen].std(0), 1, rtol=1e-5)


def test_the_largest_entry_is_that_of_the_seen_classes():
    dataset = data.load(config_of("maximum").data, 0)
    given = np.asarray(dataset.given_semantics)
    np.testing.assert_allclose(dataset.semantics, given / np.abs(given[dataset.seen]).max(), rtol=1e-6)


def test_a_class_of_zeros_rules_out_unit_length_alone():
    config = config_of()
    dataset = odd(config, by=np.where(np.arange(15)[:, None] == 3, 0.0, 1.0))
    assert set(settling.validation_scores(config, dataset)) == set(SEMANTICS) - {"l2"}
    with pytest.raises(InputError, match="class 4 is all zero"):
        dataset.with_semantics("l2")


def test_an_unknown_way_is_refused():
    with pytest.raises(
        InputError, match=r"semantics_scaling: 'L2'; choose one of maximum, none, l2, standard, validated"
    ):
        data.load(config_of("L2").data, 0)


def test_a_workdir_says_what_was_settled(tmp_path):
    """Written as JSON and read again, new classes are scaled as the run's were."""
    settled, dataset = settling.settle(config_of(), data.load(config_of().data, 0))
    assert dataset.semantics_scaler is not None
    there = json.loads(json.dumps({SETTLED: settling.values(config_of(), settled), SCALER: runs.scaler_of(dataset)}))
    assert there[SETTLED]["data.semantics_scaling"] == there[SCALER]["kind"] == dataset.semantics_scaler.kind
    np.testing.assert_array_equal(there[SCALER]["shift"], dataset.semantics_scaler.shift)
    np.testing.assert_array_equal(there[SCALER]["scale"], dataset.semantics_scaler.scale)


def settled_sizes(method: str, **sizes: Any) -> Any:
    """The settled configuration of a method on synthetic data of these sizes."""
    config = presets.own(method)
    config.data.source, config.data.semantics_scaling, config.data.validation_draws = "synthetic", "none", 1
    made_up = {"seen": 12, "a_dim": 4, "x_dim": 1000, "r_dim": 0, "trainval": 1200, "test_seen": 24, "test_unseen": 24}
    config.data.synthetic.update(made_up | sizes)
    config.lock()
    return settling.settle(config, data.load(config.data, 0))[0]


def test_epochs_and_widths_follow_the_data():
    small, large = (settled_sizes("zerodiff", trainval=rows) for rows in (600, 2400))
    for stage in ("drg", "dfg"):
        assert small[stage].batch_size == large[stage].batch_size == 64
        assert small[stage].epochs == pytest.approx(4 * large[stage].epochs, rel=0.1)
        assert large.eval.first + 1 == large.eval.every
        assert 10 <= large[stage].epochs / large.eval.every < 20 or stage == "drg"
    widths = [settled_sizes("zerodiff", x_dim=width).dfg.generator_width for width in (4, 1000, 2000, 10**4)]
    assert widths == [128, 256, 512, 1024]
    assert settled_sizes("zerodiff", x_dim=2000).finetune_r.width == 512 // 4


def test_few_rows_make_small_batches():
    settled = settled_sizes("wgan", trainval=48)
    rows = len(data.validation_rows(data.load(settled.data, 0), settled.data, 0)[0])
    assert rows / 4 < settled.gan.batch_size <= rows / 2


def test_noise_below_zero_is_a_multiple_of_the_deviation_between_seen_classes():
    config = presets.own("wgan")
    config.data.source, config.data.semantics_scaling = "synthetic", "none"
    dataset = data.load(config.data, 0)
    tripled = dataclasses.replace(dataset, semantics=3 * dataset.semantics)
    once, thrice = (settling.settle(config, one)[0].gan.semantic_noise for one in (dataset, tripled))
    assert once > 0
    assert thrice == pytest.approx(3 * once, rel=1e-3)
    config.gan.semantic_noise = 0.07
    assert settling.settle(config, dataset)[0].gan.semantic_noise == 0.07


def test_what_is_given_is_kept():
    config = presets.own("zerodiff")
    config.data.source, config.data.semantics_scaling = "synthetic", "none"
    config.dfg.epochs, config.dfg.generator_width, config.drg.batch_size, config.eval.every = 3, 7, 5, 2
    settled = settling.settle(config, data.load(config.data, 0))[0]
    assert (settled.dfg.epochs, settled.dfg.generator_width, settled.drg.batch_size) == (3, 7, 5)
    assert (settled.eval.first, settled.eval.every) == (0, 2)
    assert 0 not in (settled.drg.epochs, settled.dfg.critic_width, settled.finetune_r.width)
