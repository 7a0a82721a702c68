"""TF-VAEGAN (Narayan et al., ECCV 2020) on FLO with the published hyper-parameters.

Published scores, best on the test set: T1 / H 70.8 / 71.7.

    zsl-jax train tfvaegan_flo --workdir runs/tfvaegan_flo --config.data.root=ROOT

Files below ROOT/FLO: res101.mat, att_splits.mat; `zsl-jax data check --root ROOT --dataset FLO` says what is
missing and where it comes from. Without data, `--config.data.source=synthetic` makes random features of the same sizes.
The published seed is 806. Published are 500 epochs of two passes over the training rows, one without and one with
feedback; here a pass is an epoch, so there are 1000. Of the published configurations this one alone shows the critic
what is made of random noise; `--config.tfvaegan.feedback_from=fake` then gives those rows their own feedback.
"""

from zsl_jax.config import defaults


def get_config():
    """The configuration."""
    config = defaults.tfvaegan()
    config.seed = 806
    config.data.dataset = "FLO"
    config.data.synthetic.preset = "FLO"
    config.tfvaegan.epochs = 1000
    config.tfvaegan.encoded_noise = False
    config.tfvaegan.lr = 1e-4
    config.tfvaegan.feed_lr = 1e-5
    config.tfvaegan.gamma_recons = 0.01
    config.tfvaegan.a1 = config.tfvaegan.a2 = 0.5
    config.tfvaegan.syn_num = 1200
    return config
