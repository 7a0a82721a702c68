"""Which stages there are. A module of this package offers stages by a constant STAGES = {name: Entry}."""

import importlib
import json
import pkgutil
from difflib import get_close_matches
from typing import Any

from zsl_jax import train_steps
from zsl_jax.errors import InputError
from zsl_jax.train_steps.method import Entry, Method, Spec
from zsl_jax.train_steps.noisy import with_noise

# What `build` may not read of a configuration beside the stages' `numbers`: all this is forgotten where it is decided
# which configurations share a method.
UNREAD = ("seed", "data.root", "eval", "parallel", "validate", "upstream", "stage", "figures", "log_every", "memory_mb")
# Likewise of the section of a stage: how long it is trained, how it is judged, and how many rows are made of it.
UNREAD_IN_STAGE = ("epochs", "steps_per_epoch", "eval_every", "patience", "holdout", "syn_num", "classifier_lr")

_added: dict[str, Entry] = {}
_built: dict[Any, Method] = {}


def register(name: str, entry: Entry) -> None:
    """Adds a stage from outside the package, e.g. from a notebook or a test."""
    _added[name] = entry


def stages() -> dict[str, Entry]:
    """All stages by name."""
    found: dict[str, Entry] = {}
    for module in pkgutil.iter_modules(train_steps.__path__):
        found |= getattr(importlib.import_module(f"{train_steps.__name__}.{module.name}"), "STAGES", {})
    return found | _added


def find(name: str) -> Entry:
    """What a stage is built by.

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
    """The method of a stage: one and the same for all configurations that differ in numbers, seeds and epochs only.

    Compiled programs belong to a method, so they are shared too.

    Raises:
      InputError: there is no such stage, or its options make no sense.
    """
    entry = find(name)
    method = entry.build(config, spec)  # also where one is there already: options that make no sense are refused
    deviation = 0.0 if "semantic_noise" in entry.numbers else config[name].get("semantic_noise", 0.0)
    method = with_noise(method, deviation) if deviation > 0 else method
    return _built.setdefault((entry.build, spec, structure(config)), method)


def structure(config: Any) -> str:
    """What of a configuration decides compiled programs: all but what is unread and the numbers of all stages."""
    found = stages().items()
    own = [f"{name}.{field}" for name, entry in found for field in (*UNREAD_IN_STAGE, *entry.numbers)]
    fields = config.to_dict()
    for field in (*UNREAD, *own):
        _forget(fields, field.split("."))
    return json.dumps(fields, sort_keys=True)


def _forget(fields: dict[str, Any], path: list[str]) -> None:
    """Removes a nested entry, if it is there."""
    for part in path[:-1]:
        fields = fields.get(part, {})
    fields.pop(path[-1], None)
