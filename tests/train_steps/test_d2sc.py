"""D2SC's two stages as methods: what it adds to ZeroDiff, what each option does, and the same numbers on devices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests import tiny
from tests.tiny import SPEC, batches, bits, random_like
from zsl_jax import losses
from zsl_jax.config import defaults
from zsl_jax.errors import InputError
from zsl_jax.train_steps import adversarial, d2sc, registry, zerodiff_dfg, zerodiff_drg
from zsl_jax.train_steps.method import Batch, Method, TrainState

UPDATES, ROWS = 2, 8
STAGES = (d2sc.DRG, d2sc.DFG)
HUGE = 1e30


@functools.cache
def config(negatives: str = "none", train_s2v: bool = False) -> Any:
    made = tiny.narrow(defaults.d2sc())
    made.d2sc_drg.critic_iter = made.d2sc_dfg.critic_iter = UPDATES
    made.d2sc_drg.negatives, made.d2sc_dfg.train_s2v = negatives, train_s2v
    return made


@functools.cache
def method(stage: str, **options: Any) -> Method:
    return registry.find(stage).build(config(**options), SPEC)


@functools.cache
def start(stage: str, **options: Any) -> TrainState:
    """A state with random weights."""
    upstream = {} if stage == d2sc.DRG else {d2sc.DRG: {"generator": start(d2sc.DRG).params["generator"]}}
    made = method(stage, **options)
    state = jax.jit(made.init)(jax.random.key(0), upstream, tiny.hyper(config(**options), stage, made))
    return state._replace(params=random_like(state.params, deviation=0.3))


def with_hyper(state: TrainState, **numbers: float) -> TrainState:
    assert set(numbers) <= set(state.hyper)
    return state._replace(hyper=state.hyper | {name: jnp.float32(value) for name, value in numbers.items()})


@functools.cache
def step(stage: str, **options: Any) -> Any:
    return jax.jit(method(stage, **options).train_step)


def trained(stage: str, numbers: dict[str, float], **options: Any):
    """State and metrics after an iteration with other numbers."""
    state = with_hyper(start(stage, **options), **numbers)
    return step(stage, **options)(state, batches((UPDATES, ROWS)), jax.random.key(1))


def moved(before: TrainState, after: TrainState) -> set[str]:
    return {name for name in before.params if bits(before.params[name]) != bits(after.params[name])}


def moments(state: TrainState, names: Any) -> dict[str, Any]:
    """Adam's running means of gradients, which unlike its steps are continuous in them."""
    return {name: state.opt[name].mu for name in names}


