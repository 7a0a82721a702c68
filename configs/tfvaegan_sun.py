"""TF-VAEGAN (Narayan et al., ECCV 2020) on SUN with the published hyper-parameters.

Published scores, best on the test set: T1 / H 66.0 / 43.0.

    zsl-jax train tfvaegan_sun --workdir runs/tfvaegan_sun --config.data.root=ROOT

Files below ROOT/SUN: res101.mat, att_splits.mat; `zsl-jax data check --root ROOT --dataset SUN` says what is
missing and where it comes from. Without data, `--config.data.source=synthetic` makes random features of the same sizes.
The published seed is 4115. Published are 400 epochs of two passes over the training rows, one without and one with
feedback; here a pass is an epoch, so there are 800.
"""

from zsl_jax.config import defaults


def get_config():
    """The configuration."""
    config = defaults.tfvaegan()
    config.seed = 4115
    config.data.dataset = "SUN"
    config.data.synthetic.preset = "SUN"
    config.tfvaegan.epochs = 800
    config.tfvaegan.lr = 1e-3
    config.tfvaegan.feed_lr = 1e-4
    config.tfvaegan.gamma_d = config.tfvaegan.gamma_g = 1.0
    config.tfvaegan.gamma_recons = 0.01
    config.tfvaegan.a1, config.tfvaegan.a2 = 0.1, 0.01
    config.tfvaegan.syn_num = 400
    config.tfvaegan.classifier_lr = 5e-4
    return config
