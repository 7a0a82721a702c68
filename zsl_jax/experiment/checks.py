"""Refuses configurations that cannot work before anything is written."""

import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from zsl_jax import data
from zsl_jax.config.options import MOST_SEED
from zsl_jax.data.dataset import Dataset
from zsl_jax.errors import InputError
from zsl_jax.evaluation import fits
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Method, Params, Spec, TrainState, hyper_parameters
from zsl_jax.training import imported, writers

log = logging.getLogger(__name__)

UPSTREAM = ("validated", "last", "oracle")
SELECT = ("AUSUC", "H")
LOWEST = {
    "": {"seed": 0, "log_every": 1, "checkpoint_every": 0},
    "eval": {"first": 0, "every": 1, "classifier_epochs": 1, "classifier_batch": 0, "chunk_rows": 1, "memory_mb": 1},
}
LOWEST_IN_PROTOTYPE = {"hidden": 1, "epochs": 1, "batch": 1, "decay_every": 1}
LOWEST_IN_STAGE = {"epochs": 1, "batch_size": 1, "critic_iter": 1, "syn_num": 1, "eval_every": 1, "patience": 0}
LOWEST_SIZES = {  # 0: as wide as the semantics, or none
    "z_dim": 0, "embed_dim": 0, "time_dim": 0, "categories": 0, "continuous": 0, "n_steps": 1, "width": 1,
    "generator_width": 1, "critic_width": 1, "decoder_width": 1, "encoder_width": 1,
}  # fmt: skip


def check_options(config) -> None:
    """Refuses numbers out of range and options that contradict each other.

    Raises:
      InputError: naming the option, what was found and what to do.
    """
    if not config.stages:
        raise InputError("config.stages: empty; name at least one stage, e.g. ('drg', 'dfg')")
    if len(set(config.stages)) < len(config.stages):
        raise InputError(f"config.stages: {tuple(config.stages)}; name each stage once")
    for name in config.stages:
        registry.find(name)
        if name not in config:
            raise InputError(f"config.{name}: the options of stage {name!r} are missing")
    for section, lowest in (LOWEST | dict.fromkeys(config.stages, LOWEST_IN_STAGE | LOWEST_SIZES)).items():
        _check_range(section, config[section] if section else config, lowest)
    _check_range("eval.prototype", config.eval.prototype, LOWEST_IN_PROTOTYPE)
    _check_choice("eval.classifier", config.eval.classifier, fits.KINDS)
    _check_choice("upstream", config.upstream, UPSTREAM)
    _check_choice("eval.select", config.eval.select, SELECT)
    if config.eval.seen_factor <= 0 or (config.eval.seen_factor != 1 and config.eval.classifier != "prototype"):
        raise InputError(
            f"config.eval.seen_factor: {config.eval.seen_factor} with classifier {config.eval.classifier!r}; a factor "
            "above 0 lowers the scores of prototypes, which are not negative; use 1 with other classifiers"
        )
    if config.stage:
        _check_choice("stage", config.stage, config.stages)
    if config.upstream == "validated" and not config.validate:
        raise InputError("config.upstream: 'validated' needs config.validate=True; or use upstream=last")
    if config.upstream == "oracle" and config.validate:
        raise InputError(
            "config.upstream: 'oracle' chooses a stage's state on the test set, so nothing after it is validated; "
            "use upstream=validated, or config.validate=False"
        )


def _check_range(section: str, options, lowest: dict[str, int]) -> None:
    for field, bound in lowest.items():
        if field in options and not bound <= options[field] <= MOST_SEED:
            name = f"{section}.{field}" if section else field
            limit = f"least {bound}" if options[field] < bound else f"most {MOST_SEED}"
            raise InputError(f"config.{name}: {options[field]}; it must be at {limit}")


def _check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise InputError(f"config.{name}: {value!r}; choose one of {tuple(choices)}")


def spec_of(dataset: Dataset) -> Spec:
    """Sizes of a data set."""
    r_dim = 0 if dataset.r is None else dataset.r.shape[1]
    return Spec(dataset.x.shape[1], r_dim, dataset.semantics.shape[1], len(dataset.semantics))


