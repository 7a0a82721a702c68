"""Data sets: where they come from, and the problems they pose. No JAX here: arrays are numpy's until a stage starts."""

from zsl_jax.data.dataset import Dataset, Part, Splits, Task
from zsl_jax.data.scaling import Scaler, apply_scaler, fit_scaler
from zsl_jax.data.sources.digits import load_digits
from zsl_jax.data.sources.layout import expected_tree
from zsl_jax.data.sources.synthetic import bayes_scores, load_synthetic
from zsl_jax.data.sources.xlsa17 import load_xlsa17, percent_rows, write_xlsa17
from zsl_jax.data.tasks import scaled, test_task, training_rows, validation_classes, validation_rows, validation_task
from zsl_jax.errors import InputError

__all__ = [
    "Dataset",
    "Part",
    "Scaler",
    "Splits",
    "Task",
    "apply_scaler",
    "bayes_scores",
    "expected_tree",
    "fit_scaler",
    "load",
    "load_digits",
    "load_synthetic",
    "load_xlsa17",
    "percent_rows",
    "scaled",
    "test_task",
    "training_rows",
    "validation_classes",
    "validation_rows",
    "validation_task",
    "write_xlsa17",
]

SOURCES = {
    "xlsa17": lambda options, seed: load_xlsa17(options),
    "digits": lambda options, seed: load_digits(options),
    "synthetic": load_synthetic,
}


def load(options, seed: int) -> Dataset:
    """Loads the data set that the config asks for.

    Args:
      options: the config's data section; `source` is "xlsa17", "digits" or "synthetic".
      seed: of the synthetic data; the other sources don't depend on it.

    Returns:
      The data set, checked, with its descriptions scaled unless how is still to be chosen.

    Raises:
      InputError: an unknown source, or what the source raises: missing data are answered with the expected file tree.
    """
    if options.source not in SOURCES:
        raise InputError(f"config.data.source: {options.source!r} is unknown; one of {', '.join(SOURCES)}")
    return SOURCES[options.source](options, seed).with_semantics(options.semantics_scaling)
