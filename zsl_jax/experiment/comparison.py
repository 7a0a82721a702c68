"""Scores of a run that are made again, and how they compare with those it recorded."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from zsl_jax.config import options
from zsl_jax.data import columns
from zsl_jax.data.dataset import Dataset
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks, outcome, problems, rescoring, runs
from zsl_jax.training.workdir import RESULT

SCORES = ("protocols", "headline", "seen", "stages", "baselines", "nearest")  # the parts of a result that hold scores
TASK_FIELDS = ("percent", "scaling", "validation_fraction")  # of the data section, which no fingerprint shows
NO_SCORES = ("found", "chosen", "intervals")  # in them: places, choices, and what follows from the scores
MOST_SHOWN = 3


class Comparison(NamedTuple):
    """Recorded scores beside those made again: how many are equal, which differ, which were not made again."""

    equal: int
    different: dict[str, tuple[float, float]]
    lost: list[str]


def score(workdir: rescoring.Workdir, assignments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The result of what was kept, and lines that say how it compares with the recorded one.

    Args:
      workdir: of the run.
      assignments: "field=value" of the data section.

    Raises:
      InputError: no stage is finished that is scored, files are damaged, or the data are missing or don't fit.
    """
    config = with_data(workdir.config, assignments)
    runs.prepare(config)
    config, dataset = rescoring.load(config, workdir.path)
    checks.check_imports(config, dataset, workdir.path)
    require_columns(dataset, workdir)
    other = other_data(workdir, config, dataset.fingerprint())
    found = scored_part(rescoring.read(workdir, config, dataset), workdir)
    again = rescoring.rescore(found, same_data=not other)
    result = rescoring.conclude(config, again) | {"config": config.to_dict()}
    lines = list(remarks(workdir, again))
    if other:
        said = "the scores are of the data at hand, epochs and calibrations as the run chose them"
        return result, [*lines, f"Other data than those of the run ({other}): {said}"]
    what = "the finished stages" if workdir.result is None else RESULT
    return result, [*lines, verdict(compare(recorded_scores(workdir, found), result), what)]


def require_columns(dataset: Dataset, workdir: rescoring.Workdir) -> None:
    """Raises InputError where the data are described by other columns than the run's, or in another order."""
    here, there = dataset.attribute_names, workdir.attribute_names
    columns.joined(dataset.semantics, here, there, dataset.name)
    if here and there and here != there:
        raise InputError(f"{dataset.name}: the columns of its descriptions have another order than the run's")


def other_data(workdir: rescoring.Workdir, config: Any, fingerprint: str) -> str:
    """What tells the data at hand from those of the run; "" if nothing does."""
    if workdir.fingerprint not in ("", fingerprint):
        return f"fingerprint {fingerprint[:12]}, the run's was {workdir.fingerprint[:12]}"
    pairs = [(field, config.data[field], workdir.config.data[field]) for field in TASK_FIELDS]
    return ", ".join(f"{field} {here}, the run's was {there}" for field, here, there in pairs if here != there)


def with_data(config: Any, assignments: Sequence[str]) -> Any:
    """The configuration with other values in its data section.

    Raises:
      InputError: no such field, or a value of another type.
    """
    values = dict(options.parse(config, f"data.{text}", "--data ") for text in assignments)
    return options.changed(config, values)


def scored_part(found: problems.Runs, workdir: rescoring.Workdir) -> problems.Runs:
    """A run's finished stages up to the last one that is scored.

    Raises:
      InputError: none is.
    """
    scored = [name for name, stage in found.test.stages.items() if stage.method.is_scored]
    if not scored:
        raise InputError(
            f"{workdir.path}: nothing to score yet; no stage of {', '.join(workdir.config.stages)} that is scored is "
            "finished on the test task; the command that began the run goes on with it"
        )
    return rescoring.up_to(found, scored[-1])


def recorded_scores(workdir: rescoring.Workdir, found: problems.Runs) -> dict[str, Any]:
    """The scores that the run left: of its result, or of the finished stages."""
    if workdir.result is not None:
        return {name: workdir.result.get(name) for name in SCORES}
    rows = {
        name: outcome.protocols(evaluations, found.choices.get(name, {}))
        for name, evaluations in outcome.scored(found.test).items()
        if evaluations
    }
    return {"protocols": rows.pop(found.test.last.name, {}), "stages": rows}


def remarks(workdir: rescoring.Workdir, again: rescoring.Rescored) -> Iterator[str]:
    """Which scores are missing."""
    stages = list(again.runs.test.stages)
    if rest := [name for name in workdir.config.stages if name not in stages]:
        yield f"Not finished: {', '.join(rest)}; the scores are those of {stages[-1]}"
    for name, epochs in again.lost.items():
        if epochs:
            listed = ", ".join(map(str, epochs))
            yield f"Not scored again: stage {name} after epoch {listed}, whose states were not kept"


def compare(recorded: Any, made: Any) -> Comparison:
    """Compares all scores of two results, to the last digit."""
    there, here = dict(numbers(recorded)), dict(numbers(made))
    lost = [name for name in there if name not in here]
    different = {
        name: (there[name], here[name]) for name in there if name in here and not same(there[name], here[name])
    }
    return Comparison(len(there) - len(lost) - len(different), different, lost)


def numbers(tree: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The scores in nested dictionaries and lists by dotted name; places where scores were found are none."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            if name not in NO_SCORES:
                yield from numbers(value, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(tree, list | tuple):
        for place, value in enumerate(tree):
            yield from numbers(value, f"{prefix}.{place}")
    elif isinstance(tree, int | float):
        yield prefix, float(tree)


def same(one: float, other: float) -> bool:
    """Whether two numbers are equal; NaN is equal to itself."""
    return one == other or (math.isnan(one) and math.isnan(other))


def verdict(comparison: Comparison, what: str) -> str:
    """One line: how many recorded scores were made again, and whether they are equal."""
    made = comparison.equal + len(comparison.different)
    if not made + len(comparison.lost):
        return "Nothing was scored before, to compare with"
    head = f"Scores made again: {made} of the {made + len(comparison.lost)} of {what}"
    if not comparison.different:
        return f"{head}, all equal to the last digit"
    largest = max(abs(one - other) for one, other in comparison.different.values())
    shown = [f"{name} {one:g}, now {other:g}" for name, (one, other) in comparison.different.items()][:MOST_SHOWN]
    return f"{head}; {len(comparison.different)} differ, by {largest:g} at the most: {'; '.join(shown)}"