def rehearse(config, dataset: Dataset) -> None:
    """Goes through all stages on shapes alone, see `outlines`.

    Raises:
      InputError: a stage cannot work with these sizes or without the stages before it, or batches are too large.
    """
    rows = len(data.training_rows(dataset, config.data))
    methods = [outline.method for outline in outlines(config, spec_of(dataset)).values()]
    for name in config.stages:
        if rows < config[name].batch_size:
            raise InputError(f"config.{name}.batch_size: {config[name].batch_size}, but there are {rows} training rows")
    if not methods[-1].is_scored:
        raise InputError(f"config.stages: {tuple(config.stages)} ends with a stage that can't be scored")
    _check_offered("spaces", config.eval.spaces, [method.spaces for method in methods])
    _check_offered("samplers", config.eval.samplers, [method.samplers for method in methods])


class Outline(NamedTuple):
    """A stage's method, the shapes of the inference parameters that it leaves, and those of its states."""

    method: Method
    params: Any
    state: TrainState


def outlines(config, raw: Spec) -> dict[str, Outline]:
    """What all stages would be on data of the sizes `raw`, by name: each is given what the earlier ones would make.

    Raises:
      InputError: a stage cannot work with these sizes or without the stages before it.
    """
    spec, found = raw, {}
    for name in config.stages:
        method = registry.build(config, name, raw)
        method = method if method.produces else registry.build(config, name, spec)
        upstream = {earlier: one.params for earlier, one in found.items() if not one.method.produces}
        state = _state_shapes(method, upstream, hyper_parameters(config[name], method.numbers))
        params = jax.eval_shape(method.inference, state)
        if method.produces:
            spec = dataclasses.replace(spec, **{f"{method.produces}_dim": view_width(method, params, raw)})
        found[name] = Outline(method, params, state)
    return found


def check_imports(config, dataset: Dataset, workdir: Path) -> None:
    """Refuses a configuration that imported nets don't fit; does nothing where none were imported.

    Raises:
      InputError: sizes differ, with the options to set; or the run is to have a validation task.
    """
    names = imported.stages(workdir, config.stages)
    if not names:
        return
    if config.validate:
        raise InputError(
            f"config.validate: True, but {' and '.join(names)} in {workdir} was imported, trained on all seen classes, "
            "so nothing could be validated; use --config.validate=False --config.upstream=last"
        )
    there, found = imported.read_config(workdir), outlines(config, spec_of(dataset))
    for name in names:
        arrays, needed = imported.read_arrays(workdir, name) or {}, set(found[name].params)
        options = _structure_differences(there, config, name, found[name].method)
        imported.require_fit(imported.file_of(workdir, name), arrays, found[name].state.params, needed, options)


def _structure_differences(there: dict[str, Any], config, name: str, method: Method) -> str:
    """The fields of a stage's section that may decide sizes and differ from those that nets were imported with."""
    ignored = [f"{name}.{field}" for field in (*method.numbers, *LOWEST_IN_STAGE, "classifier_lr")]
    return writers.differences({name: there.get(name)}, {name: config[name].to_dict()}, ignored)


def _state_shapes(method: Method, upstream: dict[str, Params], hyper: dict[str, np.ndarray]) -> TrainState:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(method.init, key, upstream, hyper)


def view_width(method: Method, params: Any, raw: Spec) -> int:
    """Columns of the view that a method makes of raw features."""
    assert method.embed is not None
    embed = method.embed
    rows = {"x": jax.ShapeDtypeStruct((1, raw.x_dim), np.float32)}
    return jax.eval_shape(lambda given, views: embed(given, views, method.produces), params, rows).shape[1]


def _check_offered(what: str, asked: Iterable[str], offered: list[tuple[str, ...]]) -> None:
    """The last stage must offer something that is asked for; names that no stage offers are left out, and said."""
    last = offered[-1]
    if last and not set(asked) & set(last):
        raise InputError(f"config.eval.{what}: {tuple(asked)}; the last stage offers {last}")
    for name in asked:
        if not any(name in names for names in offered):
            log.warning("config.eval.%s: no stage offers %r, left out", what, name)
