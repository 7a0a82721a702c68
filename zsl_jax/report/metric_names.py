"""Names of logged numbers in words, and the panels of the loss curves that they belong to."""

import re
from collections.abc import Sequence

# Titles of panels and a pattern for the names that belong there; the first match counts.
PANELS = (
    ("Accuracy (%)", r"accuracy$"),
    ("Losses", r"(^|[/_])loss$|^loss/(critic|generator|decoder|decoder_fake)$"),
    ("Terms of the losses", r"^loss/"),
    ("Critics' Wasserstein distances", r"^wasserstein"),
    ("Critics' scores", r"^score/|^(?!.*(grad|penalt)).*critic"),
    ("Gradient penalties", r"penalt|(^|[/_])gp(_|$)"),
    ("Weight of the penalties", r"^lambda$"),
    ("Gradient norms", r"grad"),
    ("State of the objective", r"^state/|omega"),
    ("Learning rates", r"rate/|(^|[/_])lr(_|$)"),
)
OTHER = "Other"
# Not drawn with the losses: scores have a figure of their own, speed is not a loss.
OMITTED = r"^evaluation/(.*/)?(T1|U|S|H|AUSUC|score)$|^iterations_per_second$"
HELD_OUT = "evaluation/heldout_"
WORDS = {
    "loss": "training rows",
    "accuracy": "training rows",
    "evaluation/heldout_loss": "rows held out",
    "evaluation/heldout_accuracy": "rows held out",
    "grad_norm": "all nets",
    "penalty": "critic",
    "lambda": "\u03bb",
    "omega": "\u03a9: 1 less the scores' second moment",
    "score/fake": "synthetic rows",
    "score/real": "real rows",
    "score/mismatched": "real rows, others' semantics",
    "state/k": "k, weight of synthetic rows",
    "state/lambda": "\u03bb of the constraint",
    "state/rate_scale": "factor of the rate",
    "state/stale": "iterations without progress",
    "loss/decoder": "semantic decoder, real rows",
    "loss/decoder_fake": "semantic decoder, synthetic rows",
    "rate/lr": "learning rate",
    "rate/dec_lr": "semantic decoder",
}
PARTS = {  # what stands behind the slash, where the whole name is none of `WORDS`
    "center": "distance to class centres",
    "classification": "frozen classifier",
    "consistency": "consistency of timesteps",
    "decay": "weight decay",
    "decoder_step": "decoder, generator's update",
    "encoder_step": "encoder",
    "features": "reconstruction of features",
    "feedback_step": "feedback",
    "generator_step": "generator",
    "information": "codes read off",
    "kl": "divergence of latents",
    "mmd": "mean discrepancy (MMD)",
    "mutual": "mutual learning",
    "reader": "reader of codes",
    "semantics": "reconstruction of semantics",
    "semantics_of_reconstruction": "semantics of reconstructed features",
    "sum": "all critics",
    "vae": "reconstruction and divergence",
    "r0": "critic on r\u2080",
    "rt": "critic on r\u209c",
    "x0": "critic on x\u2080",
    "xt": "critic on x\u209c",
    "xc": "critic on (x, r)",
}


def words(name: str) -> str:
    """A logged number's name as a legend shows it; without an entry in the tables its own words."""
    part = name.rpartition("/")[2]
    return WORDS.get(name) or PARTS.get(part) or part.replace("_", " ")


def panel(name: str) -> str:
    """The title of the panel that a name belongs to."""
    return next((title for title, pattern in PANELS if re.search(pattern, name)), OTHER)


def grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """Names by panel, in the order of `PANELS`."""
    groups = {title: [name for name in names if panel(name) == title] for title in (*dict(PANELS), OTHER)}
    return {title: members for title, members in groups.items() if members}
