"""The benchmark and its parts, at tiny sizes: what they count and write, not how fast it is."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests import linear, tiny
from zsl_jax import __main__ as program
from zsl_jax.benchmarking import cases, costs, timing, torch_worker, work
from zsl_jax.benchmarking.cases import Case
from zsl_jax.benchmarking.timing import Effort
from zsl_jax.benchmarking.work import Machine
from zsl_jax.config import defaults
from zsl_jax.errors import InputError
from zsl_jax.training import feed
from zsl_jax.training.stage import shapes

WORKER = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    iterations = json.loads(line)["iterations"]
    with open(__file__ + ".log", "a") as log:
        print(iterations, file=log)
    print(json.dumps({"seconds": 0.5 * iterations}), flush=True)
"""


def run(tmp_path: Path, *options: str) -> tuple[int, Path]:
    """The program on two stages of the linear method: its exit code and its file of numbers."""
    out, file = tmp_path / "bench.json", linear.write_config(tmp_path / "linear.py", "first", "second")
    return program.main(["bench", f"--config={file}", "--iterations=1", "--repeats=2", f"--out={out}", *options]), out


@pytest.fixture
def machine(monkeypatch) -> Machine:
    """One whose products all take a microsecond, so that none is measured, and that copies little to find its rate."""
    monkeypatch.setattr(costs, "seconds_of", lambda product: 1e-6)
    monkeypatch.setattr(costs, "COPY_BYTES", 2**12)
    return Machine(bandwidth=1e9)


def small_linear():
    return linear.tiny_run("linear")


def small():
    return tiny.synthetic(tiny.narrow(defaults.zerodiff()))


def with_views():
    """From raw features alone: both views are made by stages, x 8 and r 5 wide."""
    config = small()
    config.data.synthetic.r_dim = 0
    config.finetune_r.width = 5
    config.stages = ("finetune_x", "finetune_r", "drg", "dfg")
    return config


def on_devices(config, devices: int, mode: str = "sharded"):
    config.parallel.devices, config.parallel.mode = devices, mode
    return config


def fake_python(tmp_path: Path, program: str) -> str:
    """An executable that runs `program` whatever its arguments are."""
    worker, python = tmp_path / "worker.py", tmp_path / "python"
    worker.write_text(program)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {worker} "$@"\n')
    python.chmod(0o700)
    return str(python)


@pytest.mark.usefixtures("machine")
def test_a_line_for_each_seed_count(tmp_path, capsys):
    code, out = run(tmp_path, "--stages=second", "--scale=seeds=1,2")
    printed, said = capsys.readouterr()
    assert code == 0, said
    one, two = json.loads(out.read_text())["rows"]
    assert (one["name"], two["name"]) == ("second 1", "second 2")
    assert two["flops"] == 2 * one["flops"] > 0
    assert two["bytes"] == 2 * one["bytes"] > 0
    assert {"share_of_matmul_rate", "share_of_bandwidth", "host_share", "peak_bytes"} <= set(one)
    assert "second 2" in printed


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--scale=colour=1", "error: --scale colour=1: write it as DIMENSION=V1,V2"),
        ("--stages=secnd", "no stage 'secnd'; did you mean 'second'"),
        ("--compare=torch", "error: --compare torch: name a Python that has torch"),
    ],
)
def test_bad_flags_are_refused(tmp_path, option, message, capsys):
    code, out = run(tmp_path, option)
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "stages", "seeds", "scale", "message"),
    [
        ({}, ["finetune_x"], 1, "", "--stages: 'finetune_x' is not in config.stages"),
        ({}, ["drg"], 1, "rows=1,x", "--scale rows=1,x"),
        ({}, ["drg"], 1, "batch=16,101", "config.drg.batch_size: 101, but there are 100 training rows"),
        ({}, ["drg"], 1, "devices=3", "config.drg.batch_size: 16 rows cannot be split over 3 devices"),
        ({}, ["drg"], 1, "devices=99", "config.parallel.devices: 99, but there are"),
        ({}, ["drg"], 3, "devices=2", "--devices: 3 seeds cannot be spread over 2 devices evenly"),
        ({"parallel.mode": "pmap"}, ["drg"], 2, "", "config.parallel.mode: 'pmap' trains one run"),
        ({"stages": ("drg", "finetune_r")}, ["drg"], 1, "", "ends with a stage that can't be scored"),
        ({"stages": ("finetune_r",)}, [], 1, "width=8", "--scale width: no stage"),
    ],
)
def test_cases_that_cannot_be_timed_are_refused(change, stages, seeds, scale, message):
    config = small()
    config.update_from_flattened_dict(change)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        cases.make_cases(config, stages or ["finetune_r"], seeds, scale)


def test_stages_that_make_no_view_are_timed_by_default():
    found = cases.make_cases(with_views(), [], 1, "width=4,6")
    assert [case.name for case in found] == ["drg 4", "drg 6", "dfg 4", "dfg 6"]
    assert [case.config.dfg.encoder_width for case in found] == [4, 6, 4, 6]


