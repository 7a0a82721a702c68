"""A data set from the fields of one's own files: which side counts rows, which number means which class."""

import dataclasses

import numpy as np

from zsl_jax.data import checks
from zsl_jax.data.dataset import Dataset
from zsl_jax.errors import InputError
from zsl_jax.interop import naming, partition
from zsl_jax.interop.options import Options
from zsl_jax.interop.roles import Roles
from zsl_jax.interop.sources import Field, real

FEATURES, REPRESENTATIONS, SEMANTICS = "features", "representations", "att"  # what the files will be called
AXES = ("rows", "columns")

Notes = tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Assembled:
    """A data set to be written.

    Attributes:
      dataset: the data set; its notes are the decisions that made it.
      original_semantics: descriptions before any scaling [C, A] float64.
      image_names: of the rows [N], or None.
    """

    dataset: Dataset
    original_semantics: np.ndarray
    image_names: tuple[str, ...] | None


def assemble(name: str, roles: Roles, options: Options) -> Assembled:
    """Puts a data set together and checks it.

    Args:
      name: of the data set.
      roles: what each field is.
      options: what was said where the fields don't tell.

    Returns:
      The data set, with one note for each decision.

    Raises:
      InputError: something is ambiguous, contradictory or damaged; with the file, the field, and the flag that helps.
    """
    semantics, original, class_names, of_semantics = _semantics(roles, options)
    labels, of_labels = _labels(roles, class_names, options)
    x, of_x = _features(roles.features, labels.size, options.orientation)
    r, of_r = _representations(roles.representations, labels.size, options.orientation)
    image_names, of_names = _image_names(roles, labels.size)
    rows, of_rows = partition.row_lists(roles.splits, labels.size, options.split_base)
    kept = labels >= 0
    rows = {part: (np.cumsum(kept) - 1)[numbers[kept[numbers]]] for part, numbers in rows.items()}
    labels = labels[kept]
    of_classes = _without_rows(labels, class_names)
    splits, of_splits = partition.divide(labels, class_names, rows, roles.splits, options, name)
    dataset = Dataset(
        name=name,
        features=FEATURES,
        representations=None if r is None else REPRESENTATIONS,
        semantics_name=SEMANTICS,
        x=x[kept],
        r=None if r is None else r[kept],
        labels=labels.astype(np.int32),
        semantics=checks.float32(semantics),
        splits=splits,
        class_names=class_names,
        notes=(*roles.notes, *of_x, *of_r, *of_names, *of_semantics, *of_labels, *of_classes, *of_rows, *of_splits),
    )
    names = None if image_names is None else tuple(np.array(image_names, dtype=object)[kept])
    return Assembled(dataset, original, names)


def oriented(field: Field, count: int, asked: str, flag: str, what: str, counted: str) -> tuple[np.ndarray, Notes]:
    """Turns a matrix so that its rows are pictures or classes.

    Args:
      field: a matrix, perhaps with further sides of 1.
      count: how many rows it should have.
      asked: which of "rows" and "columns" they are; "": as the sizes tell, or else the file's format.
      flag: that would say so.
      what: "pictures" or "classes".
      counted: what told their number.

    Returns:
      The matrix [count, d], and a note.

    Raises:
      InputError: no side fits, both do and nothing decides, or what was asked for doesn't fit.
    """
    matrix = _matrix(field)
    possible = (field.axis,) if field.names else AXES
    fitting = [axis for axis, size in zip(AXES, matrix.shape, strict=True) if size == count and axis in possible]
    sizes = f"{matrix.shape[0]} x {matrix.shape[1]}"
    if not fitting or (asked and asked not in fitting):
        wrong = f", so --{flag}={asked} doesn't fit" if asked else ": no side fits; are these files of one data set?"
        raise InputError(f"{field.where}: {sizes}, and there are {count} {counted}{wrong}")
    axis = asked or (fitting[0] if len(fitting) == 1 else field.axis)
    if not axis:
        raise InputError(
            f"{field.where}: {sizes} and {count} {counted}: are {what} rows or columns? Say --{flag}=rows or =columns"
        )
    reason = "as asked for" if asked else f"{count} {counted}" if len(fitting) == 1 else "as its format has it"
    return (matrix if axis == "rows" else matrix.T), (f"{field.where}: {what} are {axis} ({reason})",)


