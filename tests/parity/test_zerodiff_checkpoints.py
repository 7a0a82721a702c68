"""The recorded archives, imported without torch: their nets give the recorded outputs on the recorded inputs."""

from pathlib import Path

import jax.numpy as jnp
import pytest

from tests.parity import zerodiff
from tests.parity.recorded import assert_close, folder, load, under
from zsl_jax.experiment import checkpoint_import
from zsl_jax.nets.layers import apply
from zsl_jax.train_steps import zerodiff_dfg

ARRAYS, META = load("zerodiff_checkpoints")
OPTIONS = META["options"]
GIVEN = {key: jnp.asarray(value) for key, value in under(ARRAYS, "in").items()}
T = jnp.asarray(ARRAYS["in/t"], jnp.int32)
ARCHIVES = [str(folder() / f"zerodiff_{name}.tar") for name in ("DRG", "DFG")]
IMPORT = checkpoint_import.read(ARCHIVES, Path("no such folder"))
CONFIG = IMPORT.config.copy_and_resolve_references()
for stage in ("drg", "dfg"):  # what an archive does not say
    CONFIG[stage].update(n_steps=OPTIONS["n_T"], semantics_scaling="l2" if OPTIONS["class_embedding_norm"] else "none")
NETS = zerodiff_dfg.make_nets(CONFIG, zerodiff.spec(OPTIONS))


def params(stage, name):
    return zerodiff.as_jax(IMPORT.nets[stage][name])


def test_representation_generator():
    net = NETS.representation.generator
    out = apply(net, params("drg", "generator"), GIVEN["z"], GIVEN["att"], GIVEN["r_t"], T)
    assert_close(out, ARRAYS["netR/out"])
    assert_close(out, ARRAYS["netR/out_reloaded"])


def test_feature_generator():
    out = apply(NETS.generator, params("dfg", "generator"), GIVEN["z"], GIVEN["att"], GIVEN["x_t"], T, GIVEN["con"])
    assert_close(out, ARRAYS["netG/out"])


def test_decoder():
    out, hidden = apply(NETS.decoder, params("dfg", "decoder"), GIVEN["x"])
    assert_close(out, ARRAYS["netDec/out"])
    assert_close(hidden, ARRAYS["netDec/hidden"])


@pytest.mark.parametrize("name", zerodiff_dfg.CRITICS)
def test_critics(name):
    given = {
        "x0": {"a": GIVEN["att"]},
        "xt": {"next": GIVEN["x_t"], "a": GIVEN["att"], "r": GIVEN["con"], "t": T},
        "xc": {"r": GIVEN["con"]},
    }
    out = apply(NETS.critics[name], params("dfg", name), GIVEN["x"], given[name])
    assert_close(out[:, None], ARRAYS[f"netD_{name}/out"])


def test_sizes_and_options_are_the_recorded_ones():
    config = IMPORT.config
    assert [config[stage].z_dim for stage in ("drg", "dfg")] == 2 * [OPTIONS["noiseSize"]]
    assert [config[stage].generator_width for stage in ("drg", "dfg")] == 2 * [OPTIONS["generator_hidden"]]
    assert (config.dfg.critic_width, config.dfg.decoder_width) == (OPTIONS["critic_hidden"], OPTIONS["v2s_hidden"])
    assert {name: IMPORT.sizes[name] for name in ("x", "r", "a")} == {
        "x": OPTIONS["resSize"], "r": OPTIONS["conSize"], "a": OPTIONS["attSize"],
    }  # fmt: skip
    assert IMPORT.missing == {"drg": ["decoder", "r0", "rt"], "dfg": ["encoder"]}
