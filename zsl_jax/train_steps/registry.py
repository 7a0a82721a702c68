"""Which stages there are. A module of this package offers stages by a constant STAGES = {name: build}."""

import importlib
import json
import pkgutil
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from zsl_jax import train_steps
from zsl_jax.errors import InputError
from zsl_jax.train_steps.method import Method, Spec

# (whole configuration, sizes) -> method. Of the configuration it may read anything but what `UNREAD` names, and but the
# `numbers` of other stages: `structure` forgets the numbers of all stages, so a method that had read one as a constant
# would be shared by configurations that differ in it. Its own numbers it gets traced, as `hyper`.
Build = Callable[[Any, Spec], Method]
UNREAD = ("seed", "data.root", "eval", "parallel", "validate", "upstream", "stage", "figures", "log_every")

_added: dict[str, Build] = {}
_built: dict[Any, Method] = {}
_numbers: dict[str, tuple[str, ...]] = {}  # by stage: `Method.numbers`


def register(name: str, build: Build) -> None:
    """Adds a stage from outside the package, e.g. from a notebook or a test."""
    _added[name] = build


def stages() -> dict[str, Build]:
    """All stages by name."""
    found: dict[str, Build] = {}
    for module in pkgutil.iter_modules(train_steps.__path__):
        found |= getattr(importlib.import_module(f"{train_steps.__name__}.{module.name}"), "STAGES", {})
    return found | _added


def find(name: str) -> Build:
    """The builder of a stage.

    Raises:
      InputError: there is no such stage.
    """
    known = stages()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {sorted(known)}"
        raise InputError(f"config.stages: no stage {name!r}; {hint}")
    return known[name]


def build(config: Any, name: str, spec: Spec) -> Method:
    """The method of a stage: one and the same for all configurations that differ in numbers and seeds only.

    Compiled programs belong to a method, so they are shared too.

    Raises:
      InputError: there is no such stage, or its options make no sense.
    """
    make = find(name)
    method = make(config, spec)
    _numbers[name] = method.numbers
    return _built.setdefault((make, spec, structure(config)), method)


def structure(config: Any) -> str:
    """What of a configuration decides compiled programs: all of it but seeds, evaluation and the stages' numbers."""
    numbers = [f"{stage}.{number}" for stage, names in _numbers.items() for number in names]
    fields = config.to_dict()
    for field in (*UNREAD, *numbers):
        _forget(fields, field.split("."))
    return json.dumps(fields, sort_keys=True)


def _forget(fields: dict[str, Any], path: list[str]) -> None:
    """Removes a nested entry, if it is there."""
    for part in path[:-1]:
        fields = fields.get(part, {})
    fields.pop(path[-1], None)
