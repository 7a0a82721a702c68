"""From finished runs to `result.json` and to what the figures show."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.data.dataset import Task
from zsl_jax.evaluation import baselines, metrics, protocol
from zsl_jax.evaluation.detail import detail
from zsl_jax.evaluation.scoring import Scorer
from zsl_jax.experiment import cautions, settling
from zsl_jax.experiment.problems import Runs, Trained, eval_options
from zsl_jax.train_steps.method import Params
from zsl_jax.training.stage import Stage, load_inference

TUNED_ON_ALL_SEEN: dict[str, str] = {  # files that other programs made, and how
    **dict.fromkeys(("ce_ce", "con_paco", "supcon256"), "fine-tuned"),
    "lowlevel512": "principal components fitted",
}
VIEW_NAMES = {"x": "features", "r": "representations", "image": "pictures", "map": "maps"}
ROWS_PER_CLASS = 100  # synthetic rows of each unseen class in the picture of features


class Synthetic(NamedTuple):
    """Synthetic rows [m, D] of a view ("x" or "r") and their classes [m]."""

    view: str
    rows: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run's result and the material of its figures.

    Attributes:
      result: see README, result.json (without configuration and versions).
      task: the test task, for names and real rows.
      detail: per-class accuracies, confusion and seen-unseen curve of the headline (`zsl_jax.evaluation.detail`).
      synthetic: synthetic rows of the unseen classes; None where the last stage classifies directly.
      histories: by run, last scores of each evaluation {"epoch", "scores": {space: scores}}.
      chosen: epoch where T1, H and AUSUC of the headline's space were found, by score, by protocol.
    """

    result: dict[str, Any]
    task: Task
    detail: dict[str, np.ndarray]
    synthetic: Synthetic | None
    histories: dict[str, list[dict[str, Any]]]
    chosen: dict[str, dict[str, int]]


def conclude(config, runs: Runs) -> Outcome:
    """Gathers the scores of all protocols, the headline, baselines and the details of the headline."""
    last, choices = runs.test.last, runs.choices.get(runs.test.last.name, {})
    rows = {name: protocols(found, runs.choices.get(name, {})) for name, found in scored(runs.test).items()}
    headline = protocol.headline(rows[last.name], choices)
    found = headline["found"]
    details = details_at(config, runs, headline["space"], found)
    result = {
        "method": config.method,
        "dataset": describe(runs),
        "seed": config.seed,
        "validation": validation(config, runs),
        "protocols": rows.pop(last.name),
        "headline": headline | class_level(details, runs.test.task, config.seed),
        "seen": {name: found[-1]["scores"]["seen"] for name, found in scored(runs.test).items()},
        "stages": rows,
        "baselines": closed_forms(config, runs),
        "nearest": nearest(config, runs, headline["space"], found["H"]),
        "seconds": {trained.name: trained.seconds for trained in (runs.test, *runs.validation)},
    }
    result["warnings"] = list(cautions.of(result, config.upstream))
    params = load_inference(last, found["H"]["epoch"])
    synthetic = synthesise_unseen(last, params, runs.test.task)
    found = chosen_epochs(result["protocols"], headline["space"], runs.test.evaluations[last.name])
    return Outcome(result, runs.test.task, details, synthetic, histories(runs), found)


def scorer_of(config, runs: Runs) -> Scorer:
    """What scores the last stage on the test task."""
    last = runs.test.last
    return Scorer(last.method, runs.test.task, eval_options(config, last.name, last.method))


