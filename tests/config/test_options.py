"""Configurations by name and path, and their fields set from text."""

import pytest

from zsl_jax.config import defaults, meanings, options
from zsl_jax.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("dfg.lr=1", 1.0),
        ("dfg.epochs=7", 7),
        ("dfg.freeze_decoder=true", True),
        ("dfg.freeze_decoder=0", False),
        ("data.representations=", ""),
        ("data.dataset=2024", "2024"),
        ("data.dataset='a b'", "a b"),
        ("eval.spaces=('V','VCS')", ("V", "VCS")),
        ("eval.spaces=V,VCS", ("V", "VCS")),
        ("eval.spaces=V", ("V",)),
        ("data.unseen=[1,2]", (1, 2)),
        ("stages=()", ()),
    ],
)
def test_text_becomes_a_value_of_the_fields_type(text, value):
    config = defaults.zerodiff()
    field, found = options.assign(config, text)
    assert (found, type(found)) == (value, type(value))
    assert options.look_up(config, field) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dfg.epochs=1.5", "--config.dfg.epochs: '1.5', but the field holds 300 (int)"),
        ("dfg.lr=", "--config.dfg.lr: '', but"),
        ("dfg.freeze_decoder=perhaps", "'perhaps', but the field holds False (bool)"),
        ("dfg.gamma_dst=1", "has no such field; did you mean 'gamma_dist'?"),
        ("dfg.lr.x=1", "--config.dfg.lr.x: the configuration has no such field"),
        ("dfg=1", "--config.dfg: that is a section"),
        ("dfg.lr", "--config.dfg.lr: write it as FIELD=VALUE"),
    ],
)
def test_what_a_field_cannot_hold_is_refused(text, message):
    with pytest.raises(InputError) as refused:
        options.assign(defaults.zerodiff(), text)
    assert message in str(refused.value)


def test_a_changed_copy_follows_and_leaves_its_base():
    base = defaults.zerodiff().lock()
    before = base.to_dict()
    assert options.changed(base, {"data.semantics_scaling": "none"}).dfg.semantics_scaling == "none"
    with pytest.raises(TypeError):
        options.changed(base, {"data.semantics_scaling": "none", "dfg.epochs": "many"})
    assert base.to_dict() == before


@pytest.mark.parametrize("name", ["zerodiff_sun:10", "configs/zerodiff_sun.py:10", "ablations/zerodiff:r,sun,10"])
def test_configurations_are_found_by_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert options.load(name, ["seed=3"]).data.percent == 10
    assert options.load(name, ["seed=3"]).is_locked


def test_a_path_goes_before_a_name_and_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "zerodiff_sun").write_text("from zsl_jax.config import defaults\nget_config = defaults.tfvaegan\n")
    assert options.load("zerodiff_sun").method == options.load("~/zerodiff_sun").method == "tfvaegan"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "zerodif_sun",
            "--also zerodif_sun: no such file, and no configuration of that name; the nearest names are zer",
        ),
        ("zerodiff_sun:20", "--also zerodiff_sun:20: config argument '20': the published shares are 100, 30, 10"),
        ("zerodiff_cub:1:2", "the published shares are"),
        ("zerodiff_digits:1", "--also zerodiff_digits:1: get_config() takes 0 positional arguments"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(name, message):
    with pytest.raises(InputError) as refused:
        options.load(name, flag="--also")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_field_of_every_configuration_has_a_meaning():
    arguments = {"autoencoders": ":vae,digits", "gan_zoo": ":wgan,digits", "ablations/zerodiff": ":r,digits"}
    known = meanings.meanings()
    for name in options.names():
        fields = options.flat(options.load(name + arguments.get(name, "")).to_dict())
        assert not set(fields) - set(known), name
    assert known["data.features"] == "file of x"
    assert known["d2sc_dfg.lr"] == known["dfg.lr"]  # by way of the functions that sections share


def test_switches_of_earlier_versions_say_how_descriptions_are_scaled():
    there = {"data": {"normalize_semantics": True}, "drg": {"normalize_decoder": False, "lr": 1.0}, "seed": 3}
    found = options.completed(there)
    assert found["data"] == {"semantics_scaling": "l2", "pictures": False, "validation_draws": 1}
    assert found["drg"] == {"semantics_scaling": "none", "lr": 1.0, "semantic_noise": 0.0}
    assert found["seed"] == 3
