"""The zoo's adversarial objectives: each table entry, what options do, extra numbers, and synthesis row by row."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import SPEC, WIDTH, batches, bits, difference, random_like
from zsl_jax.config import defaults
from zsl_jax.errors import InputError
from zsl_jax.train_steps import gan_objectives, gan_zoo
from zsl_jax.train_steps.gan_objectives import MEANT, PUBLISHED, Scores
from zsl_jax.train_steps.method import Method, TrainState, hyper_parameters

ROWS, UPDATES, STEPS_PER_EPOCH = 6, 2, 3
FGAN = ("total_variation", "forward_kl", "reverse_kl", "pearson", "squared_hellinger", "jensen_shannon")
OTHERS = (
    "wgan", "cramergan", "lsgan", "nsgan", "mmgan", "ransgan", "dragan", "fishergan", "began", "infogan",
)  # fmt: skip
KINDS = [(name, False) for name in PUBLISHED] + [(name, True) for name in MEANT]
EXTRA = {"fishergan": {"lambda"}, "began": {"k", "best", "rate_scale", "stale"}}
BATCH_STATISTICS = ("ransgan", "dragan", "fishergan")
TWO = jax.devices()[:2]
Kind = tuple[str, bool]


@pytest.fixture(params=KINDS, ids=[f"{name}{' meant' if meant else ''}" for name, meant in KINDS])
def kind(request) -> Kind:
    return request.param


@functools.cache
def config(kind: Kind, **options: Any) -> Any:
    chosen = defaults.gan_zoo(kind[0])
    chosen.gan.update(
        {"meant": kind[1], "critic_iter": UPDATES, "generator_width": WIDTH, "critic_width": WIDTH, "z_dim": 5}
        | {"categories": 3, "continuous": 2, "lr": 1e-3, "rho": 0.1, "k_rate": 0.1, "cls_weight": 0.5}
        | options
    )
    return chosen


@functools.cache
def nets(kind: Kind, **options: Any) -> gan_zoo.Nets:
    return gan_zoo.make_nets(config(kind, **options).gan, SPEC)


@functools.cache
def method(kind: Kind) -> Method:
    return gan_zoo.build(config(kind), SPEC)


def upstream() -> dict[str, Any]:
    shapes = {"kernel": jnp.zeros((SPEC.x_dim, SPEC.n_classes)), "bias": jnp.zeros(SPEC.n_classes)}
    return {"seen_classifier": {"classifier": random_like(shapes)}}


@functools.cache
def start(kind: Kind) -> TrainState:
    """A state with random weights."""
    hyper = hyper_parameters(config(kind).gan, gan_zoo.NUMBERS, STEPS_PER_EPOCH)
    state = jax.jit(method(kind).init)(jax.random.key(0), upstream(), hyper)
    extra = state.extra | ({"k": jnp.float32(0.3)} if "k" in state.extra else {})
    return state._replace(params=random_like(state.params, deviation=0.3), extra=extra)


def with_hyper(state: TrainState, **numbers: float) -> TrainState:
    return state._replace(hyper=state.hyper | {name: jnp.float32(value) for name, value in numbers.items()})


@functools.cache
def step(kind: Kind) -> Any:
    return jax.jit(method(kind).train_step)


@functools.cache
def after(kind: Kind, **numbers: float):
    """State and metrics after one iteration."""
    return step(kind)(with_hyper(start(kind), **numbers), batches((UPDATES, ROWS)), jax.random.key(1))


@functools.cache
def generator_noise(kind: Kind) -> gan_zoo.Noise:
    return gan_zoo.draw_noise(nets(kind), SPEC.a_dim, jax.random.key(2), (ROWS, nets(kind).objective.generator_fakes))


@functools.cache
def generator_terms(kind: Kind) -> Any:
    """(state, batch) -> gradient of the generator's loss and its terms."""

    def differentiate(state, batch):
        def loss(generator):
            params = state.params | {"generator": generator}
            return gan_zoo.generator_loss(nets(kind), params, state, batch, generator_noise(kind))

        return jax.grad(loss, has_aux=True)(state.params["generator"])

    return jax.jit(differentiate)