def assert_alike(one: Any, other: Any, tolerance: float = 1e-5) -> None:
    """Equal but for the order of sums, relative to the largest entry of each array."""
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        largest = max(float(np.abs(left).max(initial=0)), 1e-3)
        np.testing.assert_allclose(right, left, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize(
    ("stage", "options"), [(d2sc.DRG, {}), (d2sc.DRG, {"negatives": "mismatched"}), (d2sc.DFG, {"train_s2v": True})]
)
def test_one_iteration_moves_every_net(stage, options):
    state = start(stage, **options)
    after, metrics = trained(stage, {}, **options)
    assert moved(state, after) == set(state.params)
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    assert bits((after.frozen, after.hyper)) == bits((state.frozen, state.hyper))


def zerodiff_trained(stage: str, numbers: dict[str, float]):
    """An iteration of ZeroDiff from the same weights."""
    ours = start(stage)
    module, nets = {
        d2sc.DRG: (zerodiff_drg, d2sc.make_prior_nets(config(), SPEC)),
        d2sc.DFG: (zerodiff_dfg, d2sc.make_feature_nets(config(), SPEC)),
    }[stage]
    run = jax.jit(lambda *given: module.train_step(nets, *given))
    return run(with_hyper(ours, **numbers), batches((UPDATES, ROWS)), jax.random.key(1))


@pytest.mark.parametrize(
    ("stage", "numbers"),
    [
        (d2sc.DRG, {"gamma_con_step": 0.0}),
        (d2sc.DFG, {"gamma_mmd": 0.0, "gamma_center": 0.0, "clip_norm": HUGE, "gamma_vae": 0.0}),
    ],
)
def test_without_its_additions_it_is_zerodiff(stage, numbers):
    ours, _ = trained(stage, numbers)
    theirs, metrics = zerodiff_trained(stage, numbers)
    assert_alike(moments(theirs, theirs.opt), moments(ours, theirs.opt))
    assert np.isfinite(metrics["loss/generator"])


def test_additions_change_what_they_should():
    """Each number, set otherwise, changes the gradients of these nets and of no others."""
    generated = {"encoder", "generator"}
    cases = [
        (d2sc.DRG, {"gamma_con_step": 1.0}, {}, {"generator"}),
        (d2sc.DRG, {"negative_ratio": 0.25}, {"negatives": "mismatched"}, {"r0", "generator"}),
        (d2sc.DFG, {"gamma_mmd": 1.0}, {}, generated),
        (d2sc.DFG, {"mmd_sigma": 3.0}, {}, generated),
        (d2sc.DFG, {"gamma_center": 1.0}, {}, generated),
        (d2sc.DFG, {"kl_limit": 1e-3}, {}, {"encoder"}),
        (d2sc.DFG, {"clip_norm": 0.1}, {}, {*generated, *zerodiff_dfg.CRITICS, "decoder"}),
        (d2sc.DFG, {"unseen_bias": 1.3}, {}, set()),
    ]
    for stage, numbers, options, changed in cases:
        one, _ = trained(stage, {}, **options)
        other, _ = trained(stage, numbers, **options)
        names = set(one.params)
        assert {name for name in names if bits(one.opt[name].mu) != bits(other.opt[name].mu)} == changed, numbers


def test_switches_are_off_by_default():
    published = defaults.d2sc()
    assert (published.d2sc_drg.negatives, published.d2sc_dfg.train_s2v) == ("none", False)
    assert published.d2sc_dfg.unseen_bias == 0


# Stage 1.


@functools.cache
def generated_pairs():
    """Noise, pairs and loss terms of a generator update of stage 1."""
    nets, state, batch = d2sc.make_prior_nets(config(), SPEC), start(d2sc.DRG), batches((ROWS,))
    state = with_hyper(state, gamma_con_step=3.0)

    @jax.jit
    def run(key):
        noise = zerodiff_drg.draw_generator_noise(nets, key, (ROWS,))
        pairs = zerodiff_drg.make_pairs(nets, state.params["generator"], batch.r, batch.a, noise)
        given = state.params["generator"], state.params, batch, noise, state.hyper
        base, _ = zerodiff_drg.generator_loss(nets, *given)
        return pairs, base, d2sc.prior_generator_loss(nets, *given)

    return run(jax.random.key(2))


def test_consistency_is_the_error_of_the_sampled_row():
    pairs, base, (loss, metrics) = generated_pairs()
    error = np.mean((np.asarray(pairs.fake_t) - np.asarray(pairs.real_t)) ** 2)
    np.testing.assert_allclose(metrics["loss/consistency"], error, rtol=1e-5)
    np.testing.assert_allclose(loss, base + 3.0 * error, rtol=1e-5)
    assert metrics["loss/generator"] == loss
    assert error > 0.01


@pytest.mark.parametrize(("ratio", "taken"), [(0.0, 0), (0.3, 2), (0.5, 4), (1.0, 8)])
def test_a_share_of_rows_gets_other_semantics(ratio, taken):
    a = jnp.arange(3 * ROWS * 2, dtype=jnp.float32).reshape(3, ROWS, 2)
    noise = jax.jit(lambda key: d2sc.draw_negative_noise(key, (3, ROWS)))(jax.random.key(0))
    made = d2sc.make_negatives(noise, a, jnp.float32(ratio))
    assert [np.count_nonzero(weights) for weights in made.weights] == [taken] * 3
    np.testing.assert_allclose(np.mean(made.weights, axis=1), 1.0 if taken else 0.0)
    for k in range(3):
        assert sorted(noise.rank[k].tolist()) == sorted(noise.partner[k].tolist()) == list(range(ROWS))
        np.testing.assert_array_equal(made.a[k], a[k][noise.partner[k]])
    assert not np.array_equal(noise.rank[0], noise.rank[1])
    assert not np.array_equal(noise.rank, noise.partner)


def test_mismatched_rows_join_the_fake_side():
    nets = d2sc.make_prior_nets(config(negatives="mismatched"), SPEC)
    state, batch = (
        with_hyper(start(d2sc.DRG, negatives="mismatched"), gamma_x0=0.7, negative_ratio=0.5),
        batches((ROWS,)),
    )

    @jax.jit
    def run(key):
        key, negative_key = jax.random.split(key)
        noise = zerodiff_drg.draw_critic_noise(nets, key, (ROWS,))
        drawn = d2sc.draw_negative_noise(negative_key, (ROWS,))
        negatives = d2sc.make_negatives(drawn, batch.a, state.hyper["negative_ratio"])
        pairs = zerodiff_drg.make_pairs(nets, state.params["generator"], batch.r, batch.a, noise)
        given = nets, state.params, pairs, batch.a, noise.alphas
        base, _ = zerodiff_drg.critic_loss(*given, state.hyper)
        scores = nets.critics["r0"].apply({"params": state.params["r0"]}, batch.r, {"a": negatives.a})
        return base, scores, negatives.weights > 0, d2sc.prior_critic_loss(*given, negatives, state.hyper)

    base, scores, taken, (loss, metrics) = run(jax.random.key(3))
    wanted = np.mean(np.asarray(scores)[np.asarray(taken)])
    np.testing.assert_allclose(metrics["score/mismatched"], wanted, rtol=1e-5)
    np.testing.assert_allclose(loss - base, 0.7 * 0.5 * wanted, rtol=1e-4)


# Stage 2.


def test_discrepancy_by_hand():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 3)).astype(np.float32), random.normal(size=(7, 3)).astype(np.float32)

    def mean_kernel(u, v):
        return np.mean(np.exp(-np.sum((u[:, None] - v[None]) ** 2, axis=2) / (2 * 1.5**2)))

    wanted = mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)
    np.testing.assert_allclose(losses.gaussian_discrepancy(jnp.asarray(x), jnp.asarray(y), 1.5), wanted, rtol=1e-5)
    np.testing.assert_allclose(losses.gaussian_discrepancy(jnp.asarray(x), jnp.asarray(x), 1.5), 0.0, atol=1e-6)


