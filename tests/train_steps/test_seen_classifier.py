"""The classifier of seen classes: what it is among, how it learns, and the rows a run gives it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import SPEC, batches, bits
from zsl_jax import data
from zsl_jax.config import defaults
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks, made_views, problems
from zsl_jax.experiment.problems import TEST, Problem
from zsl_jax.train_steps import seen_classifier
from zsl_jax.training.parallel import Sharded

METHOD = seen_classifier.build(None, SPEC)
ROWS = 8


def start():
    return METHOD.init(jax.random.key(0), {}, {"lr": np.float32(0.05)})


def separable():
    """Rows of classes 0 and 2 alone."""
    given = batches((1, ROWS))
    labels = jnp.asarray([[0, 2] * (ROWS // 2)], jnp.int32)
    return given._replace(labels=labels, views={"x": given.x + labels[..., None].astype(jnp.float32)})


def probabilities(state) -> np.ndarray:
    assert METHOD.scores is not None
    return np.asarray(jax.nn.softmax(METHOD.scores(METHOD.inference(state), {"x": separable().x[0]})))


def test_classes_without_rows_have_no_share():
    state, metrics = jax.jit(METHOD.train_step)(start(), separable(), jax.random.key(0))
    found = probabilities(state)
    np.testing.assert_array_equal(found[:, [1, 3]], 0.0)
    logits = separable().x[0] @ state.params["classifier"]["kernel"] + state.params["classifier"]["bias"][None]
    np.testing.assert_allclose(found[:, [0, 2]], jax.nn.softmax(logits[:, jnp.asarray([0, 2])]), rtol=1e-5)
    assert metrics["loss"] == pytest.approx(np.log(2), abs=0.1)


def test_it_learns():
    state, given, step = start(), separable(), jax.jit(METHOD.train_step)
    for _ in range(200):
        state, _ = step(state, given, jax.random.key(0))
    assert (probabilities(state).argmax(axis=1) == given.labels[0]).all()


def test_shares_of_a_batch_add_up():
    given = separable()
    halves = jax.tree.map(lambda leaf: jnp.stack([leaf[:, ::2], leaf[:, 1::2]]), given)  # one class each
    step = METHOD.mapped_step
    assert step is not None
    run = jax.pmap(
        lambda state, share: step(state, share, jax.random.key(0), "rows"),
        "rows",
        in_axes=(None, 0),
        devices=jax.devices()[:2],
    )
    shared, metrics = jax.device_get(run(start(), halves))
    whole, wanted = jax.jit(METHOD.train_step)(start(), given, jax.random.key(0))
    np.testing.assert_allclose(metrics["loss"][0], wanted["loss"], rtol=1e-5)
    assert bits(jax.tree.map(lambda leaf: leaf[0], shared.extra)) == bits(whole.extra)
    for one, other in zip(jax.tree.leaves(shared.opt), jax.tree.leaves(whole.opt), strict=True):
        np.testing.assert_allclose(one[0], other, rtol=1e-4, atol=1e-6)


def small_config(stages: tuple[str, ...]) -> Any:
    config = defaults.gan_zoo("wgan")
    config.stages = stages
    config.data.source, config.data.dataset = "synthetic", "synthetic"
    config.data.synthetic.update({"x_dim": 10, "r_dim": 0, "trainval": 100, "test_seen": 25, "test_unseen": 30})
    config.seen_classifier.batch_size = config.gan.batch_size = 16
    return config


def test_a_run_gives_it_the_tasks_own_rows_and_scores_it_by_held_out_loss(tmp_path):
    config = small_config(("seen_classifier", "gan"))
    _, dataset = problems.load(config)
    problem = Problem(TEST, tmp_path, data.test_task, jax.random.key(0), {}, Sharded((jax.devices()[0],)))
    stage, task = problems.make_stage(config, "seen_classifier", dataset, dataset, problem, {})
    train, held_out = made_views.hold_out(task.train, config.seen_classifier.holdout, config.seed)
    assert bits(stage.train.x) == bits(train.x)  # scaled as the generator's
    assert len(train.x) + len(held_out.x) == len(task.train.x)
    state = stage.method.init(jax.random.key(0), {}, stage.hyper)
    found = stage.evaluate(stage.method.inference(state), 0, jax.random.key(0))
    assert set(found["scores"]) == {"heldout_loss", "heldout_accuracy"}
    assert found["score"] == -found["scores"]["heldout_loss"]
    evaluations = [{"epoch": epoch, "score": score} for epoch, score in enumerate((-2.0, -1.0, -3.0))]
    assert problems.upstream_epoch(config, stage, evaluations, problem) == 1


def test_a_run_must_end_with_a_stage_that_is_scored():
    config = small_config(("seen_classifier",))
    with pytest.raises(InputError, match="can't be scored"):
        checks.rehearse(config, data.load(config.data, 0))
