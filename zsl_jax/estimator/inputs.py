"""What a caller gives the estimator, checked: parameters, labels, descriptions of classes, folders."""

import functools
import logging
import math
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array, check_random_state

from zsl_jax.config import presets
from zsl_jax.config.options import MOST_SEED
from zsl_jax.data.formats.tables import plain
from zsl_jax.data.importing.names import CLASS_COLUMNS, CLASS_IDS, SECOND_CHOICES
from zsl_jax.errors import InputError
from zsl_jax.evaluation.protocol import SCORES

log = logging.getLogger(__name__)

CLASSES = {*CLASS_COLUMNS, *CLASS_IDS} - {*SECOND_CHOICES}  # columns that say the class, as files'


def is_finite(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, numbers.Real | np.bool_) and math.isfinite(value)


def is_whole(value: Any, low: int, high: float = math.inf) -> bool:
    """Whether it is a whole number between bounds, themselves included."""
    return isinstance(value, numbers.Integral) and low <= int(value) <= high


def is_path(value: Any) -> bool:
    """Whether it names a folder; "" would be the current one, and fill it."""
    return isinstance(value, str | os.PathLike) and bool(os.fspath(value))


SWITCH: tuple[Callable[[Any], bool], str] = lambda value: isinstance(value, bool | np.bool_), "True or False"
COUNT: tuple[Callable[[Any], bool], str] = lambda value: is_whole(value, 1), "a whole number from 1 on"
OPTIONAL_COUNT: tuple[Callable[[Any], bool], str] = (
    lambda value: value is None or is_whole(value, 1), "a whole number from 1 on or None"
)  # fmt: skip
PARAMETERS: dict[str, tuple[Callable[[Any], bool], str]] = {  # what each takes, and that in words
    "epochs": OPTIONAL_COUNT,
    "width": OPTIONAL_COUNT,
    "batch_size": OPTIONAL_COUNT,
    "syn_num": COUNT,
    "generalized": SWITCH,
    "validate": SWITCH,
    "space": (lambda value: isinstance(value, str | None), "the name of a space or None"),
    "calibration": (lambda value: value is None or is_finite(value), "a finite number or None"),
    "random_state": (
        lambda value: isinstance(value, np.random.RandomState | None) or is_whole(value, 0, MOST_SEED),
        f"a whole number from 0 to {MOST_SEED}, a RandomState or None",
    ),
    "verbose": (lambda value: isinstance(value, numbers.Integral | np.bool_), "True or False"),
    "options": (lambda value: isinstance(value, Mapping | None), "a dict or None"),
    "workdir": (lambda value: value is None or is_path(value), "the name of a folder or None"),
}


def check_parameters(given: Mapping[str, Any]) -> None:
    """Refuses parameters of the wrong kind, from a caller or from a file.

    Raises:
      InputError: naming the parameter, what was found and what is needed.
    """
    presets.start(given["method"])
    for name, (fits, needed) in PARAMETERS.items():
        if not fits(given[name]):
            raise InputError(f"{name}: {given[name]!r}; {needed} is needed")


def folder_named(path: Any) -> Path:
    """The folder that a caller named; raises InputError if it is no name."""
    if not is_path(path):
        raise InputError(f"path: {path!r}; the name of a folder is needed")
    return Path(path)


def require_labels(labels: Iterable[Any], where: str) -> None:
    """Refuses what cannot name classes.

    Raises:
      InputError: a label is neither text nor a finite number, or there are both.
    """
    kinds: dict[bool, Any] = {}
    for label in labels:
        is_text = isinstance(label, str)
        if not is_text and not is_finite(label):
            raise InputError(f"{where}: {label!r} among the labels; text or finite numbers are needed")
        kinds[is_text] = label
    if len(kinds) == 2:
        raise InputError(f"{where}: labels {kinds[True]!a} and {kinds[False]!r}; use text or numbers for all")


class Described(NamedTuple):
    """Labels of the unseen classes [u], semantics of the seen, then of the unseen classes [C, A], names of columns."""

    unseen: np.ndarray
    semantics: np.ndarray
    attributes: tuple[str, ...]


def describe(semantics: Any, class_names: Any, seen: np.ndarray) -> Described:
    """Sorts out which of the classes described are seen.

    Args:
      semantics, class_names: as `ZeroShotClassifier.fit` takes them.
      seen: classes that have rows, sorted.

    Raises:
      InputError: a class has no description, or two, or the names do not fit.
    """
    names, vectors = named(semantics, class_names, seen)
    place = {name: number for number, name in enumerate(names.tolist())}
    missing = [label for label in seen.tolist() if label not in place]
    if missing:
        raise InputError(f"semantics: no description of class {missing[0]!r} of y; described are {few(names)}")
    is_seen = np.isin(np.arange(len(names)), [place[label] for label in seen.tolist()])
    order = [place[label] for label in seen.tolist()]
    return Described(names[~is_seen], np.concatenate([vectors[order], vectors[~is_seen]]), attributes_of(semantics))


