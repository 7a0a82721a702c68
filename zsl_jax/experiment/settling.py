"""What a configuration leaves to the data: settled when they have been loaded, the same for the same data and seed."""

import contextlib
import dataclasses
from typing import Any

import numpy as np

from zsl_jax import data
from zsl_jax.config import presets
from zsl_jax.config.options import changed, flat
from zsl_jax.data.dataset import Dataset, Task
from zsl_jax.data.scaling import SEMANTICS, VALIDATED
from zsl_jax.data.tasks import ENOUGH_CLASSES, is_vectors
from zsl_jax.errors import InputError
from zsl_jax.evaluation import baselines, protocol

DRAWS = 10  # of validation classes, for closed forms
FEWEST_UNITS, MOST_UNITS = 128, 1024  # hidden units of a net whose width follows the features'
MOST_BATCH = 64
EVALUATIONS = 10
SIZES = ("batch_size", "width", "generator_width", "critic_width", "encoder_width", "decoder_width")
CLASSIFIER_STEPS = 2000  # of a softmax classifier: published epochs suppose hundreds of minibatches in each


def settle(config: Any, dataset: Dataset) -> tuple[Any, Dataset]:
    """The configuration and the data set with everything settled that was left open; what was chosen is a note."""
    config, dataset = settle_semantics(config, dataset)
    found = sizes(config, dataset)
    return (changed(config, found).lock() if found else config), dataset


def settle_semantics(config: Any, dataset: Dataset) -> tuple[Any, Dataset]:
    """How descriptions are scaled: the first of `SEMANTICS` that is not clearly worse than the best over the draws."""
    if config.data.semantics_scaling != VALIDATED:
        return config, dataset
    scores = validation_scores(config, dataset)
    first = int(protocol.may_be_best(np.array(list(scores.values()))).argmax())
    kind = list(scores)[first]
    said = ", ".join(f"{name} {np.mean(t1):.1f}" for name, t1 in scores.items())
    note = f"descriptions {SEMANTICS[kind] or 'as given'}: by ESZSL's T1 on the validation task ({said})"
    settled = changed(config, {"data.semantics_scaling": kind}).lock()
    return settled, dataclasses.replace(dataset.with_semantics(kind), notes=(*dataset.notes, note))


def sizes(config: Any, dataset: Dataset) -> dict[str, Any]:
    """What fields that are 0 become, by dotted name.

    Widths follow the features', fine-tuned ones are as wide as the nets, representations a quarter. A batch is a power
    of two, no more than half of the rows. Epochs follow from `zsl_jax.config.presets.ITERATIONS`, and `EVALUATIONS`
    evaluations are made. Noise on descriptions below 0 is minus a multiple of their deviation between seen classes.
    """
    if not is_open(config):
        return {}
    rows = trained_rows(config, dataset)
    width = power_of_two(max((view.shape[1] for view in vectors(dataset)), default=FEWEST_UNITS) / 4)
    found: dict[str, Any] = {}
    for name in config.stages:
        section = config[name]
        batch = section.batch_size or power_of_two(min(MOST_BATCH, min(rows) / 2), below=True)
        wanted = dict.fromkeys(SIZES, width) | {
            "width": width if name == "finetune_x" else width // 4,
            "batch_size": batch,
        }
        if name in presets.ITERATIONS:
            wanted["epochs"] = max(round(presets.ITERATIONS[name] * batch / min(rows)), 1)
        if section.get("semantic_noise", 0) < 0:
            seen = dataset.semantics[dataset.seen]
            deviation = float((seen - seen.mean(0)).std())
            found[f"{name}.semantic_noise"] = round(-section.semantic_noise * deviation, 6)
        found |= {f"{name}.{field}": value for field, value in wanted.items() if section.get(field) == 0}
    return found | evaluations(config, dataset, found, max(rows))


def is_open(config: Any) -> bool:
    """Whether any field follows the data."""
    sections = {name: config[name] for name in config.stages}
    generators = [section.epochs for name, section in sections.items() if name in presets.ITERATIONS]
    others = [section[field] for section in sections.values() for field in section if field in SIZES]
    return 0 in [*generators, *others, config.eval.every, config.eval.classifier_epochs]


def evaluations(config: Any, dataset: Dataset, found: dict[str, Any], rows: int) -> dict[str, Any]:
    """When a run is scored, and how long softmax classifiers are trained, where these fields are 0."""
    last, wanted = config.stages[-1], {}
    epochs = found.get(f"{last}.epochs", config[last].epochs)
    if not config.eval.every:
        every = max(epochs // EVALUATIONS, 1)
        judged = config.validate or dataset.splits.test_unseen.size
        wanted = {"eval.every": every, "eval.first": every - 1 if judged else max(epochs - 1, 0)}
    if not config.eval.classifier_epochs:
        batches = -(-rows // (config.eval.classifier_batch or config[last].get("syn_num", 1)))
        wanted["eval.classifier_epochs"] = max(-(-CLASSIFIER_STEPS // batches), 1)
    return wanted


def trained_rows(config: Any, dataset: Dataset) -> list[int]:
    """Numbers of rows that are trained on: of the test task, and of each draw of the validation task."""
    draws = range(len(data.validation_classes(dataset, config.data)) if config.validate else 0)
    made = (data.validation_rows(dataset, config.data, config.seed, draw)[0] for draw in draws)
    return [len(data.training_rows(dataset, config.data)), *map(len, made)]


def vectors(dataset: Dataset) -> list[np.ndarray]:
    """The views that are vectors in memory."""
    return [view for view in dataset.views.values() if is_vectors(view)]


def power_of_two(value: float, below: bool = False) -> int:
    """The power of two nearest to a value, or the largest `below` it; of widths no fewer and no more than usual."""
    if below:
        return 2 ** max(int(np.floor(np.log2(max(value, 1)))), 0)
    return int(np.clip(2 ** round(np.log2(value)), FEWEST_UNITS, MOST_UNITS))


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


def validation_scores(config: Any, dataset: Dataset) -> dict[str, tuple[float, ...]]:
    """T1 of ESZSL on each draw of validation classes by kind of scaling, but for what the descriptions don't allow."""
    view = next((name for name, view in dataset.views.items() if is_vectors(view)), None)
    variants = {}
    for kind in SEMANTICS:
        with contextlib.suppress(InputError):  # a class of zeros has no direction
            variants[kind] = dataset.with_semantics(kind).semantics
    if view is None:
        return dict.fromkeys(variants, (0.0,))
    tasks = validation_tasks(config, dataset)
    tried = {kind: [dataclasses.replace(task, semantics=of) for task in tasks] for kind, of in variants.items()}
    found = baselines.choose(tried, view, ["ESZSL"])
    return {kind: choice["ESZSL"].t1 for kind, choice in found.items()}
