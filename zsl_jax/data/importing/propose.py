"""Proposes a manifest for files: what each field is, by exact documented names, and what their sizes settle.

What neither settles is a question, one line that names the key of the manifest and the shapes seen. Nothing else in the
import infers anything.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from zsl_jax import files
from zsl_jax.data import checks
from zsl_jax.data.formats.readers import TABLES
from zsl_jax.data.formats.tables import plain
from zsl_jax.data.importing import assemble, naming
from zsl_jax.data.importing import names as known
from zsl_jax.data.importing.dividing import OF_ROWS, is_mask
from zsl_jax.data.importing.fields import NUMBERS, Field
from zsl_jax.data.importing.manifest import ROW_PARTS, Manifest
from zsl_jax.data.importing.places import Places
from zsl_jax.errors import InputError

MOST_SHOWN = 4
CLASS_KEYS = {  # of the splits, by the part that a list of classes is called
    **dict.fromkeys(("trainval", "seen", "test_seen"), "seen_classes"),
    **dict.fromkeys(("unseen", "test", "test_unseen"), "unseen_classes"),
    "train": "train_classes",
    "val": "val_classes",
}


class Proposal:
    """A manifest in the making.

    Attributes:
      made: the manifest; keys that it has already are kept.
      questions: a line for each thing that is to be said.
    """

    def __init__(self, made: Manifest, at: Places, sources: Sequence[pathlib.Path], described: pathlib.Path | None):
        """Takes a manifest, the files by place, those to look into, and that which was said to describe classes."""
        self.made, self.at, self.described = made, at, described
        self.questions: list[str] = []
        self.every = [field for file in sources for field in at.fields(file)]
        self.there = [field for field in self.every if not field.note]
        self.table_roles = {id(f): role for file in sources for f, role in self._of_table(file)}
        self.splits_are_said = bool(set(made.get("splits", {})) - {"base", "test_fraction"})

    def settle_places(self) -> None:
        """Says what each field is."""
        if not self._pieces():
            self._one("features", needed=True)
            self._one("labels", needed=True)
        self._one("representations")
        if len(told := [field for field in self.there if field.file == self.described and _is_array(field)]) == 1:
            self.put("semantics.from", self.at.place(told[0]))
        self._one("semantics", needed=True)
        self.describe()
        self._images()
        if not self.splits_are_said:
            self._splits()

    def describe(self) -> None:
        """Says what is to be known of tables and of the classes that are described."""
        self._columns()
        self._beside_semantics()
        self._classes()

    def unused(self) -> list[Field]:
        """The fields that the manifest doesn't name."""
        said = {value for section in self.made.values() for value in section.values() if isinstance(value, str)}
        said |= {
            place for section in self.made.values() for v in section.values() if isinstance(v, list) for place in v
        }
        there = [field for file in self.at.files() for field in self.at.fields(file)]
        return [one for one in there if not {self.at.place(one), self.at.name(one.file)} & said]

    def ask(self, key: str, what: str) -> None:
        """Notes a question, unless the key is settled."""
        section, _, name = key.partition(".")
        is_asked = any(one.startswith(f"{key}:") for one in self.questions)
        if name not in self.made.get(section, {}) and not is_asked:
            self.questions.append(f"{key}: {what}")

    def put(self, key: str, value: object) -> None:
        """Sets a key that is not set."""
        section, _, name = key.partition(".")
        self.made.setdefault(section, {}).setdefault(name, value)

    def said(self, key: str) -> str:
        """The place that a key names, of several the first; "" for none."""
        section, _, name = key.partition(".")
        value = self.made.get(section, {}).get(name, "")
        return value if isinstance(value, str) else value[0]

    def field(self, key: str) -> Field | None:
        """The field that a key names."""
        return self.at.at(self.said(key), key) if self.said(key) else None

    # What fields may be.

    def _of_table(self, file: pathlib.Path) -> list[tuple[Field, str]]:
        """The roles of the columns of a table.

        A line is a row of the data set where there is a column of classes of which one recurs, or of paths; a class
        where each has one line, or the file was named as that of the descriptions.
        """
        if file.suffix.lower() not in TABLES:
            return []
        columns = {plain(f.name): f for f in reversed(self.at.fields(file)) if f.name != NUMBERS}
        numbers = next((f for f in self.at.fields(file) if f.name == NUMBERS), None)
        called = known.class_columns([*columns])
        classes, ids, path, row_id = (
            next((columns[name] for name in some if name in columns), None)
            for some in (called, known.CLASS_IDS, known.PATH_COLUMNS, known.ROW_IDS)
        )
        of_file = known.roles(file.stem)
        is_one_each = classes is not None and not path and len(set(classes.texts)) == len(classes.texts)
        if numbers and (
            file == self.described or "semantics" in of_file or (is_one_each and "features" not in of_file)
        ):
            first = next(iter(self.at.fields(file)))
            if plain(first.name) in known.ATTRIBUTE_COLUMNS:
                self.ask("semantics.from", f"{file} has a line for each attribute; write one for each class")
            named = classes or columns.get("name") or (first if first is not numbers else None)
            numbered = ids or (row_id if row_id is not named else None)
            found = [(numbers, "semantics"), (named, "classes"), (numbered, "ids")]
        else:
            are_features = numbers is not None and bool(classes or ids or path or "features" in of_file)
            images = path or (row_id if row_id and len(set(row_id.texts)) == len(row_id.texts) else None)
            labels = [columns[name] for name in called if name in columns] or [ids]
            of_rows = [(images, "images"), *((field, "labels") for field in labels)]
            found = [(numbers, "features" if are_features else ""), *of_rows]
        return [(field, role) for field, role in found if field is not None]

    def roles(self, field: Field) -> tuple[str, ...]:
        """What a field may be by its name and form."""
        if field.file.suffix.lower() in TABLES:
            return tuple(filter(None, [self.table_roles.get(id(field), "")]))
        found = known.roles(field.name)
        if "features" in found and plain(field.file.stem) in known.REPRESENTATION_FILES:
            found = ("representations",)
        return tuple(role for role in found if _has_form(field, role))

    def candidates(self, role: str, file: pathlib.Path | None = None) -> list[Field]:
        """The fields that may be something, of a file or of all; such as hold the same count once."""
        return _distinct([one for one in self.there if role in self.roles(one) and file in (None, one.file)])

    def _single(self, key: str, found: Sequence[Field]) -> None:
        """Sets a place if there is one, asks if there are several."""
        if len(found) == 1:
            self.put(key, self.at.place(found[0]))
        elif found:
            self.ask(key, f"which of {self._shown(found)}?")

    def _one(self, role: str, needed: bool = False) -> None:
        """Sets the place of the one field of a role."""
        found = [one for one in self.candidates(role) if self.at.place(one) != self.said("features.from")]
        if role == "features" and not found and len(self.candidates("representations")) == 1:
            found = self.candidates("representations")
        self._single(f"{role}.from", found)
        if needed and not found:
            unusable = [field for field in self.every if field.note and role in known.roles(field.name)]
            of_form = [one for one in self.unused() if one.file != self.described and _has_form(one, role)]
            self.ask(f"{role}.from", f"nothing is called so; is it {self._shown(unusable or of_form)}?")

    def _shown(self, found: Sequence[Field]) -> str:
        shown = [f"{self.at.place(field)} ({field.shape})" for field in found[:MOST_SHOWN]]
        more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        return (" or ".join(shown) or "nothing") + more

    def _pieces(self) -> bool:
        """Features and labels in a file for each part of the splits, which is called like the part."""
        files = [field.file for field in self.candidates("features")]
        parts = [known.part(file.stem)[0] for file in files]
        if len(files) < 2 or len(set(files)) < len(files) or not set(parts) <= set(ROW_PARTS) or len(set(parts)) == 1:
            return False
        for role in ("features", "labels"):
            found = [field for file in files for field in self.candidates(role, file)]
            if len(found) != len(files):
                return False
            self.put(f"{role}.from", [self.at.place(field) for field in found])
        images = [self.at.place(field) for file in files for field in self.candidates("images", file)[:1]]
        if len(images) == len(files):
            self.put("features.images", images)
        self.put("splits.pieces", parts)
        self.splits_are_said = True
        return True

    def _columns(self) -> None:
        """Leaves out of tables what numbers their lines or names their classes."""
        for section in ("features", "representations", "semantics"):
            field = self.field(f"{section}.from")
            if field is None or not field.columns:
                continue
            names = {one.name for one in self.candidates("classes", field.file)}
            kept = [name for name in field.columns if not known.is_id(name) and name not in names]
            odd = [name for name in kept if known.says_split(name) and _is_whole(field, name)]
            if odd:
                self.ask(f"{section}.columns", f"{', '.join(odd)} in {field.file}: a split? Rename or remove it")
            self.put(f"{section}.columns", kept)

    def _beside_semantics(self) -> None:
        semantics = self.field("semantics.from")
        if semantics is None:
            return
        original = [field for field in self.candidates("original") if field.file == semantics.file]
        attributes = [] if semantics.columns else self.candidates("attributes")
        if original and semantics.name != original[0].name:
            self.put("semantics.original", self.at.place(original[0]))
        if len(attributes) == 1 and len(attributes[0].texts) in np.shape(semantics.value):
            self.put("semantics.attributes", self.at.place(attributes[0]))
        self.put("semantics.scaling", "validation")

    def _images(self) -> None:
        """Names of the rows, each list in the order of its own file's rows."""
        fields = {role: self.field(f"{role}.from") for role in ("features", "labels", "representations")}
        own = {role: self._own_images(field) for role, field in fields.items() if field is not None}
        files = {field.file for field in fields.values() if field is not None}
        alone = [field for field in self.candidates("images") if field.file not in files]
        of_features = [field for field in (own.get("features"), *alone) if field is not None]
        self._single("features.images", _distinct(of_features))
        wanted = next(iter(of_features), None) or next(filter(None, own.values()), None)
        if wanted is None:
            return
        self.put("features.images", self.at.place(wanted))
        for role in ("labels", "representations"):
            if (names := own.get(role)) is not None and names.file != wanted.file and not _same(names, wanted):
                self.put(f"{role}.images", self.at.place(names))

    def _own_images(self, field: Field) -> Field | None:
        """The names that a field's own file gives its rows."""
        order = known.ROLES["images"].index
        found = {plain(known.last(one.name)): one for one in self.candidates("images", field.file)}
        listed = sorted((name for name in found if name in known.ROLES["images"]), key=order)
        return next((found[name] for name in (*listed, *found)), field if field.rows else None)

    def _classes(self) -> None:
        """Names of the classes in the order of the semantics, and those that the labels' numbers count."""
        semantics, labels = self.field("semantics.from"), self.field("labels.from")
        if semantics is None:
            return
        own = [semantics] if semantics.rows else self.candidates("classes", semantics.file)
        files = [field.file for field in (semantics, labels) if field is not None]
        alone = [field for field in self.candidates("classes") if field.file not in files]
        self._single("semantics.classes", own or alone)
        if labels is None or not _are_numbers(labels):
            return
        of_labels = [] if labels.file == semantics.file else self.candidates("classes", labels.file)
        of_labels = [field for field in of_labels if field is not labels]
        self._single("labels.classes", of_labels)
        if of_labels and not (own or alone):
            what = f"{self._shown([semantics])} has no names; is {self._shown(of_labels)} in its order?"
            self.ask("semantics.classes", what)
        elif not of_labels and own and len(alone) == 1 and not _same_names(own[0], alone[0]):
            both = self._shown([own[0], alone[0]])
            self.ask("labels.classes", f"{both}: another order; which do numbers in labels count?")

    # Splits.

    def _splits(self) -> None:
        """Lists of rows or of classes, by what they are called."""
        rows: dict[str, list[Field]] = {}
        classes: dict[str, list[Field]] = {}
        images = self.field("features.images")
        count = self.count_of_rows()
        for field in self.there:
            part, of = known.part(field.name)
            if field.is_matrix or not part or self.roles(field):
                if self._is_column(field, count):
                    rows.setdefault("column", []).append(field)
                continue
            if not of:
                is_rows = is_mask(field, count) or (images is not None and set(field.texts) <= set(images.texts))
                of = "rows" if is_rows or (not isinstance(field.value, tuple) and part in ROW_PARTS) else "classes"
            if of == "rows":
                rows.setdefault(OF_ROWS.get(part, part), []).append(field)
            else:
                classes.setdefault(CLASS_KEYS[part], []).append(field)
        if rows and classes:
            one, other = ([field for found in lists.values() for field in found] for lists in (rows, classes))
            self.ask(
                "splits",
                f"rows {self._shown(one)} and classes {self._shown(other)}: set the keys splits.KEY that count",
            )
            return
        for key, found in (rows | classes).items():
            self._single(f"splits.{key}", _distinct(found))
        read = {id(field) for lists in (rows, classes) for found in lists.values() for field in found}
        unread = [field for field in self.unused() if id(field) not in read and _says_split(field)]
        odd = [field for field in unread if self._may_divide(field)]
        if odd:
            keys = ", ".join(f"splits.{part}" for part in ROW_PARTS[:3])
            self.ask(
                "splits",
                f"what is {self._shown(odd)}? Set splits.column, {keys} or splits.unseen_classes to what counts",
            )

    def _is_column(self, field: Field, count: int) -> bool:
        """Says whether a list names the part of each row."""
        is_called = plain(known.last(field.name)) in known.DIVISIONS and isinstance(field.value, tuple)
        return is_called and len(field.value) == count and all(known.part(text)[0] for text in set(field.texts))

    def _may_divide(self, field: Field) -> bool:
        """Says whether a field has a form that splits have, or none that is known."""
        if field.note or isinstance(field.value, tuple):
            return bool(field.note) or len(field.value) > 1
        is_whole = field.value.dtype.kind in "biuf" and bool(np.all(field.value == np.rint(field.value)))
        return not field.is_matrix and is_whole and field.value.size > 1

    def count_of_rows(self) -> int:
        """How many rows there are, by the labels; 0 where nothing says."""
        section = self.made.get("labels", {})
        found = section.get("from", [])
        fields = [self.at.at(place, "labels.from") for place in ([found] if isinstance(found, str) else found)]
        return sum(len(field.value) if isinstance(field.value, tuple) else field.value.size for field in fields)