def test_more_rows_change_the_case_alone():
    config = small()
    (case,) = cases.make_cases(config, ["drg"], 1, "rows=120")
    assert len(cases.stage_of(case).train.x) == 120
    assert config.data.synthetic.trainval == 100


def test_views_and_parameters_of_earlier_stages_are_stood_in_for():
    stage = cases.stage_of(Case(with_views(), "dfg"))
    views = stage.train.views
    assert {name: rows.shape[1] for name, rows in views.items()} == {"x": 8, "r": 5}
    assert all(rows.std() > 0.1 and 0 <= rows.min() <= rows.max() <= 1 for rows in map(np.asarray, views.values()))
    frozen = stage.upstream["drg"]["generator"]
    assert all(np.std(leaf) > 0 for leaf in jax.tree.leaves(frozen) if leaf.size > 3)


def test_seeds_start_differently_on_the_same_rows():
    stage = cases.stage_of(Case(small_linear(), "linear", seeds=2))
    one, two = cases.requests_of(stage, 2, 1)
    assert one.rows is two.rows
    assert tiny.bits(one.held.state().params) != tiny.bits(two.held.state().params)


@pytest.mark.parametrize("stage", ["finetune_r", "dfg"])
def test_stages_of_a_run_from_raw_features_are_timed(stage, machine):
    (case,) = cases.make_cases(with_views(), [stage], 1, "")
    row = timing.time_stage(case, Effort(iterations=1, repeats=1), machine)
    assert row["name"] == stage
    assert min(row["flops"], row["bytes"], row["seconds"]) > 0


@pytest.mark.parametrize("mode", ["sharded", "pmap"])
def test_devices_share_the_work_of_one(mode, machine):
    effort = Effort(iterations=1, repeats=1)
    row = timing.time_stage(Case(on_devices(small_linear(), 2, mode), "linear"), effort, machine)
    stage = cases.stage_of(Case(small_linear(), "linear"))
    alone = work.of_iteration(stage, stage.rows().data)
    assert (row["flops"], row["bytes"], row["devices"]) == (alone.flops, alone.bytes, 2)


def test_seeds_are_spread_over_the_devices_asked_for():
    case = Case(on_devices(small_linear(), 2), "linear", seeds=4)
    requests = cases.requests_of(cases.stage_of(case), case.seeds, 1)
    chunks = timing.Chunks(requests, cases.devices_of(case))
    chunks.seconds()
    leaf = jax.tree.leaves(chunks.requests[0].held.stack)[0]
    assert {shard.device: shard.data.shape[0] for shard in leaf.addressable_shards} == dict.fromkeys(
        jax.devices()[:2], 2
    )


def test_chunks_go_on_where_the_last_one_ended():
    case = Case(small_linear(), "linear")
    chunks = timing.Chunks(cases.requests_of(cases.stage_of(case), 1, 2), cases.devices_of(case))
    chunks.seconds()
    before = tiny.bits(chunks.requests[0].held.state())
    chunks.empty_seconds()
    assert tiny.bits(chunks.requests[0].held.state()) == before
    chunks.seconds()
    assert chunks.requests[0].first == 4
    assert int(chunks.requests[0].held.state().opt["map"].count) == 4


@pytest.mark.parametrize("frozen", [True, False])
def test_optimiser_steps_of_each_net(frozen):
    config = small()
    config.drg.critic_iter, config.dfg.critic_iter, config.dfg.freeze_decoder = 2, 3, frozen
    expected = {
        "drg": {"r0": 2, "rt": 2, "decoder": 2, "generator": 1},
        "dfg": {"x0": 3, "xt": 3, "xc": 3, "decoder": 3 if frozen else 4, "encoder": 1, "generator": 1},
    }
    for name, steps in expected.items():
        stage = cases.stage_of(Case(config, name))
        state = shapes(stage)
        sizes = {net: sum(leaf.size for leaf in jax.tree.leaves(state.params[net])) for net in steps}
        # Adam: gradient, weight and two moments are read, weight and moments written, each 4 bytes.
        moved = sum(7 * 4 * sizes[net] * count for net, count in steps.items())
        assert work.of_iteration(stage, stage.rows().data).update_bytes == moved


def test_a_first_pass_of_tfvaegan_has_no_feedback():
    config = tiny.narrow(defaults.tfvaegan())
    config.data, config.tfvaegan.batch_size = small().data, 16
    stage = cases.stage_of(Case(config, "tfvaegan"))
    drawn = jax.ShapeDtypeStruct((stage.method.batches_per_step, stage.batch_size), np.int32)
    batches = jax.eval_shape(feed.gather, stage.rows().data, drawn)
    steps = work.optimiser_steps(stage.method, shapes(stage), batches, work.hyper_of(stage), stage.tables)
    assert steps == {"critic": 5, "decoder": 6, "encoder": 1, "generator": 1, "feedback": 0}


