"""Checkpoints of one stage: saved in the background, latest and best kept, restored bit for bit or refused.

Of several processes the first alone uses the folder; it sends the others what it reads. So nobody waits for a process
whose disk is full, and the folder need not be shared.
"""

import contextlib
import dataclasses
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from zsl_jax.errors import InputError
from zsl_jax.training import processes

SCORE = "score"  # the metric that ranks checkpoints, higher is better
_TRASH = "deleted"  # Orbax moves dropped steps here by one rename, so a kill never leaves half a step behind
_MAX_DIFFERENCES = 5

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints below one folder; made by `open_checkpoints`, closed by `close` or a `with` block.

    The steps form one line of history: saving a step deletes the steps after it. All processes of a run call the same
    methods in the same order; only the first has a manager.
    """

    directory: Path
    opened: ocp.CheckpointManager | None
    read_only: bool = False

    @property
    def manager(self) -> ocp.CheckpointManager:
        """Orbax's manager, in the first process."""
        assert self.opened is not None
        return self.opened

    @processes.in_first
    def save(
        self,
        step: int,
        state: PyTree,
        key: jax.Array,
        metrics: Mapping[str, float] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        """Starts to save one step and returns as soon as `state` may be donated; a step that is there is left alone.

        Args:
          step: number of the step, 0 or more.
          state: pytree of arrays of any shape, sizes of zero included; of several processes, whole on each device.
          key: typed PRNG key, or an array of them.
          metrics: numbers to rank by; only "score" is compared. Without a finite score a step is never the best.
          info: anything that JSON can hold; tuples come back as lists.

        Raises:
          InputError: this save or the one before could not be written.
        """
        if step in self._steps():
            return
        self._wait()
        for later in [found for found in self._steps() if found > step]:
            self._wait()
            self.manager.delete(later)
        self._empty_trash()
        arrays = {name: _copy(leaf) for name, leaf in named_leaves(state).items() if leaf.size}
        record = {"key": _key_to_json(key), "info": dict(info or {}), "checksums": _checksums(arrays)}
        numbers = {name: float(value) for name, value in (metrics or {}).items()}
        items = ocp.args.Composite(state=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(record))
        try:
            self.manager.save(step, args=items, metrics=numbers, force=True)
        except (OSError, ValueError) as error:
            raise _unwritable(self.directory, error) from error

    @processes.from_first
    def steps(self) -> list[int]:
        """Returns the steps that are kept, ascending; one still being written counts."""
        return self._steps()

    def _steps(self) -> list[int]:
        return sorted(self.manager.all_steps())

    def latest(self) -> int | None:
        """Returns the latest step, or None when there is none."""
        return max(self.steps(), default=None)

    def restore(self, step: int, like: PyTree) -> tuple[PyTree, jax.Array, dict[str, Any]]:
        """Reads one step.

        Args:
          step: one of `steps()`.
          like: what the state must look like: pytree of arrays or `jax.ShapeDtypeStruct`s. Leaves are placed by its
            shardings, those without one on the first local device.

        Returns:
          (state with the structure of `like`, PRNG key, info), equal to what was saved to the bit.

        Raises:
          InputError: no such step, other names, shapes or dtypes than `like`, or a damaged folder.
        """
        self.wait()
        wanted = named_leaves(like)
        stored = {name: _abstract(leaf) for name, leaf in wanted.items() if math.prod(leaf.shape)}
        arrays, record = self._restore(step, stored) or ({}, None)
        record = processes.of_first(record)
        if jax.process_count() > 1:
            arrays = {name: _sent(arrays.get(name), leaf) for name, leaf in stored.items()}
        leaves = [arrays[name] if name in stored else _empty(leaf) for name, leaf in wanted.items()]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), _key_from_json(record["key"]), record["info"]

    @processes.in_first
    def _restore(self, step: int, stored: Mapping[str, jax.ShapeDtypeStruct]) -> tuple[dict[str, jax.Array], dict]:
        """What `_read` returns, or an InputError."""
        with self._step(step):
            arrays, record = self._read(step, {name: _readable(leaf) for name, leaf in stored.items()})
            _key_from_json(record["key"])
        return arrays, record

    @processes.from_first
    def info(self, step: int) -> dict[str, Any]:
        """Reads what was saved beside the state of one step; raises InputError as `restore` does."""
        with self._step(step):
            return dict(
                self.manager.restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore()))["record"]["info"]
            )

    def forms(self, step: int) -> dict[str, Any]:
        """Shapes and dtypes of one step's arrays by name, without those that have no entries; for one process."""
        with self._step(step):
            return dict(self.manager.item_metadata(step).state.tree)

    def arrays(self, step: int) -> dict[str, np.ndarray]:
        """All arrays of one step by name, whatever they belong to; for one process. Raises InputError as `restore`."""
        wanted = {name: jax.ShapeDtypeStruct(form.shape, form.dtype) for name, form in self.forms(step).items()}
        with self._step(step):
            return jax.device_get(self._read(step, {name: _abstract(form) for name, form in wanted.items()})[0])

    @contextlib.contextmanager
    def _step(self, step: int) -> Iterator[None]:
        """Turns what goes wrong in reading a step into an InputError."""
        if step not in self._steps():
            raise InputError(f"{self.directory}: no checkpoint of step {step}; there are {self._steps()}")
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # damage shows as nearly any exception of Orbax, TensorStore or json
            raise _damaged(self.directory / str(step), _first_line(error)) from error

    def _read(self, step: int, wanted: Mapping[str, Any]) -> tuple[dict[str, jax.Array], dict]:
        """Returns the arrays by name and the record of one step, both checked."""
        folder = self.directory / str(step)
        differences = _differences(dict(self.manager.item_metadata(step).state.tree), wanted)
        if differences:
            raise _misfit(folder, differences)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(dict(wanted)), record=ocp.args.JsonRestore())
        restored = self.manager.restore(step, args=items)
        checksums = _checksums(restored["state"])
        changed = [name for name, checksum in checksums.items() if checksum != restored["record"]["checksums"][name]]
        if changed:
            raise _damaged(folder, f"wrong checksum of {changed[0]}")
        return restored["state"], restored["record"]

    @processes.in_first
    def wait(self) -> None:
        """Waits until the last save is on disk.

        Raises:
          InputError: it could not be written.
        """
        self._wait()

    def _wait(self) -> None:
        try:
            self.manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise _unwritable(self.directory, error) from error

    @processes.in_first
    def close(self) -> None:
        """Waits for the last save and ends the background threads."""
        self._close()

    def _close(self) -> None:
        self._wait()
        self.manager.close()
        if not self.read_only:
            self._empty_trash()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
        elif processes.is_first():  # the other processes may be elsewhere: no waiting for them
            self._close()

    def _empty_trash(self) -> None:
        shutil.rmtree(self.directory / _TRASH, ignore_errors=True)


