"""A method of one's own takes one file, `linear.py`: it is registered there, configured and trained as usual."""

import numpy as np

from zsl_jax import __main__ as program
from zsl_jax.files import read_json

CONFIG = """
from tests import linear


def get_config():
    config = linear.config("linear")
    config.data.source = config.data.dataset = "digits"
    config.data.original_semantics, config.data.semantics_scaling = False, "none"
    config.eval.first, config.eval.every = 19, 20
    return config
"""


def test_a_method_of_ones_own(tmp_path):
    (tmp_path / "linear.py").write_text(CONFIG)
    workdir = tmp_path / "run"
    assert program.main(["train", f"--config={tmp_path / 'linear.py'}", f"--workdir={workdir}"]) == 0
    result = read_json(workdir / "result.json")
    assert result["method"] == "linear"
    assert result["headline"]["protocol"] == "validated"
    # A linear map is what ESZSL learns too: it must leave chance (33.3) well behind.
    assert result["headline"]["T1"] > 50
    assert np.isfinite(result["headline"]["AUSUC"])
