"""Configurations for data of one's own."""

import pytest

from zsl_jax.config import options, presets
from zsl_jax.errors import InputError


@pytest.mark.parametrize("method", presets.METHODS)
def test_files_and_memory_have_the_same_options(method):
    in_files, in_memory = options.load(f"own_data:{method}").to_dict(), presets.start(method).to_dict()
    assert in_files["method"] == method
    differing = {name for name, value in in_files.items() if in_memory[name] != value}
    assert differing == {"data", "figures"}
    assert in_files["data"]["semantics_scaling"] == in_memory["data"]["semantics_scaling"]


def test_representations_are_made_unless_they_are_given():
    made, given = (options.load(f"own_data:d2sc{rest}") for rest in ("", ",representations"))
    assert (made.stages[0], made.data.representations) == ("finetune_r", "")
    assert given.stages == made.stages[1:]
    assert given.data.representations == "representations"
    assert options.load("own_data:representations").to_dict() == (
        options.load("own_data:representations,zerodiff").to_dict()
    )


@pytest.mark.parametrize("argument", ["nothing", "wgan,vae"])
def test_unknown_methods_are_refused(argument):
    with pytest.raises(InputError, match=rf"method: '{argument}'; choose one of zerodiff"):
        options.load(f"own_data:{argument}")
