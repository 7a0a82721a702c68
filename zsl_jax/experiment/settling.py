"""What a configuration leaves to the data: settled when they have been loaded, the same for the same data and seed."""

import contextlib
import dataclasses
from typing import Any

import numpy as np

from zsl_jax import data
from zsl_jax.config.options import changed, flat
from zsl_jax.data.dataset import Dataset, Task
from zsl_jax.data.scaling import SEMANTICS, VALIDATED
from zsl_jax.data.tasks import ENOUGH_CLASSES, is_vectors
from zsl_jax.errors import InputError
from zsl_jax.evaluation import baselines

DRAWS = 10  # of validation classes, for closed forms


def settle(config: Any, dataset: Dataset) -> tuple[Any, Dataset]:
    """The configuration and the data set with everything settled that was left open; what was chosen is a note."""
    if config.data.semantics_scaling != VALIDATED:
        return config, dataset
    scores = validation_scores(config, dataset)
    kind = max(scores, key=lambda kind: scores[kind])
    said = ", ".join(f"{name} {score:.1f}" for name, score in scores.items())
    note = f"descriptions {SEMANTICS[kind] or 'as given'}: of ESZSL's T1 on the validation task ({said}) the best"
    settled = changed(config, {"data.semantics_scaling": kind}).lock()
    return settled, dataclasses.replace(dataset.with_semantics(kind), notes=(*dataset.notes, note))


def values(asked: Any, settled: Any) -> dict[str, Any]:
    """The fields that were settled, by dotted name."""
    before = flat(asked.to_dict())
    return {name: value for name, value in flat(settled.to_dict()).items() if value != before[name]}


def validation_tasks(config: Any, dataset: Dataset) -> list[Task]:
    """The validation task with nothing scaled: of few classes `DRAWS` draws, since closed forms are quick."""
    few = len(np.unique(dataset.labels[dataset.splits.val])) < ENOUGH_CLASSES
    fields = {"data.scaling": "none"} | ({"data.validation_draws": DRAWS} if few else {})
    options = changed(config, fields).data
    draws = range(len(data.validation_classes(dataset, options)))
    return [data.validation_task(dataset, options, config.seed, draw) for draw in draws]


def validation_scores(config: Any, dataset: Dataset) -> dict[str, float]:
    """Mean T1 of ESZSL on the validation task by kind of scaling; without a kind that the descriptions don't allow."""
    view = next((name for name, view in dataset.views.items() if is_vectors(view)), None)
    variants = {}
    for kind in SEMANTICS:
        with contextlib.suppress(InputError):  # a class of zeros has no direction
            variants[kind] = dataset.with_semantics(kind).semantics
    if view is None:
        return dict.fromkeys(variants, 0.0)
    tasks = validation_tasks(config, dataset)
    tried = {kind: [dataclasses.replace(task, semantics=of) for task in tasks] for kind, of in variants.items()}
    found = baselines.choose(tried, view, ["ESZSL"])
    return {kind: float(np.mean(choice["ESZSL"].t1)) for kind, choice in found.items()}
