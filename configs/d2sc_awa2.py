"""D2SC on AWA2 with the published hyper-parameters; also on digits and on AWA1.

    zsl-jax train d2sc_awa2 --workdir runs/d2sc_awa2 --config.data.root=ROOT
    zsl-jax train d2sc_awa2:digits --workdir runs/d2sc_digits
    zsl-jax train d2sc_awa2:awa1 --workdir runs/d2sc_awa1 --config.data.root=ROOT

The first needs the files of `configs/zerodiff_awa2.py` below ROOT/AWA2; without data, `--config.data.source=synthetic`
makes random features of the same sizes. No published scores are known to us, and none of ours on the real features,
which may not be passed on with this project. `:digits` needs no data: the whole system in about a minute and a half on
two cores. `:awa1` goes from raw features (ROOT/AWA1/{lowlevel512,att_splits}.mat) to scores, as
`configs/zerodiff_awa1.py` does.
"""

from zsl_jax.config import defaults
from zsl_jax.errors import InputError


def get_config(variant: str = ""):
    """The configuration; variant "", "digits" or "awa1"."""
    if variant not in VARIANTS:
        raise InputError(f"config argument {variant!r}: the variants are none, 'digits' and 'awa1'")
    return VARIANTS[variant](defaults.d2sc())


def awa2(config):
    """As published; the synthetic rows of the first stage, which are for its own scores alone, are ZeroDiff's."""
    config.seed = 9182
    config.data.dataset = "AWA2"
    config.data.synthetic.preset = "AWA2"
    config.d2sc_drg.epochs = config.d2sc_dfg.epochs = 300
    config.d2sc_drg.syn_num = 1800
    config.d2sc_dfg.syn_num = 8000
    return config


def digits(config):
    """As `configs/zerodiff_digits.py`."""
    config.data.source = "digits"
    config.data.dataset = "digits"
    config.data.representations = ""
    config.data.original_semantics = False
    config.data.semantics_scaling = "none"
    config.stages = ("finetune_r", "d2sc_drg", "d2sc_dfg")
    config.finetune_x.width = 64
    config.finetune_r.width = 32
    config.finetune_x.batch_size = config.finetune_r.batch_size = 64
    config.finetune_r.paco.queue = 256
    config.finetune_r.paco.dim = 16
    config.finetune_r.lr = 3e-3
    set_size(config, width=128, epochs=60)
    config.d2sc_drg.syn_num = config.d2sc_dfg.syn_num = 100
    config.d2sc_dfg.gamma_recons = 10.0
    config.eval.first = 29
    config.eval.every = 30
    config.eval.spaces = ("V", "VCS")
    config.eval.samplers = ("one_step",)
    return config


def awa1(config):
    """From raw features through the fine-tuning stages to validated scores, as `configs/zerodiff_awa1.py`."""
    config.data.dataset = "AWA1"
    config.data.features = "lowlevel512"
    config.data.synthetic.preset = "AWA1"
    config.data.labels = ""
    config.data.representations = ""
    config.stages = ("finetune_x", "finetune_r", "d2sc_drg", "d2sc_dfg")
    set_size(config, width=256, epochs=8)
    config.d2sc_drg.syn_num = config.d2sc_dfg.syn_num = 400
    config.eval.first = 3
    config.eval.every = 4
    config.eval.samplers = ("one_step",)
    return config


def set_size(config, width: int, epochs: int):
    """Sets the hidden width of all nets and the epochs of both stages; latents become as wide as the semantics."""
    for stage in (config.d2sc_drg, config.d2sc_dfg):
        stage.generator_width = stage.critic_width = stage.decoder_width = width
        stage.epochs = epochs
        stage.z_dim = 0
    config.d2sc_dfg.encoder_width = width


VARIANTS = {"": awa2, "digits": digits, "awa1": awa1}
