"""Stages judged by a held-out loss, such as make a view of the data: what they train on, what they leave."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from zsl_jax import data
from zsl_jax.data.dataset import Dataset, Part
from zsl_jax.data.tasks import draw_share
from zsl_jax.evaluation import rows
from zsl_jax.train_steps.method import Method, Params, Tables
from zsl_jax.training import processes

CHUNK_ROWS = 4096


def hold_out(part: Part, share: float, seed: int) -> tuple[Part, Part]:
    """Divides rows: those to train on, and a share of each class that is held out."""
    kept = trained_on(part.labels, share, seed)
    return part.take(kept), part.take(~kept)


def trained_on(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows of these labels [n] are trained on [n] bool, where a share of each class is held out."""
    return ~draw_share(labels, share, seed, spare=1)


def judge_by_loss(method: Method, held_out: Part, tables: Tables) -> Callable:
    """An evaluation by held-out loss: (params, epoch, key) -> {"scores", "log", "score"}; score: minus the loss."""
    if method.scores is None:
        raise ValueError(f"{method.name} is not scored but offers no scores to judge it by")
    labels = jnp.asarray(held_out.labels)

    @jax.jit
    def measure(logits):
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        return loss, jnp.mean((jnp.argmax(logits, axis=1) == labels).astype(jnp.float32))

    def run(params, epoch: int, key: jax.Array) -> dict:
        del epoch, key
        logits = rows.class_scores(method, params, held_out, tables, CHUNK_ROWS)
        loss, accuracy = (float(value) for value in measure(logits))
        log = {"heldout_loss": loss, "heldout_accuracy": 100 * accuracy}
        return {"scores": log, "log": log, "score": -loss}

    return run


def add(dataset: Dataset, source: Dataset, method: Method, params: dict[str, Params], whole: Part) -> Dataset:
    """The data set with the view that a stage makes of all rows; of several processes, that of the first.

    Args:
      dataset: with the views made so far.
      source: whose views the stage reads.
      method: the stage's method; its `produces` names the view.
      params: its inference parameters.
      whole: all rows of `source`, scaled as the stage's training rows were.
    """
    made = rows.embedded(method, params, whole, method.produces, rows.equal_pieces(len(whole), CHUNK_ROWS)[1])
    origin = next(source.origins[name] for name in method.views if name in source.views)
    return dataset.with_view(method.produces, processes.array_of_first(made), f"{origin}_{method.name}")


@processes.in_first
def write(directory: Path, dataset: Dataset) -> None:
    """Leaves features and representations as `<directory>/<DATASET>/*.mat`, in the xlsa17 layout, to load again."""
    if "x" in dataset.views:
        data.write_xlsa17(directory / dataset.name, dataset, dataset.features or "x", dataset.representations)