def _matrix(field: Field) -> np.ndarray:
    """The field's array without further sides of 1, as convolutions leave them."""
    array = real(field)
    trailing = array.reshape(array.shape[:2]) if array.size == np.prod(array.shape[:2]) else array
    if trailing.ndim != 2:
        raise InputError(f"{field.where}: shape {array.shape}; a matrix is needed")
    return trailing


def _features(field: Field, n_rows: int, asked: str) -> tuple[np.ndarray, Notes]:
    """Features [N, D] float32, finite."""
    matrix, notes = oriented(field, n_rows, asked, "orientation", "pictures", "labels")
    rows = checks.float32(matrix)
    checks.require_finite(rows, f"{field.where} (one row per image)")
    return rows, notes


def _representations(field: Field | None, n_rows: int, asked: str) -> tuple[np.ndarray | None, Notes]:
    """Representations [N, R] float32, if there are any; what was said of features counts where sizes don't tell."""
    if field is None:
        return None, ()
    is_square = _matrix(field).shape == (n_rows, n_rows)
    return _features(field, n_rows, asked if is_square else "")


def _image_names(roles: Roles, n_rows: int) -> tuple[tuple[str, ...] | None, Notes]:
    field = roles.image_names
    names = field.value if field else roles.features.names
    if names is None:
        return None, ()
    where = (field or roles.features).where
    if not isinstance(names, tuple) or len(names) != n_rows:
        raise InputError(f"{where}: {len(names)} names of images, but there are {n_rows} labels")
    twice = len(names) - len(set(names))
    return names, (f"{where}: {twice} names of images occur before; are rows in there twice?",) if twice else ()


def _semantics(roles: Roles, options: Options) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], Notes]:
    """Descriptions [C, A], original ones [C, A], both float64, and the classes' names."""
    field, names = roles.semantics, _class_names(roles)
    count = len(names) if names else _count_classes(roles, options)
    asked = options.semantics_orientation
    values, notes = oriented(field, count, asked, "semantics-orientation", "classes", "classes")
    names = names or tuple(f"class {number}" for number in range(1, count + 1))
    notes += _check_semantics(values, names, field)
    original = values
    if roles.original_semantics:
        original, _ = oriented(roles.original_semantics, count, asked, "semantics-orientation", "classes", "classes")
        _check_semantics(original, names, roles.original_semantics)
    return values.astype(np.float64), original.astype(np.float64), names, notes


def _check_semantics(values: np.ndarray, names: tuple[str, ...], field: Field) -> Notes:
    """Refuses what describes nothing; says where classes are described alike."""
    checks.require_finite(checks.float32(values), f"{field.where} (one row per class)")
    empty = ~values.any(axis=1)
    if empty.any():
        raise InputError(f"{field.where}: class {names[int(np.argmax(empty))]!r} is described by zeros alone")
    _, first, counts = np.unique(values, axis=0, return_index=True, return_counts=True)
    alike = [names[number] for number in first[counts > 1]]
    return (f"{field.where}: other classes are described just like {naming.listed(alike)}",) if alike else ()


def _class_names(roles: Roles) -> tuple[str, ...] | None:
    if roles.class_names is None:
        return None
    names = _names(roles.class_names)
    naming.require_different(names, roles.class_names.where)
    return names


def _names(field: Field) -> tuple[str, ...]:
    """A list of names; whole numbers are names too."""
    if isinstance(field.value, tuple):
        return field.value
    return tuple(map(str, checks.whole_numbers(real(field), field.where, -(2**31), 2**31 - 1)))


def _count_classes(roles: Roles, options: Options) -> int:
    """How many classes semantics without names describe: the side that fits the labels' largest number."""
    field, labels = roles.semantics, roles.labels
    if isinstance(labels.value, tuple):
        raise InputError(f"{labels.where}: names, but {field.where} has none; name its classes by --class-names FILE")
    shape = _matrix(field).shape
    if asked := options.semantics_orientation or field.axis:
        return shape[AXES.index(asked)]
    numbers = checks.whole_numbers(real(labels), labels.where, 0, 2**31 - 1)
    highest = int(numbers.max())
    possible = {highest + 1} if numbers.min() == 0 else {highest, highest + 1}
    fitting = {size for size in shape if size in possible}
    if len(fitting) != 1:
        raise InputError(
            f"{field.where}: {shape[0]} x {shape[1]}, and labels go up to {highest}: rows or columns for classes? "
            "Name the classes by --class-names FILE or say --semantics-orientation=rows or =columns"
        )
    return fitting.pop()


