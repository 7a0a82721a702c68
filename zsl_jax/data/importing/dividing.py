"""The splits of an imported data set: from lists of rows, from lists of classes, or drawn by seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zsl_jax.data import checks, splits
from zsl_jax.data.dataset import Splits
from zsl_jax.data.importing import names as known
from zsl_jax.data.importing import naming
from zsl_jax.data.importing.fields import Field, real
from zsl_jax.data.importing.manifest import CLASS_PARTS, ROW_PARTS, TOP, Manifest, places
from zsl_jax.data.importing.places import Places
from zsl_jax.data.tasks import draw_share
from zsl_jax.errors import InputError

UNSEEN_SHARE, TEST_FRACTION = 0.2, 0.2  # of the classes, and of each seen class's rows, where nothing is said

OF_ROWS = {"seen": "trainval", "unseen": "test_unseen"}  # what lists of rows called so are

Notes = tuple[str, ...]
Rows = dict[str, np.ndarray]


def read_rows(made: Manifest, at: Places, n_rows: int, images: tuple[str, ...] | None) -> Rows:
    """Lists of rows.

    Args:
      made: the manifest.
      at: the files.
      n_rows: rows of the data set.
      images: their names, if they have any.

    Returns:
      0-based rows by part.

    Raises:
      InputError: a row is out of range or occurs twice, a name is no picture, or a mask has another length.
    """
    said = made.get("splits", {})
    rows = {part: _rows_at(at, said, part, n_rows, images) for part in ROW_PARTS if part in said}
    if "column" in said:
        field = at.at(said["column"], "splits.column")
        if not isinstance(field.value, tuple) or len(field.value) != n_rows:
            raise field.wrong("splits.column", f"the part of each of the {n_rows} rows is needed")
        rows |= _by_part(field.value, "splits.column")
    if "pieces" in said:
        found = [at.at(place, "labels.from") for place in places(made["labels"]["from"])]
        if len(said["pieces"]) != len(found):
            raise InputError(f"splits.pieces: {len(said['pieces'])} parts, but labels.from has {len(found)} places")
        sizes = [len(field.texts) or np.size(field.value) for field in found]
        rows |= _by_part(np.repeat(said["pieces"], sizes).tolist(), "splits.pieces")
    if rows and (others := [part for part in CLASS_PARTS if part in said and part != "unseen_classes"]):
        raise InputError(f"splits.{others[0]}: classes, but splits.{next(iter(rows))} has rows; leave out one of them")
    return rows


def _rows_at(at: Places, said: Mapping[str, Any], part: str, n_rows: int, images: tuple[str, ...] | None) -> np.ndarray:
    """Row numbers [n] of one list, 0-based."""
    key, base = f"splits.{part}", said.get("base")
    field = at.at(said[part], key)
    where = f"{key}: {field.where}"
    if is_mask(field, n_rows):
        return np.flatnonzero(
            [text.casefold() in ("1", "true") for text in field.texts] if field.texts else real(field)
        )
    if isinstance(field.value, tuple):
        row_of = {name: row for row, name in enumerate(images or ())}
        if len(row_of) < len(images or ()):
            raise field.wrong(key, "features.images has a name twice, so give numbers of rows")
        if unknown := [name for name in field.value if name not in row_of]:
            raise field.wrong(key, f"{unknown[0]!r} is none of features.images")
        return checks.row_numbers(np.array([row_of[name] for name in field.value]), where, n_rows, 0)
    if field.value.dtype.kind == "b":
        raise field.wrong(key, f"a mask needs one entry for each of the {n_rows} rows")
    if base is None:
        raise InputError(
            f"splits.base: is missing; say --set splits.base=0 or =1, the first row's number in {said[part]}"
        )
    return checks.row_numbers(real(field), f"{where} (rows from {base} on)", n_rows, base)


def is_mask(field: Field, n_rows: int) -> bool:
    """Says whether a list marks its rows by ones (or true), one entry for each row of the data set."""
    if isinstance(field.value, tuple):
        return len(field.value) == n_rows and {text.casefold() for text in field.value} in (
            {"0", "1"},
            {"true", "false"},
        )
    if field.value.dtype.kind not in "biuf":
        return False
    return field.value.size == n_rows == max(field.value.shape) > 2 and bool(np.isin(field.value, (0, 1)).all())


def _by_part(texts: Sequence[str], key: str) -> Rows:
    """The rows of each part, from the name of the part of each row."""
    parts = {name: known.part(name)[0] for name in dict.fromkeys(texts)}
    if odd := [name for name, part in parts.items() if not part]:
        raise InputError(f"{key}: {odd[0]!r} is no part; there are {', '.join(known.PARTS)}")
    meant = np.array([OF_ROWS.get(parts[name], parts[name]) for name in texts])
    return {part: np.flatnonzero(meant == part) for part in np.unique(meant).tolist()}


def divide(
    made: Manifest, at: Places, labels: np.ndarray, class_names: tuple[str, ...], rows: Rows
) -> tuple[Splits, Notes]:
    """Divides rows into trainval, test_seen, test_unseen, train and val; what isn't given is drawn by seed.

    Args:
      made: the manifest.
      at: the files.
      labels: class of each row [N], 0-based.
      class_names: C names.
      rows: from `read_rows`; where there are none, the lists of classes count.

    Returns:
      The splits, and one line for each decision.

    Raises:
      InputError: lists contradict each other or the labels, name unknown classes, or leave nothing to train or test on.
    """
    name = made[TOP]["dataset"]
    if rows and "unseen_classes" in made["splits"]:
        rows = _without_unseen(made, at, rows, labels, class_names)
    parts, notes = _from_rows(rows, labels, made) if rows else _from_classes(made, at, labels, class_names)
    parts, drawn = _with_validation(parts, labels, class_names, made[TOP].get("seed", 0), name)
    for part in splits.MAIN_PARTS:
        if not parts[part].size:
            raise InputError(f"splits: no row is left for {part}; more rows of each class are needed")
    chosen, completed = splits.complete_splits(parts, labels, 0, name, "splits")
    return chosen, (*notes, *drawn, *completed)


def _without_unseen(made: Manifest, at: Places, rows: Rows, labels: np.ndarray, class_names: tuple[str, ...]) -> Rows:
    """Lists of rows of all classes, as of a classification's training and test pictures, where some are unseen."""
    unseen, _ = _classes(at, made["splits"]["unseen_classes"], "splits.unseen_classes", class_names)
    rows = {"test_seen" if part == "test" else part: numbers for part, numbers in rows.items()}
    kept = {part: numbers[~np.isin(labels[numbers], unseen)] for part, numbers in rows.items()}
    return kept | {"test_unseen": np.flatnonzero(np.isin(labels, unseen))}


