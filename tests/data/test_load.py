import pytest

from tests.data import toy
from tests.data.options import data_options
from zsl_jax import data
from zsl_jax.errors import InputError


def test_each_source_loads(tmp_path):
    toy.write_toy(tmp_path)
    for source in ("xlsa17", "digits", "synthetic"):
        dataset = data.load(data_options(source=source, root=str(tmp_path), features="res101"), 0)
        assert dataset.x.shape[0] == dataset.labels.size
    with pytest.raises(InputError, match="'imagenet' is unknown"):
        data.load(data_options(source="imagenet"), 0)


def test_the_environment_names_the_root(tmp_path, monkeypatch):
    toy.write_toy(tmp_path)
    monkeypatch.setenv("ZSL_JAX_DATA", str(tmp_path))
    assert data.load(data_options(features="res101"), 0).name == "TOY"
    with pytest.raises(InputError, match="elsewhere"):
        data.load(data_options(features="res101", root=str(tmp_path / "elsewhere")), 0)


@pytest.mark.parametrize("state", ["no root", "no folder", "no file"])
def test_missing_data_show_what_is_expected(tmp_path, monkeypatch, state):
    monkeypatch.delenv("ZSL_JAX_DATA", raising=False)
    if state == "no file":
        (tmp_path / "SUN").mkdir()
    root = "" if state == "no root" else str(tmp_path)
    options = data_options(root=root, dataset="SUN", representations="con_paco", percent=30)
    with pytest.raises(InputError) as raised:
        data.load(options, 0)
    message = str(raised.value)
    for expected in ("SUN/", "ce_ce.mat", "con_paco.mat", "res101.mat", "att_splits.mat", "split_30percent.mat"):
        assert expected in message
    assert "--config.data.source=synthetic" in message
    assert "xlsa17.zip" in message


def test_the_tree_says_what_is_there(tmp_path):
    toy.write_toy(tmp_path)
    lines = data.expected_tree(data_options(root=str(tmp_path))).splitlines()
    states = {line.split()[0]: line.split()[1] for line in lines if line.startswith("      ")}
    assert states == {"ce_ce.mat": "missing", "res101.mat": "there", "att_splits.mat": "there"}
