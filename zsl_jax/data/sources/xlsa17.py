"""The field's MATLAB layout: `<root>/<DATASET>/<features>.mat`, `<semantics>_splits.mat`, `split_<p>percent.mat`.

Layout: Xian et al., "Zero-Shot Learning - A Comprehensive Evaluation of the Good, the Bad and the Ugly", TPAMI 2019.
Row and class numbers are 1-based in the files and 0-based here.
"""

import contextlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import scipy.io

from zsl_jax.data import checks, splits
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.formats import matlab
from zsl_jax.data.sources import layout
from zsl_jax.errors import InputError
from zsl_jax.files import replacing

PARTS = (*splits.MAIN_PARTS, "train", "val")
MISSING_VALUE = -1  # AWA's original_att marks "not known" so


def load_xlsa17(options) -> Dataset:
    """Loads a data set from the field's MATLAB files and checks it.

    Args:
      options: the config's data section.

    Returns:
      The data set. Its notes say what was derived, removed or kept oddly.

    Raises:
      InputError: a file or field is missing, damaged or contradicts another.
    """
    features = layout.mat_file(options, "features")
    representations = layout.mat_file(options, "representations") if options.representations else None
    split_file = layout.mat_file(options, "semantics", "_splits.mat")
    labels, label_file = _labels_for(options, features)
    semantics, semantics_name, notes = read_semantics(split_file, options)
    class_names = read_class_names(split_file, semantics.shape[0])
    _require_upright(semantics, labels, split_file, label_file)
    labels = _checked_labels(labels, label_file, split_file, semantics.shape[0])
    x = read_features(features, labels)
    r = read_features(representations, labels) if representations else None
    parts = read_parts(split_file, labels.size)
    where = f"{split_file} with labels of {label_file.name}"
    chosen, split_notes = splits.complete_splits(parts, labels, options.validation_classes, options.dataset, where)
    return Dataset(
        name=options.dataset,
        views={"x": x} if r is None else {"x": x, "r": r},
        origins={"x": options.features} | ({"r": options.representations} if options.representations else {}),
        semantics_name=semantics_name,
        labels=labels.astype(np.int32),
        semantics=checks.float32(semantics),
        splits=chosen,
        class_names=class_names,
        notes=(*notes, *_square_notes(options.features, x), *_square_notes(options.representations, r), *split_notes),
        given_semantics=semantics,
        attribute_names=read_attribute_names(split_file, semantics.shape[1]),
    )


def percent_rows(options, n_trainval: int) -> np.ndarray | None:
    """Reads which share of trainval to train on: `split_<percent>percent.mat`.

    Args:
      options: the config's data section.
      n_trainval: rows of trainval.

    Returns:
      Positions within trainval (0-based) [n] int64, or None for all of it (`percent` 100).

    Raises:
      InputError: the file is missing or its numbers are no positions within trainval.
    """
    if options.percent == 100:
        return None
    path = layout.existing_file(options, layout.percent_file(options.percent))
    positions = _need(matlab.read_numbers(path, ["trainval_loc"]), "trainval_loc", path)
    return checks.row_numbers(positions, f"{path}: 'trainval_loc' (positions within trainval)", n_trainval)


