"""ZeroDiff's two stages as methods: what a step is made of, what each switch does, and synthesis row by row."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from tests.tiny import SPEC, WIDTH, batches, bits, difference, random_like
from zsl_jax import diffusion, losses
from zsl_jax.config import defaults
from zsl_jax.train_steps import tfvaegan, zerodiff_dfg, zerodiff_drg
from zsl_jax.train_steps.method import Method, TrainState

UPDATES, ROWS, STEPS = 2, 6, 4
MODULES = {"drg": zerodiff_drg, "dfg": zerodiff_dfg}
UNLIKE = np.arange(12) % SPEC.n_classes  # classes of synthetic rows


@pytest.fixture(params=MODULES)
def stage(request) -> str:
    return request.param


@functools.cache
def config(feed: str = "current", **dfg: Any) -> Any:
    chosen = tiny.zerodiff_config(critic_iter=UPDATES, **dfg)
    chosen.drg.critic_iter, chosen.drg.feed = UPDATES, feed
    return chosen


@functools.cache
def nets(stage: str, **options: Any) -> Any:
    if stage == "drg":
        return zerodiff_drg.make_nets(config(**options).drg, SPEC)
    return zerodiff_dfg.make_nets(config(**options), SPEC)


@functools.cache
def method(stage: str, **options: Any) -> Method:
    return MODULES[stage].build(config(**options), SPEC)


def numbers(stage: str) -> dict[str, np.ndarray]:
    return tiny.hyper(config(), stage, method(stage))


@functools.cache
def start(stage: str) -> TrainState:
    """A state with random weights."""
    shapes = jax.eval_shape(method("drg").init, jax.random.key(0), {}, numbers("drg"))
    upstream = {"drg": {"generator": random_like(shapes.params["generator"], seed=5)}}
    state = jax.jit(method(stage).init)(jax.random.key(0), upstream, numbers(stage))
    return state._replace(params=random_like(state.params, deviation=0.3))


def with_hyper(state: TrainState, **numbers: float) -> TrainState:
    return state._replace(hyper=state.hyper | {name: jnp.float32(value) for name, value in numbers.items()})


def compiled(stage: str, function: str, **options: Any) -> Any:
    """A function of a stage's module on its nets, jitted."""
    usual = config()[stage]
    return _compiled(stage, function, **{name: value for name, value in options.items() if value != usual[name]})


@functools.cache
def _compiled(stage: str, function: str, **options: Any) -> Any:
    return jax.jit(functools.partial(getattr(MODULES[stage], function), nets(stage, **options)))


@functools.cache
def one_batch(seed: int = 0):
    return batches((ROWS,), seed=seed)


@functools.cache
def critic_noise(stage: str):
    return compiled_noise(stage, "draw_critic_noise")


@functools.cache
def generator_noise(stage: str):
    return compiled_noise(stage, "draw_generator_noise")


def compiled_noise(stage: str, function: str):
    draw = getattr(MODULES[stage], function)
    return jax.jit(lambda key: draw(nets(stage), key, (ROWS,)))(jax.random.key(2))


def moved(before: TrainState, after: TrainState) -> set[str]:
    """Nets whose parameters changed."""
    return {name for name in before.params if bits(before.params[name]) != bits(after.params[name])}


def by_hand(stage: str, state: TrainState, given, noise, last_noise) -> TrainState:
    """One iteration as its separate updates."""
    penalties = []
    for k in range(UPDATES):
        batch, draws = (jax.tree.map(lambda leaf, k=k: leaf[k], tree) for tree in (given, noise))
        state, metrics = compiled(stage, "critic_step")(state, batch, draws)
        penalties.append(metrics.get("penalty/sum", jnp.float32(0)))
    if stage == "dfg":
        state = zerodiff_dfg.adapt_penalty_weight(state, jnp.mean(jnp.stack(penalties)))
    batch = jax.tree.map(lambda leaf: leaf[-1], given)
    return compiled(stage, "generator_step")(state, batch, last_noise)[0]


