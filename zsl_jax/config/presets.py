"""Configurations of every method for data of one's own, in files or in memory.

They were chosen by validation scores, mostly on photographs of groceries (1,280 features of a network, 61 seen classes,
13 of them held out). A field that is 0 follows the data: see `zsl_jax.experiment.settling`. Whether the final
classifier is a softmax or a discriminant analysis, validation says in each run.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ml_collections import ConfigDict

from zsl_jax.config import defaults, names
from zsl_jax.config import options as setting
from zsl_jax.errors import InputError, one_line

RATE = 1e-3
SYN_NUM = 100
SEMANTIC_NOISE = -1.0  # as large as the descriptions' own deviation between the seen classes
# Of each generator, from which its epochs follow. Longer training fits the descriptions of the seen classes too well.
ITERATIONS = {
    "drg": 800,
    "dfg": 1200,
    "d2sc_drg": 800,
    "d2sc_dfg": 1200,
    "tfvaegan": 800,
    "gan": 800,
    "autoencoder": 2000,
}
# Fields outside the sections of stages and of evaluation that make sense for data in memory.
FIELDS = (
    "stages", "log_every",
    "data.scaling", "data.semantics_scaling", "data.validation_fraction", "data.validation_classes",
    "data.validation_draws",
)  # fmt: skip
CLASSIFIERS = ("softmax", "lda", "prototype")  # final classifiers that do not have to keep all rows


def zerodiff() -> Any:
    """ZeroDiff."""
    config = defaults.zerodiff()
    return diffusion(config, "drg", "dfg")


def d2sc() -> Any:
    """D2SC; its latents as wide as the semantics."""
    config = defaults.d2sc()
    config.d2sc_drg.z_dim = config.d2sc_dfg.z_dim = 0
    return diffusion(config, "d2sc_drg", "d2sc_dfg")


def diffusion(config: Any, drg: str, dfg: str) -> Any:
    """Sets the rates of both generators, and puts a stage before them that makes representations of the features.

    The generator of features, which also learns from its encoder, gets along with one critic update for each of its
    own; that of representations does not.
    """
    for section in (config[drg], config[dfg]):
        section.lr = section.dec_lr = RATE
    config[dfg].critic_iter, config[dfg].gamma_recons = 1, 10.0
    config.stages = ("finetune_r", *config.stages)
    config.finetune_r.lr = 3e-3
    config.finetune_r.eval_every, config.finetune_r.patience = 4, 0
    config.finetune_r.paco.queue, config.finetune_r.paco.dim = 256, 16
    config.eval.spaces = ("V", "VCS")
    return config


def tfvaegan() -> Any:
    """TF-VAEGAN."""
    config = defaults.tfvaegan()
    config.tfvaegan.lr = config.tfvaegan.dec_lr = config.tfvaegan.feed_lr = RATE
    config.tfvaegan.gamma_recons = 10.0
    return config


def gan(name: str) -> Any:
    """An adversarial generator of the zoo; "clswgan" is "wgan" with the frozen classifier's loss."""
    config = defaults.gan_zoo("wgan" if name == "clswgan" else name)
    config.method = name
    if name == "wgan":
        config.stages, config.gan.cls_weight = ("gan",), 0.0
    if name == "cramergan":
        config.gan.penalty_weight = 2.0
    return brisk(config, "gan")


def autoencoder(name: str) -> Any:
    """An autoencoder of the zoo."""
    return brisk(defaults.autoencoder(name), "autoencoder")


def brisk(config: Any, stage: str) -> Any:
    """Sets the zoo's rates; of GANs no weight decay, which holds narrow nets down."""
    config[stage].lr = RATE
    if stage == "gan":
        config.gan.weight_decay = 0.0
    if "seen_classifier" in config.stages:
        config.seen_classifier.epochs = 20
    return config


