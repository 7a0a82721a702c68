"""TF-VAEGAN as a method: what a step is made of, when which loop runs, what feedback does, and synthesis row by row."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from tests.tiny import SPEC, WIDTH, batches, bits, difference, random_like
from zsl_jax.config import defaults
from zsl_jax.data.dataset import Part
from zsl_jax.errors import InputError
from zsl_jax.train_steps import tfvaegan
from zsl_jax.train_steps.method import Method, TrainState
from zsl_jax.training import feed, loop
from zsl_jax.training.parallel import Layout, Mapped, Sharded
from zsl_jax.training.stage import raw

UPDATES, ROWS, STEPS = 2, 8, 2  # STEPS: iterations of a pass
NETS = {"generator", "feedback", "encoder", "critic", "decoder"}
UNLIKE = np.arange(12) % SPEC.n_classes  # classes of synthetic rows
ONE, EIGHT = Sharded((jax.devices()[0],)), Mapped(tuple(jax.devices()))


@functools.cache
def config(**options: Any) -> Any:
    made = tiny.narrow(defaults.tfvaegan())
    made.tfvaegan.update({"critic_iter": UPDATES, "feed_lr": 1e-4, "a1": 0.5, "a2": 0.4} | options)
    return made


@functools.cache
def method(**options: Any) -> Method:
    return tfvaegan.build(config(**options), SPEC)


@functools.cache
def nets(**options: Any) -> tfvaegan.Nets:
    return tfvaegan.make_nets(config(**options).tfvaegan, SPEC)


def numbers(steps: int = STEPS) -> dict[str, np.ndarray]:
    return tiny.hyper(config(), "tfvaegan", method()) | {"steps_per_epoch": np.asarray(steps, np.float32)}


@functools.cache
def start(iteration: int = 0) -> TrainState:
    """A state with random weights before so many iterations."""
    state = jax.jit(method().init)(jax.random.key(0), {}, numbers())
    params = random_like(state.params, deviation=0.3)
    return state._replace(params=params, extra=state.extra | {"iteration": jnp.int32(iteration)})


def with_hyper(state: TrainState, **numbers: float) -> TrainState:
    return state._replace(hyper=state.hyper | {name: jnp.float32(value) for name, value in numbers.items()})


def compiled(function: str, statics: tuple[tuple[str, Any], ...] = (), **options: Any) -> Any:
    """A function of the module on nets of some options, jitted; `statics` are given to it by name."""
    usual = config().tfvaegan
    return _compiled(function, statics, **{name: value for name, value in options.items() if value != usual[name]})


@functools.cache
def _compiled(function: str, statics: tuple[tuple[str, Any], ...], **options: Any) -> Any:
    return jax.jit(functools.partial(getattr(tfvaegan, function), nets(**options), **dict(statics)))


def moved(before: TrainState, after: TrainState) -> set[str]:
    """Nets whose parameters changed."""
    return {name for name in before.params if bits(before.params[name]) != bits(after.params[name])}


@functools.cache
def critic_noise() -> tfvaegan.CriticNoise:
    return jax.jit(lambda key: tfvaegan.draw_critic_noise(nets(), key, (UPDATES, ROWS)))(jax.random.key(2))


@functools.partial(jax.jit, static_argnums=0)
def draw_noise(encoded: bool, key: jax.Array) -> tuple[tfvaegan.CriticNoise, tfvaegan.GeneratorNoise]:
    """What `train_step` draws from its key."""
    used = nets(encoded_noise=encoded)
    critic_key, generator_key = jax.random.split(key)
    noise = tfvaegan.draw_critic_noise(used, critic_key, (UPDATES, ROWS))
    return noise, tfvaegan.draw_generator_noise(used, generator_key, ROWS)


def by_hand(state: TrainState, given, seed: int, feedback: bool, encoded: bool) -> tuple[TrainState, float]:
    """One iteration as its separate updates, in the published order; and the mean Wasserstein estimate."""
    options: dict[str, Any] = {"encoded_noise": encoded}
    noise, last_noise = draw_noise(encoded, jax.random.key(seed))
    penalties, estimates = [], []
    for k in range(UPDATES):
        batch, draws = (jax.tree.map(lambda leaf, k=k: leaf[k], tree) for tree in (given, noise))
        state, _ = compiled("decoder_step", **options)(state, batch)
        z = compiled("critic_latents", **options)(state.params, batch, draws)
        hidden = compiled("begin")(state.params, z, batch.a)
        fake = compiled("features")(state.params, hidden, state.hyper["a1"] if feedback else None)
        state, metrics = compiled("critic_step")(state, batch, fake, draws.alpha)
        penalties.append(metrics["penalty/critic"])
        estimates.append(metrics["wasserstein/critic"])
    state = tfvaegan.adapt_penalty_weight(state, jnp.mean(jnp.stack(penalties)))
    last = jax.tree.map(lambda leaf: leaf[-1], given)
    state, _ = compiled("generator_step", (("feedback", feedback),), **options)(state, last, last_noise)
    return state, float(np.mean(estimates))


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("feedback", [False, True], ids=["loop0", "loop1"])
def test_a_train_step_is_its_separate_updates(feedback, encoded):
    """Also where the decoder's steps come first: in loop 1 feedback uses the decoder of its own update."""
    state, given = with_hyper(start(STEPS * feedback), dec_lr=1e-2, a1=2.0), batches((UPDATES, ROWS))
    whole, metrics = compiled("train_step", encoded_noise=encoded)(state, given, jax.random.key(1))
    steps, estimate = by_hand(state, given, 1, feedback, encoded)
    np.testing.assert_allclose(metrics["wasserstein/critic"], estimate, rtol=1e-4)
    chex.assert_trees_all_close(whole.params, steps.params, rtol=0, atol=1e-2 * float(state.hyper["lr"]))
    np.testing.assert_allclose(whole.extra["penalty_weight"], steps.extra["penalty_weight"], rtol=1e-5)
    assert metrics["lambda"] == whole.extra["penalty_weight"]
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    assert moved(state, whole) == (NETS if feedback else NETS - {"feedback"})


