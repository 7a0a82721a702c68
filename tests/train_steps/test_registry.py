"""Which stages there are, which configurations share a method, and that no traced number is a constant of one."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.tiny import SPEC, TABLES, batches, narrow, synthetic
from zsl_jax.config import defaults, names
from zsl_jax.train_steps import autoencoders, gan_objectives, registry
from zsl_jax.train_steps.method import Method, hyper_parameters

ROWS = 4
KEY = jax.eval_shape(jax.random.key, 0)
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "finetune_x": [{"optimiser": "sgd"}, {"optimiser": "adam"}],
    "d2sc_drg": [{"negatives": "none"}, {"negatives": "mismatched"}],
    "tfvaegan": [{"encoded_noise": noise, "freeze_decoder": noise} for noise in (True, False)],
    "gan": [{"objective": name} for name in names.GANS]
    + [{"objective": name, "meant": True} for name in gan_objectives.MEANT],
    "autoencoder": [{"objective": name} for name in names.AUTOENCODERS]
    + [{"objective": name, "meant": True} for name in autoencoders.MEANT],
}
CASES = [(stage, options) for stage in registry.stages() for options in VARIANTS.get(stage, [{}])]


def configuration(stage: str, **options: Any) -> Any:
    """The defaults of the first system that has a section for a stage, a few units wide."""
    systems = [defaults.zerodiff(), defaults.d2sc(), defaults.tfvaegan(), defaults.gan_zoo("wgan")]
    config = next(one for one in [*systems, defaults.autoencoder("ae")] if stage in one)
    config[stage].update(options)
    return synthetic(narrow(config))


def with_numbers(config: Any, stage: str, change: Callable[[str, Any], Any]) -> Any:
    """The same configuration with other values of all of a stage's traced numbers, and of what no method reads."""
    changed: Any = ConfigDict(config.to_dict())
    unread = [field for field in registry.UNREAD_IN_STAGE if field in changed[stage]]
    for name in (*registry.find(stage).numbers, *unread):
        *sections, field = name.split(".")
        owner = changed[stage]
        for section in sections:
            owner = owner[section]
        owner[field] = type(owner[field])(change(field, owner[field]))
    return changed


def scaled(field: str, value: Any) -> Any:
    """Neither the default nor zero, and no power of two apart from either."""
    del field
    return 3 * value + 1 if isinstance(value, int) else 1.37 * value + 0.0171


def off(field: str, value: Any) -> Any:
    """Zero, where that is allowed: a branch on whether a number is above zero takes its other side."""
    return value if field.endswith("temperature") else 0


def constants(jaxpr: Any) -> Iterator[np.ndarray]:
    """The arrays captured by a program and by those inside it."""
    yield from map(np.asarray, getattr(jaxpr, "consts", ()))
    for equation in jaxpr.eqns:
        for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            if hasattr(parameter, "eqns"):
                yield from constants(parameter)


def program(function: Callable, *given: Any) -> tuple[str, list[tuple[tuple[int, ...], bytes]]]:
    """What a function computes: its text without addresses of the memory, and its captured arrays."""
    traced = jax.make_jaxpr(function)(*given)
    captured = [(array.shape, array.tobytes()) for array in constants(traced)]
    return re.sub(r" at 0x[0-9a-f]+", "", str(traced)), captured


def upstream_of(config: Any, stage: str) -> dict[str, Any]:
    """Shapes of what the earlier stages leave."""
    left: dict[str, Any] = {}
    for earlier in config.stages[: config.stages.index(stage)] if stage in config.stages else ():
        method = registry.find(earlier).build(config, SPEC)
        numbers = hyper_parameters(config[earlier], registry.find(earlier).numbers)
        left[earlier] = jax.eval_shape(method.inference, jax.eval_shape(method.init, KEY, dict(left), numbers, TABLES))
    return left


