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
from zsl_jax.config import names, options
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks
from zsl_jax.train_steps import autoencoders, gan_objectives, registry
from zsl_jax.train_steps import method as contract

FOLDER = Path(__file__).parents[1] / "configs"
SHARES = ("", ":30", ":10")
COMPONENTS = ("x0", "xt", "xc", "mutual", "diffusion", "r")
VARIANTS = {
    "ablations/zerodiff.py": tuple(f":{component},sun" for component in COMPONENTS),
    "autoencoders.py": (":vae,digits", ":ae,awa2", ":bir_vae,awa1"),
    "cramergan_tricks_apy.py": ("",),
    "cramergan_tricks_awa2.py": ("",),
    "cramergan_tricks_cub.py": ("",),
    "cramergan_tricks_flo.py": ("",),
    "cramergan_tricks_sun.py": ("",),
    "d2sc_awa2.py": ("", ":digits", ":awa1"),
    "gan_zoo.py": (":wgan,digits", ":cramergan,awa2", ":clswgan,awa1"),
    "own_data.py": ("", ":representations", ":tfvaegan", ":zerodiff,representations"),
    "tfvaegan_awa2.py": ("", ":digits", ":awa1"),
    "tfvaegan_cub.py": ("",),
    "tfvaegan_flo.py": ("",),
    "tfvaegan_sun.py": ("",),
    "zerodiff_awa1.py": ("", ":reference"),
    "zerodiff_awa2.py": SHARES,
    "zerodiff_cub.py": SHARES,
    "zerodiff_digits.py": ("",),
    "zerodiff_sun.py": SHARES,
    "zerodiff_synthetic.py": ("",),
}
ALL = [name + variant for name, variants in VARIANTS.items() for variant in variants]

# As published: name -> AWA2, CUB, SUN.
PUBLISHED = {
    "data.semantics": ("att", "sent", "att"),
    "data.semantics_scaling": ("l2", "none", "l2"),
    "drg.semantics_scaling": ("l2", "none", "l2"),
    "dfg.semantics_scaling": ("l2", "none", "l2"),
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
    return options.load(str(FOLDER / name))


def field(config: Any, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), config)


def test_all_files_are_known_here():
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.glob("**/*.py")} == set(VARIANTS)


@pytest.mark.parametrize("name", ALL)
def test_configs_are_locked_and_consistent(name):
    config = load(name)
    assert config.is_locked
    with pytest.raises(AttributeError, match="syn_num"):
        config[config.stages[-1]].syn_nm = 1
    checks.check_options(config)
    file, _, variant = name.partition(":")
    text = (FOLDER / file).read_text()
    assert f"zsl-jax train {file.removesuffix('.py')}" in text  # the docstring gives the command
    assert f":{variant.replace(',sun', ',digits')}" in text


@pytest.mark.parametrize(
    "name", ["autoencoders.py", "d2sc_awa2.py", "gan_zoo.py", "tfvaegan_awa2.py", "zerodiff_awa1.py", "zerodiff_sun.py"]
)
def test_unknown_variants_are_refused(name):
    with pytest.raises(InputError, match="7"):
        options.load(f"{FOLDER / name}:7")


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


def test_published_numbers_of_d2sc():
    config = load("d2sc_awa2.py")
    assert config.method == "d2sc"
    assert config.data.dataset == config.data.synthetic.preset == "AWA2"
    assert config.stages == ("d2sc_drg", "d2sc_dfg")
    for stage in config.stages:
        assert {name: config[stage][name] for name in COMMON} == COMMON | {"z_dim": 312}
        assert config[stage].semantics_scaling == "l2"
        assert config[stage].epochs == 300
    published = {"lr": 1e-3, "gamma_con_step": 0.02, "negatives": "none", "feed": "current"}
    assert {name: config.d2sc_drg[name] for name in published} == published
    published = DFG_COMMON | {
        "lr": 5e-4, "syn_num": 8000, "gamma_adv": 10, "gamma_recons": 1, "gamma_dist": 5, "gamma_mmd": 0.25,
        "mmd_sigma": 1, "gamma_center": 0.25, "kl_limit": 100, "clip_norm": 1, "freeze_decoder": True,
        "unseen_bias": 0, "train_s2v": False,
    }  # fmt: skip
    assert {name: config.d2sc_dfg[name] for name in published} == published


