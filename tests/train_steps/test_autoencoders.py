"""The zoo's autoencoders as methods: what each objective is made of, what options do, and synthesis row by row."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.tiny import SPEC, WIDTH, batches, bits, difference, random_like
from zsl_jax import losses
from zsl_jax.errors import InputError
from zsl_jax.train_steps import autoencoders
from zsl_jax.train_steps.autoencoders import MEANT, PUBLISHED, Noise
from zsl_jax.train_steps.method import Batch, Method, TrainState, hyper_parameters

ROWS, Z_DIM, RATE = 6, 5, 6.0
KINDS = [(name, False) for name in PUBLISHED] + [(name, True) for name in MEANT]
LATENT = [kind for kind in KINDS if "vae" in kind[0]]
DIRECT = [kind for kind in KINDS if kind not in LATENT]
NUMBERS = {"lr": 1e-3, "cls_weight": 0.5, "weight_decay": 0.1, "information_rate": RATE}
TWO = jax.devices()[:2]
UNLIKE = np.arange(12) % SPEC.n_classes  # classes of synthetic rows


def names(kinds) -> list[str]:
    return [f"{name}{' meant' if meant else ''}" for name, meant in kinds]


@pytest.fixture(params=KINDS, ids=names(KINDS))
def kind(request) -> tuple[str, bool]:
    return request.param


def config(objective: str, meant: bool = False, stages=("seen_classifier", "autoencoder"), **options: Any) -> Any:
    shape = {"z_dim": Z_DIM, "encoder_width": WIDTH, "decoder_width": WIDTH + 1}
    section = {"objective": objective, "meant": meant} | shape | NUMBERS | options
    return ConfigDict({"autoencoder": section, "stages": stages})


@functools.cache
def nets(kind: tuple[str, bool]) -> autoencoders.Nets:
    return autoencoders.make_nets(config(*kind).autoencoder, SPEC)


@functools.cache
def method(kind: tuple[str, bool]) -> Method:
    return autoencoders.build(config(*kind), SPEC)


def upstream() -> dict[str, Any]:
    shapes = {"kernel": jnp.zeros((SPEC.x_dim, SPEC.n_classes)), "bias": jnp.zeros(SPEC.n_classes)}
    return {"seen_classifier": {"classifier": random_like(shapes)}}


@functools.cache
def start(kind: tuple[str, bool], classified: bool = True) -> TrainState:
    """A state with random weights."""
    hyper = hyper_parameters(config(*kind).autoencoder, autoencoders.NUMBERS)
    state = jax.jit(method(kind).init)(jax.random.key(0), upstream() if classified else {}, hyper)
    return state._replace(params=random_like(state.params, deviation=0.3))


def with_hyper(state: TrainState, **numbers: float) -> TrainState:
    return state._replace(hyper=state.hyper | {name: jnp.float32(value) for name, value in numbers.items()})


def batch_of(seed: int = 0):
    return batches((ROWS,), seed=seed)


@functools.cache
def noise_of(kind: tuple[str, bool], seed: int = 1) -> Noise:
    return jax.jit(lambda key: autoencoders.draw_noise(nets(kind), key, (ROWS,)))(jax.random.key(seed))


@functools.cache
def compiled(kind: tuple[str, bool]) -> Any:
    """Loss, its terms and its gradient: (params, frozen, batch, noise, numbers) -> ((loss, terms), gradients)."""
    return jax.jit(jax.value_and_grad(functools.partial(autoencoders.loss, nets(kind)), has_aux=True))


def evaluate(kind, state: TrainState, batch=None, noise=None):
    given = (batch_of() if batch is None else batch, noise_of(kind) if noise is None else noise)
    return compiled(kind)(state.params, state.frozen, *given, state.hyper)


@functools.cache
def reconstruction(kind: tuple[str, bool]) -> Any:
    objective = nets(kind).objective
    return jax.jit(
        lambda state, batch, noise: objective.reconstruct(nets(kind), state.params, batch, noise, state.hyper)
    )


def test_a_train_step_is_an_update_with_the_noise_of_its_key(kind):
    state, given, key = start(kind), batches((1, ROWS)), jax.random.key(1)
    whole, metrics = jax.jit(method(kind).train_step)(state, given, key)
    update = jax.jit(functools.partial(autoencoders.update, nets(kind)))
    step, terms = update(state, jax.tree.map(lambda leaf: leaf[0], given), noise_of(kind, 1))
    for one, other in zip(jax.tree.leaves(whole.params), jax.tree.leaves(step.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    assert set(metrics) == set(terms)
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    assert all(bits(whole.params[net]) != bits(state.params[net]) for net in state.params)
    assert bits((whole.frozen, whole.hyper)) == bits((state.frozen, state.hyper))


def test_the_loss_is_the_sum_of_its_terms(kind):
    state, batch, noise = start(kind), batch_of(), noise_of(kind)
    (loss, metrics), _ = evaluate(kind, state)
    x, terms = reconstruction(kind)(state, batch, noise)
    assert x.shape == batch.x.shape
    assert (x >= 0).all()
    classifier = jax.tree.map(np.asarray, upstream()["seen_classifier"]["classifier"])
    logits = np.asarray(x) @ classifier["kernel"] + classifier["bias"][None, :]
    likelihood = logits[np.arange(ROWS), batch.labels] - np.log(np.exp(logits).sum(1))
    decayed = [state.params[name] for name in (("encoder",) if kind[0] == "ae2" else ("encoder", "decoder"))]
    decay = sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(decayed) if leaf.ndim > 1)
    wanted = {"features": ((x - batch.x) ** 2).sum(), "classification": -likelihood.mean(), "decay": 0.1 * decay}
    for name, value in (wanted | terms).items():
        np.testing.assert_allclose(metrics[f"loss/{name}"], value, rtol=1e-4)
    total = wanted["features"] + sum(terms.values()) + 0.5 * wanted["classification"] + wanted["decay"]
    np.testing.assert_allclose(loss, total, rtol=1e-4)
    assert set(metrics) == {"loss", *(f"loss/{name}" for name in wanted | terms)}


def test_without_a_classifier_its_term_is_left_out(kind):
    with_one, without = with_hyper(start(kind), cls_weight=0.0), start(kind, classified=False)
    assert not without.frozen
    (loss, metrics), gradients = evaluate(kind, without)
    (wanted, _), same = evaluate(kind, with_one)
    assert "loss/classification" not in metrics
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(same), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_which_objectives_encode_features(kind):
    """As published none does; as meant, the two with a latent."""
    state, batch = start(kind), batch_of()
    other = batch._replace(views=batch_of(seed=1).views)
    x, same = (reconstruction(kind)(state, given, noise_of(kind))[0] for given in (batch, other))
    assert (difference(x, same) > 1e-3) == (kind in [("vae", True), ("bir_vae", True)])


def gradient_of(kind, net: str, **swapped: Any):
    """Gradient of one net, with weights of the other in place of its own."""
    state = start(kind)
    state = state._replace(params=state.params | {name: random_like(state.params[name], 7) for name in swapped})
    return evaluate(kind, state)[1][net]


@pytest.mark.parametrize("kind", DIRECT, ids=names(DIRECT))
def test_who_teaches_whom(kind):
    """AE's nets teach one another; AE2's don't; as meant, AE2's decoder teaches its encoder."""
    of_encoder = difference(gradient_of(kind, "encoder"), gradient_of(kind, "encoder", decoder=True))
    of_decoder = difference(gradient_of(kind, "decoder"), gradient_of(kind, "decoder", encoder=True))
    assert (of_encoder > 1e-3) == (kind != ("ae2", False))
    assert (of_decoder > 1e-3) == (kind[0] == "ae")


def known_density(kind, mean: float, log_variance: float) -> TrainState:
    """A state whose encoder says the same of every row."""
    state = start(kind)
    encoder = jax.tree.map(jnp.zeros_like, state.params["encoder"])
    for name, value in (("mean", mean), ("log_variance", log_variance)):
        encoder[name]["bias"] = jnp.full_like(encoder[name]["bias"], value)
    return state._replace(params=state.params | {"encoder": encoder})


@pytest.mark.parametrize("log_variance", [0.0, 0.6])
def test_the_latent_of_the_published_vae_is_drawn_to_the_semantics_alone(log_variance):
    _, terms = reconstruction(("vae", False))(
        known_density(("vae", False), 0.3, log_variance), batch_of(), noise_of(("vae", False))
    )
    np.testing.assert_allclose(terms["semantics"], ((0.3 - batch_of().a) ** 2).sum(), rtol=1e-5)
    assert set(terms) == {"semantics"}
    assert nets(("vae", False)).widths == (Z_DIM, SPEC.a_dim, 0)


def test_the_latent_of_the_vae_as_meant_pays_its_divergence():
    kind = ("vae", True)
    _, terms = reconstruction(kind)(known_density(kind, 0.3, 0.6), batch_of(), noise_of(kind))
    one = 0.5 * (0.3**2 + np.exp(0.6) - 0.6 - 1)
    np.testing.assert_allclose(terms["kl"], ROWS * Z_DIM * one, rtol=1e-5)
    assert nets(kind).widths == (0, Z_DIM, 0)


@pytest.mark.parametrize("meant", [False, True], ids=["published", "meant"])
def test_a_bounded_latent_is_compared_with_its_prior(meant):
    """A variance at which Z_DIM Gaussian entries of unit variance carry RATE bits; published as the deviation."""
    kind = ("bir_vae", meant)
    variance = 4.0 ** (-RATE / Z_DIM)
    assert 0.5 * Z_DIM * np.log2(1 / variance) == pytest.approx(RATE)
    noise = noise_of(kind)
    latent = 0.3 + (np.sqrt(variance) if meant else variance) * np.asarray(noise.latent, np.float64)

    def kernel(u, v):
        return np.exp(-((u[:, None] - v[None]) ** 2).sum(-1) / Z_DIM**2)

    prior = np.asarray(noise.prior, np.float64)
    sums = kernel(latent, latent).sum() + kernel(prior, prior).sum() - 2 * kernel(latent, prior).sum()
    _, terms = reconstruction(kind)(known_density(kind, 0.3, 0.6), batch_of(), noise)
    np.testing.assert_allclose(terms["mmd"], sums / (ROWS if meant else 1), rtol=1e-4)


def test_the_information_rate_bounds_only_one_objective(kind):
    state = start(kind)
    losses_of = [evaluate(kind, with_hyper(state, information_rate=rate))[0][0] for rate in (1.0, 9.0)]
    assert (difference(*losses_of) > 1e-3) == (kind[0] == "bir_vae")


def test_shares_of_a_batch_add_up(kind):
    """Under a named axis, as of `jax.pmap`; a comparison of all pairs can't be divided."""
    if kind[0] == "bir_vae":
        assert method(kind).mapped_step is None
        return
    mapped_step = method(kind).mapped_step
    assert mapped_step is not None
    state, given, key = start(kind), batches((1, ROWS)), jax.random.key(1)
    whole, metrics = jax.jit(method(kind).train_step)(state, given, key)
    halves = jax.tree.map(lambda leaf: jnp.stack(jnp.split(leaf, 2, axis=1)), given)
    run = jax.pmap(
        lambda start, share: mapped_step(start, share, jax.random.key(1), "rows"),
        "rows",
        in_axes=(None, 0),
        devices=TWO,
    )
    shared, mean = jax.device_get(run(state, halves))
    for name, value in metrics.items():
        np.testing.assert_allclose(mean[name], np.full(2, value), rtol=1e-4, err_msg=name)
    for one, other in zip(jax.tree.leaves(shared.opt), jax.tree.leaves(whole.opt), strict=True):
        np.testing.assert_allclose(one[0], other, rtol=1e-3, atol=1e-5)