@functools.partial(jax.jit, static_argnums=0)
def noise_of_a_train_step(stage: str, key: jax.Array):
    """What `train_step` draws from its key, for the critics' updates and for the generator's."""
    critic_key, generator_key = jax.random.split(key)
    noise = MODULES[stage].draw_critic_noise(nets(stage), critic_key, (UPDATES, ROWS))
    return noise, MODULES[stage].draw_generator_noise(nets(stage), generator_key, (ROWS,))


def test_a_train_step_is_its_critic_steps_and_its_generator_step(stage):
    state, given = start(stage), batches((UPDATES, ROWS))
    whole, metrics = compiled(stage, "train_step")(state, given, jax.random.key(1))
    steps = by_hand(stage, state, given, *noise_of_a_train_step(stage, jax.random.key(1)))
    rate = float(state.hyper["lr"])
    for one, other in zip(jax.tree.leaves(whole.params), jax.tree.leaves(steps.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-2 * rate)
    chex.assert_trees_all_close(whole.extra, steps.extra, rtol=1e-6)
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    assert moved(state, whole) == set(state.params)


def test_steps_move_only_what_they_train(stage):
    state = start(stage)
    after, _ = compiled(stage, "critic_step")(state, one_batch(), critic_noise(stage))
    assert moved(state, after) == {*MODULES[stage].CRITICS, "decoder"}
    after, _ = compiled(stage, "generator_step")(state, one_batch(), generator_noise(stage))
    assert moved(state, after) == {"drg": {"generator"}, "dfg": {"encoder", "generator", "decoder"}}[stage]


def test_what_is_frozen_stays(stage):
    state = start(stage)
    after, _ = compiled(stage, "train_step")(state, batches((UPDATES, ROWS)), jax.random.key(1))
    assert bits(after.frozen) == bits(state.frozen)
    assert bits(after.hyper) == bits(state.hyper)
    assert (stage == "dfg") == bool(jax.tree.leaves(state.frozen))


@pytest.mark.parametrize("feed", ["current", "following"])
def test_representations_are_made_from_the_row_that_the_option_feeds(feed):
    state, noise, batch = start("drg"), generator_noise("drg"), one_batch()
    made = compiled("drg", "make_pairs", feed=feed)(state.params["generator"], batch.r, batch.a, noise)
    noisy = {"current": made.real_t, "following": made.following}[feed]
    wanted = jax.jit(nets("drg").generator.apply)(
        {"params": state.params["generator"]}, noise.z, batch.a, noisy, made.t
    )
    np.testing.assert_allclose(made.fake, wanted, rtol=1e-5, atol=1e-6)
    assert (made.real_t != made.following).any()


def test_features_are_made_from_the_following_row_and_the_encoders_latent():
    state, noise, batch = start("dfg"), generator_noise("dfg"), one_batch()
    made, mean, log_variance = compiled("dfg", "make_pairs")(state.params, batch, noise)
    z = mean + np.exp(0.5 * log_variance) * noise.z
    wanted = jax.jit(nets("dfg").generator.apply)(
        {"params": state.params["generator"]}, z, batch.a, made.following, made.t, batch.r
    )
    np.testing.assert_allclose(made.fake, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("freeze", [True, False])
def test_a_frozen_decoder_stays_in_the_generator_step(freeze):
    state = start("dfg")
    step = compiled("dfg", "generator_step", freeze_decoder=freeze)
    after, _ = step(state, one_batch(), generator_noise("dfg"))
    assert (bits(after.params["decoder"]) == bits(state.params["decoder"])) == freeze
    assert (bits(after.opt["decoder"]) == bits(state.opt["decoder"])) == freeze


@pytest.mark.parametrize("critic", zerodiff_dfg.CRITICS)
def test_a_critic_that_is_switched_off_learns_nothing_and_teaches_nothing(critic):
    state = with_hyper(start("dfg"), **{f"gamma_{critic}": 0.0})
    other = state.params | {critic: random_like(state.params[critic], seed=7)}
    for step, noise in (("critic_step", critic_noise("dfg")), ("generator_step", generator_noise("dfg"))):
        after, _ = compiled("dfg", step)(state, one_batch(), noise)
        assert critic not in moved(state, after)
        swapped, _ = compiled("dfg", step)(state._replace(params=other), one_batch(), noise)
        rest = set(state.params) - {critic}
        assert bits([after.params[name] for name in rest]) == bits([swapped.params[name] for name in rest])


@pytest.mark.parametrize("critic", zerodiff_drg.CRITICS)
def test_a_critic_of_representations_that_is_switched_off_learns_nothing(critic):
    gamma = {"r0": "gamma_x0", "rt": "gamma_xt"}[critic]
    state = with_hyper(start("drg"), **{gamma: 0.0})
    after, _ = compiled("drg", "critic_step")(state, one_batch(), critic_noise("drg"))
    assert moved(state, after) == {*zerodiff_drg.CRITICS, "decoder"} - {critic}


@functools.partial(jax.jit, static_argnums=0)
def critic_terms(gates: bool, state: TrainState):
    """Metrics of the critic loss, and the scores behind them."""
    used, noise, batch = nets("dfg", x0_gates_xt=gates), critic_noise("dfg"), one_batch()
    pairs, _, _ = zerodiff_dfg.make_pairs(used, state.params, batch, noise)
    weight = state.extra["penalty_weight"]
    _, metrics = zerodiff_dfg.critic_loss(used, state.params, pairs, batch, noise.alphas, state.hyper, weight)
    return metrics, zerodiff_dfg.compare(used, state.params, pairs, batch, noise.alphas), pairs.t


@pytest.mark.parametrize("gates", [True, False])
@pytest.mark.parametrize("gamma_x0", [0.0, 0.5])
def test_the_critic_loss_term_by_term(gates, gamma_x0):
    """With `x0_gates_xt`, gamma_x0 = 0 also drops the real x_t term, as published."""
    state = with_hyper(start("dfg"), gamma_x0=gamma_x0, gamma_xt=0.7, gamma_xc=1.3)
    metrics, scores, t = critic_terms(gates, state)
    hyper = {name: float(value) for name, value in state.hyper.items()}
    wanted, penalties, estimates = 0.0, 0.0, {}
    for name, score in scores.items():
        gamma = hyper[f"gamma_{name}"]
        real, fake = np.mean(score.real), np.mean(score.fake)
        of_real = 0.0 if name == "xt" and gates and not gamma_x0 else gamma
        penalties += gamma * hyper["penalty_weight"] * np.mean((np.asarray(score.gradient_norms) - 1) ** 2)
        wanted += gamma * fake - of_real * real
        estimates[name] = np.where(gamma > 0, np.asarray(score.real) - np.asarray(score.fake), 0.0)
    np.testing.assert_allclose(metrics["loss/critic"], hyper["gamma_adv"] * (wanted + penalties), rtol=1e-4)
    np.testing.assert_allclose(metrics["penalty/sum"], hyper["gamma_adv"] * penalties, rtol=1e-4)
    ratio = nets("dfg").schedule.sqrt_alphas_bar[np.asarray(t)] ** np.float32(hyper["factor_dist"])
    mutual = losses.mutual_learning(
        **{name: jnp.asarray(e, jnp.float32) for name, e in estimates.items()}, weights=ratio
    )
    np.testing.assert_allclose(metrics["loss/mutual"], hyper["gamma_dist"] * mutual, rtol=1e-4)


@pytest.mark.parametrize(("penalty", "factor"), [(1.06, 1.1), (1.02, 1.0), (0.9, 1 / 1.1)])
def test_lambda_follows_the_penalties(penalty, factor):
    """Critics of zero weights have gradient norms of 0: the sum of the penalties is that of their gammas."""
    state = start("dfg")
    state = state._replace(params=jax.tree.map(jnp.zeros_like, state.params))
    state = with_hyper(state, lr=0.0, gamma_x0=0.0, gamma_xt=0.0, gamma_xc=penalty)
    after, metrics = compiled("dfg", "train_step")(state, batches((UPDATES, ROWS)), jax.random.key(1))
    np.testing.assert_allclose(metrics["lambda"], 10.0 * factor, rtol=1e-6)
    assert after.extra["penalty_weight"] == metrics["lambda"]
    assert state.hyper["penalty_weight"] == after.hyper["penalty_weight"] == 10.0


def test_a_fresh_state_shares_no_buffer(stage):
    """Training donates its state: nothing in it may be held twice, nor by the method or an earlier stage."""
    shapes = jax.eval_shape(method("drg").init, jax.random.key(0), {}, numbers("drg"))
    upstream = {"drg": {"generator": random_like(shapes.params["generator"])}}
    states = [method(stage).init(jax.random.key(0), upstream, numbers(stage)) for _ in range(2)]
    states.append(jax.jit(method(stage).init)(jax.random.key(0), upstream, numbers(stage)))
    arrays = [leaf for leaf in jax.tree.leaves((states, upstream)) if leaf.size]
    held = [leaf.unsafe_buffer_pointer() for leaf in arrays]
    assert len(set(held)) == len(held)


def test_rates_can_be_swept_without_recompiling():
    """Those of the other stage: `test_parallel.py`."""
    stage = "dfg"
    state, given = start(stage), batches((UPDATES, ROWS))

    def step(rate, state, given):
        swept = state._replace(hyper=state.hyper | {"lr": rate, "dec_lr": rate})
        return method(stage).train_step(swept, given, jax.random.key(1))[0].params

    run = jax.jit(jax.vmap(step, in_axes=(0, None, None)))
    swept = jax.device_get(run(jnp.asarray([0.0, 1e-3]), state, given))
    still, stepped = (jax.tree.map(lambda leaf: leaf[k], swept) for k in range(2))  # noqa: B023
    assert bits(still) == bits(state.params)
    assert moved(state, state._replace(params=stepped)) == set(state.params)


@functools.cache
def synthesiser(stage: str, **options: Any) -> Any:
    synthesize = method(stage, **options).synthesize
    assert synthesize is not None
    return jax.jit(synthesize, static_argnums=3)


def synthesise(stage: str, sampler: str, rows: np.ndarray, seed: int = 0, **options: Any) -> dict[str, np.ndarray]:
    """Synthetic rows number `rows` of twelve, of the classes UNLIKE."""
    semantics = np.random.default_rng(3).normal(size=(SPEC.n_classes, SPEC.a_dim)).astype(np.float32)
    keys = jax.random.split(jax.random.key(seed), len(UNLIKE))[rows]
    params = method(stage).inference(start(stage))
    made = synthesiser(stage, **options)(params, jnp.asarray(semantics[UNLIKE[rows]]), keys, sampler)
    return {name: np.asarray(view) for name, view in made.items()}


def cases():
    return [(stage, sampler) for stage in MODULES for sampler in method(stage).samplers]


@pytest.mark.parametrize(("stage", "sampler"), cases())
def test_synthetic_rows_depend_on_their_own_key_and_semantics_alone(stage, sampler):
    whole = synthesise(stage, sampler, np.arange(12))
    shapes = {"r": (12, SPEC.r_dim)} | ({"x": (12, SPEC.x_dim)} if stage == "dfg" else {})
    assert {name: view.shape for name, view in whole.items()} == shapes
    again, other = (synthesise(stage, sampler, np.arange(12), seed) for seed in (0, 1))
    assert bits(again) == bits(whole)
    assert all((other[name] != view).any(axis=1).all() for name, view in whole.items())
    order = np.random.default_rng(0).permutation(12)
    shuffled, part = synthesise(stage, sampler, order), synthesise(stage, sampler, order[:5])
    for name, view in whole.items():
        np.testing.assert_allclose(shuffled[name], view[order], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(part[name], view[order[:5]], rtol=1e-5, atol=1e-6)


def test_progressive_sampling_goes_through_the_posterior():
    used, params = nets("dfg"), zerodiff_dfg.inference(start("dfg"))
    a = jnp.asarray(np.random.default_rng(0).normal(size=(3, SPEC.a_dim)), jnp.float32)

    @jax.jit
    def both(key):
        noise = zerodiff_dfg.draw_sampling_noise(used, jax.random.split(key, 3), progressive=True)

        def generate(x_next, step):
            t = jnp.full((3,), step, jnp.int32)
            return used.generator.apply({"params": params["generator"]}, noise.z, a, x_next, t, made["r"])

        made = zerodiff_dfg.sample(used, params, a, noise, progressive=True)
        x_next, x = noise.x_t, generate(noise.x_t, STEPS - 1)
        for t in range(STEPS - 1, 0, -1):
            rows = jnp.full((3,), t, jnp.int32)
            x_next = diffusion.posterior_sample(used.schedule, x, x_next, rows, noise.posterior[t])
            x = generate(x_next, t - 1)
        return made["x"], x

    made, wanted = both(jax.random.key(0))
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)


def test_with_one_diffusion_step_both_samplers_are_one():
    used, frozen = nets("dfg", n_steps=1), start("dfg").frozen
    upstream = {"drg": {"generator": frozen["representation"]}}
    state = jax.eval_shape(method("dfg", n_steps=1).init, jax.random.key(0), upstream, numbers("dfg"))
    params = {"generator": random_like(state.params["generator"])} | frozen
    a = one_batch().a

    @jax.jit
    def both(key):
        noise = zerodiff_dfg.draw_sampling_noise(used, jax.random.split(key, ROWS), progressive=True)
        return [zerodiff_dfg.sample(used, params, a, noise, progressive) for progressive in (True, False)]

    progressive, one_step = both(jax.random.key(0))
    assert progressive["x"].shape == (ROWS, SPEC.x_dim)
    assert difference(progressive, one_step) < 1e-5


def test_widths_of_the_input_spaces():
    embed, params, batch = method("dfg").embed, zerodiff_dfg.inference(start("dfg")), one_batch()
    assert embed is not None
    views = {"x": batch.x, "r": batch.r}
    found = {space: embed(params, views, space) for space in method("dfg").spaces}
    x, r, s = SPEC.x_dim, SPEC.r_dim, SPEC.a_dim + WIDTH
    widths = {"V": x, "VS": x + s, "C": r, "VC": x + r, "VCS": x + s + r}
    assert {space: features.shape for space, features in found.items()} == {
        space: (ROWS, width) for space, width in widths.items()
    }
    np.testing.assert_array_equal(found["V"], batch.x)
    np.testing.assert_array_equal(found["C"], batch.r)
    assert method("drg").spaces == ("C",)


@pytest.mark.parametrize("scaling", ["none", "maximum", "l2", "standard"])
def test_what_decoders_read_off_is_of_unit_length_where_descriptions_are(scaling):
    """As published: both or neither."""
    chosen = config()
    chosen.data.semantics_scaling = scaling
    made = zerodiff_dfg.make_nets(chosen, SPEC)
    assert made.decoder.normalize == made.representation.decoder.normalize == (scaling == "l2")
    other = defaults.tfvaegan()
    other.data.semantics_scaling = scaling
    assert tfvaegan.make_nets(other.tfvaegan, SPEC).decoder.normalize == (scaling == "l2")
