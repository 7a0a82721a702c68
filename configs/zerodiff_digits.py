"""ZeroDiff on scikit-learn's handwritten digits: the whole system in under two minutes on two cores.

    zsl-jax train zerodiff_digits --workdir runs/digits

Needs no data: the digits are embedded, ten classes described by hand-written attributes, 3, 6 and 8 unseen.
"""

from zsl_jax.config import defaults


def get_config():
    """The configuration."""
    config = defaults.zerodiff()
    config.data.source = "digits"
    config.data.dataset = "digits"
    config.data.representations = ""
    config.data.original_semantics = False
    config.data.semantics_scaling = "none"
    config.data.validation_draws = 2  # one less than by default, to be done in two minutes
    config.stages = ("finetune_r", "drg", "dfg")
    config.finetune_x.width = 64
    config.finetune_r.width = 32
    config.finetune_x.batch_size = config.finetune_r.batch_size = 64
    config.finetune_r.paco.queue = 256
    config.finetune_r.paco.dim = 16
    config.finetune_r.lr = 3e-3
    for stage in (config.drg, config.dfg):
        stage.generator_width = stage.critic_width = stage.decoder_width = 128
        stage.epochs = 60
        stage.lr = 5e-4
        stage.syn_num = 100
    config.dfg.encoder_width = 128
    config.dfg.gamma_recons = 10.0
    config.eval.first = 29
    config.eval.every = 30
    config.eval.spaces = ("V", "VCS")
    config.eval.samplers = ("one_step",)
    return config
