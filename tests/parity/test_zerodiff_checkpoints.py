"""Outputs of the recorded archives' nets on recorded inputs."""

import io
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity import weights, zerodiff
from tests.parity.recorded import assert_close, folder, load, under
from zsl_jax.train_steps import zerodiff_dfg

ARRAYS, META = load("zerodiff_checkpoints")
OPTIONS = META["options"]
WIDTHS = zerodiff.widths(OPTIONS)
NETS = zerodiff_dfg.make_nets(zerodiff.config(OPTIONS), zerodiff.spec(OPTIONS))
GIVEN = {key: jnp.asarray(value) for key, value in under(ARRAYS, "in").items()}