def details_at(config, runs: Runs, space: str, found: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`detail` at the headline's place of U, S and H, but what belongs to T1 at T1's own place."""
    last, scorer = runs.test.last, scorer_of(config, runs)

    def at(place: Mapping[str, Any]) -> dict[str, np.ndarray]:
        params, key = load_inference(last, place["epoch"]), last.evaluation_key(place["epoch"])
        return detail(scorer, params, key, space, place["sampler"], place["classifier_epoch"])

    generalised = at(found["H"])
    of_t1 = generalised if found["T1"] == found["H"] else at(found["T1"])
    return generalised | {name: of_t1[name] for name in ("zsl_accuracy", "confusion")}


def class_level(details: dict[str, np.ndarray], task: Task, seed: int) -> dict[str, Any]:
    """Accuracy of each class at the headline, and 95 % intervals of its scores over classes, in percent."""
    accuracies = {part: details[f"{part}_accuracy"] for part in ("seen", "unseen", "zsl")}
    classes = {"seen": task.seen, "unseen": task.unseen, "zsl": task.unseen}
    names = {part: [task.class_names[number] for number in numbers] for part, numbers in classes.items()}
    present = {part: values[np.isfinite(values)] for part, values in accuracies.items()}
    intervals = metrics.intervals(present["seen"], present["unseen"], present["zsl"], seed)
    return {
        "per_class": {part: dict(zip(names[part], (100 * accuracies[part]).tolist(), strict=True)) for part in names},
        "intervals": {name: [100 * bound for bound in bounds] for name, bounds in intervals.items()},
    }


def validation(config, runs: Runs) -> dict[str, Any]:
    """What the validation task said: its draws of classes, and what was chosen where, by stage and space.

    Each choice has its place, the mean scores there, and "draws", the score that chose on each draw.
    """
    names = runs.dataset.class_names
    draws = [
        {
            "unseen": [names[number] for number in one.task.unseen],
            "rows": [len(part) for part in (one.task.train, one.task.test_seen, one.task.test_unseen)],
        }
        for one in runs.validation
    ]
    chosen = protocol.best_space(runs.choices.get(runs.test.last.name, {}))
    return {"draws": draws, "select": config.eval.select, "space": chosen, "stages": runs.choices} if draws else {}


def nearest(config, runs: Runs, space: str, place: Mapping[str, Any]) -> dict[str, Any]:
    """The 1-nearest neighbour among the headline's rows."""
    last = runs.test.last
    params, key = load_inference(last, place["epoch"]), last.evaluation_key(place["epoch"])
    return baselines.nearest_neighbour(scorer_of(config, runs), params, key, space, place["sampler"])


def scored(trained: Trained) -> dict[str, Sequence[dict]]:
    """Evaluations of the stages that are scored."""
    stages = trained.stages.items()
    return {name: trained.evaluations[name] for name, stage in stages if stage.method.is_scored}


def protocols(evaluations: Sequence[dict], choices: dict) -> dict[str, Any]:
    """Scores of one stage by protocol and space."""
    rows = {"oracle": protocol.oracle(evaluations), "last": protocol.last(evaluations)}
    return rows | ({"validated": protocol.validated(evaluations, choices)} if choices else {})


def describe(runs: Runs) -> dict[str, Any]:
    """What the scores were made on."""
    dataset, task = runs.dataset, runs.test.task
    parts = {"train": task.train, "test_seen": task.test_seen, "test_unseen": task.test_unseen}
    sizes = {
        "seen_classes": len(task.seen),
        "unseen_classes": len(task.unseen),
        "semantics": task.semantics.shape[1],
        **{name: shape_of(task, view) for view, name in VIEW_NAMES.items() if view in task.train.views},
        **{f"{name}_rows": len(part.labels) for name, part in parts.items()},
    }
    made = [stage.method.produces for stage in runs.test.stages.values() if stage.method.produces]
    return {
        "name": dataset.name,
        "features": dataset.features,
        "representations": dataset.representations,
        "fine_tuned": made,
        "semantics": dataset.described_by,
        "fingerprint": dataset.fingerprint(),
        "sizes": sizes,
        "notes": [*dataset.notes, *leaks(runs), *foreign(runs), *unscored(task)],
    }


def shape_of(task: Task, view: str) -> int | str:
    """Width of a row of a view, or its shape as text where it is no vector."""
    shape = task.train.views[view].shape[1:]
    return shape[0] if len(shape) == 1 else " x ".join(map(str, shape))


def leaks(runs: Runs) -> list[str]:
    """What makes validated scores look better than they are."""
    found = [name for name in runs.dataset.origins.values() if name in TUNED_ON_ALL_SEEN] if runs.validation else []
    return [f"{name}: {TUNED_ON_ALL_SEEN[name]} on all of trainval, the validation classes included" for name in found]


def unscored(task: Task) -> list[str]:
    """Classes that have no test row, over which no mean goes."""
    parts = {"seen": (task.test_seen, task.seen), "unseen": (task.test_unseen, task.unseen)}
    found = []
    for name, (part, classes) in parts.items():
        count = len(np.setdiff1d(classes, part.labels))
        if count and len(part):
            found.append(f"{count} of {len(classes)} {name} classes have no test row: means are over the others")
    return found


def foreign(runs: Runs) -> list[str]:
    """Which stages the run did not train."""
    return [
        f"stage {name}: nets imported, not trained by this run (SHA-256 {digest[:12]})"
        for name, digest in runs.test.imported.items()
    ]


def closed_forms(config, runs: Runs) -> dict[str, Any]:
    """Chance and closed-form linear methods on the same views, chosen on the validation task if there is one.

    On a view that stages made there are as many draws of validation classes as these stages were trained on, on a view
    of the data more.
    """
    test, made = runs.test.raw_task, [stage.method.produces for stage in runs.test.stages.values()]
    found, label = {"chance": baselines.chance(test)}, "" if runs.validation else " (oracle)"
    for view in ("x", "r"):
        if view in test.train.views:
            draws = [one.raw_task for one in runs.validation]
            if draws and view not in made:
                draws = settling.validation_tasks(config, runs.dataset)
            scores = baselines.closed_forms(draws, test, view)
            found |= {f"{name} {view}{label}": one for name, one in scores.items()}
    return found


def synthesise_unseen(stage: Stage, params: dict[str, Params], task: Task) -> Synthetic | None:
    """Some rows of each unseen class, of the view that the stage makes; None if it makes none."""
    if stage.method.synthesize is None:
        return None
    labels = np.repeat(task.unseen, ROWS_PER_CLASS)
    keys = jax.random.split(stage.evaluation_key(stage.epochs), len(labels))
    semantics = jnp.asarray(task.semantics[labels])
    made = stage.method.synthesize(params, semantics, keys, stage.method.samplers[0])
    view = "x" if "x" in made else "r"
    return Synthetic(view, np.asarray(made[view]), labels)


def chosen_epochs(rows: dict[str, Any], space: str, evaluations: Sequence[dict]) -> dict[str, dict[str, int]]:
    """By score, by protocol: the epoch where a score of a space was found; the oracle's AUSUC is its own best."""
    t1, h = ({name: row[space]["found"][of]["epoch"] for name, row in rows.items()} for of in ("T1", "H"))
    best, _ = protocol.best(evaluations, space, "AUSUC")
    return {"T1": t1, "H": h, "AUSUC": h | {"oracle": best.epoch}}


def histories(runs: Runs) -> dict[str, list[dict[str, Any]]]:
    """For each run, the last stage's scores after each evaluated epoch."""
    return {
        one.name: [{"epoch": e["epoch"], "scores": protocol.last([e])} for e in one.evaluations[one.last.name]]
        for one in (runs.test, *runs.validation)
    }
