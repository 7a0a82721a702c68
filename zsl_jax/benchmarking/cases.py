"""What is timed: stages of configurations as a run would train them, without the training that comes before them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from zsl_jax import data
from zsl_jax.data.dataset import Dataset
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks, problems
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Params, Spec
from zsl_jax.training import parallel
from zsl_jax.training.lockstep import DeviceState, Program, Request
from zsl_jax.training.stage import Stage, raw, require_rows, shapes, starting

WEIGHT_STD = 0.02  # of weights that stand in for trained ones


@dataclasses.dataclass(frozen=True)
class Case:
    """A stage of a configuration, trained by runs that differ in their seed alone; `label` tells it from its like."""

    config: Any
    stage: str
    seeds: int = 1
    label: str = ""

    @property
    def name(self) -> str:
        """The stage and the label."""
        return f"{self.stage} {self.label}".strip()


def make_cases(config: Any, stages: Sequence[str], seeds: int, scale: str) -> list[Case]:
    """The cases that flags ask for, each checked before the first is timed.

    Args:
      config: a whole configuration.
      stages: names of the stages; none: all that make no view.
      seeds: runs trained as one program.
      scale: "DIMENSION=V1,V2,..." for a case of each value of a dimension of `SCALES`; empty: one case.

    Raises:
      InputError: an unknown stage or dimension, or a case that cannot be trained.
    """
    dimension, values = parse_scale(scale) if scale else ("", [0])
    require_stages(config, stages)
    found = [Case(config, stage, seeds) for stage in stages or generators(config)]
    cases = [scaled(case, dimension, value) if dimension else case for case in found for value in values]
    for case in cases:
        check(case)
    return cases


def parse_scale(scale: str) -> tuple[str, list[int]]:
    """Dimension and values of DIMENSION=V1,V2,...

    Raises:
      InputError: an unknown dimension, or values that are not numbers above 0.
    """
    dimension, _, listed = scale.partition("=")
    values = listed.split(",")
    if dimension not in SCALES or not all(value.isdecimal() and int(value) for value in values):
        raise InputError(f"--scale {scale}: write it as DIMENSION=V1,V2,... with one of {', '.join(SCALES)}")
    return dimension, [int(value) for value in values]


def require_stages(config: Any, stages: Sequence[str]) -> None:
    """Raises InputError when a stage is unknown or none of the configuration's."""
    for stage in stages:
        registry.find(stage)
        if stage not in config.stages:
            raise InputError(f"--stages: {stage!r} is not in config.stages {tuple(config.stages)}")


def generators(config: Any) -> list[str]:
    """The stages that make no view of the data."""
    checks.check_options(config)
    spec = checks.spec_of(dataset_of(config))
    return [name for name in config.stages if registry.build(config, name, spec).kind != "view"]


def scaled(case: Case, dimension: str, value: int) -> Case:
    """The case with one dimension of another size."""
    copy = dataclasses.replace(case, config=ConfigDict(case.config.to_dict()), label=str(value))
    return SCALES[dimension](copy, value)


def _with_seeds(case: Case, value: int) -> Case:
    return dataclasses.replace(case, seeds=value)


def _with_batch(case: Case, value: int) -> Case:
    case.config[case.stage].batch_size = value
    return case


def _with_devices(case: Case, value: int) -> Case:
    case.config.parallel.devices = value
    return case


def _with_width(case: Case, value: int) -> Case:
    """Of all hidden layers: the fields *_width of the stages' sections."""
    sections = [case.config[name] for name in case.config.stages]
    fields = [(section, field) for section in sections for field in section if field.endswith("_width")]
    if not fields:
        raise InputError(f"--scale width: no stage of {tuple(case.config.stages)} has a field ending in _width")
    for section, field in fields:
        section[field] = value
    return case


def _with_rows(case: Case, value: int) -> Case:
    """Of the configuration's own synthetic sizes, since published presets have a fixed number of rows."""
    case.config.data.source, case.config.data.synthetic.preset = "synthetic", ""
    case.config.data.synthetic.trainval = value
    return case


SCALES: dict[str, Callable[[Case, int], Case]] = {
    "seeds": _with_seeds,
    "batch": _with_batch,
    "devices": _with_devices,
    "width": _with_width,
    "rows": _with_rows,
}