def _labels(roles: Roles, class_names: tuple[str, ...], options: Options) -> tuple[np.ndarray, Notes]:
    """Class of each row [N] int64, 0-based; -1: without description, where such rows are left out."""
    field = roles.labels
    if isinstance(field.value, tuple):
        texts, notes = field.value, ()
    elif roles.label_names and _names(roles.label_names) != class_names:
        texts, notes = _spelt_out(field, roles.label_names, options)
    elif _are_names(field, class_names):
        texts, notes = _names(field), (f"{field.where}: numbers that are names of classes",)
    else:
        return _numbered(field, len(class_names), class_names, options)
    if isinstance(field.value, tuple) and not set(texts) & set(class_names) and all(map(_is_whole, texts)):
        numbers = dataclasses.replace(field, value=np.array([int(text) for text in texts]))
        return _labels(dataclasses.replace(roles, labels=numbers), class_names, options)
    return _matched(texts, class_names, field, roles.semantics, options, notes)


def _are_names(field: Field, class_names: tuple[str, ...]) -> bool:
    """Says whether all labels, written out, are names of classes."""
    return all(map(_is_whole, class_names)) and set(_names(field)) <= set(class_names)


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _spelt_out(field: Field, label_names: Field, options: Options) -> tuple[tuple[str, ...], Notes]:
    """The labels' names by a list of their own, whose order may differ from that of the semantics."""
    names = _names(label_names)
    naming.require_different(names, label_names.where)
    numbers, notes = _numbered(field, len(names), names, options)
    return tuple(names[number] for number in numbers), (*notes, f"{field.where}: count {label_names.where}")


def _numbered(field: Field, count: int, names: tuple[str, ...], options: Options) -> tuple[np.ndarray, Notes]:
    """Labels that are numbers of classes, from 0 or from 1 on."""
    values = checks.whole_numbers(real(field), f"{field.where} ({count} classes)", 0, count)
    low, high = int(values.min()), int(values.max())
    known = {0: low == 0, 1: high == count}
    if options.label_base is not None:
        base, reason = options.label_base, "as asked for"
    elif known[0] or known[1]:
        base, reason = (0, "a 0 occurs") if known[0] else (1, f"{count} occurs")
    elif field.file.suffix.lower() == ".mat":
        base, reason = 1, "as in MATLAB files of this layout"
    else:
        raise InputError(
            f"{field.where}: {low}..{high} for {count} classes could count from 0 or from 1; say --label-base=0 or =1"
        )
    numbers = checks.whole_numbers(values, f"{field.where} ({count} classes)", base, count - 1 + base) - base
    return numbers, (f"{field.where}: count from {base} ({reason}): {low} is {names[low - base]!r}",)


def _matched(
    texts: tuple[str, ...], class_names: tuple[str, ...], field: Field, semantics: Field, options: Options, notes: Notes
) -> tuple[np.ndarray, Notes]:
    """Labels by name; rows of classes without description get -1, if they may be left out."""
    found, rough = naming.match(texts, class_names, field.where)
    numbers = np.array([-1 if found[text] is None else found[text] for text in texts], dtype=np.int64)
    unknown = [name for name, number in found.items() if number is None]
    if len(unknown) == len(found):
        raise InputError(f"{field.where}: no class, e.g. {unknown[0]!r}, is described in {semantics.file}")
    if not unknown:
        return numbers, (*notes, *rough)
    rows = int(np.sum(numbers < 0))
    if not options.leave_out_undescribed:
        classes = naming.listed([repr(name) for name in unknown])
        raise InputError(
            f"{field.where}: {rows} rows of class {classes}, but {semantics.file} doesn't describe it; "
            "describe it, or say --leave-out-undescribed"
        )
    return numbers, (*notes, *rough, f"left out: {rows} rows of classes without description, {naming.listed(unknown)}")


def _without_rows(labels: np.ndarray, class_names: tuple[str, ...]) -> Notes:
    absent = np.setdiff1d(np.arange(len(class_names)), labels)
    if not absent.size:
        return ()
    return (f"described but without rows, so never scored: {naming.listed([class_names[one] for one in absent])}",)