@functools.cache
def critic_terms(kind: Kind, **options: Any) -> Any:
    """(state, batch, fakes, noise) -> terms of the critic's loss."""

    def terms(state, batch, fakes, noise):
        used = nets(kind, **options)
        return gan_zoo.critic_loss(used, state.params["critic"], batch, fakes, noise, state.extra, state.hyper)[1]

    return jax.jit(terms)


def critic_noise(kind: Kind) -> gan_zoo.CriticNoise:
    return gan_zoo.draw_critic_noise(nets(kind), SPEC.a_dim, jax.random.key(4), (ROWS,))


def moved(before: TrainState, now: TrainState) -> set[str]:
    return {name for name in before.params if bits(before.params[name]) != bits(now.params[name])}


def test_the_table_is_complete():
    wanted = {*OTHERS, *(f"fgan_{name}" for name in FGAN)}
    assert set(PUBLISHED) == set(gan_objectives.SAFE_PUBLISHED) == wanted
    assert set(MEANT) == set(gan_objectives.SAFE_MEANT) < wanted
    assert set(gan_zoo.NUMBERS) <= set(defaults.gan("wgan"))


# Of the divergences one will do: parity has the updates of all.
@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind[1] or kind[0] not in {f"fgan_{name}" for name in FGAN[1:]}]
)
def test_an_iteration_moves_all_nets_and_the_extra_numbers(kind):
    before = start(kind)
    state, metrics = after(kind)
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    assert (
        moved(before, state)
        == set(before.params)
        == {"critic", "generator"} | ({"reader"} if kind[0] == "infogan" else set())
    )
    assert set(state.extra) == EXTRA.get(kind[0], set())
    changed = {name for name, value in state.extra.items() if value != before.extra[name]}
    assert changed == EXTRA.get(kind[0], set()) - {"rate_scale", "stale"}
    assert bits((state.frozen, state.hyper)) == bits((before.frozen, before.hyper))


