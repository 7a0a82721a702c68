"""A run with a known answer: on features whose densities are known, ZeroDiff comes near the best that is possible."""

from typing import Any

import numpy as np
import pytest

from zsl_jax import data
from zsl_jax.config import defaults
from zsl_jax.data.dataset import Dataset
from zsl_jax.experiment import problems
from zsl_jax.training.lockstep import drive
from zsl_jax.training.stopping import StopRequest

SPACES = ("V", "C", "VC")
WIDTH = 64


def probe_config() -> Any:
    """Thirty seen classes whose means are linear in six attributes, so that five unseen ones can be known."""
    config = defaults.zerodiff()
    config.data.source = config.data.dataset = "synthetic"
    config.data.semantics_scaling = "none"
    sizes = {"seen": 30, "unseen": 5, "a_dim": 6, "x_dim": 24, "r_dim": 12}
    config.data.synthetic.update(sizes | {"trainval": 1200, "test_seen": 300, "test_unseen": 300})
    config.validate, config.upstream = False, "last"
    for stage in (config.drg, config.dfg):
        stage.generator_width = stage.critic_width = stage.decoder_width = WIDTH
        stage.lr, stage.batch_size = 3e-3, 32
        stage.syn_num, stage.classifier_lr = 60, 1e-2
    config.dfg.encoder_width = WIDTH
    config.drg.epochs, config.dfg.epochs = 40, 20
    config.dfg.gamma_adv = 1.0
    config.log_every = 50
    config.eval.first = config.dfg.epochs - 1
    config.eval.every = config.drg.epochs
    config.eval.spaces, config.eval.samplers = SPACES, ("one_step",)
    config.eval.classifier_epochs = 15
    return config


def bayes_accuracy(dataset: Dataset, view: str, rows: np.ndarray) -> float:
    """Accuracy in percent of the true densities among the unseen classes, mean over classes."""
    test = dataset.splits.test_unseen
    found = dataset.unseen[data.bayes_scores(dataset, rows[test], view)[:, dataset.unseen].argmax(axis=1)]
    labels = dataset.labels[test]
    return 100 * float(np.mean([np.mean(found[labels == label] == label) for label in dataset.unseen]))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Dataset, dict[str, dict[str, list[float]]]]:
    """The data set, and by space the scores of a run's last evaluation."""
    config = probe_config()
    _, dataset = problems.load(config)
    runs = drive(problems.run(config, dataset, tmp_path_factory.mktemp("probe"), StopRequest()))
    spaces = runs.test.evaluations["dfg"][-1]["scores"]["spaces"]
    return dataset, {space: samplers["one_step"] for space, samplers in spaces.items()}


@pytest.mark.parametrize("space", SPACES)
def test_unseen_classes_are_told_apart_nearly_as_well_as_can_be(run, space):
    dataset, scores = run
    best = {"V": bayes_accuracy(dataset, "x", dataset.x), "C": bayes_accuracy(dataset, "r", dataset.r)}
    optimum = max(best[view] for view in space)
    chance = 100 / len(dataset.unseen)
    assert scores[space]["T1"][-1] - chance > 0.6 * (optimum - chance)


def test_seen_and_unseen_classes_are_told_apart(run):
    assert run[1]["VC"]["H"][-1] > 50
