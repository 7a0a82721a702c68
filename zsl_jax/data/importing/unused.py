"""Fields that no role takes, but that contradict by what they hold what the others were taken for."""

from collections.abc import Sequence

import numpy as np

from zsl_jax.data.importing import naming, parts
from zsl_jax.data.importing.columns import is_id, plain
from zsl_jax.data.importing.fields import Field
from zsl_jax.data.importing.options import Options
from zsl_jax.data.importing.roles import Roles, ambiguous, as_texts, is_matrix, role_of
from zsl_jax.errors import InputError


def require_none_meant(
    roles: Roles, labels: np.ndarray, in_order: np.ndarray, class_names: tuple[str, ...], options: Options
) -> None:
    """Refuses fields without a role that name classes, order rows or look like a split otherwise than what is used.

    Args:
      roles: what each field is; `unused` are the others.
      labels: class of each row [N], 0-based or -1, in the order of the labels' file.
      in_order: the same in the order of the features.
      class_names: C names.
      options: `unseen` and `label_base`.

    Raises:
      InputError: one does.
    """
    if _are_counted(roles.labels, class_names, options):
        number = {naming.rough_name(name): place for place, name in enumerate(class_names)}
        for field in roles.unused:
            names = [naming.rough_name(text) for text in _texts(field)]
            _require_order_of_classes(field, names, roles, list(number), labels)
            _require_same_classes(field, names, roles, number, labels if _is_beside_labels(field, roles) else in_order)
    _require_only_features(roles)
    _require_rows_in_one_order(roles, labels.size)
    if not roles.splits and not options.unseen:
        _require_no_split(roles.unused)


def _texts(field: Field) -> tuple[str, ...]:
    return field.value if isinstance(field.value, tuple) else ()


def _are_counted(labels: Field, class_names: tuple[str, ...], options: Options) -> bool:
    """Says whether labels are numbers, but not names of classes."""
    if not all(map(naming.is_numeral, set(_texts(labels)))):
        return False
    return options.label_base is not None or not all(map(naming.is_numeral, class_names))


def _is_beside_labels(field: Field, roles: Roles) -> bool:
    return field.file == roles.labels.file


def _require_order_of_classes(
    field: Field, names: list[str], roles: Roles, described: list[str], labels: np.ndarray
) -> None:
    """Refuses a list of the classes in another order than theirs, where nothing says which one the labels count."""
    if roles.label_names or len(set(names)) < max(len(names), 2) or names == described:
        return
    if len(names) >= np.unique(labels).size and (set(names) <= set(described) or set(described) <= set(names)):
        raise InputError(
            f"{roles.labels.where}: numbers, and {field.where} lists the classes in another order than "
            f"{roles.semantics.where}; say which they count by --label-names FILE[:FIELD], or leave that list out"
        )


def _require_same_classes(
    field: Field, names: list[str], roles: Roles, number: dict[str, int], labels: np.ndarray
) -> None:
    """Refuses a list that names the class of each row, another one than its label does."""
    if len(names) != labels.size or not set(names) <= set(number):
        return
    spelt_out = np.array([number[name] for name in names])
    wrong = np.flatnonzero((spelt_out != labels) & (labels >= 0))
    if wrong.size:
        raise InputError(
            f"{field.where}: spells out the classes, others than {roles.labels.where} for {wrong.size} rows; keep one "
            f"of them, or say --labels {field.file}:{field.name}"
        )


def _require_rows_in_one_order(roles: Roles, n_rows: int) -> None:
    """Refuses rows of two files that are joined by position, though both files name them and in different order."""
    pairs = [(roles.labels, roles.label_images), (roles.representations, roles.representation_images)]
    for field, joined_by in pairs:
        if field is None or joined_by is not None or field.file == roles.features.file:
            continue
        ours, theirs = (_names_of_rows(roles, one, n_rows) for one in (roles.features, field))
        both = [(one, other) for one in ours for other in theirs if _name_alike(one, other)]
        if both and not any(one.value == other.value for one, other in both):
            raise InputError(
                f"{both[0][0].where} and {both[0][1].where} name the same rows in different order; call both "
                "image_names (in a table: path), so that they are joined"
            )


def _names_of_rows(roles: Roles, field: Field, n_rows: int) -> list[Field]:
    """Lists of N different names, used or not, in the file of features, labels or representations."""
    names = [] if roles.image_names is None else [roles.image_names]
    own = field.file == roles.features.file
    files = {field.file, *(one.file for one in names if own and one.file != roles.labels.file)}
    lists = [as_texts(one) for one in (*names, *roles.unused) if one.file in files]
    return [one for one in lists if len(set(_texts(one))) == n_rows == len(one.value)]


def _name_alike(one: Field, other: Field) -> bool:
    """Says whether two lists name the same things; numbers only where both are called ids, or alike."""
    if set(one.value) != set(other.value):
        return False
    are_numbers = all(map(naming.is_numeral, _texts(one)))
    names = [parts.last(field.name) for field in (one, other)]
    return not are_numbers or all(map(is_id, names)) or plain(names[0]) == plain(names[1])


def _require_only_features(roles: Roles) -> None:
    """Refuses a table of labels and a few numbers as features beside a matrix of as many rows: numbers may be more."""
    features = roles.features
    is_called_so = any(word in features.file.stem.casefold() for word in ("feat", "embed"))
    if (
        "features" in roles.asked
        or is_called_so
        or features.file != roles.labels.file
        or features.file.suffix.lower() != ".csv"
    ):
        return
    for field in roles.unused:
        if not role_of(field) and is_matrix(field) and len(field.value) == len(features.value):
            raise InputError(ambiguous("features", "features", field, features))


def _require_no_split(unused: Sequence[Field]) -> None:
    """Refuses to draw splits beside something that looks like one."""
    for field in unused:
        if not role_of(field) and _could_be_split(field):
            raise InputError(
                f"{field.where}: looks like a split, but can't be read as one; call its parts trainval, test_seen, "
                "test_unseen (rows) or seen, unseen (classes), or leave it out, or say --unseen"
            )


def _could_be_split(field: Field) -> bool:
    """Says whether a list of names, marks or whole numbers has a word of splits in its name."""
    if not parts.looks_like_split(field.name) or len(field.value) < 2:
        return False
    if isinstance(field.value, tuple):
        return True
    is_list = field.value.size == max(field.value.shape)
    return is_list and field.value.dtype.kind in "biuf" and bool(np.all(field.value == np.rint(field.value)))