# As published: name -> AWA2, CUB, SUN, FLO.
TFVAEGAN = {
    "seed": (9182, 3483, 4115, 806),
    "tfvaegan.epochs": (240, 600, 800, 1000),  # passes: two to a published epoch
    "tfvaegan.lr": (1e-5, 1e-4, 1e-3, 1e-4),
    "tfvaegan.feed_lr": (1e-4, 1e-5, 1e-4, 1e-5),
    "tfvaegan.gamma_d": (10, 10, 1, 10),
    "tfvaegan.gamma_g": (10, 10, 1, 10),
    "tfvaegan.gamma_recons": (0.1, 0.01, 0.01, 0.01),
    "tfvaegan.a1": (0.01, 1, 0.1, 0.5),
    "tfvaegan.a2": (0.01, 1, 0.01, 0.5),
    "tfvaegan.freeze_decoder": (True, False, False, False),
    "tfvaegan.encoded_noise": (True, True, True, False),
    "tfvaegan.syn_num": (1800, 300, 400, 1200),
    "tfvaegan.classifier_lr": (1e-3, 1e-3, 5e-4, 1e-3),
}
TFVAEGAN_COMMON = {
    "batch_size": 64, "critic_iter": 5, "dec_lr": 1e-4, "penalty_weight": 10, "z_dim": 0, "generator_width": 4096,
    "encoder_width": 4096, "critic_width": 4096, "decoder_width": 4096, "semantics_scaling": "l2",
    "feedback_from": "reconstruction",
}  # fmt: skip


@pytest.mark.parametrize("place", range(4), ids=(*DATASETS, "FLO"))
def test_published_numbers_of_tfvaegan(place):
    dataset = (*DATASETS, "FLO")[place]
    config = load(f"tfvaegan_{dataset.lower()}.py")
    assert config.method == "tfvaegan"
    assert config.data.dataset == config.data.synthetic.preset == dataset
    assert (config.data.features, config.data.representations, config.data.semantics) == ("res101", "", "att")
    assert config.data.semantics_scaling == "l2"
    assert {name: field(config, name) for name in TFVAEGAN} == {name: row[place] for name, row in TFVAEGAN.items()}
    assert {name: config.tfvaegan[name] for name in TFVAEGAN_COMMON} == TFVAEGAN_COMMON
    assert config.eval.first % 2 == config.eval.every % 2 + 1 == (config.tfvaegan.epochs - 1) % 2  # after loop 1


@pytest.mark.parametrize("objective", ["ae", "ae2", "vae", "bir_vae"])
def test_published_numbers_of_autoencoders(objective):
    config = load(f"autoencoders.py:{objective},awa2")
    assert config.method == config.autoencoder.objective == objective
    assert config.stages == ("seen_classifier", "autoencoder")
    assert (config.data.features, config.data.representations, config.data.semantics) == ("res101", "", "att")
    published = {
        "epochs": 1000, "batch_size": 64 if objective == "vae" else 512, "z_dim": 0, "encoder_width": 4096,
        "decoder_width": 4096, "lr": 1e-4, "cls_weight": 0.01, "weight_decay": 4e-4, "information_rate": 13.3,
        "syn_num": 4000, "classifier_lr": 1e-3, "meant": False,
    }  # fmt: skip
    assert {name: config.autoencoder[name] for name in published} == published
    assert (config.eval.classifier_epochs, config.eval.classifier_batch) == (50, 2 * 4000)


@pytest.mark.parametrize(
    ("dataset", "syn_num"), {"AWA1": 400, "CUB": 400, "SUN": 400, "APY": 1800, "FLO": 400, "DIGITS": 100}.items()
)
def test_data_sets_of_autoencoders(dataset, syn_num):
    config = load(f"autoencoders.py:bir_vae,{dataset.lower()}")
    assert config.data.dataset.upper() == dataset
    assert config.autoencoder.syn_num == syn_num
    assert config.stages[-2:] == ("seen_classifier", "autoencoder")


GAN_ZOO = {
    "wgan": {"epochs": 10000, "cls_weight": 0, "weight_decay": 0},
    "clswgan": {"objective": "wgan", "epochs": 10000, "weight_decay": 0},
    "cramergan": {"penalty_weight": 2},
    "cramergan_tricks": {
        "objective": "cramergan", "penalty": "unit", "cls_weight": 0, "semantic_noise": 0.08, "synthesis_noise": 0.3,
    },
    "lsgan": {"epochs": 100, "batch_size": 512},
    "nsgan": {"batch_size": 512},
    "mmgan": {"epochs": 100, "batch_size": 512},
    "ransgan": {"batch_size": 512},
    "fishergan": {"epochs": 100},
    "infogan": {"epochs": 100},
}  # fmt: skip
GAN_ZOO_COMMON = {
    "epochs": 1000, "batch_size": 64, "critic_iter": 5, "z_dim": 0, "generator_width": 4096, "critic_width": 4096,
    "lr": 1e-4, "penalty_weight": 10, "cls_weight": 0.01, "weight_decay": 4e-4, "semantic_noise": 0,
    "synthesis_noise": 0, "rho": 1e-6, "diversity": 0.5, "k_rate": 1e-3, "plateau_epochs": 320, "syn_num": 4000,
    "classifier_lr": 1e-3, "meant": False, "penalty": "",
}  # fmt: skip


