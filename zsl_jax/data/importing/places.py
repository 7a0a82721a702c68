"""Files by the places that a manifest names, each read once."""

import pathlib
from collections.abc import Sequence

from zsl_jax.data.formats.readers import require_text
from zsl_jax.data.importing import fields, folders
from zsl_jax.data.importing.fields import Field
from zsl_jax.data.importing.manifest import CHECKED, CLASSES, IMAGES, KEYS, PLACE, PLACES, Manifest
from zsl_jax.errors import InputError

MOST_SHOWN = 8


class Places:
    """What lies at the places of a manifest.

    Args:
      folder: that files are relative to.
      axis: what pictures are in the files of a folder: "rows", "columns" or "": as their sizes tell.
    """

    def __init__(self, folder: pathlib.Path, axis: str = ""):
        self.folder, self.axis = folder, axis
        self._read: dict[pathlib.Path, list[Field]] = {}

    def normalise(self, made: Manifest, sources: Sequence[pathlib.Path]) -> None:
        """Makes places that a person wrote relative to the folder: sources by their names alone, files of here."""
        for section, values in made.items():
            kinds = {key: KEYS[section].get(key, ("",))[0] for key in values} if section in CHECKED else {}
            for key in [key for key, kind in kinds.items() if kind in (PLACE, PLACES, CLASSES)]:
                if isinstance(values[key], str):
                    values[key] = self._relative(values[key], sources)
                elif isinstance(values[key], list) and kinds[key] == PLACES:
                    values[key] = [self._relative(one, sources) for one in values[key]]

    def _relative(self, place: str, sources: Sequence[pathlib.Path]) -> str:
        file, colon, name = place.rpartition(":") if ":" in place else (place, "", "")
        named = [source for source in sources if source.name == file]
        here = pathlib.Path(file).expanduser().absolute()
        if (
            place == IMAGES
            or not file
            or (self.folder / file).exists()
            or len(named) > 1
            or not (named or here.exists())
        ):
            return place
        return f"{self.name(named[0] if named else here)}{colon}{name}"

    def fields(self, file: pathlib.Path) -> list[Field]:
        """What a file, or a folder with a folder for each class, holds."""
        if file not in self._read:
            require_text(str(file))
            self._read[file] = folders.read(file, self.axis) if file.is_dir() else fields.read(file)
        return self._read[file]

    def files(self) -> list[pathlib.Path]:
        """The files and folders that were read."""
        return [*self._read]

    def name(self, file: pathlib.Path) -> str:
        """A file as a manifest names it: relative to the folder where it lies below it."""
        return str(file.relative_to(self.folder) if file.is_relative_to(self.folder) else file)

    def place(self, field: Field) -> str:
        """The place of a field."""
        return f"{self.name(field.file)}:{field.name}"

    def at(self, place: str, key: str) -> Field:
        """The field at a place.

        Args:
          place: FILE:FIELD, or FILE of a file with one thing in it.
          key: of the manifest, for messages.

        Raises:
          InputError: there is none, or it can't be used.
        """
        file, name = self._divided(place, key)
        there = self.fields(file)
        found = [field for field in there if name in ("", field.name)]
        if len(found) != 1:
            wrong = f"has no {name!r}" if name else f"holds several things, write {place}:FIELD"
            raise InputError(f"{key}: {file} {wrong}; it has {listed(there)}")
        if found[0].note:
            raise InputError(f"{key}: {found[0].where}: {found[0].note}")
        return found[0]

    def _divided(self, place: str, key: str) -> tuple[pathlib.Path, str]:
        """File and field of a place; a file of exactly this name goes before."""
        require_text(place)
        whole = self.folder / pathlib.Path(place).expanduser()
        file, _, name = place.rpartition(":")
        part = self.folder / pathlib.Path(file).expanduser()
        if whole.exists() or not file:
            return whole, ""
        if not part.exists():
            raise InputError(f"{key}: {whole}: no such file")
        return part, name


def listed(found: list[Field]) -> str:
    """The first of some fields with their shapes."""
    shown = [f"{field.name!r} ({field.shape})" for field in found[:MOST_SHOWN]]
    more = f" and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
    return ", ".join(shown) + more if shown else "nothing"