def test_loops_take_turns_every_pass_and_f_moves_in_loop_1_alone():
    state, trained = start(), []
    for k in range(3 * STEPS):
        after, metrics = compiled("train_step")(state, batches((UPDATES, ROWS), seed=k), jax.random.key(k))
        trained.append("feedback" in moved(state, after))
        assert (bits(after.opt["feedback"]) != bits(state.opt["feedback"])) == trained[-1]
        assert bool(metrics["grad_norm/feedback_step"] > 0) == trained[-1]
        state = after
    assert trained == [False] * STEPS + [True] * STEPS + [False] * STEPS
    assert state.extra["iteration"] == 3 * STEPS
    assert state.opt["feedback"].count == STEPS


@pytest.mark.parametrize("steps", [1, 3, 368])
def test_the_loop_follows_the_iterations_of_a_pass(steps):
    state = with_hyper(start(), steps_per_epoch=steps)
    places = {0: False, steps - 1: False, steps: True, 2 * steps - 1: True, 2 * steps: False, 479 * steps: True}
    for iteration, feedback in places.items():
        counted = state._replace(extra=state.extra | {"iteration": jnp.int32(iteration)})
        assert bool(tfvaegan.in_feedback_loop(counted)) == feedback, iteration


@pytest.mark.parametrize("freeze", [True, False])
@pytest.mark.parametrize("feedback", [True, False])
def test_a_generator_step_moves_only_what_it_trains(freeze, feedback):
    step = compiled("generator_step", (("feedback", feedback),), freeze_decoder=freeze)
    batch, noise = batches((ROWS,)), draw_noise(True, jax.random.key(3))[1]
    after, _ = step(start(), batch, noise)
    wanted = {"encoder", "generator"} | ({"feedback"} if feedback else set()) | (set() if freeze else {"decoder"})
    assert moved(start(), after) == wanted
    assert {name for name in NETS if bits(after.opt[name]) != bits(start().opt[name])} == wanted


def test_the_encoder_has_a_beta1_of_its_own():
    """After one step Adam's moments are (1 - beta1) g and 0.001 g^2."""
    noise = draw_noise(True, jax.random.key(3))[1]
    after, _ = compiled("generator_step", (("feedback", True),))(start(), batches((ROWS,)), noise)
    for name, beta1 in {"encoder": 0.9, "generator": 0.5, "feedback": 0.5}.items():
        mean, square = (jax.tree.leaves(moment)[-1] for moment in (after.opt[name].mu, after.opt[name].nu))
        np.testing.assert_allclose(mean**2, (1 - beta1) ** 2 / 1e-3 * square, rtol=1e-3)


def test_without_an_amount_of_feedback_both_loops_are_one():
    state, given = with_hyper(start(), a1=0.0), batches((UPDATES, ROWS))
    loops = [compiled("critic_updates")(state, given, critic_noise(), jnp.asarray(on))[0] for on in (False, True)]
    chex.assert_trees_all_close(loops[0].params, loops[1].params, atol=1e-7)
    state = with_hyper(start(), a1=0.5)
    loops = [compiled("critic_updates")(state, given, critic_noise(), jnp.asarray(on))[0] for on in (False, True)]
    assert moved(*loops) == {"critic"}


