"""What a data folder holds: every file, every pair of features and semantics that loads, and what is missing."""

import dataclasses
import pathlib
import types

import numpy as np

from zsl_jax.data import splits
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.formats import matlab
from zsl_jax.data.sources import layout, published, xlsa17
from zsl_jax.errors import InputError

Row = tuple[str, str, str]  # file, state, what was found


@dataclasses.dataclass(frozen=True)
class Report:
    """What one data set's folder holds.

    Attributes:
      name: data set.
      files: a row for each file: there (ok, differs from the published one, unusable) or missing.
      trainable: a row for each pair of features and semantics that loads: its fingerprint and sizes.
      notes: what loading changes or derives.
      problems: one line for each unusable file or pair.
    """

    name: str
    files: tuple[Row, ...]
    trainable: tuple[Row, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def check_root(root: pathlib.Path | None, dataset: str | None = None) -> list[Report]:
    """Checks one data set or all that are published or there.

    Args:
      root: folder that holds a folder for each data set.
      dataset: check only this one.

    Returns:
      A report for each.

    Raises:
      InputError: the folder isn't there or holds no data set.
    """
    if not root:
        raise InputError("no data root: give --root or set ZSL_JAX_DATA")
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    if dataset:
        return [check_dataset(root, layout.plain_name(dataset, "dataset"))]
    there = {path.parent.name for path in root.glob("*/*.mat")}
    if not there:
        raise InputError(f"{root}: no data set here; .mat files are expected in folders such as {root / 'AWA2'}")
    others = sorted(there - set(published.DATASETS))
    return [check_dataset(root, name) for name in (*published.DATASETS, *others)]


def check_dataset(root: pathlib.Path, name: str) -> Report:
    """Checks every file of one data set and loads every pair of features and semantics."""
    present = sorted(path.name for path in (root / name).glob("*.mat"))
    rows = [_file_row(root, name, file) for file in present]
    unusable = {file for file, state, _ in rows if state == "unusable"}
    published_files = {} if "features.mat" in present else _published_files(name)  # a data set of one's own has others
    missing = [(file, "missing", content) for file, content in published_files.items() if file not in present]
    usable = [file for file in present if file not in unusable]
    pairs = [
        _pair_row(root, name, features.removesuffix(".mat"), semantics.removesuffix("_splits.mat"))
        for features in usable
        for semantics in usable
        if _kind(features) == "features" and semantics.endswith("_splits.mat")
    ]
    failed = [f"{root / name}: {row[0]}: {row[2]}" for row, _ in pairs if row[1] == "unusable"]
    return Report(
        name=name,
        files=(*rows, *missing),
        trainable=tuple(row for row, _ in pairs if row[1] != "unusable"),
        notes=tuple(dict.fromkeys(note for _, notes in pairs for note in notes)),
        problems=(*(found for _, state, found in rows if state == "unusable"), *failed),
    )


def render(report: Report) -> str:
    """Renders a report as a table."""
    if all(state == "missing" for _, state, _ in report.files):
        return f"{report.name}: not there"
    lines = [f"{report.name}: " + ("can be trained on" if report.trainable else "can't be trained on yet")]
    lines += _table([("file", "state", "found"), *report.files])
    if report.trainable:
        lines += ["", *_table([("features + semantics", "fingerprint", "sizes"), *report.trainable])]
    return "\n".join([*lines, *(f"  note: {note}" for note in report.notes)])


def render_sources(reports: list[Report]) -> str:
    """Says where the missing files come from, each source once, and what the fingerprints cover."""
    files: dict[str, list[str]] = {}
    for report in reports:
        for file, state, _ in report.files:
            if state == "missing":
                files.setdefault(published.source(report.name, file), []).append(f"{report.name}/{file}")
    lines = [line for source, names in files.items() for line in (f"  {source}", f"    {' '.join(names)}")]
    covered = "Fingerprints cover splits, labels, x and att as it stands; a run's also covers its options and r."
    return "\n".join([*(["Where the missing files come from:", *lines, ""] if lines else []), covered])


def _table(rows: list[Row]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"  {first:<{widths[0]}}  {second:<{widths[1]}}  {third}" for first, second, third in rows]


def _kind(file: str) -> str:
    if "_splits" in file:
        return "splits"
    return "percent" if file.startswith("split_") and file.endswith("percent.mat") else "features"


def _published_files(name: str) -> dict[str, str]:
    """Returns the files that published results of this data set use."""
    known = published.DATASETS.get(name)
    files = {"res101.mat": "features and labels"}
    files |= {f"{semantics}_splits.mat": "semantics and splits" for semantics in (known.a_dims if known else ["att"])}
    if name in published.FINE_TUNED:
        files |= {"ce_ce.mat": "fine-tuned features x", "con_paco.mat": "fine-tuned representations r"}
        files |= {layout.percent_file(percent): "share of trainval" for percent in (30, 10)}
    return files


def _file_row(root: pathlib.Path, name: str, file: str) -> Row:
    describe = {"splits": _describe_splits, "percent": _describe_percent, "features": _describe_features}[_kind(file)]
    try:
        state, found = describe(root / name / file, published.DATASETS.get(name))
    except InputError as error:
        state, found = "unusable", str(error)
    return file, state, found


def _describe_splits(path: pathlib.Path, known: published.Published | None) -> tuple[str, str]:
    options = _options(path.parent, "", path.name.split("_splits")[0])
    semantics, _, _ = xlsa17.read_semantics(path, options)
    xlsa17.read_class_names(path, semantics.shape[0])
    parts = xlsa17.read_parts(path, known.rows if known else 2**31 - 1)
    splits.require_disjoint_rows(parts, str(path))
    n_classes, a_dim = semantics.shape
    sizes = "/".join(str(parts[part].size) for part in splits.MAIN_PARTS)
    found = f"att {a_dim} x {n_classes}, rows {sizes}, variant {splits.variant(parts)}"
    leaked = splits.leaked_rows(parts) if "train" in parts else 0
    if leaked:
        found += f": {leaked} rows outside trainval, removed when loading"
    if known is None:
        return "ok", found
    expected = f"{known.trainval}/{known.test_seen}/{known.test_unseen}"
    as_published = sizes == expected and n_classes == known.classes and a_dim in known.a_dims.values()
    widths = " or ".join(map(str, known.a_dims.values()))
    return ("ok", found) if as_published else ("differs", f"{found}; published: {widths} x {known.classes}, {expected}")


def _describe_percent(path: pathlib.Path, known: published.Published | None) -> tuple[str, str]:
    percent = path.name.removeprefix("split_").removesuffix("percent.mat")
    if not percent.isdecimal():
        raise InputError(f"{path}: no number in the name; expected e.g. {layout.percent_file(30)}")
    options = _options(path.parent, "", "att", int(percent))
    n_trainval = known.trainval if known else 2**31 - 1
    positions = xlsa17.percent_rows(options, n_trainval)
    if positions is None:
        return "ok", "never read: 100 percent is all of trainval"
    share = f" = {100 * positions.size / n_trainval:.1f} % of trainval" if known else ""
    return "ok", f"{positions.size} rows{share}"


def _describe_features(path: pathlib.Path, known: published.Published | None) -> tuple[str, str]:
    fields = matlab.read_numbers(path, ["features"])
    if "features" not in fields:
        raise InputError(f"{path}: no field 'features'; is this a features file?")
    shape = fields["features"].shape
    labels = xlsa17.read_labels(path)
    found = f"{shape[0]} x {shape[1]} {fields['features'].dtype}, {'no' if labels is None else labels.size} labels"
    if known and known.rows not in shape:
        return "differs", f"{found}; published: {known.rows} rows"
    return "ok", found


def _options(folder: pathlib.Path, features: str, semantics: str, percent: int = 100) -> types.SimpleNamespace:
    """Returns a data section that loads x with the semantics as they stand."""
    return types.SimpleNamespace(
        root=str(folder.parent),
        dataset=folder.name,
        features=features,
        representations="",
        labels=_labels_file(folder),
        semantics=semantics,
        original_semantics=False,
        semantics_scaling="none",
        validation_classes=0,
        percent=percent,
    )


def _labels_file(folder: pathlib.Path) -> str:
    """The file with the labels of features without: the published one, or the one of a data set of one's own."""
    return next((name for name in ("res101", "features") if (folder / f"{name}.mat").is_file()), "res101")


def _pair_row(root: pathlib.Path, name: str, features: str, semantics: str) -> tuple[Row, tuple[str, ...]]:
    """Loads a pair; returns its row (state in the middle: the fingerprint, or unusable) and the notes of loading."""
    pair = f"{features} + {semantics}"
    try:
        dataset = xlsa17.load_xlsa17(_options(root / name, features, semantics))
    except InputError as error:
        return (pair, "unusable", str(error).splitlines()[0]), ()
    return (pair, dataset.fingerprint()[:16], _sizes(dataset)), dataset.notes


def _sizes(dataset: Dataset) -> str:
    n_validation = np.unique(dataset.labels[dataset.splits.val]).size
    found = f"{dataset.seen.size}/{dataset.unseen.size} classes ({n_validation} for validation)"
    known = published.DATASETS.get(dataset.name)
    if known is None:
        return found
    same = (dataset.seen.size, dataset.unseen.size) == (known.seen, known.unseen)
    return found + (", as published" if same else f"; published: {known.seen}/{known.unseen}")
