"""Outputs of the recorded archives' nets on recorded inputs."""

import jax.numpy as jnp

from tests.parity import zerodiff
from tests.parity.recorded import load, under
from zsl_jax.train_steps import zerodiff_dfg

ARRAYS, META = load("zerodiff_checkpoints")
OPTIONS = META["options"]
WIDTHS = zerodiff.widths(OPTIONS)
NETS = zerodiff_dfg.make_nets(zerodiff.config(OPTIONS), zerodiff.spec(OPTIONS))
GIVEN = {key: jnp.asarray(value) for key, value in under(ARRAYS, "in").items()}