def programs(method: Method, config: Any, stage: str, upstream: dict[str, Any]) -> dict[str, Any]:
    """All that a method computes."""
    numbers = hyper_parameters(config[stage], registry.find(stage).numbers)
    state = jax.eval_shape(method.init, KEY, upstream, numbers, TABLES)
    params, views = jax.eval_shape(method.inference, state), batches((ROWS,)).views
    given = batches((method.batches_per_step, ROWS))
    found = {
        "init": program(method.init, KEY, upstream, numbers, TABLES),
        "train_step": program(method.train_step, state, given, KEY, TABLES),
        "inference": program(method.inference, state),
    }
    for sampler in method.samplers:
        semantics, keys = jnp.zeros((ROWS, SPEC.a_dim)), jax.eval_shape(lambda key: jax.random.split(key, ROWS), KEY)
        made = lambda p, a, k, sampler=sampler: method.synthesize(p, a, k, sampler)  # noqa: E731  # pyright: ignore[reportOptionalCall]
        found[f"synthesize {sampler}"] = program(made, params, semantics, keys)
    for space in method.spaces:
        embedded = lambda p, v, space=space: method.embed(p, v, space)  # noqa: E731  # pyright: ignore[reportOptionalCall]
        found[f"embed {space}"] = program(embedded, params, views)
    if method.scores is not None:
        found["scores"] = program(method.scores, params, views, TABLES)
    return found


def told_apart(build: Callable, stage: str, **options: Any) -> set[str]:
    """Names of the functions that differ between methods built with different values of their traced numbers."""
    config = configuration(stage, **options)
    upstream = upstream_of(config, stage)
    changed = [with_numbers(config, stage, change) for change in (scaled, off)]
    one, other = (programs(build(numbered, SPEC), numbered, stage, upstream) for numbered in changed)
    return {name for name in one if one[name] != other[name]}


@pytest.mark.parametrize(
    ("stage", "options"),
    CASES,
    ids=lambda given: "-".join(map(str, given.values())) if isinstance(given, dict) else given,
)
def test_a_stage_is_one_program_whatever_its_numbers(stage, options):
    """So that configurations that differ in these alone may share it."""
    assert not told_apart(registry.find(stage).build, stage, **options)


def reads_a_constant(config: Any, spec: Any) -> Method:
    """The representation stage with its learning rate compiled in."""
    method = registry.find("drg").build(config, spec)

    def train_step(state, batches, key, tables=None):
        fixed = state.hyper | {"lr": jnp.float32(config.drg.lr)}
        return method.train_step(state._replace(hyper=fixed), batches, key, tables)

    return dataclasses.replace(method, train_step=train_step)


def captures_an_array(config: Any, spec: Any) -> Method:
    """The representation stage whose rows are moved by an array made of a learning rate."""
    method = registry.find("drg").build(config, spec)
    moved = np.full(SPEC.r_dim, config.drg.lr, np.float32)
    return dataclasses.replace(method, embed=lambda params, views, space: views["r"] + jnp.asarray(moved)[None])


@pytest.mark.parametrize(("build", "found"), [(reads_a_constant, "train_step"), (captures_an_array, "embed C")])
def test_a_number_read_as_a_constant_is_found(build, found):
    assert told_apart(build, "drg") == {found}


@pytest.mark.parametrize("stage", ["drg", "finetune_r", "gan", "d2sc_dfg"])
def test_methods_are_shared_whatever_was_built_before(stage, monkeypatch):
    """Between configurations that differ in numbers, epochs and seeds, of this stage and of others."""
    config = configuration(stage)
    other = with_numbers(config, stage, scaled)
    for one in other.stages:
        other = with_numbers(other, one, scaled)
    other.seed, other.eval.every = 7, 3
    wider: Any = ConfigDict(config.to_dict())
    wider[stage].batch_size *= 2
    for order in ([config, other, wider], [wider, other, config]):
        monkeypatch.setattr(registry, "_built", {})
        built = {id(one): registry.build(one, stage, SPEC) for one in order}
        assert built[id(config)] is built[id(other)]
        assert built[id(config)] is not built[id(wider)]
        assert registry.build(config, stage, dataclasses.replace(SPEC, a_dim=2)) is not built[id(config)]
