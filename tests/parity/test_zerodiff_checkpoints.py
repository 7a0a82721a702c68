"""The recorded archives' nets give the recorded outputs on the recorded inputs."""

import jax.numpy as jnp
import pytest

from tests.parity import torch_archive, weights, zerodiff
from tests.parity.recorded import assert_close, folder, load, under
from zsl_jax.nets.layers import apply
from zsl_jax.train_steps import zerodiff_dfg

ARRAYS, META = load("zerodiff_checkpoints")
OPTIONS = META["options"]
WIDTHS = zerodiff.widths(OPTIONS)
NETS = zerodiff_dfg.make_nets(zerodiff.config(OPTIONS), zerodiff.spec(OPTIONS))
GIVEN = {key: jnp.asarray(value) for key, value in under(ARRAYS, "in").items()}
T = jnp.asarray(ARRAYS["in/t"], jnp.int32)
STATES = torch_archive.read(folder() / "zerodiff_DRG.tar") | torch_archive.read(folder() / "zerodiff_DFG.tar")


def params(name):
    return zerodiff.as_jax(weights.net(f"net{name}", STATES[f"state_dict_{name}"], WIDTHS))


def test_representation_generator():
    net = NETS.representation.generator
    out = apply(net, params("R"), GIVEN["z"], GIVEN["att"], GIVEN["r_t"], T)
    assert_close(out, ARRAYS["netR/out"])
    assert_close(out, ARRAYS["netR/out_reloaded"])


def test_feature_generator():
    out = apply(NETS.generator, params("G"), GIVEN["z"], GIVEN["att"], GIVEN["x_t"], T, GIVEN["con"])
    assert_close(out, ARRAYS["netG/out"])


def test_decoder():
    out, hidden = apply(NETS.decoder, params("Dec"), GIVEN["x"])
    assert_close(out, ARRAYS["netDec/out"])
    assert_close(hidden, ARRAYS["netDec/hidden"])


@pytest.mark.parametrize("name", zerodiff_dfg.CRITICS)
def test_critics(name):
    given = {
        "x0": {"a": GIVEN["att"]},
        "xt": {"next": GIVEN["x_t"], "a": GIVEN["att"], "r": GIVEN["con"], "t": T},
        "xc": {"r": GIVEN["con"]},
    }
    out = apply(NETS.critics[name], params(f"D_{name}"), GIVEN["x"], given[name])
    assert_close(out[:, None], ARRAYS[f"netD_{name}/out"])
