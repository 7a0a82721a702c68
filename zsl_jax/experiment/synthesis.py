"""The generator that a workdir holds, read without any data: the sizes of the data are found in the nets."""

import dataclasses
from typing import Any

import jax
import numpy as np

from zsl_jax.data.dataset import Part
from zsl_jax.errors import InputError
from zsl_jax.experiment import problems, rescoring
from zsl_jax.experiment.checks import Outline, outlines, spec_of
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Method, Params, Spec, Tables, hyper_parameters
from zsl_jax.training.parallel import make_layout
from zsl_jax.training.stage import Evaluation, Stage, load_inference


@dataclasses.dataclass(frozen=True)
class Generator:
    """A generator that was trained or imported.

    Attributes:
      stage: its stage's name.
      method: what synthesises.
      params: its inference parameters.
      epoch: training epoch (0-based) of these parameters.
      a_dim: numbers that describe a class.
      widths: numbers in a row of what it makes, by view.
      views: names of the methods that made the views it learnt from, by view; a view of the data themselves has none.
      imported: digest of the nets' file; "" where the run trained them.
    """

    stage: str
    method: Method
    params: dict[str, Params]
    epoch: int
    a_dim: int
    widths: dict[str, int]
    views: dict[str, str]
    imported: str


def load(workdir: rescoring.Workdir, config: Any) -> Generator:
    """The generator of a run's last finished stage, in the state of the headline, or else in its last one.

    Args:
      workdir: of the run.
      config: its configuration, perhaps with another data section: the data are looked at where the workdir does not
        say their sizes.

    Raises:
      InputError: no stage is finished that synthesises, or files are damaged.
    """
    found, upstream, views = None, {}, {}
    spec, layout = workdir.sizes or spec_of(rescoring.load(config, workdir.path)[1]), make_layout(config.parallel)
    config = workdir.config
    with rescoring.of_this_version(workdir.path):
        stages = outlines(config, spec)
    problem = problems.test_problem(workdir.path, jax.random.key(config.seed), {}, layout, bars=False)
    for name, outline in stages.items():
        left = rescoring.finished_stage(bare_stage(config, name, outline, spec, problem, upstream))
        if left is None:
            break
        if outline.method.produces:
            views |= {outline.method.produces: outline.method.name}
        if outline.method.kind != "view":
            upstream = upstream | {name: load_inference(left.stage, rescoring.handed_on(config, left, problem))}
        found = left if outline.method.is_scored else found
    if found is None or found.stage.method.synthesize is None:
        raise InputError(f"{workdir.path}: no finished stage that synthesises; train it first, or import its nets")
    stage, epoch = found.stage, chosen_epoch(workdir, found.stage)
    params = load_inference(stage, epoch)
    widths = widths_of(stage.method, params, spec.a_dim)
    return Generator(stage.name, stage.method, params, epoch, spec.a_dim, widths, views, found.imported)


def chosen_epoch(workdir: rescoring.Workdir, stage: Stage) -> int:
    """The epoch of the headline; of a run without a result, or of another stage than its last one, the last epoch.

    Raises:
      InputError: the result does not say it.
    """
    if workdir.result is None or stage.name != workdir.config.stages[-1]:
        return stage.epochs - 1
    try:
        found = workdir.result["headline"]["found"]
        return int(found.get("H", found)["epoch"])  # earlier versions named one place
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{workdir.path}: result.json says no epoch of its headline; restore it") from error


def bare_stage(
    config: Any, name: str, outline: Outline, spec: Spec, problem: problems.Problem, upstream: dict[str, Params]
) -> Stage:
    """A stage without rows, enough to read its nets; its tables are zeros."""
    section, method = config[name], outline.method
    semantics, vectors = (np.zeros((n, spec.a_dim), np.float32) for n in (spec.n_classes, spec.word_dim))
    tables = Tables(semantics, np.zeros(spec.n_classes, bool), vectors.T)
    when = {"eval_first": config.eval.first, "eval_every": config.eval.every}
    if not method.is_scored:
        when = {"eval_first": 0, "eval_every": section.eval_every, "patience": section.patience}
    return Stage(
        name=name,
        method=method,
        train=Part({}, np.zeros(0, np.int32)),
        tables=tables,
        digest="",
        key=problem.key,
        directory=problem.directory,
        batch_size=section.batch_size,
        epochs=section.epochs,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        upstream=upstream,
        evaluate=_unscored,
        hyper=hyper_parameters(section, registry.find(name).numbers),
        layout=problem.layout,
        **when,
    )


def _unscored(params: dict[str, Params], epoch: int, key: jax.Array) -> Evaluation:
    raise AssertionError("a stage without rows cannot be scored")


def widths_of(method: Method, params: dict[str, Params], a_dim: int) -> dict[str, int]:
    """Numbers in a row of what a method synthesises, by view."""
    assert method.synthesize is not None
    synthesize, sampler = method.synthesize, method.samplers[0]
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    semantics = jax.ShapeDtypeStruct((1, a_dim), np.float32)
    made = jax.eval_shape(lambda *given: synthesize(given[0], given[1], given[2], sampler), params, semantics, keys)
    return {view: made[view].shape[1] for view in ("x", "r") if view in made}