def test_no_gradient_flows_through_what_feedback_is_computed_from():
    state, a = start(), batches((ROWS,)).a
    z = critic_noise().z[0]

    @jax.jit
    def gradients(params):
        def total(decoder, first):
            seen = params | {"decoder": decoder}
            decoded = tfvaegan.decoder_hidden(nets(), seen, first)
            hidden = tfvaegan.begin(nets(), params, z, a)
            return jnp.sum(tfvaegan.second_pass(nets(), params, hidden, decoded, jnp.float32(1)))

        first = tfvaegan.features(nets(), params, tfvaegan.begin(nets(), params, z, a), None)
        return jax.grad(total, argnums=(0, 1))(params["decoder"], first)

    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradients(state.params)))


@pytest.mark.parametrize("source", tfvaegan.FEEDBACK_FROM)
def test_feedback_of_fakes_comes_from_where_the_option_says(source):
    """Reconstructions that differ reach the fakes only as published."""
    noise, batch = draw_noise(False, jax.random.key(3))[1], batches((ROWS,))
    generate = compiled("generate", encoded_noise=False, feedback_from=source)
    made = generate(start().params, batch, noise, jnp.float32(0.5))
    other = generate(start().params, batch._replace(views={"x": batch.x[::-1]}), noise, jnp.float32(0.5))
    assert (made.reconstruction != other.reconstruction).any()
    assert (made.fake != other.fake).any() == (source == "reconstruction")
    alone = generate(start().params, batch, noise, None)
    assert (alone.fake != made.fake).any()


@pytest.mark.parametrize("encoded", [True, False])
def test_the_critic_sees_encoded_or_random_noise(encoded):
    draws = jax.tree.map(lambda leaf: leaf[0], critic_noise())
    batch = batches((ROWS,))
    z = compiled("critic_latents", encoded_noise=encoded)(start().params, batch, draws)
    mean, log_variance = jax.jit(nets().encoder.apply)({"params": start().params["encoder"]}, batch.x, batch.a)
    wanted = mean + np.exp(0.5 * log_variance) * draws.z if encoded else draws.z
    np.testing.assert_allclose(z, wanted, rtol=1e-4, atol=1e-6)
    widths = draw_noise(encoded, jax.random.key(3))[1].prior.shape[1]
    assert widths == (0 if encoded else SPEC.a_dim)


@pytest.mark.parametrize(("penalty", "factor"), [(1.06, 1.1), (1.02, 1.0), (0.9, 1 / 1.1)])
def test_lambda_follows_the_penalty(penalty, factor):
    state = start()
    weight = state.extra["penalty_weight"]
    after = tfvaegan.adapt_penalty_weight(state, jnp.float32(penalty) * weight)
    np.testing.assert_allclose(after.extra["penalty_weight"], weight * factor, rtol=1e-6)
    assert after.extra["iteration"] == state.extra["iteration"]


def test_the_generator_loss_is_its_weighted_terms():
    state = with_hyper(start(), gamma_g=3.0, gamma_recons=0.7)
    loss = compiled("generator_loss", (("feedback", True),))
    noise = draw_noise(True, jax.random.key(3))[1]
    total, terms = loss(state.params, state.params, batches((ROWS,)), noise, state.hyper)
    wanted = terms["loss/vae"] + 3.0 * terms["loss/adversarial"] + 0.7 * terms["loss/decoder_fake"]
    np.testing.assert_allclose(total, wanted, rtol=1e-6)


def test_all_numbers_can_be_swept_without_recompiling():
    """Every number changes something in two passes, or in synthesis; one trace serves all.

    What Adam averages is looked at too: its steps are the same for a loss of any size.
    """
    given = batches((UPDATES, ROWS))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(hyper):
        state = start()._replace(hyper=hyper, extra=start().extra | {"penalty_weight": hyper["penalty_weight"]})
        for k in range(2):
            state, _ = method().train_step(state, given, jax.random.key(k))
        return method().inference(state), state.params["critic"], state.opt

    usual = numbers(steps=1)
    before = run(usual)
    assert set(usual) == {*tfvaegan.HYPER, "steps_per_epoch"}
    for name, value in usual.items():
        assert difference(run(usual | {name: np.float32(3) * value}), before) > 1e-4, name


def test_rates_of_zero_keep_every_net():
    still = with_hyper(start(STEPS), lr=0.0, dec_lr=0.0, feed_lr=0.0)
    after, _ = compiled("train_step")(still, batches((UPDATES, ROWS)), jax.random.key(1))
    assert moved(still, after) == set()


