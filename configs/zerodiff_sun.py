"""ZeroDiff on SUN with the published hyper-parameters.

Published scores, best on the test set: T1 / U / S / H 77.3 / 63.0 / 56.9 / 59.8.

    zsl-jax train zerodiff_sun --workdir runs/sun --config.data.root=ROOT
    zsl-jax train zerodiff_sun:30 --workdir runs/sun_30 --config.data.root=ROOT

The second trains on 30 percent of the rows; there is also `:10`. Files below ROOT/SUN: res101.mat, ce_ce.mat,
con_paco.mat, att_splits.mat, and for the shares split_30percent.mat, split_10percent.mat;
`zsl-jax data check --root ROOT --dataset SUN` says what is missing and where it comes from. Without data,
`--config.data.source=synthetic` makes random features of the same sizes. The real features may not be passed on with
this project, and no scores of ours on them are known. The published seed is 4115.
"""

from zsl_jax.config import defaults


def get_config(percent: str = ""):
    """The configuration; `percent` is the share of training rows, 100 (default), 30 or 10."""
    config = defaults.zerodiff()
    config.seed = 4115
    config.data.dataset = "SUN"
    config.data.synthetic.preset = "SUN"
    defaults.keep_percent(config, percent, {"100": 400, "30": 120, "10": 40}, {"100": 400, "30": 120, "10": 40})
    config.drg.epochs = config.dfg.epochs = 400
    config.drg.classifier_lr = config.dfg.classifier_lr = 5e-4
    config.dfg.gamma_adv = 1.0
    config.dfg.gamma_recons = 0.01
    config.dfg.gamma_dist = 1.0
    return config
