"""Configurations of every method for small data in memory: rates and weights as the configurations of the digits."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ml_collections import ConfigDict

from zsl_jax.config import defaults, names
from zsl_jax.config import options as setting
from zsl_jax.errors import InputError, one_line

RATE = 5e-4
EPOCHS = 60  # of each generator, where `LONGER` does not say otherwise
LONGER = {"tfvaegan": 120} | dict.fromkeys(names.AUTOENCODERS, 150)
CLASSIFIER_STEPS = 2000  # of a softmax classifier, at least
# Fields outside the sections of stages and of evaluation that make sense for data in memory.
FIELDS = (
    "stages", "log_every",
    "data.scaling", "data.semantics_scaling", "data.validation_fraction", "data.validation_classes",
    "data.validation_draws",
)  # fmt: skip
CLASSIFIERS = ("softmax", "prototype")  # final classifiers that do not have to keep all rows


def zerodiff() -> Any:
    """ZeroDiff."""
    config = defaults.zerodiff()
    config.dfg.gamma_recons = 10.0
    config.drg.lr = config.dfg.lr = RATE
    return contrastive(config)


def d2sc() -> Any:
    """D2SC; its latents as wide as the semantics."""
    config = defaults.d2sc()
    config.d2sc_dfg.gamma_recons = 10.0
    config.d2sc_drg.z_dim = config.d2sc_dfg.z_dim = 0
    return contrastive(config)


def contrastive(config: Any) -> Any:
    """Puts a stage before the others that makes their representations of the features."""
    config.stages = ("finetune_r", *config.stages)
    config.finetune_r.lr = 3e-3
    config.finetune_r.eval_every, config.finetune_r.patience = 4, 0
    config.finetune_r.paco.dim = 16
    config.eval.spaces = ("V", "VCS")
    return config


def tfvaegan() -> Any:
    """TF-VAEGAN."""
    config = defaults.tfvaegan()
    config.tfvaegan.lr = config.tfvaegan.feed_lr = RATE
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
    """Sets the zoo's rates; no weight decay of GANs: the published one holds narrow nets down."""
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


def start(method: Any) -> Any:
    """A method's configuration, locked.

    Raises:
      InputError: there is no such method.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"method: {method!r}; choose one of {', '.join(METHODS)}")
    config = METHODS[method]()
    config.data.update({"source": "memory", "dataset": "memory", "representations": ""})
    config.data.update({"original_semantics": True, "semantics_scaling": "validated"})
    config.eval.samplers = ("one_step",)
    config.figures = False
    return config.lock()


def resize(config: Any, epochs: int, width: int, batch_size: int, syn_num: int) -> None:
    """Sets the sizes that all methods have; the representations become a quarter as wide as the nets."""
    for section in (one for one in config.values() if isinstance(one, ConfigDict) and "batch_size" in one):
        section.batch_size = batch_size
        if "syn_num" in section:  # a generator
            widths = {field: width for field in section if field.endswith("_width")}
            section.update({"epochs": epochs, "syn_num": syn_num} | widths)
    config.finetune_x.width, config.finetune_r.width = width, max(width // 4, 1)
    config.finetune_r.paco.queue = 4 * batch_size


def schedule(config: Any, epochs: int, validate: bool) -> None:
    """Scores the validation task half way and at the end; without one the last epoch is taken, and nothing scored."""
    config.validate, config.upstream = validate, "validated" if validate else "last"
    config.eval.first = max(epochs // 2 - 1, 0) if validate else epochs - 1
    config.eval.every = max(epochs // 2, 1)


def settle_classifier(config: Any, n_rows: int, syn_num: int) -> None:
    """Gives final classifiers of few rows more epochs: the published ones suppose hundreds of minibatches in each."""
    batches = -(-n_rows // (config.eval.classifier_batch or syn_num))
    config.eval.classifier_epochs = max(config.eval.classifier_epochs, -(-CLASSIFIER_STEPS // batches))


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
    if config.eval.classifier not in CLASSIFIERS:
        raise InputError(f"eval.classifier={config.eval.classifier!r}; choose one of {CLASSIFIERS}")
