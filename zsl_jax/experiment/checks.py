"""Refuses configurations that cannot work before anything is written."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from zsl_jax import data
from zsl_jax.config.options import MOST_SEED
from zsl_jax.data import rows as row_sources
from zsl_jax.data.dataset import Dataset, Part
from zsl_jax.errors import InputError
from zsl_jax.evaluation import fits
from zsl_jax.evaluation.rows import embed, input_of, kind_of
from zsl_jax.experiment import made_views
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Method, Params, Spec, Tables, TrainState, hyper_parameters
from zsl_jax.training import feed, imported, workdir
from zsl_jax.training.parallel import STREAMS_REFUSED

log = logging.getLogger(__name__)

UPSTREAM = ("validated", "last", "oracle")
SELECT = ("AUSUC", "H")
LOWEST = {
    "": {"seed": 0, "log_every": 1, "checkpoint_every": 0, "memory_mb": 0},
    "eval": {"first": 0, "every": 0, "classifier_epochs": 0, "classifier_batch": 0, "chunk_rows": 1, "memory_mb": 1},
}
LOWEST_IN_PROTOTYPE = {"hidden": 1, "epochs": 1, "batch": 1, "decay_every": 1}
LOWEST_IN_STAGE = {
    "epochs": 0, "batch_size": 0, "critic_iter": 1, "syn_num": 1, "eval_every": 1, "patience": 0, "steps_per_epoch": 0,
}  # fmt: skip
LOWEST_SIZES = {  # 0: as wide as the semantics, or none; of a net, as suits the features
    "z_dim": 0, "embed_dim": 0, "time_dim": 0, "categories": 0, "continuous": 0, "n_steps": 1, "width": 0,
    "generator_width": 0, "critic_width": 0, "decoder_width": 0, "encoder_width": 0,
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
    kinds = {config.eval.classifier}
    for space in config.eval.spaces:
        if ":" in space:
            _check_choice(f"eval.spaces: classifier of {space!r}", kind_of(space), fits.KINDS)
            kinds.add(kind_of(space))
    if not 0 <= config.eval.shrinkage <= 1:
        raise InputError(f"config.eval.shrinkage: {config.eval.shrinkage}; a share from 0 to 1 is needed")
    _check_choice("upstream", config.upstream, UPSTREAM)
    _check_choice("eval.select", config.eval.select, SELECT)
    if config.eval.seen_factor <= 0 or (config.eval.seen_factor != 1 and kinds != {"prototype"}):
        raise InputError(
            f"config.eval.seen_factor: {config.eval.seen_factor} with classifier {sorted(kinds)}; a factor "
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
    words = 0 if dataset.attribute_vectors is None else dataset.attribute_vectors.shape[1]
    n_classes, a_dim = dataset.semantics.shape
    return Spec({name: view.shape[1:] for name, view in dataset.views.items()}, a_dim, n_classes, words)


def rehearse(config, dataset: Dataset) -> None:
    """Goes through all stages on shapes alone, see `outlines`.

    Raises:
      InputError: a stage cannot work with these sizes or without the stages before it, batches are larger than the
        training rows of a task, or a task cannot be had.
    """
    rows = data.training_rows(dataset, config.data)
    methods = [outline.method for outline in outlines(config, spec_of(dataset)).values()]
    for name, method in zip(config.stages, methods, strict=True):
        if not config[name].epochs and method.kind != "view":
            raise InputError(f"config.{name}.epochs: 0; only a stage that makes a view can do without training")
        part = Part(dataset.views, dataset.labels).take(rows[:1]).only(method.views)
        n_bytes = len(rows) * sum(map(row_sources.n_bytes, part.views.values()))
        if config.parallel.mode == "pmap" and (
            feed.must_stream(part, config.memory_mb) or n_bytes > config.memory_mb * 2**20
        ):
            raise InputError(STREAMS_REFUSED)
    _check_rows(config, dataset, "there are", rows, methods)
    for draw in range(len(data.validation_classes(dataset, config.data)) if config.validate else 0):
        rows, _, _ = data.validation_rows(dataset, config.data, config.seed, draw)
        _check_rows(config, dataset, "the validation task has", rows, methods)
    if not methods[-1].is_scored:
        raise InputError(f"config.stages: {tuple(config.stages)} ends with a stage that can't be scored")
    _check_offered("spaces", config.eval.spaces, [method.spaces for method in methods])
    _check_offered("samplers", config.eval.samplers, [method.samplers for method in methods])


def _check_rows(config, dataset: Dataset, what: str, rows: np.ndarray, methods: Iterable[Method]) -> None:
    """Every stage of a task must have a batch of rows, after those that it holds out."""
    for name, method in zip(config.stages, methods, strict=True):
        section, labels = config[name], dataset.labels[rows]
        holds_out = not method.is_scored
        count = int(made_views.trained_on(labels, section.holdout, config.seed).sum()) if holds_out else len(rows)
        if section.epochs and count < section.batch_size:
            raise InputError(
                f"config.{name}.batch_size: {section.batch_size}, but {what} {count} training rows"
                + (f", {len(rows) - count} of {len(rows)} held out" if holds_out else "")
            )


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
        entry = registry.find(name)
        own = raw if entry.raw else spec
        method = registry.build(config, name, own)
        upstream = {earlier: one.params for earlier, one in found.items() if one.method.kind != "view"}
        state = _state_shapes(method, own, upstream, hyper_parameters(config[name], entry.numbers))
        params = jax.eval_shape(method.inference, state)
        if method.produces:
            spec = spec.with_view(method.produces, embedded_shape(method, params, own, method.produces))
        found[name] = Outline(method, params, state)
    return found


def check_imports(config, dataset: Dataset, folder: Path) -> None:
    """Refuses a configuration that imported nets don't fit; does nothing where none were imported.

    Raises:
      InputError: sizes differ, with the options to set; or the run is to have a validation task.
    """
    names = imported.stages(folder, config.stages)
    if not names:
        return
    if config.validate:
        raise InputError(
            f"config.validate: True, but {' and '.join(names)} in {folder} was imported, trained on all seen classes, "
            "so nothing could be validated; use --config.validate=False --config.upstream=last"
        )
    there, found = imported.read_config(folder), outlines(config, spec_of(dataset))
    for name in names:
        arrays, needed = imported.read_arrays(folder, name) or {}, set(found[name].params)
        options = _structure_differences(there, config, name)
        trees = imported.trees(found[name].state)
        imported.require_fit(imported.file_of(folder, name), arrays, trees, needed, options)


def _structure_differences(there: dict[str, Any], config, name: str) -> str:
    """The fields of a stage's section that may decide sizes and differ from those that nets were imported with."""
    ignored = [f"{name}.{field}" for field in (*registry.find(name).numbers, *LOWEST_IN_STAGE, "classifier_lr")]
    return workdir.differences({name: there.get(name)}, {name: config[name].to_dict()}, ignored)


