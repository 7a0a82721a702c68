"""Fine-tuning methods: laws of the contract, pieces with known answers, and what they learn."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from zsl_jax.errors import InputError
from zsl_jax.losses.paco import EMPTY, PacoWeights, empty_queue, enqueue, momentum_average, paco_loss
from zsl_jax.nets.layers import apply
from zsl_jax.nets.mlp import Projector, unit_rows
from zsl_jax.train_steps import finetune, finetune_paco, registry
from zsl_jax.train_steps.method import Batch, Method, Metrics, TrainState, hyper_parameters, vector_spec

SPEC = vector_spec(x_dim=7, r_dim=0, a_dim=3, n_classes=5)
MAKERS = {"ce": finetune.finetune_ce, "paco": finetune_paco.finetune_paco}
SPACES = {"ce": "x", "paco": "r"}


def _config(**fields) -> Any:
    """Both sections alike, with `fields` changed."""
    section = ConfigDict(
        {
            "hidden": (10,),
            "width": 12,
            "optimiser": "sgd",
            "lr": 0.05,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "label_smoothing": 0.1,
            "input_noise": 0.2,
            "input_dropout": 0.1,
            "embedding_dropout": 0.1,
            "batch_size": 8,
            "paco": {
                "alpha": 0.05,
                "beta": 1.0,
                "gamma": 1.0,
                "temperature": 0.2,
                "centre_temperature": 1.0,
                "queue": 16,
                "momentum": 0.9,
                "dim": 6,
            },
        }
    )
    section.update(fields)
    return ConfigDict({"finetune_x": section, "finetune_r": section})


def _batches(steps: int, size: int = 8, seed: int = 0) -> Batch:
    """Batches of three well-separated classes out of five, [steps, 1, size, ...]."""
    rng = np.random.default_rng(seed)
    centres = 2.0 * np.random.default_rng(99).normal(size=(SPEC.n_classes, SPEC.x_dim))
    labels = rng.integers(0, 3, size=(steps, 1, size)).astype(np.int32)
    x = (centres[labels] + rng.normal(size=(steps, 1, size, SPEC.x_dim))).astype(np.float32)
    return Batch({"x": jnp.asarray(x)}, jnp.zeros((steps, 1, size, SPEC.a_dim)), jnp.asarray(labels))


def _first(batches: Batch) -> Batch:
    return jax.tree.map(lambda rows: rows[0], batches)


def _optimised(optimiser: str) -> Any:
    return _config(optimiser=optimiser, lr=0.01 if optimiser == "adam" else 0.1)


@functools.cache
def _method(name: str, optimiser: str = "sgd") -> Method:
    return MAKERS[name](_optimised(optimiser), SPEC)


def _hyper(method: Method, optimiser: str = "sgd") -> dict[str, np.ndarray]:
    stage = f"finetune_{method.produces}"
    return hyper_parameters(_optimised(optimiser).finetune_x, registry.find(stage).numbers)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _start(method: Method, key: jax.Array, optimiser: str = "sgd") -> TrainState:
    return method.init(key, {}, _hyper(method, optimiser))


@functools.partial(jax.jit, static_argnums=0)
def _step(method: Method, state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
    return method.train_step(state, batch, key)


def _train(method: Method, state: TrainState, batches: Batch, key: jax.Array) -> tuple[TrainState, np.ndarray]:
    """Returns the state after the batches and the loss of each step."""
    losses = []
    for number, step_key in enumerate(jax.random.split(key, len(batches.labels))):
        state, metrics = _step(method, state, jax.tree.map(lambda rows, number=number: rows[number], batches), step_key)
        losses.append(metrics["loss"])
    return state, np.asarray(losses)


@pytest.fixture(params=sorted(MAKERS))
def name(request) -> str:
    return request.param


def test_one_step_moves_every_learnt_net(name):
    method = _method(name)
    state = _start(method, jax.random.key(0))
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(method.train_step, n=1))
    after, metrics = step(state, _first(_batches(1)), jax.random.key(1))
    step(after, _first(_batches(1, seed=1)), jax.random.key(2))
    assert set(metrics) == {"loss", "accuracy", "grad_norm"}
    assert all(value.shape == () and np.isfinite(value) for value in metrics.values())
    assert metrics["grad_norm"] > 0
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    for net in state.opt:
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params[net], after.params[net])
        assert all(jax.tree.leaves(moved)), net


@pytest.mark.parametrize("optimiser", finetune.OPTIMISERS)
def test_learns_separated_classes(name, optimiser):
    method = _method(name, optimiser)
    state, trace = _train(method, _start(method, jax.random.key(0), optimiser), _batches(150), jax.random.key(1))
    held_out = _first(_first(_batches(1, size=200, seed=7)))
    assert method.scores is not None
    scores = method.scores(method.inference(state), {"x": held_out.x})
    assert scores.shape == (200, SPEC.n_classes)
    assert np.mean(np.asarray(scores).argmax(axis=1) == held_out.labels) > 0.9
    assert trace[-10:].mean() < trace[:10].mean()


def test_embedding_is_rectified(name):
    method = _method(name)
    params = method.inference(_start(method, jax.random.key(0)))
    assert method.spaces == (SPACES[name],)
    assert method.embed is not None
    features = method.embed(params, {"x": jax.random.normal(jax.random.key(3), (50, SPEC.x_dim))}, method.spaces[0])
    assert features.shape == (50, 12)
    assert features.min() == 0.0
    assert features.max() > 0.0


def test_same_key_same_bits_other_key_other_bits(name):
    method = _method(name)
    state = _start(method, jax.random.key(0))
    runs = [_train(method, state, _batches(3), jax.random.key(seed))[0] for seed in (1, 1, 2)]
    chex.assert_trees_all_equal(runs[0], runs[1])
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(runs[0].params, runs[2].params)


def test_rates_can_be_swept_without_recompiling(name):
    method = _method(name)
    state = _start(method, jax.random.key(0))
    batch = _first(_batches(1))
    rates = jnp.array([0.0, 0.1])

    def step(lr, state, batch):
        return method.train_step(state._replace(hyper={**state.hyper, "lr": lr}), batch, jax.random.key(1))[0].params

    swept = jax.device_get(jax.jit(jax.vmap(step, in_axes=(0, None, None)))(rates, state, batch))
    learnt = {net: swept[net] for net in state.opt}
    chex.assert_trees_all_equal(jax.tree.map(lambda leaf: leaf[0], learnt), {net: state.params[net] for net in learnt})
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf: leaf[0], learnt), jax.tree.map(lambda leaf: leaf[1], learnt)
        )


def test_states_share_no_buffer(name):
    """Training donates its state: nothing in it may be held twice, nor by another state of the same method."""
    states = [_method(name).init(jax.random.key(0), {}, _hyper(_method(name))) for _ in range(2)]
    buffers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(states)]
    assert len(set(buffers)) == len(buffers)


def test_drop_keeps_the_mean():
    values = jnp.ones((200, 500))
    dropped = finetune.drop(values, jax.random.uniform(jax.random.key(0), values.shape), 0.25)
    assert np.isclose((dropped == 0).mean(), 0.25, atol=0.01)
    assert np.isclose(dropped.mean(), 1.0, atol=0.01)
    np.testing.assert_array_equal(finetune.drop(values, jnp.zeros(values.shape), 0.0), values)


def test_view_without_noise_is_the_input():
    x = jax.random.normal(jax.random.key(0), (4, SPEC.x_dim))
    draws = finetune.draw_noise(jax.random.key(1), 4, SPEC.x_dim, 12)
    chex.assert_shape(draws, [(4, SPEC.x_dim), (4, SPEC.x_dim), (4, 12)])
    still = finetune.view(x, draws, {"input_noise": jnp.float32(0), "input_dropout": jnp.float32(0)})
    np.testing.assert_array_equal(still, x)
    noisy = finetune.view(x, draws, {"input_noise": jnp.float32(2), "input_dropout": jnp.float32(0)})
    np.testing.assert_allclose(noisy - x, 2.0 * draws.noise, atol=1e-6)


def test_two_views_differ():
    query, key = finetune_paco.draw_noise(jax.random.key(1), 4, SPEC.x_dim, 12)
    assert (query.noise != key.noise).all()
    assert (query.dropout != key.dropout).all()


def test_cross_entropy_in_closed_form():
    labels = jnp.array([0, 2], jnp.int32)
    np.testing.assert_allclose(finetune.cross_entropy(jnp.zeros((2, 5)), labels, 0.3), np.log(5), rtol=1e-6)
    logits = jnp.array([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    log_p = np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    expected = -np.mean([0.7 * log_p[0, 0] + 0.1 * log_p[0].sum(), 0.7 * log_p[1, 2] + 0.1 * log_p[1].sum()])
    np.testing.assert_allclose(finetune.cross_entropy(logits, labels, 0.3), expected, rtol=1e-5)


def _unit(key: jax.Array, rows: int) -> jax.Array:
    return unit_rows(jax.random.normal(key, (rows, 6)))


def test_empty_queue_rows_take_no_part():
    features, logits = _unit(jax.random.key(0), 8), jax.random.normal(jax.random.key(1), (4, SPEC.n_classes))
    labels = jnp.array([0, 1, 1, 2] * 2, jnp.int32)
    weights = PacoWeights(0.3, 0.7, 0.4, 0.2, 0.2, 0.8)
    queue, classes, _ = empty_queue(5, 6)
    padded = paco_loss(jnp.concatenate([features, queue]), jnp.concatenate([labels, classes]), logits, weights)
    np.testing.assert_allclose(padded, paco_loss(features, labels, logits, weights), rtol=1e-5)


def test_loss_without_contrasts_is_cross_entropy_of_the_centres():
    logits = jax.random.normal(jax.random.key(1), (4, SPEC.n_classes))
    labels = jnp.array([0, 1, 1, 4] * 2, jnp.int32)
    loss = paco_loss(_unit(jax.random.key(0), 8), labels, logits, PacoWeights(0.0, 1.0, 0.0, 0.2, 0.2, 1.0))
    np.testing.assert_allclose(loss, finetune.cross_entropy(logits, labels[:4], 0.0), rtol=1e-5)


def test_queue_wraps_and_zero_rows_are_allowed():
    queue, classes, pointer = empty_queue(4, 6)
    assert (classes == EMPTY).all()
    for step in range(3):
        keys = jnp.full((2, 6), step + 1.0)
        queue, classes, pointer = enqueue(queue, classes, pointer, keys, jnp.full((2,), step, jnp.int32))
    np.testing.assert_array_equal(queue[:, 0], [3, 3, 2, 2])
    np.testing.assert_array_equal(classes, [2, 2, 1, 1])
    assert int(pointer) == 2
    nothing = enqueue(*empty_queue(0, 6), jnp.ones((2, 6)), jnp.zeros((2,), jnp.int32))
    assert nothing[0].shape == (0, 6)
    assert int(nothing[2]) == 0


def test_queue_refuses_batches_that_would_not_fit():
    with pytest.raises(AssertionError):
        enqueue(*empty_queue(4, 6), jnp.ones((3, 6)), jnp.zeros((3,), jnp.int32))


def test_momentum_average_between_its_ends():
    keys, queries = {"w": jnp.zeros(3)}, {"w": jnp.ones(3)}
    for momentum in (0.0, 0.25, 1.0):
        np.testing.assert_allclose(momentum_average(keys, queries, momentum)["w"], np.full(3, 1.0 - momentum))


def test_paco_step_fills_the_queue_and_moves_the_keys_first():
    method = _method("paco")
    state = _start(method, jax.random.key(0))
    shifted = jax.tree.map(lambda leaf: leaf + 1.0, state.params["key_encoder"])
    state = state._replace(params={**state.params, "key_encoder": shifted})
    batches = _batches(3)
    after, _ = _train(method, state, jax.tree.map(lambda rows: rows[:1], batches), jax.random.key(1))
    expected = momentum_average(shifted, state.params["encoder"], state.hyper["paco.momentum"])
    chex.assert_trees_all_close(after.params["key_encoder"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(after.extra["queue_labels"], [*batches.labels[0, 0], *[EMPTY] * 8])
    np.testing.assert_allclose(np.linalg.norm(after.extra["queue"][:8], axis=1), 1.0, rtol=1e-5)
    last, _ = _train(method, state, batches, jax.random.key(1))
    np.testing.assert_array_equal(last.extra["queue_labels"], [*batches.labels[2, 0], *batches.labels[1, 0]])
    assert int(last.extra["queue_pointer"]) == 8


def test_paco_needs_no_queue():
    config = _config()
    config.finetune_r.paco.queue = 0
    method = finetune_paco.finetune_paco(config, SPEC)
    _, trace = _train(method, _start(method, jax.random.key(0)), _batches(2), jax.random.key(1))
    assert np.isfinite(trace).all()


def test_unit_rows_and_a_dead_embedding():
    rows = unit_rows(jnp.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    projector = Projector(3)
    params = projector.init(jax.random.key(0), jnp.zeros((1, 4)))["params"]
    grads = jax.grad(lambda e: apply(projector, params, e).sum())(jnp.zeros((2, 4)))
    assert np.isfinite(grads).all()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"optimiser": "rmsprop"}, "optimiser"),
        ({"width": 0}, "width"),
        ({"hidden": (4, 0)}, "hidden"),
        ({"batch_size": 0}, "batch_size"),
        ({"input_dropout": 1.0}, "input_dropout"),
    ],
)
def test_bad_sections_are_named(name, fields, found):
    with pytest.raises(InputError, match=found):
        MAKERS[name](_config(**fields), SPEC)


@pytest.mark.parametrize(("field", "value"), [("queue", 12), ("queue", -8), ("dim", 0), ("temperature", 0.0)])
def test_bad_paco_fields_are_named(field, value):
    config = _config()
    config.finetune_r.paco[field] = value
    with pytest.raises(InputError, match=field):
        finetune_paco.finetune_paco(config, SPEC)


def test_features_are_needed(name):
    with pytest.raises(InputError, match="needs features"):
        MAKERS[name](_config(), vector_spec(0, 0, 3, 5))
