"""ZeroDiff without one of its components.

    zsl-jax train ablations/zerodiff:xt,digits --workdir runs/without_xt

The argument is COMPONENT,BASE: what is left out, and which `configs/zerodiff_<BASE>.py` it is left out of (an argument
of that file follows after another comma, e.g. `r,sun,10`). Components:

    x0         the critic on x_0
    xt         the critic on x_t (and on r_t in the first stage)
    xc         the critic on (x, r)
    mutual     mutual learning between the critics
    diffusion  noisy steps: one step, from pure noise, and no critic on x_t
    r          representations: the generator and the critics don't see them

All of them side by side, against the whole method:

    zsl-jax sweep zerodiff_digits --workdir runs/ablation --seeds 5 \\
        --also ablations/zerodiff:x0,digits --also ablations/zerodiff:xt,digits \\
        --also ablations/zerodiff:xc,digits --also ablations/zerodiff:mutual,digits \\
        --also ablations/zerodiff:diffusion,digits --also ablations/zerodiff:r,digits

Without xt, xc or mutual learning only numbers differ from the whole method: these are trained with it as one program.
"""

import runpy
from pathlib import Path

from zsl_jax.errors import InputError


def get_config(argument: str):
    """The configuration; `argument` is "COMPONENT,BASE" or "COMPONENT,BASE,ARGUMENT"."""
    component, _, base = argument.partition(",")
    name, comma, variant = base.partition(",")
    file = Path(__file__).parents[1] / f"zerodiff_{name}.py"
    if component not in WITHOUT or not file.is_file():
        raise InputError(f"config argument {argument!r}: use COMPONENT,BASE with one of {', '.join(WITHOUT)}")
    config = runpy.run_path(str(file))["get_config"](*([variant] if comma else []))
    WITHOUT[component](config)
    return config


def without_x0(config):
    """In the second stage. The published code drops the real x_t term with it; here each critic has its own switch."""
    config.dfg.gamma_x0, config.dfg.x0_gates_xt = 0.0, False


def without_xt(config):
    """In both stages."""
    config.drg.gamma_xt = config.dfg.gamma_xt = 0.0


def without_xc(config):
    """The second stage's critic on x under r."""
    config.dfg.gamma_xc = 0.0


def without_mutual(config):
    """Each critic learns alone."""
    config.dfg.gamma_dist = 0.0


def without_diffusion(config):
    """One step from noise to data."""
    without_xt(config)
    config.drg.n_steps = config.dfg.n_steps = 1
    config.eval.samplers = ("one_step",)


def without_r(config):
    """Spaces with C are left out too."""
    without_xc(config)
    config.dfg.use_r = False
    config.eval.spaces = tuple(dict.fromkeys(space.replace("C", "") for space in config.eval.spaces if space != "C"))


WITHOUT = {
    "x0": without_x0,
    "xt": without_xt,
    "xc": without_xc,
    "mutual": without_mutual,
    "diffusion": without_diffusion,
    "r": without_r,
}
