"""Configurations: found by name or path, loaded, and their fields set from text."""

import ast
import contextlib
import copy
import difflib
import os
import re
import runpy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zsl_jax.errors import InputError, one_line

PACKAGE = Path(__file__).parents[1]
MOST_SEED = 2**32 - 1  # keys of larger seeds are those of smaller ones; no other whole number needs more
TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
# Fields that runs of earlier versions lack, with the values that say what these did: so they can be gone on with.
ADDED = {"memory_mb": 8192.0, "data.pictures": False, "data.validation_draws": 1, "eval.shrinkage": 0.3} | {
    f"{stage}.semantic_noise": 0.0 for stage in ("drg", "dfg", "d2sc_drg", "d2sc_dfg", "tfvaegan")
}
RENAMED = ("normalize_semantics", "normalize_decoder")  # switches that are "l2" or "none" of `semantics_scaling` now
NEAREST = 3  # names that are proposed for one that is unknown


def folder() -> Path:
    """The folder of the configurations that come with the package: inside of it in a wheel, beside it in a checkout."""
    inside = PACKAGE / "configs"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def names() -> list[str]:
    """The configurations that come with the package, e.g. zerodiff_digits or ablations/zerodiff."""
    return sorted(str(path.relative_to(folder()).with_suffix("")) for path in folder().glob("**/*.py"))


def find(name: str) -> Path:
    """The file of a configuration: a path, or the name of one that comes with the package.

    Raises:
      InputError: there is neither; with the nearest names.
    """
    path = Path(os.path.expanduser(name))
    if path.is_file():
        return path
    known, plain = names(), name.removeprefix("configs/").removesuffix(".py")
    if plain in known:
        return folder() / f"{plain}.py"
    near = difflib.get_close_matches(plain, known, NEAREST, cutoff=0.4) or known
    raise InputError(f"no such file, and no configuration of that name; the nearest names are {', '.join(near)}")


def title(name: str) -> str:
    """What a configuration with its argument is called in tables."""
    path, colon, argument = name.partition(":")
    return Path(path).stem + colon + argument


def load(name: str, assignments: Sequence[str] = (), flag: str = "--config") -> Any:
    """A configuration, locked.

    Args:
      name: NAME_OR_PATH[:ARGUMENT], see `find`.
      assignments: "field=value" each, set in it.
      flag: to begin errors with.

    Raises:
      InputError: it cannot be loaded, or has no such field.
    """
    file, colon, argument = name.partition(":")
    try:
        config = runpy.run_path(str(find(file)))["get_config"](*([argument] if colon else []))
        config.lock()
    except Exception as error:  # a configuration is a program: whatever it raises is an answer to what was asked
        raise InputError(f"{flag} {name}: {one_line(error)}") from error
    for text in assignments:
        assign(config, text)
    return config


def assign(config: Any, text: str, flag: str = "--config.") -> tuple[str, Any]:
    """Sets the field of "field=value"; returns field and value. Raises InputError as `parse`."""
    field, value = parse(config, text, flag)
    put(config, {field: value})
    return field, value


def parse(config: Any, text: str, flag: str = "--config.") -> tuple[str, Any]:
    """Field and value of "field=value".

    Raises:
      InputError: no "=", no such field, or a value of another type; begins with the flag's name.
    """
    with _of(flag):
        field, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{text}: write it as FIELD=VALUE")
        return field, convert(field, value, look_up(config, field))


def parse_values(config: Any, text: str, flag: str) -> tuple[str, list[Any]]:
    """Field and values of "field=v1,v2"; commas in brackets, as of tuples, do not separate.

    Raises:
      InputError: no "=", no such field, a value of another type or twice; begins with the flag's name.
    """
    with _of(f"{flag} "):
        field, equals, listed = text.partition("=")
        if not equals or not listed:
            raise InputError(f"{text}: write it as FIELD=V1,V2,...")
        there = look_up(config, field)
        values = [convert(field, part, there) for part in re.split(r",(?![^(]*\))", listed)]
        if len(set(map(repr, values))) < len(values):
            raise InputError(f"{text}: a value stands there twice")
    return field, values


@contextlib.contextmanager
def _of(flag: str) -> Iterator[None]:
    """Puts a flag's name before what is wrong with its value."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{flag}{error}") from error


def put(config: Any, values: Mapping[str, Any]) -> None:
    """Sets fields by dotted name.

    Raises:
      InputError: no such field, or a value of another type.
    """
    for field, value in values.items():
        look_up(config, field)
        try:
            config.update_from_flattened_dict({field: value})
        except (TypeError, ValueError) as error:
            raise InputError(f"{field}={value!r}: {one_line(error)[:300]}") from error


def look_up(config: Any, field: str) -> Any:
    """The value of a dotted field.

    Raises:
      InputError: there is no such field, or it is a section.
    """
    for part in field.split("."):
        if not isinstance(config, ConfigDict) or part not in config:
            near = difflib.get_close_matches(part, config if isinstance(config, ConfigDict) else (), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{field}: the configuration has no such field{hint}")
        config = config[part]
    if isinstance(config, ConfigDict):
        raise InputError(f"{field}: that is a section; name one of its fields")
    return config


def convert(field: str, text: str, there: Any) -> Any:
    """The value that a text gives a field, of the type of the value that is there.

    Raises:
      InputError: it is of another type.
    """
    kind = type(there)
    with contextlib.suppress(ValueError, KeyError, SyntaxError):
        if kind is bool:
            return TRUTH[text.lower()]
        if kind in (int, float):
            return kind(text)
        value = _literal(text)
        if kind is not tuple:
            return value if isinstance(value, str) else text
        value = value.split(",") if isinstance(value, str) else value
        return tuple(value) if isinstance(value, list | tuple) else (value,)
    raise InputError(f"{field}: {text!r}, but the field holds {there!r} ({kind.__name__})")


def _literal(text: str) -> Any:
    """What a text stands for as Python writes it, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def changed(config: Any, values: Mapping[str, Any]) -> Any:
    """A copy with other values by dotted field, not locked; fields that refer to a changed one follow it."""
    copied = copy.deepcopy(config)
    copied.update_from_flattened_dict(values)
    return ConfigDict(copied.to_dict())


def flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by dotted names."""
    found = {}
    for name, value in fields.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def completed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that was written as JSON, perhaps by a version before fields were `ADDED` or `RENAMED`."""
    whole = _renamed(fields)
    for name, value in ADDED.items():
        section, _, field = name.rpartition(".")
        (whole.get(section, {}) if section else whole).setdefault(field, value)
    return whole


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name in RENAMED:
            found["semantics_scaling"] = "l2" if value else "none"
        else:
            found[name] = _renamed(value) if isinstance(value, Mapping) else copy.deepcopy(value)
    return found