def _from_rows(rows: Rows, labels: np.ndarray, made: Manifest) -> tuple[Rows, Notes]:
    """Completes lists of rows: without test_seen, a share of trainval is set aside."""
    rows, notes = _with_trainval(rows)
    rows, of_test = _with_test(rows, labels)
    if missing := [part for part in ("trainval", "test_unseen") if part not in rows]:
        raise InputError(f"splits: rows of {', '.join(rows)}, but not of {missing[0]}; set that too")
    unused = labels.size - np.unique(np.concatenate([*rows.values()])).size
    notes += (*of_test, *((f"{unused} rows are in no part of the splits",) if unused else ()))
    if "test_seen" in rows:
        return rows, notes
    held, note = _held_out(labels[rows["trainval"]], made)
    parts = {"trainval": rows["trainval"][~held], "test_seen": rows["trainval"][held]}
    return rows | parts, (*notes, note)


def _with_trainval(rows: Rows) -> tuple[Rows, Notes]:
    """Completes trainval, train and val from each other; train alone is all there is to train on."""
    if "trainval" not in rows and "train" in rows:
        others = {part: numbers for part, numbers in rows.items() if part != "train" or "val" in rows}
        trainval = np.union1d(rows["train"], rows.get("val", rows["train"]))
        return others | {"trainval": trainval}, ("trainval: the rows of train" + " and val" * ("val" in rows),)
    if "trainval" in rows and ("train" in rows) != ("val" in rows):
        given, other = ("train", "val") if "train" in rows else ("val", "train")
        return rows | {other: np.setdiff1d(rows["trainval"], rows[given])}, (f"{other}: trainval without {given}",)
    return rows, ()