@pytest.mark.parametrize(("optimiser", "passes"), [("adam", 7), ("sgd", 5)])
def test_passes_of_other_optimisers(optimiser, passes):
    config = with_views()
    config.finetune_x.optimiser = optimiser
    stage = cases.stage_of(Case(config, "finetune_x"))
    size = sum(leaf.size for leaf in jax.tree.leaves(shapes(stage).params))
    assert work.of_iteration(stage, stage.rows().data).update_bytes == passes * 4 * size


def test_classifier_widths_are_those_of_the_spaces_asked_for():
    config = with_views()
    config.eval.spaces = ("VCS", "V", "C", "VC")
    assert cases.classifier_widths(Case(config, "dfg")) == {"C": 5, "VCS": 8 + 4 + tiny.WIDTH + 5}
    config.eval.spaces = ("V",)
    assert cases.classifier_widths(Case(config, "dfg")) == {"V": 8}
    config.stages = ("finetune_x", "finetune_r", "drg")
    assert list(cases.classifier_widths(Case(config, "drg"))) == ["C"]


def test_work_of_a_classifier_epoch():
    width, batches = 6, 51
    counted = timing.epoch_work(width)
    assert counted.flops == 2 * 2 * timing.ROWS * width * timing.CLASSES  # forward, gradient of the weights
    assert counted.update_bytes == batches * 7 * 4 * (width + 1) * timing.CLASSES


def test_the_classifier_is_timed_by_epoch(monkeypatch, machine):
    monkeypatch.setattr(timing, "ROWS", 800)
    row = timing.time_classifier("V", 6, Effort(iterations=9, repeats=2), machine)
    assert row["name"] == "classifier V, an epoch"
    assert row["flops"] == 4 * 800 * 6 * timing.CLASSES
    assert row["seconds"] > 0


def test_both_sides_run_as_many_iterations_in_each_turn(tmp_path, machine):
    python = fake_python(tmp_path, WORKER)
    row = timing.time_stage(Case(small(), "drg"), Effort(iterations=2, repeats=2, torch_python=python), machine)
    assert (tmp_path / "worker.py.log").read_text().split() == ["1", "2", "2"]  # the first warms up
    assert row["torch_seconds"] == 0.5
    assert row["ratio"] == 0.5 / row["seconds"]


def test_stages_unknown_to_the_other_side_are_timed_alone(tmp_path, machine):
    python = fake_python(tmp_path, "raise SystemExit('not to be started')")
    row = timing.time_stage(Case(with_views(), "finetune_x"), Effort(1, 1, python), machine)
    assert "torch_seconds" not in row


def test_jobs_have_the_sizes_of_our_side():
    stage = cases.stage_of(Case(with_views(), "dfg"))
    job = torch_worker.stage_job(stage, with_views().dfg)
    assert job is not None
    own = {"x_dim": 8, "r_dim": 5, "a_dim": 4, "z_dim": 4, "rows": 100, "batch": 16, "n_classes": 8}
    assert own.items() <= job["sizes"].items()


@pytest.mark.parametrize(
    ("stage", "field", "value"),
    [("drg", "feed", "following"), ("drg", "schedule", "linear"), ("dfg", "schedule", "linear"),
     ("dfg", "use_r", False), ("dfg", "x0_gates_xt", False)],
)  # fmt: skip
def test_options_that_the_other_side_lacks_are_not_compared(stage, field, value):
    config = small()
    config[stage][field] = value
    if field == "schedule":
        config[stage].beta_max = 0.9
    with pytest.raises(InputError, match=rf"config\.{stage}\.{field}: {value!r}, but PyTorch's side"):
        torch_worker.stage_job(cases.stage_of(Case(config, stage)), config[stage])


def test_a_stage_that_cannot_be_compared_is_timed_alone(tmp_path, machine):
    config = small()
    config.drg.feed = "following"
    python = fake_python(tmp_path, "raise SystemExit('not to be started')")
    with pytest.raises(InputError, match=r"config\.drg\.feed: 'following', but PyTorch's side"):
        timing.time_stage(Case(config, "drg"), Effort(1, 1, python), machine)
    assert "torch_seconds" not in timing.time_stage(Case(config, "drg"), Effort(1, 1), machine)


def test_a_worker_that_ends_is_reported_by_its_last_words(tmp_path):
    python = fake_python(tmp_path, "raise SystemExit('no torch here')")
    with (
        pytest.raises(InputError, match="ended with code 1: no torch here"),
        torch_worker.open_worker(python, {"stage": "drg"}),
    ):
        pass
    late = fake_python(tmp_path, 'print("{}", flush=True); raise SystemExit("too late")')
    with pytest.raises(InputError, match="too late"), torch_worker.open_worker(late, {"stage": "drg"}):
        pass


def test_a_python_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="--torch-python /nowhere/python: No such file"):
        torch_worker.open_worker("/nowhere/python", {"stage": "drg"}).__enter__()