def open_checkpoints(directory: Path, keep_steps: Sequence[int] = (), read_only: bool = False) -> Checkpoints:
    """Opens or makes a folder of checkpoints and removes what an interrupted save left there.

    Kept are the latest step, the one with the best score, and those of `keep_steps`. With `read_only` nothing is made,
    removed or saved: the folder must be there, and may belong to someone else.

    Raises:
      InputError: the folder can't be made or read.
    """
    directory = Path(directory).absolute()
    opened = _open_to_read(directory) if read_only else _open(directory, keep_steps)
    return Checkpoints(directory, opened, read_only)


def has_steps(directory: Path) -> bool:
    """Whether a folder holds a finished checkpoint; for one process."""
    return directory.is_dir() and any(path.name.isdecimal() for path in directory.iterdir())


@processes.in_first
def _open_to_read(directory: Path) -> ocp.CheckpointManager:
    if not directory.is_dir():
        raise InputError(f"{directory}: no checkpoints here")
    # Orbax's own read_only warns on stderr of itself; without these two options opening writes nothing either.
    return _managed(directory, {"create": False, "cleanup_tmp_directories": False})


def _managed(directory: Path, options: Mapping[str, Any]) -> ocp.CheckpointManager:
    alone = ocp.options.MultiprocessingOptions(active_processes={0} if jax.process_count() > 1 else None)
    handlers = {"state": ocp.StandardCheckpointHandler(), "record": ocp.JsonCheckpointHandler()}
    made = ocp.CheckpointManagerOptions(best_fn=_score, multiprocessing_options=alone, **options)
    try:
        _require_readable_metrics(directory)
        return ocp.CheckpointManager(directory, options=made, item_handlers=handlers)
    except OSError as error:
        raise InputError(f"{directory}: not usable for checkpoints ({_first_line(error)})") from error


