"""`zsl-jax` for the documentation's examples: `train` with two epochs a stage, one draw of classes, one classifier."""

import sys

from zsl_jax import __main__ as program
from zsl_jax.config import options

FEWER = ("--config.data.validation_draws=1", "--config.eval.spaces=V:lda")


def shortened(arguments: list[str]) -> list[str]:
    """The same command, of a shorter run."""
    if arguments[0] != "train":
        return arguments
    epochs = [f"--config.{stage}.epochs=2" for stage in options.load(arguments[1]).stages]
    return [*arguments, *epochs, "--config.eval.first=1", "--config.eval.every=2", *FEWER]


if __name__ == "__main__":
    sys.exit(program.main(shortened(sys.argv[1:])))
