"""Runs of a method on small pictures that scores directly, keeps running statistics and may make features.

The method is `tests/pictures.py`; as a program with two processes it is in `test_main.py`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests import pictures
from tests.tiny import StopAfter, bits, difference
from zsl_jax.data import rows
from zsl_jax.errors import InputError
from zsl_jax.experiment import outcome, problems, rescoring, sweep
from zsl_jax.experiment.problems import Runs
from zsl_jax.experiment.runs import FREE_FIELDS
from zsl_jax.training.checkpoints import open_checkpoints
from zsl_jax.training.lockstep import drive
from zsl_jax.training.stage import load_inference
from zsl_jax.training.stopping import Interrupted, StopRequest
from zsl_jax.training.workdir import claim_workdir


class StopOften(StopAfter):
    """SIGTERM after two chunks."""

    chunks = 2


def train(config: Any, workdir: Path, stop: StopRequest | None = None) -> Runs:
    return drive(problems.run(*problems.load(config), workdir, stop or StopRequest(), bars=False))


def test_only(**fields: Any) -> Any:
    """A run of the test task alone, with other values of some fields (dots as double underscores)."""
    config = pictures.tiny_run()
    config.validate, config.upstream = False, "last"
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


test_only.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  (no test, whatever its name says)


def last_state(workdir: Path) -> dict[str, np.ndarray]:
    with open_checkpoints(workdir / "checkpoints" / "pictures", read_only=True) as opened:
        return opened.arrays(opened.steps()[-1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, Runs, dict[str, Any]]:
    """Both tasks of a run: its workdir, what was trained, its result."""
    workdir = tmp_path_factory.mktemp("whole")
    config = pictures.tiny_run()
    runs = train(config, workdir)
    return workdir, runs, outcome.conclude(config, runs).result


@pytest.fixture(scope="module")
def resident(tmp_path_factory) -> tuple[dict[str, np.ndarray], list[float]]:
    """The last state and the scores of a run whose rows stay on the device."""
    workdir = tmp_path_factory.mktemp("resident")
    runs = train(test_only(), workdir)
    return last_state(workdir), [one["score"] for one in runs.test.evaluations["pictures"]]


def test_scores_go_through_both_tasks_and_all_protocols(whole):
    _, runs, result = whole
    assert result["headline"]["protocol"] == "validated"
    assert set(result["protocols"]) == {"validated", "last", "oracle"}
    assert result["headline"]["T1"] > 34  # chance is 33.3
    assert result["protocols"]["last"]["scores"]["S"] > 20  # chance is 10
    assert result["dataset"]["sizes"]["pictures"] == "8 x 8 x 1"
    assert result["nearest"] == {}
    stage = runs.test.last
    held = load_inference(stage, stage.epochs - 1)["stats"]["net"]
    assert all(np.abs(layer["mean"]).max() > 0.01 for layer in held.values())


def test_a_stopped_run_goes_on_in_the_same_bits(resident, tmp_path):
    runs, ended = None, 0
    while runs is None and ended < 20:
        try:
            runs = train(test_only(memory_mb=0.0), tmp_path, StopOften())
        except Interrupted:
            ended += 1
    assert ended >= 2
    assert bits(last_state(tmp_path)) == bits(resident[0])


@pytest.mark.parametrize("memory_mb", [0.0, 0.03])  # windows of one iteration, and of some
def test_streamed_rows_end_in_the_bits_of_resident_ones(memory_mb, resident, tmp_path):
    runs = train(test_only(memory_mb=memory_mb), tmp_path)
    assert list(last_state(tmp_path)) == list(resident[0])
    assert bits(last_state(tmp_path)) == bits(resident[0])
    assert [one["score"] for one in runs.test.evaluations["pictures"]] == resident[1]


def test_eight_devices_that_are_fed_a_stream_train_as_one(resident, tmp_path):
    train(test_only(memory_mb=0.0, parallel__devices=8), tmp_path)
    state = last_state(tmp_path)
    numbers = [name for name in state if state[name].dtype == np.float32]
    assert difference([state[name] for name in numbers], [resident[0][name] for name in numbers]) < 1e-4


def test_a_source_is_read_for_each_batch_alone(resident, tmp_path, monkeypatch):
    """Rows that lie in files: the same bits, and never more rows at once than a window and what comes after it."""
    asked: list[int] = []

    class Source:
        def __init__(self, array: np.ndarray):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype

        def read(self, numbers: np.ndarray, words: np.ndarray | None) -> np.ndarray:
            asked.append(len(numbers))
            assert words is None or words.dtype == np.uint32
            return self.array[numbers]

        def fingerprint(self) -> str:
            return "source"

    config = test_only()
    _, dataset = problems.load(config)
    image = dataset.views["image"]
    assert isinstance(image, np.ndarray)
    dataset = dataset.with_view("image", Source(image), "pixels")
    runs = drive(problems.run(config, dataset, tmp_path, StopRequest(), bars=False))
    assert bits(last_state(tmp_path)) == bits(resident[0])
    assert [one["score"] for one in runs.test.evaluations["pictures"]] == resident[1]
    tests = max(len(runs.test.task.test_seen), len(runs.test.task.test_unseen))
    assert max(asked) <= max(tests, config.log_every * config.pictures.batch_size)


def test_what_cannot_be_read_ends_the_run_in_one_line(tmp_path):
    class Broken:
        shape, dtype = (1797, 8, 8, 1), np.dtype(np.uint8)

        def read(self, numbers: np.ndarray, words: np.ndarray | None) -> np.ndarray:
            raise InputError(f"picture {numbers[0]}: cannot be read")

        def fingerprint(self) -> str:
            return "broken"

    config = test_only()
    dataset = problems.load(config)[1].with_view("image", Broken(), "pixels")
    with pytest.raises(InputError, match=r"picture \d+: cannot be read"):
        drive(problems.run(config, dataset, tmp_path, StopRequest(), bars=False))


def test_pmap_refuses_streams_before_anything_is_trained():
    with pytest.raises(InputError, match=r"pmap.*memory_mb"):
        problems.load(test_only(memory_mb=0.0, parallel__mode="pmap"))


def test_computing_in_bfloat16_keeps_scores_in_float32(tmp_path):
    runs = train(test_only(pictures__compute_dtype="bfloat16", pictures__epochs=1), tmp_path)
    state = last_state(tmp_path)
    assert {str(array.dtype) for array in state.values() if array.dtype.kind == "f"} == {"float32"}
    assert runs.test.evaluations["pictures"][0]["score"] > 0


def test_a_sweep_trains_its_values_together_and_streams_alone(tmp_path):
    base = test_only(pictures__epochs=1)
    cells = sweep.make_cells(base, [], ["pictures.lr=0.05,0.02"], [])
    scores = {}
    for name, memory in (("resident", 8192.0), ("streamed", 0.0)):
        for cell in cells:
            cell.config.unlock()
            cell.config.memory_mb = memory
        ends = sweep.train([(cell, 0) for cell in cells], tmp_path / name, most=0)
        assert all(not isinstance(end, Exception) for _, end in ends), ends
        scores[name] = [end.result["headline"]["AUSUC"] for _, end in ends]
    assert scores["streamed"] == pytest.approx(scores["resident"], abs=0.5)
    assert scores["streamed"][0] != scores["streamed"][1]


@pytest.mark.parametrize(("kind", "epochs"), [("view", 2), ("classifier", 2), ("view", 0)])
def test_made_features_train_a_generator(kind, epochs, tmp_path):
    """A view alone; scored besides; and a stage without training, which embeds with the nets as they were drawn."""
    config = pictures.tiny_run("pictures", "linear", kind=kind, produces="x")
    config.pictures.epochs, config.linear.epochs = epochs, 1
    if kind == "classifier":
        config.eval.select = "H"
    runs = train(config, tmp_path)
    assert runs.test.task.train.x.shape[1] == 4 * 4 * 8
    assert runs.test.stages["linear"].train.x.shape[1] == 4 * 4 * 8
    assert set(runs.test.stages["linear"].upstream) == ({"pictures"} if kind == "classifier" else set())
    assert bool(runs.choices.get("pictures")) == (kind == "classifier")
    result = outcome.conclude(config, runs).result
    assert result["dataset"]["sizes"]["features"] == 128
    assert ("pictures" in result["stages"]) == (kind == "classifier")
    folder = tmp_path / "features" / "digits"
    assert (folder / "pixels_pictures.mat").is_file()
    if not epochs:  # the same command again finds it finished
        again = train(config, tmp_path)
        np.testing.assert_array_equal(again.test.task.train.x, runs.test.task.train.x)


def test_only_stages_that_make_a_view_may_do_without_training():
    with pytest.raises(InputError, match=r"config.pictures.epochs: 0"):
        problems.load(test_only(pictures__epochs=0))


def test_rows_of_one_epoch_are_as_many_as_asked_for(whole):
    _, runs, _ = whole
    assert runs.test.last.plan.total == 2 * 6
    assert float(runs.test.last.hyper["steps_per_epoch"]) == 6


def test_rows_of_other_views_are_other_rows(whole):
    """Stages of one run, or runs side by side, that read different views do not share what is on the device."""
    _, runs, _ = whole
    config, method = pictures.tiny_run(), runs.test.last.method
    methods = [method, dataclasses.replace(method, views=("x",)), method]
    digests = [problems.digest_of(runs.dataset, runs.test.task, one, config.pictures, config) for one in methods]
    assert digests[0] == digests[2] != digests[1]
    assert digests[0] == runs.test.last.digest


def test_what_a_method_reads_off_rows(whole):
    _, runs, _ = whole
    from zsl_jax.evaluation.rows import read_off

    stage, part = runs.test.last, runs.test.task.test_unseen
    params = load_inference(stage, stage.epochs - 1)
    found = read_off(stage.method, params, part, chunk_rows=100)
    assert {name: array.shape for name, array in found.items()} == {"semantics": (len(part), 19)}
    image = rows.read(part.views["image"], np.arange(5))
    np.testing.assert_allclose(found["semantics"][:5], stage.method.read(params, {"image": image})["semantics"], 1e-4)


def test_configurations_of_earlier_versions_are_completed(tmp_path):
    """They lack fields that came later, and the sizes of the data."""
    config = pictures.tiny_run()
    fields = config.to_dict()
    del fields["memory_mb"], fields["data"]["pictures"]
    (tmp_path / "config.json").write_text(json.dumps(fields))
    there = rescoring.open_workdir(tmp_path)
    assert there.sizes is None
    assert there.config.memory_mb == config.memory_mb
    assert not there.config.data.pictures
    config.data.pictures = False
    claim_workdir(tmp_path, config.to_dict(), FREE_FIELDS)


def test_imported_nets_carry_their_statistics(whole, tmp_path):
    from zsl_jax.training import imported

    _, runs, _ = whole
    stage = runs.test.last
    params = jax.device_get(load_inference(stage, stage.epochs - 1))
    config = test_only()
    imported.write(tmp_path, config, {"pictures": params})
    again = train(config, tmp_path)
    assert list(again.test.imported) == ["pictures"]
    assert bits(load_inference(again.test.last, stage.epochs - 1)) == bits(params)
    here, there = (one.test.evaluations["pictures"][-1]["score"] for one in (again, runs))
    assert here == there