def read_semantics(path: pathlib.Path, options) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Reads the class descriptions of a split file.

    Args:
      path: `<semantics>_splits.mat`, with `att` [A, C] and perhaps `original_att` [A, C].
      options: `semantics` and `original_semantics` (take `original_att` where there is one).

    Returns:
      Semantics [C, A] float64 as they stand, what they are in words, and notes.

    Raises:
      InputError: `att` is missing or not finite.
    """
    fields = matlab.read_numbers(path, ["att", "original_att"])
    _need(fields, "att", path)
    field = "original_att" if options.original_semantics and "original_att" in fields else "att"
    notes: tuple[str, ...] = ()
    if options.original_semantics and field == "att":
        notes = (f"{path.name} has no original_att: att used",)
    if missing := _missing(fields[field]):
        notes = (*notes, f"{field} has {missing} entries of {MISSING_VALUE}, which mean 'not known': kept as they are")
    checks.require_finite(checks.float32(fields[field]), f"{path}: '{field}'")
    name = options.semantics + (" (original_att)" if field == "original_att" else "")
    return fields[field].T.astype(np.float64), name, notes


def _missing(values: np.ndarray) -> int:
    """How many entries are `MISSING_VALUE`: below a scale from 0 on it means so, beside 0 and 1 alone it means no."""
    missing = values == MISSING_VALUE
    known = values[~missing]
    is_scale = known.size and known.min() >= 0 and not np.isin(known, (0, 1)).all()
    return int(missing.sum()) if is_scale else 0


def read_class_names(path: pathlib.Path, n_classes: int) -> tuple[str, ...]:
    """Reads `allclasses_names`; numbers them where the file has none (FLO).

    Raises:
      InputError: their number isn't `n_classes`.
    """
    names = matlab.read_names(path, "allclasses_names")
    if names is None:
        return tuple(f"class {number}" for number in range(1, n_classes + 1))
    if len(names) != n_classes:
        raise InputError(
            f"{path}: 'allclasses_names' has {len(names)} entries, but 'att', which must be [attributes, classes], "
            f"describes {n_classes}"
        )
    return names


def read_attribute_names(path: pathlib.Path, width: int) -> tuple[str, ...]:
    """Reads `attribute_names`; () where the file has none.

    Raises:
      InputError: their number isn't `width`.
    """
    names = matlab.read_names(path, "attribute_names") or ()
    if names and len(names) != width:
        raise InputError(f"{path}: 'attribute_names' has {len(names)} entries, but 'att' has {width} attributes")
    return names


def read_parts(path: pathlib.Path, n_rows: int) -> dict[str, np.ndarray]:
    """Reads the row numbers of a split file.

    Args:
      path: `<semantics>_splits.mat`.
      n_rows: rows of the data set.

    Returns:
      0-based row numbers by part, `train` and `val` only where the file has both.

    Raises:
      InputError: a needed field is missing, a row number is out of range or occurs twice.
    """
    fields = matlab.read_numbers(path, [f"{part}_loc" for part in PARTS])
    for part in splits.MAIN_PARTS:
        _need(fields, f"{part}_loc", path)
    has_validation = "train_loc" in fields and "val_loc" in fields
    names = PARTS if has_validation else splits.MAIN_PARTS
    return {name: checks.row_numbers(fields[f"{name}_loc"], f"{path}: '{name}_loc'", n_rows) for name in names}


def read_labels(path: pathlib.Path) -> np.ndarray | None:
    """Reads `labels` [N], 1-based as in the file; None where the file has none."""
    labels = matlab.read_numbers(path, ["labels"]).get("labels")
    return None if labels is None else checks.whole_numbers(labels, f"{path}: 'labels' (1-based)", 1, 2**31 - 1)


def read_features(path: pathlib.Path, labels: np.ndarray) -> np.ndarray:
    """Reads a features file, published as [D, N] (res101) or [N, D] (ce_ce, con_paco).

    The side with as many entries as there are labels counts rows. For a square array the published convention
    decides: files with labels of their own are [D, N], files without are [N, D].

    Args:
      path: the file.
      labels: class of each row [N], 0-based; the file's own labels, if any, must agree.

    Returns:
      Features [N, D] float32.

    Raises:
      InputError: no side fits the labels, the file's labels differ, or an entry isn't finite.
    """
    own = read_labels(path)
    features = _need(matlab.read_numbers(path, ["features"]), "features", path)
    n_rows, n_columns = features.shape
    if labels.size not in features.shape:
        raise InputError(f"{path}: 'features' is {n_rows} x {n_columns}, but there are {labels.size} labels")
    by_column = own is not None if n_rows == n_columns else n_columns == labels.size
    if own is not None and not np.array_equal(own - 1, labels):
        raise InputError(f"{path}: its 'labels' differ from those in use; both files must list the same rows")
    rows = checks.float32(features.T if by_column else features)
    checks.require_finite(rows, f"{path}: 'features' (one row per image)")
    return rows


def write_xlsa17(
    directory: str | os.PathLike,
    dataset: Dataset,
    features_name: str,
    representations_name: str | None = None,
    original_semantics: np.ndarray | None = None,
    image_names: Sequence[str] | None = None,
) -> None:
    """Writes a data set in the field's layout; loading it back gives an equal one (the same fingerprint).

    A folder with `att_splits.mat` is whole: that file is removed first and put back last, each by one rename.

    Args:
      directory: `<root>/<DATASET>`, made if needed.
      dataset: the data set.
      features_name: `<features_name>.mat` gets x as `features` [D, N], and `labels` [N, 1].
      representations_name: `<representations_name>.mat` gets r as `features` [N, R]; None: r isn't written.
      original_semantics: for `original_att` [C, A]; None: the data set's semantics. Names of attributes, where there
        are some, become `attribute_names` [A, 1].
      image_names: of the rows, for `image_files` beside x; None: not written.

    Raises:
      InputError: a name leaves the folder, `r` is asked for but absent, or the folder can't be written.
    """
    folder = pathlib.Path(directory)
    files = {
        f"{layout.plain_name(features_name, 'features')}.mat": {
            "features": dataset.x.T,
            "labels": dataset.labels[:, None] + np.int32(1),
        }
    }
    if image_names is not None:
        files[f"{features_name}.mat"]["image_files"] = _cells(image_names)
    if representations_name:
        if dataset.r is None:
            raise InputError(f"{folder}: representations asked for, but {dataset.name} has none")
        files[f"{layout.plain_name(representations_name, 'representations')}.mat"] = {"features": dataset.r}
    original = dataset.semantics if original_semantics is None else original_semantics
    files["att_splits.mat"] = _split_fields(dataset, original)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace_files(folder, files)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error})") from error


def _replace_files(folder: pathlib.Path, files: dict[str, dict[str, np.ndarray]]) -> None:
    """Replaces files in their order when all are written; without the last one they are no data set meanwhile."""
    with contextlib.ExitStack() as written:
        for name, fields in reversed(files.items()):  # the stack takes what is entered last first
            scipy.io.savemat(written.enter_context(replacing(folder / name)), fields)
        (folder / next(reversed(files))).unlink(missing_ok=True)


def _split_fields(dataset: Dataset, original_semantics: np.ndarray) -> dict[str, np.ndarray]:
    att, original = (semantics.T.astype(np.float64) for semantics in (dataset.semantics, original_semantics))
    fields = {"att": att, "original_att": original, "allclasses_names": _cells(dataset.class_names)}
    if dataset.attribute_names:
        fields["attribute_names"] = _cells(dataset.attribute_names)
    for part in PARTS:
        fields[f"{part}_loc"] = (getattr(dataset.splits, part) + 1).astype(np.int32)[:, None]
    return fields


def _cells(texts: Sequence[str]) -> np.ndarray:
    """A cell array [n, 1] of strings, as scipy writes it."""
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells


def _square_notes(name: str, rows: np.ndarray | None) -> tuple[str, ...]:
    """Says so where the shape of a features file can't tell rows from dimensions."""
    if rows is None or rows.shape[0] != rows.shape[1]:
        return ()
    return (f"{name}.mat is square: read as [D, N] if it has labels of its own, else as [N, D], as published",)


