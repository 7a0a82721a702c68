"""Protocols: which of a run's many scores is reported.

A run evaluates again and again; each evaluation has a score for every space, sampler and classifier epoch. "oracle"
reports the best on the test set, as the published programs do; "last" looks at nothing; "validated" takes what was best
on a validation task made of training classes only, the classifier trained to its end: its early epochs are a transient
whose best moment depends on the numbers of classes and rows, and does not carry over from one task to the other.

An evaluation is {"epoch": int, "scores": result of `evaluate`}.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from zsl_jax.errors import InputError

CLEARLY = 0.95  # confidence that a place is worse than another
GENERALISED = ("U", "S", "H", "AUSUC")
SCORES = ("T1", *GENERALISED)
Evaluation = Mapping[str, Any]
Row = dict[str, Any]


class Place(NamedTuple):
    """Where a score was found: training epoch, sampler, classifier epoch (0-based)."""

    epoch: int
    sampler: str
    classifier_epoch: int


def spaces(evaluations: Sequence[Evaluation]) -> list[str]:
    """Spaces of a run's evaluations, in their order."""
    return list(evaluations[0]["scores"]["spaces"])


def places(
    evaluations: Sequence[Evaluation], space: str, settled: bool = False
) -> Iterator[tuple[Place, dict[str, float]]]:
    """Every (place, scores there) of one space, in order of training; `settled`: last classifier epochs only."""
    for evaluation in evaluations:
        for sampler, scores in evaluation["scores"]["spaces"][space].items():
            classifier_epochs = range(len(scores["H"]))
            for i in classifier_epochs[-1:] if settled else classifier_epochs:
                values = {name: series[i] for name, series in scores.items()}
                yield Place(evaluation["epoch"], sampler, i), values


def best(
    evaluations: Sequence[Evaluation], space: str, name: str, settled: bool = False
) -> tuple[Place, dict[str, float]]:
    """The first place of the highest score `name`; `settled`: among the last classifier epochs."""
    return max(places(evaluations, space, settled), key=lambda found: found[1][name])


def row(t1: tuple[Place, dict[str, float]], h: tuple[Place, dict[str, float]]) -> Row:
    """Scores in percent, T1 from one place, U, S, H and AUSUC from another, and both places."""
    return {
        "T1": t1[1]["T1"],
        **{name: h[1][name] for name in GENERALISED},
        "found": {"T1": t1[0]._asdict(), "H": h[0]._asdict()},
    }


def oracle(evaluations: Sequence[Evaluation]) -> dict[str, Row]:
    """Best on the test set over evaluations, samplers and classifier epochs, as the published programs print it.

    Args:
      evaluations: of the test task.

    Returns:
      by space: T1 and AUSUC (each its own best), U, S and H (where H is best) in percent, and where they were found;
      "calibrated": the best H over all gammas.
    """
    rows: dict[str, Row] = {}
    for space in spaces(evaluations):
        rows[space] = row(best(evaluations, space, "T1"), best(evaluations, space, "H"))
        place, values = best(evaluations, space, "H_gamma")
        calibrated = {"gamma": values["gamma"], "H": values["H_gamma"], "found": place._asdict()}
        rows[space] |= {"AUSUC": best(evaluations, space, "AUSUC")[1]["AUSUC"], "calibrated": calibrated}
    return rows


def last(evaluations: Sequence[Evaluation]) -> dict[str, Row]:
    """Last evaluation, its first sampler (one step), last classifier epoch; by space, as `oracle`."""

    def final(space: str):
        return next(places(evaluations[-1:], space, settled=True))

    return {space: row(final(space), final(space)) for space in spaces(evaluations)}


def choose(draws: Sequence[Sequence[Evaluation]], select: str = "H") -> dict[str, dict[str, Row]]:
    """Chooses epoch, sampler and calibration by the validation task, the classifier trained to its end.

    Of several draws of validation classes the means decide, and of the places that are not clearly worse than the best
    (by a t test of the difference over the draws) one of the latest epoch: rounding does not choose.

    Args:
      draws: evaluations of the validation task, for each draw of its classes.
      select: score that places U, S, H and AUSUC: "H" as published, or "AUSUC", which does not vanish where seen
        classes drown the unseen ones.

    Returns:
      by space: "T1" (place of the best T1), "H" (of the best `select`), "calibrated" (of the best H over all gammas);
      each with epoch, sampler, classifier_epoch and the mean validation scores there, "calibrated" with H_gamma and
      gamma; "draws" has the score that chose of each draw.
    """
    names = {"T1": ["T1"], "H": list(dict.fromkeys([select, *GENERALISED])), "calibrated": ["H_gamma", "gamma"]}
    choices: dict[str, dict[str, Row]] = {}
    for space in spaces(draws[0]):
        everywhere = list(zip(*(places(draw, space, settled=True) for draw in draws), strict=True))
        choices[space] = {}
        for choice, (first, *rest) in names.items():
            place, values = latest_of_best(everywhere, first)
            means = {name: float(np.mean([one[name] for one in values])) for name in (first, *rest)}
            choices[space][choice] = {**place._asdict(), **means, "draws": [one[first] for one in values]}
    return choices


