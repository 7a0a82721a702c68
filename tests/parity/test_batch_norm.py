"""Batch normalisation against a small ResNet of torch: the outputs of its stem, and running statistics after a step."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from tests.parity.recorded import assert_close, load
from zsl_jax.nets.batch_norm import BatchNorm

ARRAYS, ABOUT = load("resnet_tiny")
MOMENTUM = ABOUT["options"]["bn_momentum"]


def channels_last(rows: np.ndarray) -> jax.Array:
    return jnp.moveaxis(jnp.asarray(rows), 1, -1)


def variables(layer: str) -> dict[str, Any]:
    """Recorded weights and statistics before the step."""
    recorded = {name: ARRAYS[f"w/{layer}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
    params = {"scale": recorded["weight"], "bias": recorded["bias"]}
    return {"params": params, "stats": {"mean": recorded["running_mean"], "variance": recorded["running_var"]}}


def inputs(layer: str) -> jax.Array:
    """What the layer saw in training [B, H, W, F]."""
    if layer == "bn1":
        return channels_last(ARRAYS["train/stem_conv"])
    kernels = ARRAYS["w/layer4.0.conv1.weight"][:, :, 0, 0]  # a convolution of 1 x 1 is a product
    return jnp.einsum("bhwc,fc->bhwf", channels_last(ARRAYS["train/layer3"]), jnp.asarray(kernels))


def trained(layer: str, x: jax.Array, net: BatchNorm) -> tuple[jax.Array, dict[str, jax.Array]]:
    result: Any = net.apply(variables(layer), x, train=True, mutable=["stats"])
    return result[0], result[1]["stats"]


def make_net(**options: Any) -> BatchNorm:
    return BatchNorm(momentum=MOMENTUM, epsilon=ABOUT["options"]["bn_eps"], **options)


@pytest.mark.parametrize("layer", ["bn1", "layer4.0.bn1"])
def test_running_statistics_after_one_step(layer):
    x = inputs(layer)
    _, stats = trained(layer, x, make_net())
    mean, variance = (ARRAYS[f"train/buf_after/{layer}.{name}"] for name in ("running_mean", "running_var"))
    assert_close(stats["mean"], mean)
    assert_close(stats["variance"], variance)
    count = x.size // x.shape[-1]
    biased = variance - MOMENTUM * jnp.var(x, axis=(0, 1, 2)) / (count - 1)
    with pytest.raises(AssertionError):  # linen's own rule
        assert_close(biased, variance)


def test_outputs_in_training_and_in_evaluation():
    out, _ = trained("bn1", inputs("bn1"), make_net())
    assert_close(jax.nn.relu(out), channels_last(ARRAYS["train/stem_relu"]))
    out: Any = make_net().apply(variables("bn1"), channels_last(ARRAYS["eval/stem_conv"]), train=False)
    assert_close(jax.nn.relu(out), channels_last(ARRAYS["eval/stem_relu"]))


def test_devices_that_share_a_batch_have_the_statistics_of_the_whole():
    """Under `pmap`, and under `shard_map` over the named axis."""
    layer = "layer4.0.bn1"
    x = inputs(layer)
    count = max(n for n in range(1, 9) if x.size // x.shape[-1] % n == 0)
    assert count > 1
    devices = jax.devices()[:count]
    shared = functools.partial(trained, layer, net=make_net(axis_name="data"))
    rows = x.reshape(len(devices), -1, x.shape[-1])  # statistics are over all axes but the last
    whole, stats = trained(layer, rows, make_net())
    out, by_device = jax.pmap(shared, axis_name="data", devices=devices)(rows)
    assert_close(out, whole)
    for name, value in stats.items():
        assert_close(by_device[name], np.stack([value] * len(devices)), what=name)
    mesh = Mesh(np.array(devices), ("data",))
    spread, nowhere = PartitionSpec("data"), PartitionSpec()
    out, sharded = jax.jit(jax.shard_map(shared, mesh=mesh, in_specs=spread, out_specs=(spread, nowhere)))(rows)
    assert_close(out, whole)
    for name, value in stats.items():
        assert_close(sharded[name], value, what=name)