def check(case: Case) -> None:
    """Raises InputError when the case cannot be trained, or not on the devices asked for."""
    checks.check_options(case.config)
    if case.seeds == 1:
        parallel.check_batch_sizes(case.config, layout_of(case))
    elif case.seeds % len(devices_of(case)):
        raise InputError(
            f"--devices: {case.seeds} seeds cannot be spread over {len(devices_of(case))} devices evenly; "
            "use a multiple, or other devices"
        )
    elif case.config.parallel.mode == "pmap":
        raise InputError("config.parallel.mode: 'pmap' trains one run; use 'sharded' for several seeds")
    checks.rehearse(case.config, dataset_of(case.config))


def dataset_of(config: Any) -> Dataset:
    """The configuration's data; the latest stay in memory, since cases mostly share them."""
    return _load(FrozenConfigDict(config.data), config.seed)


@functools.lru_cache(maxsize=1)
def _load(options: FrozenConfigDict, seed: int) -> Dataset:
    return data.load(options, seed)


def devices_of(case: Case) -> parallel.Devices:
    """The devices over which a batch, or several seeds, are spread."""
    return parallel.make_layout(case.config.parallel).devices


def layout_of(case: Case) -> parallel.Layout:
    """Where a run's arrays live: one of several seeds is on one device, until it is stacked with the others."""
    layout = parallel.make_layout(case.config.parallel)
    return layout if case.seeds == 1 else parallel.Sharded(layout.devices[:1])


def stage_of(case: Case) -> Stage:
    """The stage as a run trains it on the test task, without any training before.

    What earlier stages would leave is stood in for by random numbers of the same shapes: parameters by small weights,
    a view of the data by rows in 0..1. How long an iteration takes does not depend on these values.

    Raises:
      InputError: there are fewer training rows than a batch holds.
    """
    config, dataset = case.config, dataset_of(case.config)
    key, layout = jax.random.key(config.seed), layout_of(case)
    problem = problems.Problem(problems.TEST, Path(), data.test_task, key, {}, layout, bars=False)
    views, upstream = dataset, {}
    for name in config.stages[: config.stages.index(case.stage)]:
        stage, _ = problems.make_stage(config, name, dataset, views, problem, upstream)
        if stage.method.produces:
            views = with_random_view(views, stage)
        if stage.method.kind != "view":
            upstream |= {name: random_weights(params_of(stage))}
    stage, _ = problems.make_stage(config, case.stage, dataset, views, problem, upstream)
    require_rows(stage)
    return stage


def params_of(stage: Stage) -> dict[str, Params]:
    """Shapes of the inference parameters that a stage leaves."""
    return jax.eval_shape(stage.method.inference, shapes(stage))


def with_random_view(dataset: Dataset, stage: Stage) -> Dataset:
    """The data set with random rows in 0..1 in place of the view that a stage makes."""
    method = stage.method
    spec = Spec({name: rows.shape[1:] for name, rows in stage.train.views.items()}, 0, 0)
    shape = checks.embedded_shape(method, params_of(stage), spec, method.produces)
    view = np.random.default_rng(0).random((len(dataset.labels), *shape), np.float32)
    return dataset.with_view(method.produces, view, "random")


def random_weights(tree: Any) -> Any:
    """Normal numbers of a tree's shapes and dtypes, of the deviation of fresh weights."""
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: (WEIGHT_STD * random.standard_normal(leaf.shape, np.float32)).astype(leaf.dtype), tree
    )


def requests_of(stage: Stage, seeds: int, iterations: int) -> list[Request]:
    """The first chunk of each seed's run; all train on the same rows."""
    rows, program = stage.rows(), Program(stage.method, stage.batch_size, iterations, stage.layout)
    runs = [dataclasses.replace(stage, key=jax.random.fold_in(stage.key, number)) for number in range(seeds)]
    states = [run.layout.start(*starting(run)) for run in runs]
    return [
        Request(program, DeviceState(state), rows, raw(run.keys()[1]), 0, iterations)
        for run, state in zip(runs, states, strict=True)
    ]


def classifier_widths(case: Case) -> dict[str, int]:
    """Columns of the narrowest and the widest space in which the case's stage is scored; none without spaces."""
    stage = stage_of(case)
    if stage.method.embed is None:
        return {}
    spec = Spec({name: rows.shape[1:] for name, rows in stage.train.views.items()}, 0, 0)
    params, spaces = params_of(stage), problems.eval_options(case.config, case.stage, stage.method).spaces
    widths = {space: checks.embedded_shape(stage.method, params, spec, space)[0] for space in spaces}
    return {
        space: widths[space] for space in (min(widths, key=widths.__getitem__), max(widths, key=widths.__getitem__))
    }
