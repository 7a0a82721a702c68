"""A data set from the fields of one's own files: which side counts rows, which number means which class."""

import collections
import dataclasses

import numpy as np

from zsl_jax.data import checks
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.importing import labelling, naming, partition, row_lists, unused
from zsl_jax.data.importing.fields import Field, real
from zsl_jax.data.importing.options import Options
from zsl_jax.data.importing.roles import Roles
from zsl_jax.errors import InputError

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
    labels, of_labels = labelling.read(roles, class_names, options)
    image_names, of_names = _image_names(roles.image_names, labels.size)
    given = labels
    labels, of_order = _in_order(labels, roles.label_images, roles)
    unused.require_none_meant(roles, given, labels, class_names, options)
    x, of_x = _features(roles.features, labels.size, options.orientation)
    r, of_r = _representations(roles, labels.size, options.orientation)
    rows, of_rows = row_lists.read(roles.splits, labels.size, len(class_names), options.split_base, image_names)
    _require_rows_of_one_order(roles, rows, bool(of_order))
    kept = labels >= 0
    rows = {part: (np.cumsum(kept) - 1)[numbers[kept[numbers]]] for part, numbers in rows.items()}
    labels = labels[kept]
    of_classes = labelling.without_rows(labels, class_names)
    splits, of_splits = partition.divide(labels, class_names, rows, roles.splits, options, name)
    of_rest = (*of_classes, *of_rows, *of_splits)
    dataset = Dataset(
        name=name,
        views={"x": x[kept]} | ({} if r is None else {"r": r[kept]}),
        origins={"x": FEATURES} | ({} if r is None else {"r": REPRESENTATIONS}),
        semantics_name=SEMANTICS,
        labels=labels.astype(np.int32),
        semantics=checks.float32(semantics),
        splits=splits,
        class_names=class_names,
        notes=(*roles.notes, *of_x, *of_r, *of_names, *of_semantics, *of_labels, *of_order, *of_rest),
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
    while array.ndim > 2 and 1 in array.shape[1:]:
        array = array.squeeze(max(axis for axis, size in enumerate(array.shape) if size == 1))
    if array.ndim != 2:
        raise InputError(f"{field.where}: shape {array.shape}; a matrix is needed")
    return array


def _features(field: Field, n_rows: int, asked: str) -> tuple[np.ndarray, Notes]:
    """Features [N, D] float32, finite."""
    matrix, notes = oriented(field, n_rows, asked, "orientation", "pictures", "labels")
    rows = checks.float32(matrix)
    checks.require_finite(rows, f"{field.where} (one row per image)")
    return rows, notes


def _representations(roles: Roles, n_rows: int, asked: str) -> tuple[np.ndarray | None, Notes]:
    """Representations [N, R] float32, if there are any; what was said of features counts where sizes don't tell."""
    field = roles.representations
    if field is None:
        return None, ()
    is_square = _matrix(field).shape == (n_rows, n_rows)
    rows, notes = _features(field, n_rows, asked if is_square else "")
    rows, of_order = _in_order(rows, roles.representation_images, roles)
    return rows, (*notes, *of_order)


def _image_names(field: Field | None, n_rows: int) -> tuple[tuple[str, ...] | None, Notes]:
    if field is None:
        return None, ()
    names = field.value
    if not isinstance(names, tuple) or len(names) != n_rows:
        raise InputError(f"{field.where}: {len(names)} names of images, but there are {n_rows} labels")
    twice = len(names) - len(set(names))
    return names, (f"{field.where}: {twice} names of images occur before; are rows in there twice?",) if twice else ()


def _in_order(values: np.ndarray, own: Field | None, roles: Roles) -> tuple[np.ndarray, Notes]:
    """Brings labels or representations, whose file names their pictures, into the order of the features' names."""
    wanted = roles.image_names
    if own is None or wanted is None:
        return values, ()
    names, order = own.value, wanted.value
    if not isinstance(names, tuple) or not isinstance(order, tuple) or not len(names) == len(values) == len(order):
        raise InputError(f"{own.where}: {own.shape} for {len(values)} rows, and {wanted.where}: {wanted.shape}")
    place = {name: row for row, name in enumerate(names)}
    if len(place) < len(names) or set(order) != set(place):
        odd = min(set(names) ^ set(order), default=collections.Counter(names).most_common(1)[0][0])
        raise InputError(
            f"{own.where} and {wanted.where} list different pictures, or one twice (e.g. {odd!r}); both must name "
            "each once, alike"
        )
    rows = np.array([place[name] for name in order])
    moved = int(np.sum(rows != np.arange(rows.size)))
    return values[rows], (f"{own.where}: joined with {wanted.where} by name, {moved} rows change their place",)


def _require_rows_of_one_order(roles: Roles, rows: dict[str, np.ndarray], was_joined: bool) -> None:
    """Refuses row lists in the file of labels whose rows were put into another order."""
    if rows and was_joined and any(field.file == roles.labels.file for field in roles.splits.values()):
        raise InputError(
            f"{roles.labels.file}: lists rows, but names pictures in another order than {roles.features.file}; bring "
            "both into one order"
        )


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
    names = labelling.names_of(roles.class_names)
    naming.require_different(names, roles.class_names.where)
    return names


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
    are_rows_left = shape[0] not in fitting and shape[0] > max(possible)  # some may be classes without pictures
    if len(fitting) != 1 or are_rows_left:
        raise InputError(
            f"{field.where}: {shape[0]} x {shape[1]}, and labels go up to {highest}: rows or columns for classes? "
            "Name the classes by --class-names FILE or say --semantics-orientation=rows or =columns"
        )
    return fitting.pop()