def test_centre_distance_by_hand():
    rows, centres = jnp.asarray([[1.0, 2.0], [0.0, 0.0]]), jnp.asarray([[1.0, 0.0], [0.0, 3.0]])
    assert losses.centre_distance(rows, centres) == (4 + 9) / 2


@pytest.mark.parametrize(("value", "clamped", "slope"), [(3.0, 3.0, 1.0), (7.0, 5.0, 0.0), (-1.0, 0.0, 0.0)])
def test_a_clamped_mean_has_no_gradient_out_of_bounds(value, clamped, slope):
    found = jax.value_and_grad(d2sc.clamp_mean)(jnp.float32(value), jnp.float32(5.0), None)
    assert found == (clamped, slope)


def test_every_net_is_clipped_on_its_own():
    gradients = {"large": {"w": jnp.asarray([3.0, 4.0])}, "small": {"w": jnp.asarray([0.3, 0.4])}}
    clipped = adversarial.clip(gradients, jnp.float32(1.0))
    np.testing.assert_allclose(clipped["large"]["w"], [0.6, 0.8], rtol=1e-6)
    assert bits(clipped["small"]) == bits(gradients["small"])
    after, metrics = trained(d2sc.DFG, {"clip_norm": 0.01})
    for name in ("generator", "encoder"):
        assert metrics[f"grad_norm/{name}_step"] > 0.01
        first = (1 - (0.9 if name == "encoder" else 0.5)) * 0.01
        norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(after.opt[name].mu)))
        np.testing.assert_allclose(norm, first, rtol=1e-3)