def descriptions(path: pathlib.Path) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Classes that a file describes by itself.

    Args:
      path: a file with one matrix, a row for each class, perhaps with names of its rows.

    Returns:
      Descriptions [C, A] float64, the classes' names and the attributes', () where the file has none.

    Raises:
      InputError: the file can't be read, holds no such matrix or several, or an entry is not finite.
    """
    with files.opened(path):  # a folder would be read as one of pictures
        proposal = Proposal({}, Places(path.parent), [path], path)
    arrays = [field for field in proposal.there if _is_array(field)]
    if len(arrays) != 1:
        raise InputError(f"{path}: holds {len(arrays)} arrays of numbers; one is needed, a row for each class")
    proposal.put("semantics.from", proposal.at.place(arrays[0]))
    proposal.describe()
    values, _, attributes = assemble.descriptions(proposal.made, proposal.at)
    checks.require_finite(checks.float32(values), str(path))
    place = proposal.said("semantics.classes")
    names = assemble.texts_at(proposal.at, place, "semantics.classes") if place else ()
    return values, names, attributes


def _is_array(field: Field) -> bool:
    return not isinstance(field.value, tuple)


def _says_split(field: Field) -> bool:
    """Says whether a field is called like a split, or all its texts are."""
    parts = set(field.texts) if isinstance(field.value, tuple) else set()
    return known.says_split(field.name) or (len(parts) > 1 and all(known.part(text)[0] for text in parts))


def _is_whole(field: Field, column: str) -> bool:
    """Says whether a column of a table holds whole numbers alone."""
    values = np.asarray(field.value)[:, field.columns.index(column)]
    return bool(np.all(values == np.rint(values)))


def _has_form(field: Field, role: str) -> bool:
    """Says whether a field has the form of a role: an array of two sides or more, or a list.

    A list in which most names recur says the class of each row, so it doesn't name the classes.
    """
    if role in known.MATRICES:
        return not isinstance(field.value, tuple) and field.value.ndim > 1 and len(field.value) > 0
    if role == "labels":
        recurs = len(set(field.texts)) < len(field.texts) or plain(known.last(field.name)) not in known.ROLES["classes"]
        return not field.is_matrix and recurs
    if role == "classes":
        return isinstance(field.value, tuple) and 2 * len(set(field.value)) >= len(field.value) > 0
    return bool(field.texts) and (role != "attributes" or isinstance(field.value, tuple))


def _are_numbers(labels: Field) -> bool:
    return bool(labels.texts) and all(map(naming.is_numeral, set(labels.texts)))


def _distinct(fields: Sequence[Field]) -> list[Field]:
    """Fields without those that hold the same as one before."""
    found: list[Field] = []
    for field in fields:
        if not any(_same(field, other) for other in found):
            found.append(field)
    return found


def _same(one: Field, other: Field) -> bool:
    """Says whether two fields hold the same."""
    if isinstance(one.value, tuple) or isinstance(other.value, tuple):
        return one.texts == other.texts
    return bool(np.array_equal(one.value.squeeze(), other.value.squeeze()))


def _same_names(one: Field, other: Field) -> bool:
    """Says whether two lists of classes have one order, or are not of the same classes."""
    ours, theirs = ([naming.rough_name(name) for name in field.rows or field.texts] for field in (one, other))
    return ours == theirs or sorted(ours) != sorted(theirs)
