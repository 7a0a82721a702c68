"""Stages judged by a held-out loss, such as make a view of the data: what they train on, what they leave."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from zsl_jax import data
from zsl_jax.data.dataset import Dataset, Part
from zsl_jax.data.tasks import draw_share
from zsl_jax.train_steps.method import Method, Params
from zsl_jax.training import processes

CHUNK_ROWS = 4096


def scaled(raw: Dataset, rows: np.ndarray, scaling: str) -> np.ndarray:
    """All raw features [N, D], scaled by a scaler fitted on `rows`; standardised ones have variance 1 there."""
    return data.apply_scaler(data.fit_scaler(scaling, raw.x[rows], divide=False), raw.x)


def split(raw: Dataset, rows: np.ndarray, section, seed: int) -> tuple[Part, Part]:
    """Training rows of a view-making stage, and the share of each class held out for early stopping.

    Args:
      raw: data set with raw features.
      rows: the task's training rows; no other row is looked at.
      section: the stage's options (`scaling`, `holdout`).
      seed: of the hold-out.
    """
    x = scaled(raw, rows, section.scaling)
    return hold_out(Part(x[rows], None, raw.labels[rows]), section.holdout, seed)


def hold_out(part: Part, share: float, seed: int) -> tuple[Part, Part]:
    """Divides rows: those to train on, and a share of each class that is held out (x and labels alone)."""
    kept = trained_on(part.labels, share, seed)
    train, held_out = (Part(part.x[rows], None, part.labels[rows]) for rows in (kept, ~kept))
    return train, held_out


def trained_on(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which rows of these labels [n] are trained on [n] bool, where a share of each class is held out."""
    return ~draw_share(labels, share, seed, spare=1)


def judge_by_loss(method: Method, held_out: Part) -> Callable:
    """An evaluation by held-out loss: (params, epoch, key) -> {"scores", "log", "score"}; score: minus the loss."""
    if method.scores is None:
        raise ValueError(f"{method.name} is not scored but offers no scores to judge it by")
    scores, labels = method.scores, jnp.asarray(held_out.labels)

    @jax.jit
    def measure(params, x):
        logits = scores(params, {"x": x})
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        return loss, jnp.mean((jnp.argmax(logits, axis=1) == labels).astype(jnp.float32))

    x = jnp.asarray(held_out.x)

    def run(params, epoch: int, key: jax.Array) -> dict:
        del epoch, key
        loss, accuracy = (float(value) for value in measure(params, x))
        log = {"heldout_loss": loss, "heldout_accuracy": 100 * accuracy}
        return {"scores": log, "log": log, "score": -loss}

    return run


def embed_rows(method: Method, params: dict[str, Params], x: np.ndarray) -> np.ndarray:
    """The view [N, F] of rows x [N, D], in chunks."""
    assert method.embed is not None
    embed = jax.jit(method.embed, static_argnums=2)
    starts = range(0, len(x), CHUNK_ROWS)
    chunks = [np.asarray(embed(params, {"x": jnp.asarray(x[s : s + CHUNK_ROWS])}, method.produces)) for s in starts]
    return np.concatenate(chunks)


def replace_view(
    dataset: Dataset, raw: Dataset, method: Method, params: dict[str, Params], rows: np.ndarray, scaling: str
) -> Dataset:
    """The data set with the view that a stage makes of all raw rows; of several processes, that of the first.

    Args:
      dataset: with the views made so far.
      raw: with raw features.
      method: the stage's method; its `produces` names the view.
      params: its inference parameters.
      rows: the task's training rows, on which the raw features' scaler is fitted.
      scaling: the stage's option.
    """
    view = processes.array_of_first(embed_rows(method, params, scaled(raw, rows, scaling)))
    name = {"x": "features", "r": "representations"}[method.produces]
    return dataclasses.replace(dataset, **{method.produces: view, name: f"{raw.features}_{method.name}"})


@processes.in_first
def write(directory: Path, dataset: Dataset) -> None:
    """Leaves the views as `<directory>/<DATASET>/*.mat`, a data set in the xlsa17 layout that can be loaded again."""
    representations = dataset.representations if dataset.r is not None else None
    data.write_xlsa17(directory / dataset.name, dataset, dataset.features, representations)