@pytest.mark.parametrize("objective", sorted({*GAN_ZOO, *gan_objectives.PUBLISHED}))
def test_published_numbers_of_the_gan_zoo(objective):
    config = load(f"gan_zoo.py:{objective},awa2")
    published = GAN_ZOO_COMMON | {"objective": objective} | GAN_ZOO.get(objective, {})
    assert {name: config.gan[name] for name in published} == published
    assert config.method == objective
    assert (config.data.features, config.data.representations, config.data.semantics) == ("res101", "", "att")
    assert (config.eval.classifier_epochs, config.eval.classifier_batch) == (50, 2 * 4000)
    assert ("seen_classifier" in config.stages) == (published["cls_weight"] > 0)


def test_the_zoo_has_the_names_of_the_configurations():
    assert tuple(gan_objectives.PUBLISHED) == names.GANS
    assert tuple(autoencoders.PUBLISHED) == names.AUTOENCODERS


@pytest.mark.parametrize(
    ("dataset", "syn_num"), {"APY": 5000, "AWA2": 5000, "CUB": 400, "FLO": 400, "SUN": 400}.items()
)
def test_published_tricks(dataset, syn_num):
    config = load(f"cramergan_tricks_{dataset.lower()}.py")
    assert config.data.dataset == config.data.synthetic.preset == dataset
    published = GAN_ZOO_COMMON | GAN_ZOO["cramergan_tricks"] | {"syn_num": syn_num}
    assert {name: config.gan[name] for name in published} == published
    assert (config.eval.classifier, config.eval.seen_factor) == ("prototype", 0.95)


@functools.cache
def compiled(stage: str, static: str) -> tuple[contract.Method, Any]:
    """A stage and its compiled step, by the JSON of its own and earlier stages' options that are no traced numbers."""
    method = registry.find(stage).build(ConfigDict(json.loads(static)), SPEC)
    return method, jax.jit(method.train_step)


def trained_stages(config: Any) -> list[str]:
    return [stage for stage in config.stages if not stage.startswith("finetune")]


def static_options(config: Any, last: str) -> str:
    """Those of the stages up to `last`; the width of the noise, here that of the semantics, is no difference."""
    trained = trained_stages(config)
    stages = trained[: trained.index(last) + 1]
    sections = {stage: config[stage].to_dict() for stage in stages}
    for stage, section in sections.items():
        section.update(dict.fromkeys(registry.find(stage).numbers, 0.0))
        section.update({"epochs": 0, "syn_num": 0, "classifier_lr": 0.0} | ({"z_dim": 0} if "z_dim" in section else {}))
    return json.dumps(sections | {"stages": stages})


def off(numbers: dict[str, Any], critic: str) -> bool:
    return numbers.get(f"gamma_x{critic}", 1.0) == 0


@pytest.mark.parametrize("name", ALL)
def test_one_iteration_of_each_stage(name):
    """At a few units a layer; configurations that differ in numbers alone share a compiled step."""
    config = tiny.narrow(ConfigDict(load(name).to_dict()))
    upstream = {}
    for stage in trained_stages(config):
        method, step = compiled(stage, static_options(config, stage))
        numbers = contract.hyper_parameters(config[stage], registry.find(stage).numbers)
        shapes = jax.eval_shape(method.init, jax.random.key(0), upstream, numbers)
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        extra = {name: numbers.get(name, value) for name, value in state.extra.items()}
        state = state._replace(params=random_like(state.params), hyper=numbers, extra=extra)
        given = batches((method.batches_per_step, 8))
        after, metrics = step(state, given, jax.random.key(1))
        assert all(np.isfinite(value) for value in metrics.values())
        unmoved = {net for net in state.params if bits(after.params[net]) == bits(state.params[net])}
        switched_off = {
            f"r{critic}" if stage.endswith("drg") else f"x{critic}" for critic in "0tc" if off(numbers, critic)
        }
        resting = {"feedback"} & set(state.params)  # TF-VAEGAN's F, in the first pass over the rows
        assert unmoved == switched_off | resting
        upstream[stage] = method.inference(after)