@processes.in_first
def _open(directory: Path, keep_steps: Sequence[int]) -> ocp.CheckpointManager:
    keep = [policies.LatestN(1), _KeepBest(), policies.CustomSteps(keep_steps)]
    options = {
        "preservation_policy": policies.AnyPreservationPolicy(keep),
        "cleanup_tmp_directories": True,
        "todelete_subdir": _TRASH,
        "create": jax.process_count() == 1,
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: not usable for checkpoints ({_first_line(error)})") from error
    manager = _managed(directory, options)
    shutil.rmtree(directory / _TRASH, ignore_errors=True)
    return manager


def _require_readable_metrics(directory: Path) -> None:
    for path in sorted(directory.glob("*/metrics/metrics")):
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            raise _damaged(path.parents[1], f"metrics/metrics: {_first_line(error)}") from error


class _KeepBest(policies.PreservationPolicy):
    """Keeps the best step. Orbax's BestN keeps the latest of equals, and the latest where no step has a score."""

    def should_preserve(self, checkpoints, *, context) -> Sequence[bool]:
        best = _best_step({checkpoint.step: checkpoint.metrics for checkpoint in checkpoints})
        return [checkpoint.step == best for checkpoint in checkpoints]


def _score(metrics: Mapping[str, float] | None) -> float:
    score = float((metrics or {}).get(SCORE, math.nan))
    return score if math.isfinite(score) else -math.inf


def _best_step(metrics: Mapping[int, Mapping[str, float] | None]) -> int | None:
    """Returns the earliest step with the highest finite score."""
    scores = {step: _score(metrics[step]) for step in sorted(metrics)}
    scored = [step for step, score in scores.items() if score > -math.inf]
    return max(scored, key=lambda step: scores[step], default=None)


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Returns the leaves by an unambiguous name such as `params['G']['Dense_0']['kernel']`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path).lstrip("."): leaf for path, leaf in leaves}


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_sharding(leaf))


def _sharding(leaf: Any) -> jax.sharding.Sharding:
    return getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _copy(leaf: jax.Array) -> Any:
    """A copy to save: Orbax writes from views of CPU buffers, which the caller may donate or delete."""
    if jax.process_count() == 1:
        return jnp.copy(leaf)
    # Of several processes Orbax takes jax arrays only if all save together; numpy arrays it writes alone.
    assert leaf.is_fully_replicated, "states are whole on each device"
    return np.array(leaf.addressable_data(0))


def _readable(leaf: jax.ShapeDtypeStruct) -> Any:
    """What Orbax is to read an array as, see `_copy`."""
    return leaf if jax.process_count() == 1 else np.empty(leaf.shape, leaf.dtype)


def _sent(array: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """The first process's array, placed as `leaf` says."""
    local = np.zeros(leaf.shape, leaf.dtype) if array is None else np.asarray(array)
    whole = processes.array_of_first(local)
    return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: whole[index])


def _empty(leaf: Any) -> jax.Array:
    """Makes an array without entries, which Orbax doesn't store."""
    return jax.device_put(np.zeros(leaf.shape, leaf.dtype), _sharding(leaf))


@jax.jit
def _checksum(array: jax.Array) -> jax.Array:
    """Sums an array's bits as unsigned integers modulo 2^32, so that any single changed bit shows."""
    if array.dtype == jnp.bool_:
        return jnp.sum(array, dtype=jnp.uint32)
    words = jax.lax.bitcast_convert_type(array, f"uint{8 * min(array.dtype.itemsize, 4)}")
    return jnp.sum(words, dtype=jnp.uint32)


def _checksums(arrays: Mapping[str, jax.Array]) -> dict[str, int]:
    sums = jax.device_get({name: _checksum(array) for name, array in arrays.items()})
    return {name: int(checksum) for name, checksum in sums.items()}


def _key_to_json(key: jax.Array) -> dict[str, Any]:
    return {"impl": str(jax.random.key_impl(key)), "data": np.asarray(jax.random.key_data(key)).tolist()}


def _key_from_json(record: Mapping[str, Any]) -> jax.Array:
    return jax.random.wrap_key_data(jnp.asarray(np.array(record["data"], np.uint32)), impl=record["impl"])


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Says in which names, shapes and dtypes a checkpoint differs from what a run wants."""
    missing = [f"{name} is missing" for name in wanted if name not in found]
    surplus = [f"{name} is unknown to this run" for name in found if name not in wanted]
    common = [(name, _form(found[name]), _form(wanted[name])) for name in wanted if name in found]
    changed = [f"{name} is {there}, this run has {here}" for name, there, here in common if there != here]
    return changed + missing + surplus


def _form(array: Any) -> str:
    return f"{jnp.dtype(array.dtype).name}{list(array.shape)}"


def _misfit(folder: Path, differences: Sequence[str]) -> InputError:
    listed = "; ".join(differences[:_MAX_DIFFERENCES])
    more = f"; and {len(differences) - _MAX_DIFFERENCES} more" if len(differences) > _MAX_DIFFERENCES else ""
    return InputError(
        f"{folder}: the checkpoint of step {folder.name} doesn't fit this run: {listed}{more}. "
        "Use the options it was made with, or another workdir"
    )


def _damaged(folder: Path, reason: str) -> InputError:
    return InputError(
        f"{folder}: the checkpoint of step {folder.name} is damaged ({reason}). "
        "Delete this folder to go on from the step before"
    )


def _unwritable(directory: Path, error: Exception) -> InputError:
    return InputError(f"{directory}: a checkpoint could not be written ({_first_line(error)}); check space and rights")


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