def test_s2v_starts_as_torch_starts_a_linear_layer_and_stays():
    state = start(d2sc.DFG)
    assert "s2v" not in state.params
    s2v, bound = state.frozen["s2v"], SPEC.a_dim**-0.5
    assert jax.tree.map(jnp.shape, s2v) == {"kernel": (SPEC.a_dim, SPEC.x_dim), "bias": (SPEC.x_dim,)}
    assert all(0.5 * bound < np.abs(leaf).max() <= bound for leaf in s2v.values())
    a = batches((ROWS,)).a
    wanted = np.asarray(a) @ np.asarray(s2v["kernel"]) + np.asarray(s2v["bias"])
    np.testing.assert_allclose(d2sc.centres(s2v, a), wanted, rtol=1e-5, atol=1e-6)


def test_s2v_learns_from_the_centre_loss_alone():
    state = start(d2sc.DFG, train_s2v=True)
    assert "s2v" not in state.frozen
    after, _ = trained(d2sc.DFG, {}, train_s2v=True)
    assert "s2v" in moved(state, after)
    after, _ = trained(d2sc.DFG, {"gamma_center": 0.0}, train_s2v=True)
    assert "s2v" not in moved(state, after)


@functools.cache
def class_semantics() -> np.ndarray:
    rows = batches((100,))
    return np.stack([np.asarray(rows.a)[np.flatnonzero(rows.labels == c)[0]] for c in range(SPEC.n_classes)])


def batches_of(classes: tuple[int, ...]) -> Batch:
    rows = batches((UPDATES, ROWS))
    labels = jnp.asarray(np.resize(classes, (UPDATES, ROWS)), jnp.int32)
    return rows._replace(labels=labels, a=jnp.asarray(class_semantics())[labels])


def synthesised(bias: float, sampler: str) -> dict[str, np.ndarray]:
    """A row of each class, after training on the classes 0 and 2."""
    state, _ = step(d2sc.DFG)(with_hyper(start(d2sc.DFG), unseen_bias=bias), batches_of((0, 2)), jax.random.key(1))
    made = method(d2sc.DFG)
    assert made.synthesize is not None
    keys = jax.random.split(jax.random.key(4), SPEC.n_classes)
    synthesize = jax.jit(made.synthesize, static_argnums=3)
    return jax.device_get(synthesize(made.inference(state), jnp.asarray(class_semantics()), keys, sampler))


@pytest.mark.parametrize("sampler", zerodiff_dfg.SAMPLERS)
def test_the_bias_moves_classes_not_trained_on(sampler):
    plain, biased = (synthesised(bias, sampler) for bias in (0.0, 1.3))
    changed = np.any(plain["x"] != biased["x"], axis=1)
    assert changed.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(plain["r"], biased["r"])


def test_without_a_bias_synthesis_is_zerodiffs():
    state = start(d2sc.DFG)
    nets, params = d2sc.make_feature_nets(config(), SPEC), method(d2sc.DFG).inference(state)

    def synthesised_by(module):
        keys = jax.random.split(jax.random.key(4), SPEC.n_classes)
        return module.synthesize(nets, params, jnp.asarray(class_semantics()), keys, "one_step")

    ours, theirs = synthesised_by(d2sc), synthesised_by(zerodiff_dfg)
    assert_alike(theirs, ours)


# Both.


