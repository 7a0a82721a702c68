"""Synthetic rows as a file holds them: drawn class by class, in the units of the run's data, with their origin."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax import files
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.importing import store
from zsl_jax.data.scaling import Scaler, fit_scaler
from zsl_jax.errors import InputError
from zsl_jax.evaluation.rows import FLOAT_BYTES
from zsl_jax.evaluation.scoring import derive
from zsl_jax.experiment import rescoring
from zsl_jax.experiment.class_choice import Classes
from zsl_jax.experiment.synthesis import Generator
from zsl_jax.train_steps.method import Method, Params

CHUNK = 128  # rows drawn at once, all of one class: a row has its place in its chunk, whatever else is asked for


def chosen_sampler(asked: str | None, method: Method) -> str:
    """The sampler that is asked for, else the method's first; raises InputError if it has no such sampler."""
    if asked is not None and asked not in method.samplers:
        raise InputError(f"--sampler {asked}: {method.name} has {', '.join(method.samplers)}")
    return asked or method.samplers[0]


def scalers_of(rows: Dataset | None, config: Any, made: Generator) -> dict[str, Scaler] | None:
    """The scalers of the run by view, fitted on the training rows as then; None without rows."""
    if rows is None:
        return None
    views = {"x": rows.x, "r": rows.r}
    trained = {view: values[rows.splits.trainval] for view, values in views.items() if values is not None}
    return {view: fit_scaler(config.data.scaling, trained[view]) for view in made.widths}


def units_in_words(rows: Dataset | None, config: Any, made: Generator) -> str:
    """What the rows are measured in: as in the files of `rows`, or as the generator makes them."""
    if rows is None:
        return f"model, scaled as the run's rows ({config.data.scaling})"
    names = {"x": rows.features, "r": rows.representations}
    return "source, " + ", ".join(f"{view} as in {names[view]}" for view in made.widths)


def require_room(classes: Classes, num: int, made: Generator) -> None:
    """Raises InputError when the rows would take more than half of the memory."""
    n_bytes = FLOAT_BYTES * len(classes.names) * num * sum(made.widths.values())
    if n_bytes > files.MAX_BYTES:
        raise InputError(f"--num {num}: the rows would take {n_bytes / 1e9:.1f} GB, more than half of the memory")


def draw_all(made: Generator, classes: Classes, num: int, sampler: str, seed: int) -> dict[str, np.ndarray]:
    """`num` rows of each class, class by class, by view [n, D]."""
    key, params = jax.random.key(seed), jax.device_put(made.params)
    parts: dict[str, list[np.ndarray]] = {view: [] for view in made.widths}
    for name, semantics in zip(classes.names, classes.semantics, strict=True):
        own, row = derive(key, "class", name), jnp.asarray(semantics)
        for start in range(0, num, CHUNK):
            drawn = draw(made.method, sampler, params, row, own, np.int32(start))
            for view in parts:
                parts[view].append(np.asarray(drawn[view])[: num - start])
    return {view: np.concatenate(rows) for view, rows in parts.items()}


@partial(jax.jit, static_argnames=("method", "sampler"))
def draw(
    method: Method, sampler: str, params: dict[str, Params], semantics: jax.Array, key: jax.Array, start: jax.Array
) -> dict[str, jax.Array]:
    """`CHUNK` rows of one class from number `start` on, by view [CHUNK, D]; semantics [A]."""
    assert method.synthesize is not None
    numbers = start + jnp.arange(CHUNK, dtype=jnp.int32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
    return method.synthesize(params, jnp.broadcast_to(semantics, (CHUNK, len(semantics))), keys, sampler)


def provenance(workdir: rescoring.Workdir, made: Generator, classes: Classes, described: Path | None) -> dict[str, Any]:
    """Where the rows come from."""
    return {
        "workdir": str(workdir.path),
        "method": made.method.name,
        "stage": made.stage,
        "epoch": made.epoch,
        "imported": made.imported,
        "data_fingerprint": workdir.fingerprint,
        "classes": classes.origin,
        "semantics_sha256": store.sha256(described) if described else "",
        "config": workdir.config.to_dict(),
    }


def arrays_of(
    rows: Mapping[str, np.ndarray], classes: Classes, num: int, origin: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The arrays of the file by name."""
    return dict(rows) | {
        "labels": np.repeat(np.arange(len(classes.names), dtype=np.int32), num),
        "class_names": np.array(classes.names),
        "semantics": classes.semantics,
        "provenance": np.array(files.to_json(origin)),
    }


def write(out: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a .npz, whole or not at all; raises InputError where it can't be written."""
    with files.replacing(out) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
