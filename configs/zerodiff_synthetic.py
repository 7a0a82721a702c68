"""ZeroDiff on synthetic features of known densities: a check of the whole system without any data.

    zsl-jax train zerodiff_synthetic --workdir runs/synthetic

Sizes are set by `--config.data.synthetic.*`; a preset takes a published data set's sizes, e.g.
`--config.data.synthetic.preset=AWA2`.
"""

from zsl_jax.config import defaults


def get_config():
    """The configuration."""
    config = defaults.zerodiff()
    config.data.source = "synthetic"
    config.data.dataset = "synthetic"
    for stage in (config.drg, config.dfg):
        stage.generator_width = stage.critic_width = stage.decoder_width = 128
        stage.epochs = 40
        stage.lr = 5e-4
        stage.syn_num = 100
    config.dfg.encoder_width = 128
    return config