def test_numbers_can_be_swept_without_recompiling(kind):
    """Of a first step Adam keeps the gradient's signs: what a loss weighs shows in what Adam averages."""
    state, given = start(kind), batches((1, ROWS))

    def step(numbers, state, given):
        swept = state._replace(hyper=state.hyper | numbers)
        return method(kind).train_step(swept, given, jax.random.key(1))[0]

    columns = np.array([[0, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
    numbers = dict(zip(("lr", "weight_decay", "cls_weight"), columns, strict=True))
    swept = jax.device_get(jax.jit(jax.vmap(step, in_axes=(0, None, None)))(numbers, state, given))
    rows = [jax.tree.map(lambda leaf, k=k: leaf[k], swept) for k in range(4)]
    assert bits(rows[0].params) == bits(state.params)
    of_encoder = [(row.params["encoder"], row.opt["encoder"]) for row in rows]
    assert all(difference(*pair) > 1e-3 for pair in itertools.combinations(of_encoder, 2))
    assert (difference(rows[1].opt["decoder"], rows[2].opt["decoder"]) > 1e-3) == (kind[0] != "ae2")


def test_a_fresh_state_shares_no_buffer(kind):
    hyper = hyper_parameters(config(*kind).autoencoder, autoencoders.NUMBERS)
    given = upstream()
    states = [method(kind).init(jax.random.key(0), given, hyper) for _ in range(2)]
    held = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((states, given)) if leaf.size]
    assert len(set(held)) == len(held)


@functools.cache
def synthesiser(kind: tuple[str, bool]) -> Any:
    synthesize = method(kind).synthesize
    assert synthesize is not None
    return jax.jit(synthesize, static_argnums=3)


def synthesise(kind, rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """Synthetic rows number `rows` of twelve, of the classes UNLIKE."""
    semantics = np.random.default_rng(3).normal(size=(SPEC.n_classes, SPEC.a_dim)).astype(np.float32)
    keys = jax.random.split(jax.random.key(seed), len(UNLIKE))[rows]
    params = method(kind).inference(start(kind))
    return np.asarray(synthesiser(kind)(params, jnp.asarray(semantics[UNLIKE[rows]]), keys, "one_step")["x"])


def test_synthetic_rows_depend_on_their_own_key_and_semantics_alone(kind):
    whole = synthesise(kind, np.arange(12))
    assert whole.shape == (12, SPEC.x_dim)
    assert bits(synthesise(kind, np.arange(12))) == bits(whole)
    assert (synthesise(kind, np.arange(12), seed=1) != whole).any(axis=1).all()
    order = np.random.default_rng(0).permutation(12)
    for rows in (order, order[:5]):
        np.testing.assert_allclose(synthesise(kind, rows), whole[rows], rtol=1e-5, atol=1e-6)
    views = {"x": jnp.asarray(whole)}
    embed = method(kind).embed
    assert embed is not None
    np.testing.assert_array_equal(embed({}, views, "V"), whole)


def test_synthesis_as_meant_draws_the_latent_from_its_prior():
    """Not through the encoder, which sees features only."""
    for kind in (("vae", True), ("bir_vae", True)):
        state = start(kind)
        params = method(kind).inference(state)
        params = params | {"encoder": random_like(params["encoder"], 7)}
        made = synthesiser(kind)(params, batch_of().a, jax.random.split(jax.random.key(0), ROWS), "one_step")["x"]
        same = synthesiser(kind)(
            method(kind).inference(state), batch_of().a, jax.random.split(jax.random.key(0), ROWS), "one_step"
        )["x"]
        assert bits(made) == bits(same)


def test_features_that_their_semantics_determine_are_learnt(kind):
    """A task with a known answer: four classes of one row each."""
    truth = batches((SPEC.n_classes * 8,)).x[: SPEC.n_classes]
    labels = jnp.tile(jnp.arange(SPEC.n_classes), 8)
    semantics = 2 * jnp.eye(SPEC.n_classes, SPEC.a_dim)
    rows = Batch({"x": truth[labels][None]}, semantics[labels][None], labels[None])
    hyper = NUMBERS | {"lr": 1e-2, "cls_weight": 0.0, "weight_decay": 0.0}
    numbers = {name: np.float32(value) for name, value in hyper.items()}
    wide = autoencoders.build(config(*kind, encoder_width=64, decoder_width=64, cls_weight=0.0), SPEC)

    @jax.jit
    def train(key):
        key, first = jax.random.split(key)
        state = wide.init(first, {}, numbers)
        return jax.lax.scan(lambda state, key: wide.train_step(state, rows, key), state, jax.random.split(key, 600))

    state, metrics = train(jax.random.key(0))
    assert wide.synthesize is not None
    made = jax.jit(wide.synthesize, static_argnums=3)(
        wide.inference(state), semantics[labels], jax.random.split(jax.random.key(1), 32), "one_step"
    )
    means = made["x"].reshape(8, SPEC.n_classes, SPEC.x_dim).mean(0)
    spread = np.std(truth, axis=0).mean()
    assert metrics["loss/features"][-1] < 0.2 * metrics["loss/features"][0]
    assert np.abs(means - truth).mean() < 0.25 * spread


@pytest.mark.parametrize("stages", [("autoencoder",), ("autoencoder", "seen_classifier")])
def test_a_classifier_that_is_asked_for_must_come_first(stages):
    with pytest.raises(InputError, match=r"cls_weight.*seen_classifier"):
        autoencoders.build(config("ae", stages=stages), SPEC)
    built = autoencoders.build(config("ae", stages=stages, cls_weight=0.0), SPEC)
    assert built.name == "autoencoder ae"


@pytest.mark.parametrize(("objective", "meant"), [("dae", False), ("ae", True)])
def test_unknown_objectives_are_refused(objective, meant):
    with pytest.raises(InputError, match=f"objective: '{objective}'.*ae2"):
        autoencoders.build(config(objective, meant), SPEC)


def test_widths_default_to_that_of_the_semantics():
    for kind in LATENT:
        made = autoencoders.make_nets(config(*kind, z_dim=0).autoencoder, SPEC)
        assert {width for width in made.widths if width} == {SPEC.a_dim}


def test_losses_of_sums_of_squares_and_of_discrepancies():
    u = jnp.asarray([[0.0, 0.0], [2.0, 0.0]])
    assert losses.sum_squared(u, u + 1) == 4
    assert losses.discrepancy(u, u) == pytest.approx(0, abs=1e-5)
    apart = 2 * (2 + 2 * np.exp(-1)) - 2 * (2 * np.exp(-1 / 4) + 2 * np.exp(-5 / 4))
    np.testing.assert_allclose(losses.discrepancy(u, u + jnp.asarray([[0.0, 1.0]])), apart, rtol=1e-5)
