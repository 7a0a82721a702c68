"""Nets by name, however an archive nests and names them."""

import numpy as np
import pytest

from tests.data.formats import torch_files
from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.interop import state_dicts

NET = {"fc1.weight": np.ones((2, 3), np.float32), "fc1.bias": np.zeros(2, np.float32)}
LAYOUTS = {
    "by key": {"state_dict_G": NET},
    "by another key": {"netG": NET},
    "in a wrapper": {"model": {"state_dict_G": NET}, "epoch": 3},
    "of a parallel net": {"state_dict_G": {f"module.{name}": array for name, array in NET.items()}},
    "of a whole module": {f"netG.{name}": array for name, array in NET.items()},
    "of a parallel module": {"state_dict": {f"module.netG.{name}": array for name, array in NET.items()}},
    "compiled": {f"_orig_mod.netG.{name}": array for name, array in NET.items()},
    "parallel and compiled": {f"module._orig_mod.netG.{name}": array for name, array in NET.items()},
    "compiled and parallel": {f"_orig_mod.module.netG.{name}": array for name, array in NET.items()},
    "compiled inside": {f"netG._orig_mod.{name}": array for name, array in NET.items()},
    "of a compiled net": {"state_dict_G": {f"module._orig_mod.{name}": array for name, array in NET.items()}},
    "in two wrappers": {"state": {"model": {"state_dict_G": NET}}, "step": 3},
    "of a checkpoint": {"checkpoint": {"netG_state_dict": NET, "netG_optimizer": {"state": {0: {}}}}},
    "twice": {"state_dict": {"netG": NET}, "model_state_dict": {"netG": NET}},
    "joined": {f"state_dict_G.{name}": array for name, array in NET.items()},
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_nets_are_found(tmp_path, case):
    found = state_dicts.read(torch_files.save(tmp_path / "x.tar", LAYOUTS[case]))
    assert {name: set(net) for name, net in found.nets.items()} == {"state_dict_G": set(NET)}
    np.testing.assert_array_equal(found.nets["state_dict_G"]["fc1.weight"], NET["fc1.weight"])


def test_nets_without_a_key(tmp_path):
    assert set(state_dicts.read(torch_files.save(tmp_path / "x.pkl", NET)).nets) == {""}
    both = {f"{part}.{name}": array for part in ("encoder", "decoder") for name, array in NET.items()}
    found = state_dicts.read(torch_files.save(tmp_path / "y.pkl", both)).nets
    assert {name: set(net) for name, net in found.items()} == {"encoder": set(NET), "decoder": set(NET)}


def test_what_else_is_there_is_listed(tmp_path):
    optimizer = {"state": {0: {"exp_avg": np.ones(3, np.float32)}}, "param_groups": []}
    value = {"state_dict_G": NET, "optimizer": optimizer, "epoch": 4, "unseen_bias": np.ones((2, 2), np.float32)}
    found = state_dicts.read(torch_files.save(tmp_path / "x.tar", value))
    assert found.ignored == ["optimizer", "epoch", "unseen_bias"]
    assert set(found.nets) == {"state_dict_G"}


def test_other_floats_become_float32(tmp_path):
    net = {"fc1.weight": np.ones((2, 3)), "fc1.bias": np.ones(2, np.float16)}
    found = state_dicts.read(torch_files.save(tmp_path / "x.tar", {"state_dict_G": net})).nets["state_dict_G"]
    assert {array.dtype.name for array in found.values()} == {"float32"}


def test_files_may_say_their_stage(tmp_path):
    arrays = {f"state_dict_G.{name}": array for name, array in NET.items()}
    tensors.write(tmp_path / "x.safetensors", arrays, {"stage": "dfg"})
    found = state_dicts.read(tmp_path / "x.safetensors")
    assert (found.stage, set(found.nets)) == ("dfg", {"state_dict_G"})


def test_two_tensors_of_one_name_are_refused(tmp_path):
    net = NET | {f"module.{name}": array + 1 for name, array in NET.items()}
    with pytest.raises(InputError, match=r"two tensors are state_dict_G's 'fc1\.weight'"):
        state_dicts.read(torch_files.save(tmp_path / "x.tar", {"state_dict_G": net}))
    with pytest.raises(InputError, match="holds list, but a dictionary"):
        state_dicts.read(torch_files.save(tmp_path / "x.tar", [NET]))