def _need(fields: dict[str, np.ndarray], field: str, path: pathlib.Path) -> np.ndarray:
    if field not in fields:
        raise InputError(f"{path}: no field '{field}' (or it is empty); is this the right file?")
    return fields[field]


def _labels_for(options, features: pathlib.Path) -> tuple[np.ndarray, pathlib.Path]:
    """Returns 1-based labels and the file they are from: the features file, else config.data.labels."""
    labels = read_labels(features)
    if labels is not None:
        return labels, features
    if not options.labels:
        raise InputError(f"{features}: no field 'labels'; name a file that has them in config.data.labels, e.g. res101")
    path = layout.mat_file(options, "labels")
    labels = read_labels(path)
    if labels is None:
        raise InputError(f"{path}: no field 'labels', and {features.name} has none either")
    return labels, path


def _require_upright(semantics: np.ndarray, labels: np.ndarray, split_file: pathlib.Path, label_file: pathlib.Path):
    """Refuses descriptions [C, A] whose A, not C, the labels count to, where no names say that the classes are C."""
    n_classes, width = semantics.shape
    if n_classes != width == labels.max() and matlab.read_names(split_file, "allclasses_names") is None:
        raise InputError(
            f"{split_file}: 'att' is {width} x {n_classes}, so {n_classes} classes, but labels of {label_file.name} "
            f"count to {width}: 'att' must be [attributes, classes]; turn it, or name the classes in 'allclasses_names'"
        )


def _checked_labels(labels: np.ndarray, path: pathlib.Path, split_file: pathlib.Path, n_classes: int) -> np.ndarray:
    """Returns 0-based labels after checking them against the number of described classes."""
    where = f"{path}: 'labels' ({split_file.name} describes {n_classes} classes)"
    return checks.whole_numbers(labels, where, 1, n_classes) - 1
