"""TF-VAEGAN (Narayan et al., ECCV 2020) on AWA2 with the published hyper-parameters.

Published scores, best on the test set: T1 / H 72.2 / 66.6.

    zsl-jax train tfvaegan_awa2 --workdir runs/tfvaegan_awa2 --config.data.root=ROOT
    zsl-jax train tfvaegan_awa2:digits --workdir runs/tfvaegan_digits
    zsl-jax train tfvaegan_awa2:awa1 --workdir runs/tfvaegan_awa1 --config.data.root=ROOT

The second trains on scikit-learn's handwritten digits, 3, 6 and 8 unseen: it needs no data and takes about a minute on
two cores. The third fine-tunes x from the hand-crafted features AWA1/lowlevel512.mat and trains small nets on it.

Files below ROOT/AWA2: res101.mat, att_splits.mat; `zsl-jax data check --root ROOT --dataset AWA2` says what
is missing and where it comes from. Without data, `--config.data.source=synthetic` makes random features of the same
sizes. The published seed is 9182. Published are 120 epochs of two passes over the training rows, one without and one
with feedback; here a pass is an epoch, so there are 240.
"""

from zsl_jax.config import defaults
from zsl_jax.errors import InputError


def get_config(variant: str = ""):
    """The configuration; variant "" (AWA2), "digits" or "awa1"."""
    variants = {"": awa2, "digits": digits, "awa1": awa1}
    if variant not in variants:
        raise InputError(f"config argument {variant!r}: the variants are none, 'digits' and 'awa1'")
    return variants[variant](defaults.tfvaegan())


def awa2(config):
    """As published."""
    config.seed = 9182
    config.data.dataset = "AWA2"
    config.data.synthetic.preset = "AWA2"
    config.tfvaegan.epochs = 240
    config.tfvaegan.freeze_decoder = True
    config.tfvaegan.lr = 1e-5
    config.tfvaegan.feed_lr = 1e-4
    config.tfvaegan.gamma_recons = 0.1
    config.tfvaegan.a1 = config.tfvaegan.a2 = 0.01
    config.tfvaegan.syn_num = 1800
    return config


def digits(config):
    """Handwritten digits, at a few units a layer."""
    config.data.source = "digits"
    config.data.dataset = "digits"
    config.data.semantics_scaling = "none"
    set_size(config, width=128, epochs=120)
    config.tfvaegan.lr = config.tfvaegan.feed_lr = 5e-4
    config.tfvaegan.gamma_recons = 10.0
    config.tfvaegan.syn_num = 100
    config.eval.first, config.eval.every = 59, 60
    return config


def awa1(config):
    """Real AWA1 with hand-crafted features."""
    config.data.dataset = "AWA1"
    config.data.features = "lowlevel512"
    config.data.labels = ""
    config.data.synthetic.preset = "AWA1"
    config.stages = ("finetune_x", "tfvaegan")
    set_size(config, width=256, epochs=12)
    config.tfvaegan.freeze_decoder = True
    config.tfvaegan.lr = 5e-4
    config.tfvaegan.feed_lr = 1e-4
    config.tfvaegan.gamma_recons = 0.1
    config.tfvaegan.a1 = config.tfvaegan.a2 = 0.1
    config.tfvaegan.syn_num = 400
    config.eval.first, config.eval.every = 3, 4
    return config


def set_size(config, width: int, epochs: int):
    """Sets the hidden width of all nets and the number of passes."""
    stage = config.tfvaegan
    stage.generator_width = stage.encoder_width = stage.critic_width = stage.decoder_width = width
    stage.epochs = epochs
