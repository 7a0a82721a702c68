"""TF-VAEGAN (Narayan et al., ECCV 2020) on CUB with the published hyper-parameters.

Published scores, best on the test set: T1 / H 64.9 / 58.1.

    zsl-jax train tfvaegan_cub --workdir runs/tfvaegan_cub --config.data.root=ROOT

Files below ROOT/CUB: res101.mat, att_splits.mat; `zsl-jax data check --root ROOT --dataset CUB` says what is
missing and where it comes from. Without data, `--config.data.source=synthetic` makes random features of the same sizes.
The published seed is 3483. Published are 300 epochs of two passes over the training rows, one without and one with
feedback; here a pass is an epoch, so there are 600.
"""

from zsl_jax.config import defaults


def get_config():
    """The configuration."""
    config = defaults.tfvaegan()
    config.seed = 3483
    config.data.dataset = "CUB"
    config.data.synthetic.preset = "CUB"
    config.tfvaegan.epochs = 600
    config.tfvaegan.lr = 1e-4
    config.tfvaegan.feed_lr = 1e-5
    config.tfvaegan.gamma_recons = 0.01
    config.tfvaegan.a1 = config.tfvaegan.a2 = 1.0
    config.tfvaegan.syn_num = 300
    return config