@functools.partial(jax.jit, static_argnums=3)
def synthesize(params, semantics, keys, sampler):
    make = method().synthesize
    assert make is not None
    return make(params, semantics, keys, sampler)["x"]


def synthesise(rows: np.ndarray, seed: int = 0, a2: float = 0.4) -> np.ndarray:
    """Synthetic rows number `rows` of twelve, of the classes UNLIKE."""
    semantics = np.random.default_rng(3).normal(size=(SPEC.n_classes, SPEC.a_dim)).astype(np.float32)
    keys = jax.random.split(jax.random.key(seed), len(UNLIKE))[rows]
    params = method().inference(with_hyper(start(), a2=a2))
    return np.asarray(synthesize(params, jnp.asarray(semantics[UNLIKE[rows]]), keys, method().samplers[0]))


def test_synthetic_rows_depend_on_their_own_key_and_semantics_alone():
    whole = synthesise(np.arange(12))
    assert whole.shape == (12, SPEC.x_dim)
    assert (whole > 0).all()
    assert (whole < 1).all()
    assert (synthesise(np.arange(12), seed=1) != whole).any(axis=1).all()
    order = np.random.default_rng(0).permutation(12)
    for rows in (order, order[:5]):
        np.testing.assert_allclose(synthesise(rows), whole[rows], rtol=1e-5, atol=1e-6)


def test_synthesis_goes_through_feedback_by_the_amount_a2():
    params, a = start().params, batches((ROWS,)).a
    z = critic_noise().z[0]
    once = jax.jit(nets().generator.apply)({"params": params["generator"]}, z, a)

    def sample(a2: float):
        return compiled("sample")(method().inference(with_hyper(start(), a2=a2)), a, z)

    np.testing.assert_allclose(sample(0.0), once, rtol=1e-6)
    assert (np.abs(sample(0.5) - once) > 1e-4).any(axis=1).all()


def test_widths_of_the_input_spaces():
    embed, params, batch = method().embed, method().inference(start()), batches((ROWS,))
    assert embed is not None
    found = {space: embed(params, {"x": batch.x}, space) for space in method().spaces}
    widths = {"V": SPEC.x_dim, "VS": SPEC.x_dim + SPEC.a_dim + WIDTH}
    assert {space: rows.shape for space, rows in found.items()} == {s: (ROWS, width) for s, width in widths.items()}
    np.testing.assert_array_equal(found["V"], batch.x)
    np.testing.assert_array_equal(found["VS"][:, : SPEC.x_dim], batch.x)


def test_a_fresh_state_shares_no_buffer():
    """Training donates its state: nothing in it may be held twice, nor by the method."""
    states = [method().init(jax.random.key(0), {}, numbers()) for _ in range(2)]
    states.append(jax.jit(method().init)(jax.random.key(0), {}, numbers()))
    held = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(states) if leaf.size]
    assert len(set(held)) == len(held)


def test_an_unknown_source_of_feedback_is_refused():
    with pytest.raises(InputError, match="feedback_from"):
        method(feedback_from="nowhere")


def begin(key_data, given, numbers):
    return method().init(jax.random.wrap_key_data(key_data), given, numbers)


@functools.cache
def train(layout: Layout, *chunks: tuple[int, int]) -> TrainState:
    """Trains over a change of loops, in chunks of (first iteration, iterations)."""
    run = loop.make_chunk(method(), ROWS, 2 * STEPS, layout)
    rows = batches((40,))
    part = Part(jax.device_get(rows.views), np.asarray(rows.labels))
    data = layout.place(feed.resident(part, tiny.TABLES))
    state = layout.start(begin, raw(jax.random.key(0)), {}, numbers())
    for first, length in chunks:
        state, _ = run(state, data, raw(jax.random.key(3)), np.int32(first), np.int32(length))
    return jax.device_get(layout.local(state))


def test_the_same_bits_however_steps_are_chunked():
    assert bits(train(ONE, (0, 2 * STEPS))) == bits(train(ONE, (0, STEPS - 1), (STEPS - 1, STEPS + 1)))


def test_eight_devices_have_the_numbers_of_one():
    """Under pmap; what the compiler shards knows nothing of the method: `training/test_parallel.py`."""
    one, eight = (train(layout, (0, 2 * STEPS)) for layout in (ONE, EIGHT))
    rate = float(one.hyper["lr"])
    chex.assert_trees_all_close(eight.params, one.params, rtol=0, atol=0.05 * rate)
    chex.assert_trees_all_close(eight.extra, one.extra, rtol=1e-5)
