"""The recorded prototype classifiers: logits, loss, gradient, one update; class normalisation."""

import dataclasses

import jax
import jax.numpy as jnp

from tests.parity import recorded, zerodiff
from zsl_jax.evaluation import classifier, prototype

ARRAYS, META = recorded.load("gan_zoo")
SIZES = META["options"]["classnorm"]
OPTIONS = prototype.Options(
    lr=SIZES["lr"], weight_decay=SIZES["weight_decay"], hidden=SIZES["hidden"], scale=SIZES["scale"]
)


def net(prefix: str, layers: tuple[str, str, str]) -> prototype.Net:
    """A recorded net."""
    given = {name: jnp.asarray(value) for name, value in recorded.under(ARRAYS, prefix).items()}
    return prototype.Net(*(prototype.Layer(given[f"{name}.weight"].T, given[f"{name}.bias"]) for name in layers))


def plain(prefix: str) -> prototype.Net:
    """The classifier that the published scripts train."""
    return net(prefix, ("cls.fc1", "cls.fc2", "cls.fc3"))


GIVEN = {name: jnp.asarray(value) for name, value in recorded.under(ARRAYS, "classnorm/in").items()}
LABELS = GIVEN["y"].astype(jnp.int32)


def score(params: prototype.Net, features: jax.Array) -> jax.Array:
    return prototype.scores(params, GIVEN["attrs"], features, OPTIONS)


def test_logits_loss_and_gradient():
    start, share = plain("classnorm/w0"), jnp.full(len(LABELS), 1 / len(LABELS))
    recorded.assert_close(jax.jit(score)(start, GIVEN["x"]), ARRAYS["classnorm/logits"], what="logits")
    differentiate = jax.jit(
        jax.value_and_grad(lambda params: classifier.loss(score, params, GIVEN["x"], LABELS, share))
    )
    loss, gradient = differentiate(start)
    recorded.assert_close(loss, ARRAYS["classnorm/loss"], what="loss")
    zerodiff.assert_gradients_close({"net": gradient}, {"net": plain("classnorm/grad")}, "classnorm")


def test_one_update():
    start, rows = plain("classnorm/w0"), jnp.arange(len(LABELS), dtype=jnp.int32)
    adam = prototype.optimiser(OPTIONS, batches=1)
    fitted = classifier.fit(
        start, rows[None, None], LABELS, lambda numbers: GIVEN["x"][numbers], lambda _: 0, adam, jnp.int32(0),
        score=score,
    )  # fmt: skip
    decayed = jax.tree.map(lambda slope, weight: slope + OPTIONS.weight_decay * weight, plain("classnorm/grad"), start)
    before, after, expected, gradients = (
        {"net": tree} for tree in (start, fitted.kept, plain("classnorm/after"), decayed)
    )
    zerodiff.assert_step_close(before, after, expected, gradients, "classnorm")


def test_class_normalisation():
    layers = ("m.model.0", "m.model.2", "m.model.6")
    given = net("cnzsl/w0", layers)
    features = jnp.asarray(ARRAYS.get("cnzsl/in/x", ARRAYS["classnorm/in/x"]))
    options = dataclasses.replace(OPTIONS, class_norm=True)
    made = jax.jit(prototype.scores, static_argnums=3)(given, GIVEN["attrs"], features, options)
    recorded.assert_close(made, ARRAYS["cnzsl/train_logits"])