def latest_of_best(
    everywhere: Sequence[Sequence[tuple[Place, dict[str, float]]]], name: str
) -> tuple[Place, list[dict[str, float]]]:
    """The best place of the latest epoch that has one which is not clearly worse than the best of all.

    Args:
      everywhere: for each place, in order of training, the place and its scores of each draw.
      name: score that is compared.

    Returns:
      The place, and the scores there of each draw.
    """
    table = np.array([[values[name] for _, values in draws] for draws in everywhere])
    epochs = np.array([draws[0][0].epoch for draws in everywhere])
    latest = epochs[may_be_best(table)].max()
    draws = everywhere[int(np.where(epochs == latest, table.mean(1), -np.inf).argmax())]
    return draws[0][0], [values for _, values in draws]


def may_be_best(table: np.ndarray) -> np.ndarray:
    """Which rows of scores [n, draws] are not clearly worse than the row of the best mean, by a t test; of one draw the
    best alone.
    """
    n_draws, behind = table.shape[1], table[table.mean(1).argmax()][None, :] - table
    error = np.zeros(len(table))
    if n_draws > 1:
        error = stats.t.ppf(CLEARLY, n_draws - 1) * behind.std(1, ddof=1) / np.sqrt(n_draws)
    return behind.mean(1) <= error


def chosen_gammas(choices: Mapping[str, Mapping[str, Row]]) -> dict[str, float]:
    """The calibration chosen for each space, as `evaluate` takes it."""
    return {space: choice["calibrated"]["gamma"] for space, choice in choices.items()}


def at(evaluations: Sequence[Evaluation], space: str, choice: Row) -> tuple[Place, dict[str, float]]:
    """The scores at a chosen place.

    Raises:
      InputError: the run was not evaluated there.
    """
    wanted = Place(choice["epoch"], choice["sampler"], choice["classifier_epoch"])
    for place, values in places(evaluations, space):
        if place == wanted:
            return place, values
    epochs = sorted({evaluation["epoch"] for evaluation in evaluations})
    raise InputError(
        f"validated scores of space {space}: chosen {wanted}, but the test evaluations (epochs {epochs}) have "
        "none there; evaluate the test task with the options and at the epochs of the validation task"
    )


def validated(test: Sequence[Evaluation], choices: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
    """Test scores at the places chosen by validation.

    Args:
      test: evaluations of the test task, made with `chosen_gammas(choices)`.
      choices: from `choose`.

    Returns:
      by space, as `oracle`, and "calibrated": {"gamma", "U", "S", "H", "found"} at the gamma chosen.

    Raises:
      InputError: the test task was not evaluated at a chosen place.
    """
    rows: dict[str, Row] = {}
    for space, choice in choices.items():
        rows[space] = row(at(test, space, choice["T1"]), at(test, space, choice["H"]))
        place, values = at(test, space, choice["calibrated"])
        calibrated = {name: values[f"{name}_cal"] for name in ("U", "S", "H")}
        rows[space]["calibrated"] = {"gamma": choice["calibrated"]["gamma"], **calibrated, "found": place._asdict()}
    return rows


def on_validation(result: Mapping[str, Any]) -> dict[str, Row]:
    """A result's rows of the validation task, by space: means of its draws where they chose, best calibrated H."""
    stages = list(result.get("validation", {}).get("stages", {}).values())
    rows: dict[str, Row] = {}
    for space, choice in (stages[-1] if stages else {}).items():
        rows[space] = {name: choice["T1" if name == "T1" else "H"][name] for name in SCORES}
        rows[space]["calibrated"] = {"H": choice["calibrated"]["H_gamma"]}
    return rows


def best_space(choices: Mapping[str, Mapping[str, Row]]) -> str | None:
    """The last space that is not clearly worse than the best on the validation task, by the score that chose its
    places; None of none. So the widest space and the published classifier, if they stand last, need no proof.
    """
    if not choices:
        return None
    table = np.array([choice["H"]["draws"] for choice in choices.values()])
    return list(choices)[np.flatnonzero(may_be_best(table))[-1]]


def headline(protocols: Mapping[str, Mapping[str, Row]], choices: Mapping[str, Mapping[str, Row]]) -> Row:
    """The one line that stands for a run.

    Args:
      protocols: rows by space, by protocol.
      choices: from `choose`; empty without a validation task.

    Returns:
      "protocol", "space" and its row: of "validated" in the space that `best_space` takes if there was a validation
      task; else of "last" in the last space, the widest one. Never chosen on the test set.
    """
    space = best_space(choices)
    protocol = "last" if space is None else "validated"
    space = space or list(protocols["last"])[-1]
    return {"protocol": protocol, "space": space, **protocols[protocol][space]}