@functools.cache
def say(line: str) -> None:
    """Logs a line once, however many models of a search would."""
    log.warning(line)


def say_unseen(described: Described) -> None:
    """Says which classes are taken as unseen: a class whose rows are missing by mistake is among them."""
    unseen, total = described.unseen, len(described.semantics)
    if len(unseen):
        say(f"{len(unseen)} of {total} classes described have no rows in y and are taken as unseen: {few(unseen)}")
    else:
        say(f"all {total} classes described have rows in y: none is unseen")


def columns_of(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Places [n] int32 of labels y [n] among `classes`; raises InputError where one is not there."""
    place = {name: number for number, name in enumerate(classes.tolist())}
    unknown = [label for label in y.tolist() if label not in place]
    if unknown:
        raise InputError(f"y: {unknown[0]!r} is none of the classes described, {few(classes)}")
    return np.array([place[label] for label in y.tolist()], np.int32)


def require_parts(metric: Any, is_seen: np.ndarray) -> None:
    """Refuses a metric that there is not, or whose classes have no rows among those that are seen or not [n].

    Raises:
      InputError: naming the metric and what is missing.
    """
    if metric not in SCORES:
        raise InputError(f"metric: {metric!r}; choose one of {SCORES} or None")
    needed = {"T1": [False], "U": [False], "S": [True]}.get(metric, [True, False])
    missing = ["seen" if seen else "unseen" for seen in needed if not (is_seen == seen).any()]
    if missing:
        raise InputError(f"metric={metric!r}: y has no rows of {' or '.join(missing)} classes; add some to X and y")


def named(semantics: Any, class_names: Any, default: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Labels [C] and vectors [C, A] float64 of an array with names, a dict or a data frame.

    Raises:
      InputError: names are missing, surplus, there twice or no labels, or a column of a frame holds them.
      ValueError: the vectors are no matrix of finite numbers.
    """
    attributes_of(semantics)  # refused before its texts are read as numbers
    own = labels_of(semantics)
    if own is not None:
        require_own(own, class_names)
        class_names = own
        semantics = list(semantics.values()) if isinstance(semantics, Mapping) else semantics
    vectors = check_array(semantics, dtype="float64", input_name="semantics")
    check_array(vectors, dtype="float32", input_name="semantics")  # which they are trained on as
    if class_names is None:
        class_names = () if default is None else default
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise InputError(f"class_names: {class_names!r}; a list of labels is needed")
    listed = np.asarray(class_names).tolist() if hasattr(class_names, "dtype") else list(class_names)
    if len(listed) != len(vectors):
        raise InputError(
            f"class_names: {len(listed)} for {len(vectors)} rows of semantics; name the class of every row"
        )
    require_labels(listed, "class_names" if own is None else "semantics")
    names = np.asarray(listed)
    if len(set(names.tolist())) < len(names):
        raise InputError(f"class_names: a class is named twice in {few(names)}")
    return names, vectors


def require_own(own: list, class_names: Any) -> None:
    """Refuses names beside the labels that semantics bring, and semantics without any."""
    if not own:
        raise InputError("semantics: empty; describe every class")
    if class_names is not None:
        raise InputError(
            f"class_names: the semantics have labels of their own, such as {own[0]!r}; leave class_names out, or make "
            "the names the data frame's index (set_index)"
        )


def labels_of(semantics: Any) -> list | None:
    """The labels that semantics bring: a dict's keys, a data frame's index; None for a plain array."""
    if isinstance(semantics, Mapping):
        return list(semantics)
    index = getattr(semantics, "index", None)
    return None if index is None or callable(index) else list(index)  # a list's `index` is a method


def attributes_of(semantics: Any) -> tuple[str, ...]:
    """The names of a data frame's columns, () where there are none or, as for scikit-learn, where not all are text.

    Raises:
      InputError: a column holds the classes, so that its numbers would describe them.
    """
    columns = getattr(semantics, "columns", None)
    columns = () if columns is None or callable(columns) else tuple(columns)
    texts = tuple(column for column in columns if isinstance(column, str))
    if found := [column for column in texts if plain(column) in CLASSES]:
        raise InputError(
            f"semantics: column {found[0]!r} says the class, it describes none; make it the index, "
            f"frame.set_index({found[0]!r}), or drop it"
        )
    return texts if len(texts) == len(columns) else ()


def seed_of(random_state: Any) -> int:
    """The seed of a run: the number itself, or one drawn."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def few(names: np.ndarray) -> str:
    """The first names."""
    return ", ".join(map(repr, names.tolist()[:5])) + (", ..." if len(names) > 5 else "")
