"""PaCo loss, key queue, key encoder and SGD against recorded steps of the published implementation."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity import recorded
from zsl_jax.losses.paco import PacoWeights, enqueue, momentum_average, paco_loss
from zsl_jax.train_steps.finetune import optimiser, update_nets

ARRAYS, META = recorded.load("paco")


def _steps() -> list[tuple[str, str, str]]:
    """(block, state before, step) of every recorded step whose state before it is in the file."""
    found = []
    for block in sorted(name for name in META["options"] if name.startswith("moco/")):
        for number in range(1, META["options"][block]["steps"] + 1):
            before = f"{block}/state0" if number == 1 else f"{block}/step{number - 1}/state"
            step = f"{block}/step{number}"
            if f"{step}/loss" in ARRAYS and f"{before}/queue" in ARRAYS:
                found.append((block, before, step))
    return found


LOSSES = sorted(name for name in META["options"] if name.startswith("loss/"))
STEPS = _steps()


def _weights(options: dict) -> PacoWeights:
    base = options.get("base_temperature")
    return PacoWeights(
        alpha=options["alpha"],
        beta=options["beta"],
        gamma=options["gamma"],
        temperature=options["temperature"],
        base_temperature=options["temperature"] if base is None else base,
        centre_temperature=options.get("supt", 1.0),
    )


def _moco_weights(block: str) -> PacoWeights:
    options = META["options"][block]
    return _weights({**options["paco"], "temperature": options["T"]})


def _labels(labels: np.ndarray) -> jax.Array:
    return jnp.asarray(labels.astype(np.int32))


def _params(prefix: str, net: str, names) -> dict[str, np.ndarray]:
    return {name: ARRAYS[f"{prefix}/{net}{name}"] for name in names}


def test_file_holds_losses_and_steps():
    assert LOSSES
    assert {block for block, _, _ in STEPS} == {name for name in META["options"] if name.startswith("moco/")}


@pytest.mark.parametrize("block", LOSSES)
def test_loss_and_gradients(block):
    inputs = recorded.under(ARRAYS, f"{block}/in")
    differentiate = jax.jit(jax.value_and_grad(paco_loss, argnums=(0, 2)))
    weights = _weights(META["options"][block])
    loss, (features, logits) = differentiate(
        inputs["features"], _labels(inputs["labels"]), inputs["sup_logits"], weights
    )
    recorded.assert_close(loss, ARRAYS[f"{block}/loss"], recorded.OUTPUT, what="loss")
    recorded.assert_close(features, ARRAYS[f"{block}/grad_features"], recorded.GRADIENT, what="features")
    recorded.assert_close(logits, ARRAYS[f"{block}/grad_sup_logits"], recorded.GRADIENT, what="centre logits")


@pytest.mark.parametrize(("block", "before", "step"), STEPS)
def test_loss_of_a_step(block, before, step):
    queue_labels = ARRAYS[f"{before}/queue_l"]
    labels = ARRAYS[f"{step}/in/labels"]
    np.testing.assert_array_equal(ARRAYS[f"{step}/target"], np.concatenate([labels, labels, queue_labels]))
    features = np.concatenate([ARRAYS[f"{step}/features"][: 2 * len(labels)], ARRAYS[f"{before}/queue"]])
    target = _labels(np.concatenate([labels, labels, queue_labels]))

    def loss(linear):
        logits = ARRAYS[f"{step}/pooled_q"] @ linear["weight"].T + linear["bias"][None, :]
        return paco_loss(jnp.asarray(features), target, logits, _moco_weights(block))

    value, grads = jax.jit(jax.value_and_grad(loss))(_params(before, "linear.", ("weight", "bias")))
    recorded.assert_close(value, ARRAYS[f"{step}/loss"], recorded.OUTPUT, what="loss")
    for name, grad in grads.items():
        recorded.assert_close(grad, ARRAYS[f"{step}/grad/linear.{name}"], recorded.GRADIENT, what=f"linear.{name}")


@pytest.mark.parametrize(("block", "before", "step"), STEPS)
def test_queue_takes_the_keys(block, before, step):
    labels = ARRAYS[f"{step}/in/labels"]
    keys = ARRAYS[f"{step}/features"][len(labels) : 2 * len(labels)]
    pointer = _labels(ARRAYS[f"{before}/queue_ptr"])[0]
    queue, classes, pointer = enqueue(
        jnp.asarray(ARRAYS[f"{before}/queue"]),
        _labels(ARRAYS[f"{before}/queue_l"]),
        pointer,
        jnp.asarray(keys),
        _labels(labels),
    )
    np.testing.assert_array_equal(queue, ARRAYS[f"{step}/state/queue"])
    np.testing.assert_array_equal(classes, ARRAYS[f"{step}/state/queue_l"])
    assert int(pointer) == int(ARRAYS[f"{step}/state/queue_ptr"][0])


@pytest.mark.parametrize(("block", "before", "step"), STEPS)
def test_key_encoder_follows_the_query_encoder_before_its_step(block, before, step):
    names = recorded.under(ARRAYS, f"{step}/grad").keys()
    names = [name.removeprefix("encoder_q.") for name in names if name.startswith("encoder_q.")]
    keys = momentum_average(
        _params(before, "encoder_k.", names), _params(before, "encoder_q.", names), META["options"][block]["m"]
    )
    after = _params(f"{step}/state", "encoder_k.", names)
    for name in names:
        change = after[name] - ARRAYS[f"{before}/encoder_k.{name}"]
        recorded.assert_close(keys[name], after[name], recorded.STEP, scale=change, what=name)


@pytest.mark.parametrize(("block", "before", "step"), STEPS)
def test_sgd_step(block, before, step):
    sgd = META["options"][block]["sgd"]
    hyper = {"lr": sgd["lr"], "momentum": sgd["momentum"], "weight_decay": sgd["weight_decay"]}
    tool = optimiser("sgd", {name: jnp.float32(value) for name, value in hyper.items()})
    grads = recorded.under(ARRAYS, f"{step}/grad")
    params = _params(before, "", grads)
    state: Any = tool.init(params)
    if not before.endswith("state0"):
        memory = recorded.under(ARRAYS, before.removesuffix("state") + "sgd_momentum")
        state = jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(memory))
    new, state = jax.jit(partial(update_nets, tool))({"all": grads}, {"all": state}, {"all": params})
    after_memory = dict(zip(sorted(grads), jax.tree.leaves(state), strict=True))
    for name in grads:
        after = ARRAYS[f"{step}/state/{name}"]
        recorded.assert_close(new["all"][name], after, recorded.STEP, scale=after - params[name], what=name)
        recorded.assert_close(after_memory[name], ARRAYS[f"{step}/sgd_momentum/{name}"], what=name)
