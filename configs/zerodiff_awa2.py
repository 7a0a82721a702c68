"""ZeroDiff on AWA2 with the published hyper-parameters.

Published scores, best on the test set: T1 / U / S / H 87.3 / 74.7 / 89.3 / 81.4.

    zsl-jax train zerodiff_awa2 --workdir runs/awa2 --config.data.root=ROOT
    zsl-jax train zerodiff_awa2:30 --workdir runs/awa2_30 --config.data.root=ROOT

The second trains on 30 percent of the rows; there is also `:10`. Files below ROOT/AWA2: res101.mat, ce_ce.mat,
con_paco.mat, att_splits.mat, and for the shares split_30percent.mat, split_10percent.mat;
`zsl-jax data check --root ROOT --dataset AWA2` says what is missing and where it comes from. Without data,
`--config.data.source=synthetic` makes random features of the same sizes. The real features may not be passed on with
this project, and no scores of ours on them are known. The published seed is 9182.
"""

from zsl_jax.config import defaults


def get_config(percent: str = ""):
    """The configuration; `percent` is the share of training rows, 100 (default), 30 or 10."""
    config = defaults.zerodiff()
    config.seed = 9182
    config.data.dataset = "AWA2"
    config.data.synthetic.preset = "AWA2"
    defaults.keep_percent(config, percent, {"100": 1800, "30": 600, "10": 200}, {"100": 5400, "30": 1800, "10": 600})
    config.drg.epochs = config.dfg.epochs = 300
    config.drg.lr = config.dfg.lr = 5e-4
    config.dfg.gamma_adv = 10.0
    config.dfg.gamma_recons = 1.0
    config.dfg.gamma_dist = 5.0
    config.dfg.freeze_decoder = True
    return config