@pytest.mark.parametrize("kind", [("cramergan", True), ("fishergan", False), ("infogan", False)])
def test_a_train_step_is_its_critic_steps_and_its_generator_steps(kind):
    state, given = start(kind), batches((UPDATES, ROWS))
    keys = jax.random.split(jax.random.key(1), 3)
    noise = gan_zoo.draw_critic_noise(nets(kind), SPEC.a_dim, keys[0], (UPDATES, ROWS))
    critic = jax.jit(functools.partial(gan_zoo.critic_step, nets(kind)))
    for k in range(UPDATES):
        state, _ = critic(state, *jax.tree.map(lambda leaf, k=k: leaf[k], (given, noise)))
    last = jax.tree.map(lambda leaf: leaf[-1], given)
    for one, key in zip(gan_zoo.generator_steps(nets(kind).objective), keys[1:], strict=False):
        drawn = gan_zoo.draw_noise(nets(kind), SPEC.a_dim, key, (ROWS, nets(kind).objective.generator_fakes))
        state, _ = jax.jit(functools.partial(one, nets(kind)))(state, last, drawn)
    whole, _ = after(kind)
    for one, other in zip(jax.tree.leaves(whole.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-2 * float(state.hyper["lr"]))
    assert whole.extra.keys() == state.extra.keys()


@pytest.mark.parametrize("name", ["wgan", "nsgan", "began", "dragan"])
def test_the_penalty_is_that_of_the_differentiated_critic(name):
    kind = (name, False)
    used, state, batch, noise = nets(kind), start(kind), batches((ROWS,)), critic_noise(kind)
    fakes = gan_zoo.make_fakes(used, state, batch.a, noise.rows)
    end = fakes[0][:, 0]
    if name == "dragan":
        end = end + np.std(np.asarray(end), ddof=1) * noise.uniform
    middle = noise.alpha * batch.x + (1 - noise.alpha) * end

    def value(x, a):
        output = used.critic.apply({"params": state.params["critic"]}, x, a)
        assert isinstance(output, jax.Array)
        return jnp.sum(jax.nn.sigmoid(output) if name == "nsgan" else output)

    gradients = jax.jit(jax.grad(value))(middle, batch.a)
    wanted = 10.0 * np.mean((np.linalg.norm(gradients, axis=1) - 1) ** 2)
    found = critic_terms(kind)(state, batch, fakes, noise)["penalty"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(("penalty", "wanted"), [("none", 0.0), ("sixth_power", None), ("", None)])
def test_the_penalty_can_be_chosen(penalty, wanted):
    kind = ("cramergan", False)
    state, batch, noise = start(kind), batches((ROWS,)), critic_noise(kind)
    fakes = gan_zoo.make_fakes(nets(kind), state, batch.a, noise.rows)
    own = critic_terms(kind)(state, batch, fakes, noise)["penalty"]
    found = critic_terms(kind, penalty=penalty)(state, batch, fakes, noise)["penalty"]
    unit = critic_terms(kind, penalty="unit")(state, batch, fakes, noise)["penalty"]
    np.testing.assert_allclose(found, own if wanted is None else wanted, rtol=1e-5)
    assert difference(found, unit) > 1e-2


# What `meant` changes.


@pytest.mark.parametrize("meant", [False, True])
def test_the_energy_distance_trains_the_generator_where_it_is_meant_to(meant):
    kind = ("cramergan", meant)
    gradients = [
        generator_terms(kind)(with_hyper(start(kind), energy_weight=weight), batches((ROWS,)))[0]
        for weight in (0.0, 1.0)
    ]
    assert (difference(*gradients) > 1e-3) == meant


@pytest.mark.parametrize("meant", [False, True])
def test_a_relativistic_generator_looks_at_real_rows(meant):
    kind = ("ransgan", meant)
    gradients = []
    for shift in (0.0, 1.0):
        batch = batches((ROWS,))
        gradients.append(generator_terms(kind)(start(kind), batch._replace(views={"x": batch.x + shift}))[0])
    assert (difference(*gradients) > 1e-3) == meant


@pytest.mark.parametrize("meant", [False, True])
def test_dragan_is_meant_to_penalise_around_real_rows(meant):
    kind = ("dragan", meant)
    state, batch, noise = start(kind), batches((ROWS,)), critic_noise(kind)
    fakes = gan_zoo.make_fakes(nets(kind), state, batch.a, noise.rows)
    others = (fakes[0] + 3 * random_like(fakes[0]), fakes[1])
    penalties = [critic_terms(kind)(state, batch, rows, noise)["penalty"] for rows in (fakes, others)]
    assert (difference(*penalties) > 1e-3) == (not meant)


@pytest.mark.parametrize("meant", [False, True])
def test_the_information_term_trains_the_generator_where_it_is_meant_to(meant):
    kind = ("infogan", meant)
    state = start(kind)
    other = state._replace(params=state.params | {"reader": random_like(state.params["reader"], seed=7)})
    gradients = [generator_terms(kind)(one, batches((ROWS,)))[0] for one in (state, other)]
    assert (difference(*gradients) > 1e-3) == meant


@pytest.mark.parametrize("meant", [False, True])
def test_began_is_meant_to_have_no_penalty(meant):
    assert (after(("began", meant))[1]["penalty"] == 0) == meant


F = {
    "forward_kl": lambda u: u * np.log(u),
    "reverse_kl": lambda u: -np.log(u),
    "pearson": lambda u: (u - 1) ** 2,
    "squared_hellinger": lambda u: (np.sqrt(u) - 1) ** 2,
    "jensen_shannon": lambda u: u * np.log(u) - (u + 1) * np.log((u + 1) / 2),
}


def convex_gap(objective: gan_objectives.Objective, f: Any) -> np.ndarray:
    """f(u) - (u t - f*(t)) at the density ratio u for which each score is the best; 0 if f* is conjugate to f."""

    def activate(v):
        zero = jnp.zeros(1)
        return -objective.critic(Scores(v[None], zero, {}, {})) + objective.critic(Scores(zero, zero, {}, {}))

    def conjugate(v):
        return -objective.generator(Scores(jnp.zeros(1), v[None], {}, {}))

    v = jnp.linspace(-1.0, 1.0, 9)
    origin = activate_at_zero(objective)
    t, star = jax.vmap(activate)(v) + origin, jax.vmap(conjugate)(v)
    u = jax.vmap(jax.grad(conjugate))(v) / jax.vmap(jax.grad(activate))(v)
    return f(np.asarray(u)) - np.asarray(u * t - star)


def activate_at_zero(objective: gan_objectives.Objective) -> jax.Array:
    """The activation of a score of 0: both losses of fakes of 0 cancel."""
    zero = jnp.zeros(1)
    none = Scores(zero, zero, {}, {})
    return -objective.critic(none) - objective.generator(none)


@pytest.mark.parametrize(("name", "meant"), [(name, name == "jensen_shannon") for name in F])
def test_activations_and_conjugates_belong_to_their_divergences(name, meant):
    """Nowozin et al. 2016, equation 4; the published Jensen-Shannon loses its logarithms."""
    table = MEANT if meant else PUBLISHED
    np.testing.assert_allclose(convex_gap(table[f"fgan_{name}"], F[name]), 0.0, atol=1e-5)
    if meant:
        assert np.abs(convex_gap(PUBLISHED[f"fgan_{name}"], F[name])).max() > 0.1


def test_where_nothing_else_is_meant_the_option_is_refused():
    for name in set(PUBLISHED) - set(MEANT):
        with pytest.raises(InputError, match=r"meant=True"):
            nets((name, True))


@pytest.mark.parametrize("options", [{"objective": "wgn"}, {"penalty": "units"}])
def test_unknown_options_are_refused(options):
    (field,) = options
    with pytest.raises(InputError, match=rf"config.gan.{field}: .*choose one of"):
        nets(("wgan", False), **options)


# Options and numbers.


@pytest.mark.parametrize("name", ["nsgan", "mmgan", "ransgan"])
def test_safe_logarithms_have_gradients_where_published_ones_vanish(name):
    scores = jnp.asarray([[-60.0], [60.0]])
    gradients = {}
    for which, table in (("published", PUBLISHED), ("safe", gan_objectives.SAFE_PUBLISHED)):
        loss = table[name].generator
        gradients[which] = jax.grad(lambda fake, loss=loss: loss(Scores(jnp.zeros(2), fake, {}, {})))(scores)
        assert np.isfinite(gradients[which]).all()
    wrong = 1 if name == "mmgan" else 0  # where the generator's loss is far from its flat end
    assert abs(gradients["safe"][wrong, 0]) == pytest.approx(0.5)
    assert abs(gradients["published"][wrong, 0]) < 1e-6
    near = jnp.asarray([[0.3], [-0.7]])
    both = [table[name].generator(Scores(jnp.zeros(2), near, {}, {})) for table in (PUBLISHED, gan_objectives.SAFE_PUBLISHED)]  # fmt: skip # noqa: E501
    np.testing.assert_allclose(both[0], both[1], rtol=1e-6)


USERS = {
    "lr": ("wgan", False), "penalty_weight": ("wgan", False), "cls_weight": ("wgan", False),
    "weight_decay": ("wgan", False), "semantic_noise": ("wgan", False), "energy_weight": ("cramergan", True),
    "rho": ("fishergan", False), "diversity": ("began", False), "k_rate": ("began", False),
    "plateau_epochs": ("began", False), "info_weight": ("infogan", True), "synthesis_noise": ("wgan", False),
}  # fmt: skip


def test_all_numbers_have_a_user():
    assert set(USERS) == set(gan_zoo.NUMBERS)


@pytest.mark.parametrize("number", [name for name in USERS if name not in ("synthesis_noise", "plateau_epochs")])
def test_numbers_are_traced_and_matter(number):
    kind = USERS[number]
    before = step(kind)._cache_size()
    states = [after(kind, **{number: value})[0] for value in (0.01, 0.6)]
    assert difference(*((state.params, state.opt, state.extra) for state in states)) > 1e-2
    assert step(kind)._cache_size() <= max(before, 1)


def test_the_classifiers_term_is_the_weighted_likelihood_of_the_labels():
    kind = ("wgan", False)
    state, batch = start(kind), batches((ROWS,))
    fake, _ = gan_zoo.make_fakes(nets(kind), state, batch.a, generator_noise(kind))
    classifier = upstream()["seen_classifier"]["classifier"]
    logits = np.asarray(fake[:, 0] @ classifier["kernel"] + classifier["bias"][None])
    chosen = logits[np.arange(ROWS), np.asarray(batch.labels)]
    wanted = 0.5 * np.mean(np.log(np.exp(logits).sum(axis=1)) - chosen)
    terms = generator_terms(kind)(state, batch)[1]
    np.testing.assert_allclose(terms["loss/classification"], wanted, rtol=1e-5)
    squares = sum(np.sum(np.asarray(leaf) ** 2) for leaf in jax.tree.leaves(state.params["generator"]) if leaf.ndim > 1)
    np.testing.assert_allclose(terms["loss/decay"], 4e-4 * squares, rtol=1e-5)


def test_without_a_classifier_its_term_is_left_out():
    kind = ("wgan", False)
    assert "loss/classification" not in generator_terms(kind)(start(kind)._replace(frozen={}), batches((ROWS,)))[1]


def test_a_classifier_that_is_asked_for_must_come_first():
    chosen = config(("wgan", False)).copy_and_resolve_references()
    for stages in (("gan",), ("gan", "seen_classifier")):
        chosen.stages = stages
        with pytest.raises(InputError, match="needs the stage 'seen_classifier' before 'gan'"):
            gan_zoo.build(chosen, SPEC)
    chosen.gan.cls_weight = 0.0
    gan_zoo.build(chosen, SPEC)


# Extra numbers.


def test_fishers_multiplier_descends_by_the_constraint():
    state = start(("fishergan", False))
    _, metrics = after(("fishergan", False))
    first = state.extra["lambda"] - 0.1 * UPDATES * metrics["omega"]
    np.testing.assert_allclose(metrics["state/lambda"], first, rtol=1e-5)


def test_began_keeps_its_balance_between_0_and_1():
    state = start(("began", False))
    errors = {"score/real": jnp.float32(4.0), "score/fake": jnp.float32(1.0)}
    moved = gan_objectives.control(state.extra | {"k": jnp.float32(0.3)}, errors, state.hyper)
    np.testing.assert_allclose([moved["k"], moved["best"]], [0.3 + 0.1 * 1.0, 4.0 + 1.0], rtol=1e-6)
    for real, fake, end in ((100.0, 1.0, 1.0), (0.0, 100.0, 0.0)):
        errors = {"score/real": jnp.float32(real), "score/fake": jnp.float32(fake)}
        assert gan_objectives.control(state.extra, errors, state.hyper)["k"] == end


def test_the_rate_is_halved_on_a_plateau():
    """After more than 2 measures that are not 1 % better than the best; counted anew after each better one."""
    extra: dict[str, Any] = {"best": jnp.float32(np.inf), "stale": jnp.float32(0), "rate_scale": jnp.float32(1)}
    scales = []
    for measure in (1.0, 0.995, 0.995, 0.9, 0.9, 0.95, 0.9, 0.9, 0.9, 0.9):
        extra = gan_objectives.plateau(extra, jnp.float32(measure), jnp.float32(2))
        scales.append(float(extra["rate_scale"]))
    assert scales == [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_began_learns_at_the_scaled_rate():
    kind = ("began", False)
    state = start(kind)
    stopped = state._replace(extra=state.extra | {"rate_scale": jnp.float32(0)})
    assert not moved(state, step(kind)(stopped, batches((UPDATES, ROWS)), jax.random.key(1))[0])
    patience = with_hyper(state, plateau_epochs=2.0)._replace(extra=state.extra | {"best": jnp.float32(0)})
    for stale, scale in ((5, 1.0), (6, 0.5)):  # 2 epochs of 3 iterations
        stuck = patience._replace(extra=patience.extra | {"stale": jnp.float32(stale)})
        assert step(kind)(stuck, batches((UPDATES, ROWS)), jax.random.key(1))[0].extra["rate_scale"] == scale


# Devices and synthesis.


@pytest.mark.parametrize(
    "kind", [("wgan", False), ("cramergan", True), ("infogan", False), ("infogan", True), ("began", False)]
)
def test_shares_of_a_batch_add_up(kind):
    mapped_step = method(kind).mapped_step
    assert mapped_step is not None
    state, given = start(kind), batches((UPDATES, ROWS))
    halves = jax.tree.map(lambda leaf: jnp.stack(jnp.split(leaf, 2, axis=1)), given)
    run = jax.pmap(
        lambda start, share: mapped_step(start, share, jax.random.key(1), "rows"),
        "rows",
        in_axes=(None, 0),
        devices=TWO,
    )
    shared, metrics = jax.device_get(run(state, halves))
    whole, wanted = after(kind)
    for name, value in wanted.items():
        np.testing.assert_allclose(metrics[name], np.full(2, value), rtol=1e-3, atol=1e-5, err_msg=name)
    for one, other in zip(jax.tree.leaves(shared.opt), jax.tree.leaves(whole.opt), strict=True):
        np.testing.assert_allclose(one[0], other, rtol=1e-2, atol=1e-5)


def test_statistics_of_whole_batches_are_not_divided(kind):
    assert (method(kind).mapped_step is None) == (kind[0] in BATCH_STATISTICS)


def test_a_fresh_state_shares_no_buffer(kind):
    given, hyper = upstream(), hyper_parameters(config(kind).gan, gan_zoo.NUMBERS, STEPS_PER_EPOCH)
    states = [method(kind).init(jax.random.key(0), given, hyper) for _ in range(2)]
    held = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((states, given)) if leaf.size]
    assert len(set(held)) == len(held)


@functools.cache
def synthesiser(kind: Kind) -> Any:
    synthesize = method(kind).synthesize
    assert synthesize is not None
    return jax.jit(synthesize, static_argnums=3)


def synthesise(kind: Kind, rows: np.ndarray, seed: int = 0, noise: float = 0.3) -> np.ndarray:
    """Synthetic rows number `rows` of forty."""
    labels = np.arange(40) % SPEC.n_classes
    semantics = np.random.default_rng(3).normal(size=(SPEC.n_classes, SPEC.a_dim)).astype(np.float32)
    keys = jax.random.split(jax.random.key(seed), len(labels))[rows]
    params = method(kind).inference(with_hyper(start(kind), synthesis_noise=noise))
    return np.asarray(synthesiser(kind)(params, jnp.asarray(semantics[labels[rows]]), keys, "one_step")["x"])


@pytest.mark.parametrize("name", ["wgan", "infogan"])
def test_synthetic_rows_depend_on_their_own_key_and_semantics_alone(name):
    kind = (name, False)
    whole = synthesise(kind, np.arange(40))
    assert whole.shape == (40, SPEC.x_dim)
    assert bits(synthesise(kind, np.arange(40))) == bits(whole)
    assert (synthesise(kind, np.arange(40), seed=1) != whole).any(axis=1).all()
    order = np.random.default_rng(0).permutation(40)
    for rows in (order, order[:5]):
        np.testing.assert_allclose(synthesise(kind, rows), whole[rows], rtol=1e-5, atol=1e-6)


def test_half_of_the_synthetic_rows_have_noisy_semantics():
    kind = ("wgan", False)
    clean, noisy = (synthesise(kind, np.arange(40), noise=deviation) for deviation in (0.0, 0.3))
    assert 10 <= np.sum((clean != noisy).any(axis=1)) <= 30
