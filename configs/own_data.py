"""Any method on a data set of one's own, made by `zsl-jax data import`.

    zsl-jax train own_data --workdir runs/mine --config.data.root=ROOT --config.data.dataset=MINE
    zsl-jax train own_data:tfvaegan --workdir runs/mine_tfvaegan --config.data.root=ROOT --config.data.dataset=MINE
    zsl-jax train own_data:zerodiff,representations --workdir runs/mine_r --config.data.root=ROOT ...

The argument is METHOD, METHOD,representations or representations (`own_data:representations`). The method is zerodiff
where none is named, else any of `zsl-jax leaderboard`. ZeroDiff and D2SC make representations r out of the given
features x (PaCo), unless `representations` says to take them as imported. Files below ROOT/MINE: features.mat,
att_splits.mat, maybe representations.mat.

Rates and weights are in zsl_jax/config/presets.py, which says how they were chosen. Fields that are 0 (epochs, batches,
widths, when to evaluate) follow the data, see zsl_jax/experiment/settling.py; so does the scaling of descriptions.
`result.json` has what they became; `--config.dfg.epochs=10` and the like set them.
"""

from zsl_jax.config import presets


def get_config(argument: str = ""):
    """The configuration of METHOD, METHOD,representations or representations."""
    words = [word for word in argument.split(",") if word]
    methods = [word for word in words if word != "representations"] or ["zerodiff"]
    return presets.in_files(",".join(methods), "representations" in words)