def test_configurations_that_differ_in_numbers_share_a_method():
    other: Any = ConfigDict(config().to_dict())
    for stage in STAGES:
        for name in registry.find(stage).numbers:
            other[stage][name] += 1
    for stage in STAGES:
        registry.build(other, stage, SPEC)  # makes its numbers known
    for stage in STAGES:
        assert registry.build(other, stage, SPEC) is registry.build(config(), stage, SPEC)
    other.d2sc_drg.negatives = "mismatched"
    assert registry.build(other, d2sc.DRG, SPEC) is not registry.build(config(), d2sc.DRG, SPEC)


def test_gammas_are_swept_without_recompiling():
    state, given = start(d2sc.DFG), batches((UPDATES, ROWS))

    def center_loss(gamma, state, given):
        swept = state._replace(hyper=state.hyper | {"gamma_center": gamma})
        after, _ = method(d2sc.DFG).train_step(swept, given, jax.random.key(1))
        return after.opt["generator"].mu["out"]["bias"]

    run = jax.jit(jax.vmap(center_loss, in_axes=(0, None, None)))
    one, other = np.asarray(run(jnp.asarray([0.0, 1.0]), state, given))
    assert np.abs(one - other).max() > 1e-3


def test_impossible_options_are_refused():
    wrong: Any = ConfigDict(config().to_dict())
    wrong.d2sc_drg.negatives = "some"
    with pytest.raises(InputError, match=r"config.d2sc_drg.negatives: 'some'; choose one of"):
        d2sc.build_prior(wrong, SPEC)
    wrong.d2sc_drg.negatives, wrong.d2sc_drg.feed = "none", "next"
    with pytest.raises(InputError, match=r"config.d2sc_drg.feed: 'next'"):
        d2sc.build_prior(wrong, SPEC)
    made = method(d2sc.DFG)
    numbers = tiny.hyper(config(), d2sc.DFG, made)
    with pytest.raises(InputError, match="'d2sc_dfg' needs 'd2sc_drg' before it"):
        made.init(jax.random.key(0), {}, numbers)


SHARES = 4  # of a batch, as many devices
CASES = [
    (d2sc.DRG, {}, {"negatives": "mismatched"}),
    (d2sc.DFG, {"gamma_mmd": 5.0, "mmd_sigma": 2.0, "unseen_bias": 1.0}, {}),
    (d2sc.DFG, {"gamma_mmd": 5.0, "kl_limit": 1e-2}, {"train_s2v": True}),
]


@pytest.mark.parametrize(("limit", "mean", "slope"), [(4.0, 3.5, 1.0), (3.0, 3.0, 0.0)])
def test_the_mean_over_devices_decides_what_is_clamped(limit, mean, slope):
    run = jax.pmap(jax.value_and_grad(lambda value: d2sc.clamp_mean(value, jnp.float32(limit), "data")), "data")
    values, slopes = run(jnp.arange(8.0, dtype=jnp.float32))
    assert np.mean(values) == mean
    assert np.asarray(slopes).tolist() == [slope] * 8


@pytest.mark.parametrize(("stage", "numbers", "options"), CASES)
def test_shares_of_a_batch_have_the_numbers_of_the_whole(stage, numbers, options):
    """Discrepancy, clamped KL and mismatched rows are no means over rows: the devices must see the whole batch."""
    state, given = with_hyper(start(stage, **options), **numbers), batches((UPDATES, ROWS))
    whole, metrics = step(stage, **options)(state, given, jax.random.key(1))
    mapped_step = method(stage, **options).mapped_step
    assert mapped_step is not None
    shares = jax.tree.map(lambda leaf: leaf.reshape(UPDATES, SHARES, -1, *leaf.shape[2:]), given)
    run = jax.pmap(lambda start, share: mapped_step(start, share, jax.random.key(1), "data"), "data", in_axes=(None, 1))
    spread, spread_metrics = jax.tree.map(lambda leaf: leaf[0], jax.device_get(run(state, shares)))
    assert_alike(metrics, spread_metrics, 1e-4)
    assert_alike(moments(whole, whole.opt), moments(spread, whole.opt), 1e-4)
    assert_alike(whole.extra, spread.extra, 0.0 if stage == d2sc.DRG else 1e-6)
