"""ZeroDiff on real AWA1 with hand-crafted features, from raw features to scores.

    zsl-jax train zerodiff_awa1 --workdir runs/awa1 --config.data.root=ROOT
    zsl-jax train zerodiff_awa1:reference --workdir runs/awa1_ref --config.data.root=ROOT

The first fine-tunes x (cross-entropy) and r (PaCo) from `lowlevel512`; the second takes `lowlevel512` as x and
`supcon256` as r, with the options under which the original program was run on these files. Files below ROOT:
AWA1/{lowlevel512,supcon256,att_splits}.mat. Scores: README.
"""

from zsl_jax.config import defaults
from zsl_jax.errors import InputError


def get_config(variant: str = ""):
    """The configuration; variant "" or "reference"."""
    config = defaults.zerodiff()
    config.data.dataset = "AWA1"
    config.data.features = "lowlevel512"
    config.data.synthetic.preset = "AWA1"
    config.data.labels = ""
    for stage in (config.drg, config.dfg):
        stage.lr = 5e-4
        stage.syn_num = 400
    config.dfg.gamma_dist = 5.0
    config.dfg.freeze_decoder = True
    if variant not in ("", "reference"):
        raise InputError(f"config argument {variant!r}: the variants are none and 'reference'")
    return reference(config) if variant else fine_tuned(config)


def fine_tuned(config):
    """From raw features through the fine-tuning stages to validated scores."""
    config.data.representations = ""
    config.stages = ("finetune_x", "finetune_r", "drg", "dfg")
    set_size(config, width=256, epochs=8)
    config.eval.first = 3
    config.eval.every = 4
    config.eval.samplers = ("one_step",)
    return config


def reference(config):
    """As the original program was run: given representations, states chosen on the test set, no validation run."""
    config.data.representations = "supcon256"
    set_size(config, width=512, epochs=20)
    config.eval.every = 5
    config.eval.select = "H"
    config.validate = False
    config.upstream = "oracle"
    return config


def set_size(config, width: int, epochs: int):
    """Sets the hidden width of all nets and the epochs of both stages."""
    for stage in (config.drg, config.dfg):
        stage.generator_width = stage.critic_width = stage.decoder_width = width
        stage.epochs = epochs
    config.dfg.encoder_width = width
