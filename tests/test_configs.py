"""Every file of configs/: it loads, is locked, holds the published numbers, and trains for an iteration."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests import tiny
from tests.tiny import SPEC, batches, bits, random_like
from zsl_jax import main, runs
from zsl_jax.errors import InputError
from zsl_jax.train_steps import method as contract
from zsl_jax.train_steps import registry, zerodiff_dfg, zerodiff_drg
from zsl_jax.training import checks

# ml_collections loads configuration files in a way that Python is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

FOLDER = Path(__file__).parents[1] / "configs"
SHARES = ("", ":30", ":10")
COMPONENTS = ("x0", "xt", "xc", "mutual", "diffusion", "r")
VARIANTS = {
    "ablations/zerodiff.py": tuple(f":{component},sun" for component in COMPONENTS),
    "zerodiff_awa1.py": ("", ":reference"),
    "zerodiff_awa2.py": SHARES,
    "zerodiff_cub.py": SHARES,
    "zerodiff_digits.py": ("",),
    "zerodiff_sun.py": SHARES,
    "zerodiff_synthetic.py": ("",),
}
ALL = [name + variant for name, variants in VARIANTS.items() for variant in variants]
HYPER = {"drg": zerodiff_drg.HYPER, "dfg": zerodiff_dfg.HYPER}

# As published: name -> AWA2, CUB, SUN.
PUBLISHED = {
    "data.semantics": ("att", "sent", "att"),
    "data.normalize_semantics": (True, False, True),
    "drg.normalize_decoder": (True, False, True),
    "dfg.normalize_decoder": (True, False, True),
    "drg.epochs": (300, 300, 400),
    "dfg.epochs": (300, 300, 400),
    "drg.lr": (5e-4, 1e-4, 1e-4),
    "dfg.lr": (5e-4, 1e-4, 1e-4),
    "drg.classifier_lr": (1e-3, 1e-3, 5e-4),
    "dfg.classifier_lr": (1e-3, 1e-3, 5e-4),
    "dfg.gamma_adv": (10, 10, 1),
    "dfg.gamma_recons": (1, 0.01, 0.01),
    "dfg.gamma_dist": (5, 2, 1),
    "dfg.freeze_decoder": (True, False, False),
    "seed": (9182, 3483, 4115),
}
SYN_NUM = {
    "drg": {"100": (1800, 300, 400), "30": (600, 100, 120), "10": (200, 40, 40)},
    "dfg": {"100": (5400, 1440, 400), "30": (1800, 440, 120), "10": (600, 140, 40)},
}
# Of both stages and all data sets; 0: the semantics' width.
COMMON = {
    "batch_size": 64, "critic_iter": 5, "dec_lr": 1e-4, "penalty_weight": 10, "n_steps": 4, "beta_min": 0.1,
    "beta_max": 20, "schedule": "variance_preserving", "gamma_x0": 1, "gamma_xt": 1, "z_dim": 0, "time_dim": 0,
    "generator_width": 4096, "critic_width": 4096, "decoder_width": 4096,
}  # fmt: skip
DFG_COMMON = {"gamma_vae": 1, "gamma_xc": 1, "factor_dist": 1.5, "encoder_width": 4096, "embed_type": "VA"}
DATASETS = ("AWA2", "CUB", "SUN")


@functools.cache
def load(name: str) -> Any:
    """A configuration as the program gets it."""
    runs.parse(main.FLAGS, ["main", f"--config={FOLDER / name}", "--workdir=unused"], ("config", "workdir"))
    return main.FLAGS.config


def field(config: Any, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), config)


def test_all_files_are_known_here():
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.glob("**/*.py")} == set(VARIANTS)


@pytest.mark.parametrize("name", ALL)
def test_configs_are_locked_and_consistent(name):
    config = load(name)
    assert config.is_locked
    with pytest.raises(AttributeError, match="gamma_dist"):
        config.dfg.gamma_dst = 1.0
    checks.check_options(config)
    file, _, variant = name.partition(":")
    text = (FOLDER / file).read_text()
    assert f"--config configs/{file}" in text  # the docstring gives the command
    assert f":{variant.replace(',sun', ',digits')}" in text


@pytest.mark.parametrize("name", ["zerodiff_awa1.py", "zerodiff_sun.py"])
def test_unknown_variants_are_refused(name):
    with pytest.raises(InputError, match="7"):
        runs.parse(main.FLAGS, ["main", f"--config={FOLDER / name}:7", "--workdir=unused"], ("config", "workdir"))


@pytest.mark.parametrize("place", range(3), ids=DATASETS)
@pytest.mark.parametrize("share", ["100", "30", "10"])
def test_published_numbers(place, share):
    variant = "" if share == "100" else f":{share}"
    config = load(f"zerodiff_{DATASETS[place].lower()}.py{variant}")
    assert config.data.dataset == config.data.synthetic.preset == DATASETS[place]
    assert config.data.percent == int(share)
    assert (config.data.features, config.data.representations, config.data.scaling) == ("ce_ce", "con_paco", "minmax")
    assert {name: field(config, name) for name in PUBLISHED} == {name: row[place] for name, row in PUBLISHED.items()}
    for stage in ("drg", "dfg"):
        assert config[stage].syn_num == SYN_NUM[stage][share][place]
        assert {name: config[stage][name] for name in COMMON} == COMMON
    assert {name: config.dfg[name] for name in DFG_COMMON} == DFG_COMMON
    assert config.drg.feed == "current"
    assert config.eval.classifier_epochs == 25
    assert config.eval.classifier_batch == 0  # as many rows as are synthesised of a class


@functools.cache
def compiled(stage: str, static: str) -> tuple[Any, Any]:
    """Initialisation and compiled step of a stage, by the JSON of both stages' options that are no traced numbers."""
    method = registry.find(stage)(ConfigDict(json.loads(static)), SPEC)
    return method.init, jax.jit(method.train_step)


def static_options(config: Any) -> str:
    sections = {stage: config[stage].to_dict() for stage in HYPER}
    for stage, names in HYPER.items():
        sections[stage].update(dict.fromkeys(names, 1.0))
        sections[stage].update({"epochs": 0, "syn_num": 0, "classifier_lr": 0.0})
    return json.dumps(sections)


def off(numbers: dict[str, Any], critic: str) -> bool:
    return numbers.get(f"gamma_x{critic}", 1.0) == 0


@pytest.mark.parametrize("name", ALL)
def test_one_iteration_of_each_stage(name):
    """At a few units a layer; configurations that differ in numbers alone share a compiled step."""
    config = tiny.narrow(ConfigDict(load(name).to_dict()))
    upstream = {}
    for stage in ("drg", "dfg"):
        init, step = compiled(stage, static_options(config))
        numbers = contract.hyper_parameters(config[stage], HYPER[stage])
        shapes = jax.eval_shape(init, jax.random.key(0), upstream, numbers)
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        extra = {name: numbers[name] for name in state.extra}
        state = state._replace(params=random_like(state.params), hyper=numbers, extra=extra)
        given = batches((config[stage].critic_iter, 8))
        after, metrics = step(state, given, jax.random.key(1))
        assert all(np.isfinite(value) for value in metrics.values())
        unmoved = {net for net in state.params if bits(after.params[net]) == bits(state.params[net])}
        switched_off = {
            f"{stage[1]}{critic}" if stage == "drg" else f"x{critic}" for critic in "0tc" if off(numbers, critic)
        }
        assert unmoved == switched_off
        upstream = {"drg": {"generator": after.params["generator"]}}
