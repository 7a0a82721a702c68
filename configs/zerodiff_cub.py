"""ZeroDiff on CUB with the published hyper-parameters.

Published scores, best on the test set: T1 / U / S / H 87.5 / 80.0 / 83.2 / 81.6.

    zsl-jax train zerodiff_cub --workdir runs/cub --config.data.root=ROOT
    zsl-jax train zerodiff_cub:30 --workdir runs/cub_30 --config.data.root=ROOT

The second trains on 30 percent of the rows; there is also `:10`. Files below ROOT/CUB: res101.mat, ce_ce.mat,
con_paco.mat, sent_splits.mat, and for the shares split_30percent.mat, split_10percent.mat;
`zsl-jax data check --root ROOT --dataset CUB` says what is missing and where it comes from. Without data,
`--config.data.source=synthetic` makes random features of the same sizes. The real features may not be passed on with
this project, and no scores of ours on them are known. The published seed is 3483.
"""

from zsl_jax.config import defaults


def get_config(percent: str = ""):
    """The configuration; `percent` is the share of training rows, 100 (default), 30 or 10."""
    config = defaults.zerodiff()
    config.seed = 3483
    config.data.dataset = "CUB"
    config.data.synthetic.preset = "CUB"
    config.data.semantics = "sent"
    config.data.original_semantics = False
    config.data.semantics_scaling = "none"
    defaults.keep_percent(config, percent, {"100": 300, "30": 100, "10": 40}, {"100": 1440, "30": 440, "10": 140})
    config.drg.epochs = config.dfg.epochs = 300
    config.dfg.gamma_adv = 10.0
    config.dfg.gamma_recons = 0.01
    config.dfg.gamma_dist = 2.0
    return config