METHODS: dict[str, Callable[[], Any]] = {
    "zerodiff": zerodiff,
    "d2sc": d2sc,
    "tfvaegan": tfvaegan,
    **{name: partial(gan, name) for name in ("clswgan", *names.GANS)},
    "cramergan_tricks": lambda: brisk(defaults.cramergan_tricks(), "gan"),
    **{name: partial(autoencoder, name) for name in names.AUTOENCODERS},
}


def own(method: Any) -> Any:
    """A method's configuration for data of one's own; what follows the data is 0.

    Raises:
      InputError: there is no such method.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"method: {method!r}; choose one of {', '.join(METHODS)}")
    config = METHODS[method]()
    for section in (one for one in config.values() if isinstance(one, ConfigDict) and "batch_size" in one):
        section.batch_size = 0
        section.update({field: 0 for field in section if field == "width" or field.endswith("_width")})
        if "syn_num" in section:  # a generator
            section.epochs, section.syn_num = 0, SYN_NUM
        if "semantic_noise" in section:
            section.semantic_noise = section.semantic_noise or SEMANTIC_NOISE
    config.data.update({"original_semantics": True, "semantics_scaling": "validated", "representations": ""})
    config.eval.samplers = ("one_step",)
    if config.eval.classifier == "softmax":
        config.eval.spaces = (*(f"{space}:lda" for space in config.eval.spaces), *config.eval.spaces)
    config.eval.first = config.eval.every = config.eval.classifier_epochs = 0
    return config


def in_files(method: Any, representations: bool = False) -> Any:
    """The configuration of a method for a data set that `zsl-jax data import` made, with its representations or not.

    Raises:
      InputError: there is no such method.
    """
    config = own(method)
    config.data.update({"dataset": "MINE", "features": "features", "labels": "features"})
    if representations:
        config.data.representations = "representations"
        config.stages = tuple(stage for stage in config.stages if stage != "finetune_r")
    return config


def start(method: Any) -> Any:
    """The configuration of a method for data in memory, locked.

    Raises:
      InputError: there is no such method.
    """
    config = own(method)
    config.data.update({"source": "memory", "dataset": "memory"})
    config.figures = False
    return config.lock()


def resize(config: Any, epochs: int, width: int, batch_size: int, syn_num: int) -> None:
    """Sets the sizes that all methods have; the representations become a quarter as wide as the nets."""
    for name in config.stages:
        section = config[name]
        section.batch_size = batch_size
        if "syn_num" in section:  # a generator
            widths = {field: width for field in section if field.endswith("_width")}
            section.update({"epochs": epochs, "syn_num": syn_num} | widths)
    config.finetune_r.width = -(-width // 4)


def override(config: Any, options: Mapping[str, Any]) -> None:
    """Sets single fields, by dotted names such as "dfg.gamma_recons".

    Raises:
      InputError: there is no such field here, or the value is of another type.
    """
    sections = {name for name, value in config.items() if isinstance(value, ConfigDict)} - {"parallel", "data"}
    for name, value in options.items():
        if name not in FIELDS and str(name).partition(".")[0] not in sections:
            known = ", ".join((*FIELDS, *(f"{section}.*" for section in sorted(sections))))
            raise InputError(f"options: {name!r} is none of {known}")
        try:
            setting.put(config, {name: value})
        except InputError as error:
            raise InputError(f"options: {error}; see zsl_jax/config/defaults.py") from error
    _require_classifier(config)


def restore(fields: Mapping[str, Any]) -> Any:
    """The configuration whose `to_dict` this was, also by way of JSON.

    Raises:
      InputError: a field is unknown or of another type, or the final classifier is not offered here.
    """
    config = start(fields.get("method"))
    try:
        config.update(setting.completed(fields))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"configuration: {one_line(error)[:300]}") from error
    _require_classifier(config)
    return config


def _require_classifier(config: Any) -> None:
    kinds = (config.eval.classifier, *(space.partition(":")[2] for space in config.eval.spaces))
    if unknown := [kind for kind in kinds if kind not in ("", *CLASSIFIERS)]:
        raise InputError(f"a classifier of eval is {unknown[0]!r}; choose one of {CLASSIFIERS}")