def _state_shapes(method: Method, spec: Spec, upstream: dict[str, Params], hyper: dict[str, np.ndarray]) -> TrainState:
    shapes = ((spec.n_classes, spec.a_dim), (spec.n_classes,), (spec.a_dim, spec.word_dim))
    dtypes = (np.float32, np.bool_, np.float32)
    tables = Tables(*map(jax.ShapeDtypeStruct, shapes, dtypes))
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(method.init, key, upstream, hyper, tables)


def embedded_shape(method: Method, params: Any, spec: Spec, space: str) -> tuple[int, ...]:
    """Shape of one row of what a method makes of the views of a data set of the sizes `spec`."""
    views = {name: jax.ShapeDtypeStruct((1, *shape), np.float32) for name, shape in spec.views.items()}
    return jax.eval_shape(lambda given, one: embed(method, given, one, space), params, views).shape[1:]


def _check_offered(what: str, asked: Iterable[str], offered: list[tuple[str, ...]]) -> None:
    """The last stage must offer something that is asked for; names that no stage offers are left out, and said."""
    last = offered[-1]
    if not any(offered):  # of methods that score directly
        return
    if last and not {input_of(name) for name in asked} & set(last):
        raise InputError(f"config.eval.{what}: {tuple(asked)}; the last stage offers {last}")
    for name in asked:
        if not any(input_of(name) in names for names in offered):
            log.warning("config.eval.%s: no stage offers %r, left out", what, name)
