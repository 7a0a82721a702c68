"""Which stages there are. A module of this package offers stages by a constant STAGES = {name: build}."""

import importlib
import pkgutil
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from zsl_jax import train_steps
from zsl_jax.errors import InputError
from zsl_jax.train_steps.method import Method, Spec

# (whole configuration, sizes) -> method
Build = Callable[[Any, Spec], Method]

_added: dict[str, Build] = {}


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