def _with_test(rows: Rows, labels: np.ndarray) -> tuple[Rows, Notes]:
    """Divides a list of all rows for testing: those of classes in trainval are test_seen, the others test_unseen."""
    if "test" not in rows or "trainval" not in rows:
        return rows, ()
    test, others = rows["test"], {part: numbers for part, numbers in rows.items() if part != "test"}
    is_seen = np.isin(labels[test], labels[rows["trainval"]])
    parts = {"test_seen": test[is_seen], "test_unseen": test[~is_seen]}
    if is_seen.all() and "test_unseen" not in others:
        raise InputError(
            "splits.test: all its rows are of classes to train on; leave it out, say splits.unseen_classes"
        )
    for part in parts:
        if part in others and not np.array_equal(np.sort(others[part]), np.sort(parts[part])):
            raise InputError(f"splits.test: rows of {part} are not those of test; leave test out")
    given = {part: numbers for part, numbers in parts.items() if numbers.size}
    return others | given, (f"test: {is_seen.sum()} rows of classes in trainval are test_seen, the others test_unseen",)


def _from_classes(made: Manifest, at: Places, labels: np.ndarray, class_names: tuple[str, ...]) -> tuple[Rows, Notes]:
    """Divides rows by class: lists of classes, or classes drawn as unseen."""
    said, present = made.get("splits", {}), np.unique(labels)
    listed: dict[str, np.ndarray] = {}
    notes: Notes = ()
    for part in CLASS_PARTS:
        if part in said and not isinstance(said[part], int | float):
            listed[part], rough = _classes(at, said[part], f"splits.{part}", class_names)
            notes += rough
    if "seen_classes" not in listed and "train_classes" in listed:
        listed["seen_classes"] = np.union1d(listed["train_classes"], listed.get("val_classes", []))
    seen, unseen, drawn = _seen_and_unseen(made, said, listed, present, class_names)
    validation = _validation(listed, np.intersect1d(seen, present), class_names)
    left = np.setdiff1d(present, np.union1d(seen, unseen))
    if left.size:
        notes += (f"in no part of the splits, since in no list: classes {_names(left, class_names)}",)
    seen = np.intersect1d(seen, present)
    if seen.size < 2:
        raise InputError(f"splits: {seen.size} seen classes are left to train on; at least 2 are needed")
    of_seen = np.flatnonzero(np.isin(labels, seen))
    held, note = _held_out(labels[of_seen], made)
    parts = {"trainval": of_seen[~held], "test_seen": of_seen[held]}
    parts["test_unseen"] = np.flatnonzero(np.isin(labels, unseen))
    if validation.size:
        plays_unseen = np.isin(labels[parts["trainval"]], validation)
        parts |= {"train": parts["trainval"][~plays_unseen], "val": parts["trainval"][plays_unseen]}
    return parts, (*notes, *drawn, note)


def _seen_and_unseen(
    made: Manifest, said: Mapping[str, Any], listed: Rows, present: np.ndarray, class_names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, Notes]:
    """Numbers of the seen and of the unseen classes."""
    seen, unseen = listed.get("seen_classes"), listed.get("unseen_classes")
    notes: Notes = ()
    if unseen is None and seen is None:
        if listed and "unseen_classes" not in said:
            raise InputError("splits.val_classes: validation classes alone; say splits.unseen_classes too")
        unseen, notes = _drawn(made, said.get("unseen_classes", UNSEEN_SHARE), present, class_names)
    elif unseen is None:
        unseen = np.setdiff1d(present, listed["seen_classes"])
        notes = (f"unseen: all classes with rows in no list of seen ones: {_names(unseen, class_names)}",)
    seen = np.setdiff1d(present, unseen) if seen is None else seen
    if (both := np.intersect1d(seen, unseen)).size:
        raise InputError(f"splits: class {class_names[both[0]]!r} is in lists of both seen and unseen classes")
    if (empty := np.setdiff1d(unseen, present)).size:
        raise InputError(f"splits: unseen class {class_names[empty[0]]!r} has no row; take it out of the list")
    return seen, unseen, notes


