"""Nets from elsewhere in a workdir: written whole, checked, and a stage that starts finished with them."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests import tiny
from tests.tiny import bits
from tests.training.test_stage import kept, make_stage, run
from zsl_jax import data
from zsl_jax.config import defaults
from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks
from zsl_jax.files import read_json
from zsl_jax.training import imported
from zsl_jax.training.parallel import Mapped
from zsl_jax.training.stage import imported_state, is_finished, load_inference
from zsl_jax.training.workdir import METRICS, read_metrics

CONFIG = ConfigDict({"stages": ("toy",), "toy": {"lr": 0.5}})
NET = np.array([3.0, -1.0, 0.25], np.float32)


def nets(value: Any = NET) -> dict[str, Any]:
    return {"toy": {"net": value}}


def test_what_is_written_is_read(tmp_path):
    tree = {"generator": {"Dense_0": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": NET}}}
    imported.write(tmp_path / "new" / "run", CONFIG, nets() | {"other": tree})
    folder = tmp_path / "new" / "run" / "imported"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "other.safetensors", "toy.safetensors"]
    assert set(tensors.read(folder / "other.safetensors")[0]) == {"generator/Dense_0/kernel", "generator/Dense_0/bias"}
    found = imported.read(tmp_path / "new" / "run", "other")
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    assert bits(found) == bits(tree)
    assert imported.read(tmp_path / "new" / "run", "none") is None
    assert read_json(folder / "config.json") == {"stages": ["toy"], "toy": {"lr": 0.5}}
    assert imported.stages(tmp_path / "new" / "run", ("none", "toy")) == ["toy"]


@pytest.mark.parametrize("taken", ["imported", "checkpoints", "config.json"])
def test_a_folder_that_holds_something_is_left_alone(taken, tmp_path):
    (tmp_path / taken).mkdir()
    with pytest.raises(InputError, match=f"holds a run or an import already \\({taken}\\)"):
        imported.write(tmp_path, CONFIG, nets())
    assert [path.name for path in tmp_path.rglob("*")] == [taken]


def test_a_failed_import_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    (tmp_path / "there").mkdir()
    for workdir in (tmp_path / "new", tmp_path / "there"):
        with pytest.raises(InputError, match="cannot be written \\(No space left on device\\)"):
            imported.write(workdir, CONFIG, nets())
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_of_an_addition_that_fails_half_way_the_configuration_is_there(tmp_path, monkeypatch):
    """It fits all nets, also fewer of them; nets without it would have sizes that nothing tells."""

    def full(*_):
        raise InputError("cannot be written")

    imported.write(tmp_path, CONFIG, nets())
    monkeypatch.setattr(tensors, "write", full)
    later: Any = CONFIG.copy_and_resolve_references()
    later.toy.lr = 0.25
    with pytest.raises(InputError, match="cannot be written"):
        imported.add(tmp_path, later, {"other": {"net": NET}})
    assert imported.stages(tmp_path, ("toy", "other")) == ["toy"]
    assert imported.read_config(tmp_path)["toy"] == {"lr": 0.25}


@pytest.mark.parametrize("layout", [None, Mapped(tuple(jax.devices()[:2]))])
def test_a_stage_starts_finished_with_imported_nets(layout, tmp_path):
    stage = make_stage(tmp_path, scores=(1.0, 3.0, 2.0))
    stage = stage if layout is None else dataclasses.replace(stage, layout=layout)
    imported.write(tmp_path, CONFIG, nets())
    stage.checkpoints.mkdir(parents=True)  # as a run leaves it that was killed at once
    assert is_finished(stage)
    assert bits(load_inference(stage, 2)) == bits({"net": NET})
    assert kept(stage) == []
    done = run(stage)
    assert kept(stage) == [stage.plan.total]
    assert bits(stage.layout.local(done.state.params)) == bits({"net": NET})
    assert [(one["epoch"], one["score"]) for one in done.evaluations] == [(2, 2.0)]
    np.testing.assert_array_equal(done.evaluations[0]["scores"]["net"], NET)
    assert [line["step"] for line in read_metrics(tmp_path / METRICS)] == [stage.plan.total]
    again = run(dataclasses.replace(stage, evaluate=lambda *_: pytest.fail("evaluated again")))
    assert (again.step, again.imported) == (stage.plan.total, imported.digest(tmp_path, "toy"))
    assert [one["epoch"] for one in again.evaluations] == [2]
    assert is_finished(stage)
    assert bits(load_inference(stage, 2)) == bits({"net": NET})


def test_a_stage_that_is_being_trained_goes_on(tmp_path):
    stage = make_stage(tmp_path)
    trained = run(stage)
    imported_later = tmp_path / "imported"
    imported_later.mkdir()
    tensors.write(imported.file_of(tmp_path, "toy"), {"net": NET}, {})
    assert bits(run(stage).state) == bits(trained.state)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"net": NET[:2]}, r"net is float32\[2\], this run has float32\[3\]"),
        ({"net": NET.astype(np.float64)}, r"net is float64\[3\], this run has float32\[3\]"),
        ({"ten": NET}, "net is missing; ten is unknown to this run"),
        ({"net": NET, "net2/bias": NET}, "net2/bias is unknown to this run"),
        ({"net": np.array([1, np.nan, 2], np.float32)}, "net has numbers that are not finite"),
    ],
)
def test_nets_that_do_not_fit_a_stage(arrays, said, tmp_path):
    (tmp_path / "imported").mkdir()
    tensors.write(imported.file_of(tmp_path, "toy"), arrays, {})
    stage = make_stage(tmp_path)
    with pytest.raises(InputError, match=said) as caught:
        imported_state(stage)
    assert str(caught.value).startswith(f"{tmp_path / 'imported' / 'toy.safetensors'}: does not fit this run: ")


def zerodiff() -> Any:
    config = tiny.synthetic(tiny.narrow(defaults.zerodiff()))
    config.validate, config.upstream = False, "last"
    return config


def import_generator(workdir: Path, **fields: Any) -> None:
    """Imports the generator of ZeroDiff's first stage, of another width perhaps."""
    config = zerodiff()
    config.drg.update(fields)
    spec = checks.spec_of(data.load(config.data, 0))
    params = checks.outlines(config, spec)["drg"].state.params
    imported.write(workdir, config, {"drg": {"generator": tiny.random_like(params["generator"])}})


def test_the_options_to_set_are_named(tmp_path):
    import_generator(tmp_path, generator_width=9, epochs=7, lr=0.1)
    config = zerodiff()
    with pytest.raises(InputError) as caught:
        checks.check_imports(config, data.load(config.data, 0), tmp_path)
    message = str(caught.value)
    assert "is float32[9], this run has float32[8]" in message
    assert message.endswith("Set the options as imported: drg.generator_width is 9 there, 8 now")


def test_a_generator_alone_is_enough(tmp_path):
    import_generator(tmp_path)
    config = zerodiff()
    dataset = data.load(config.data, 0)
    checks.check_imports(config, dataset, tmp_path)
    config.validate, config.upstream = True, "validated"
    with pytest.raises(InputError, match=r"nothing could be validated; use --config\.validate=False"):
        checks.check_imports(config, dataset, tmp_path)
    checks.check_imports(config, dataset, tmp_path / "elsewhere")