def _drawn(made: Manifest, share: float, present: np.ndarray, class_names: tuple[str, ...]) -> tuple[np.ndarray, Notes]:
    """So many classes, drawn by seed."""
    count, seed = max(1, round(share * present.size)) if 0 < share < 1 else int(share), made[TOP].get("seed", 0)
    if naming.rough_name(str(share)) in map(naming.rough_name, class_names):
        raise InputError(
            f"splits.unseen_classes: {share}: a number of classes, or this class? Write {share}, for the class"
        )
    if not 1 <= count <= present.size - 2:
        raise InputError(
            f"splits.unseen_classes: {count} of {present.size} classes with rows; 1 or more, and 2 must stay seen"
        )
    drawn = np.sort(np.random.default_rng(seed).permutation(present)[:count])
    shown = _names(drawn, class_names)
    return drawn, (f"unseen: {count} of {present.size} classes, drawn with seed {seed}: {shown}",)


def _classes(at: Places, value: Any, key: str, class_names: tuple[str, ...]) -> tuple[np.ndarray, Notes]:
    """Numbers of listed classes [n] int64, ascending, and a note on names that match only roughly.

    Raises:
      InputError: a name is no class, or a class is named twice; or numbers, where classes aren't called so.
    """
    names = tuple(value)
    if isinstance(value, str):
        field = at.at(value, key)
        key, names = f"{key}: {field.where}", field.texts
        if not names or (not isinstance(field.value, tuple) and not all(map(naming.is_numeral, class_names))):
            raise InputError(f"{key}: {field.shape}; write the classes' names, or, for rows, set splits.trainval, ...")
    naming.require_different(names, key)
    found, notes = naming.match(names, class_names, key)
    if unknown := [name for name, number in found.items() if number is None]:
        raise InputError(f"{key}: {unknown[0]!r} is no class; there are {naming.listed(class_names)}")
    numbers = np.unique([number for number in found.values() if number is not None])
    if numbers.size < len(names):
        raise InputError(f"{key}: two of the names mean one class; name each once")
    return numbers.astype(np.int64), notes


def _validation(listed: Rows, seen: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """The validation classes with rows: those listed, or the seen ones that aren't listed to train on."""
    train, val = (listed.get(part) for part in ("train_classes", "val_classes"))
    for part, classes in (("train_classes", train), ("val_classes", val)):
        if classes is not None and (others := np.setdiff1d(classes, listed.get("seen_classes", seen))).size:
            raise InputError(f"splits.{part}: {class_names[others[0]]!r} is no seen class")
    if train is None or val is None:
        listed_or_left = val if val is not None else np.setdiff1d(seen, seen if train is None else train)
        return np.intersect1d(listed_or_left, seen).astype(np.int64)
    if (both := np.intersect1d(train, val)).size:
        raise InputError(f"splits.val_classes: {class_names[both[0]]!r} is in train_classes too")
    if (left := np.setdiff1d(seen, np.union1d(train, val))).size:
        raise InputError(f"splits.train_classes: seen class {class_names[left[0]]!r} is in neither it nor val_classes")
    return np.intersect1d(val, seen).astype(np.int64)


def _held_out(labels: np.ndarray, made: Manifest) -> tuple[np.ndarray, str]:
    """Marks the rows of seen classes [n] bool that are set aside for test_seen."""
    fraction, seed = made.get("splits", {}).get("test_fraction", TEST_FRACTION), made[TOP].get("seed", 0)
    held = draw_share(labels, fraction, seed, spare=1)
    return held, f"test_seen: {fraction:g} of the rows of each seen class, drawn with seed {seed}"


def _with_validation(
    parts: Rows, labels: np.ndarray, class_names: tuple[str, ...], seed: int, name: str
) -> tuple[Rows, Notes]:
    """Draws the classes that play unseen in validation, where no list says."""
    if "train" in parts and "val" in parts:
        return parts, ()
    n_seen = np.unique(labels[parts["trainval"]]).size
    if n_seen < 2:
        raise InputError(f"{name}: {n_seen} classes in trainval; at least 2 are needed")
    count = splits.default_validation_classes(name, n_seen)
    train, val = splits.derive_validation(parts["trainval"], labels, count, seed)
    drawn = _names(np.unique(labels[val]), class_names)
    note = f"validation: {count} of {n_seen} seen classes play unseen, drawn with seed {seed}: {drawn}"
    return parts | {"train": train, "val": val}, (note,)


def _names(classes: np.ndarray, class_names: tuple[str, ...]) -> str:
    return naming.listed([class_names[number] for number in classes])
