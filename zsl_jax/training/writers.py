"""What a run leaves in its workdir: config, metrics as text and as TensorBoard events, results, and who owns it."""

import contextlib
import fcntl
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, SupportsFloat

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from zsl_jax.errors import InputError
from zsl_jax.training.progress import Lines

CONFIG = "config.json"
RESULT = "result.json"
FINGERPRINT = "data_fingerprint"  # kept beside the configuration, so that a run never goes on with other data
METRICS = "metrics.jsonl"
EVENTS = "tensorboard"
LOCK = ".lock"
_MAX_DIFFERENCES = 10
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")  # JSON has no such numbers; Python reads these strings as floats


class RunWriter:
    """Writes scalars to `<workdir>/metrics.jsonl` and, as a mirror of it, TensorBoard events.

    A line is one object {"stage", "step", name: value, ...}. JSON has no NaN and no infinities: they are written as the
    strings "NaN", "Infinity" and "-Infinity", which `read_metrics` turns back. TensorBoard gets finite values only.
    """

    def __init__(self, workdir: Path, tensorboard: bool = True):
        self._metrics = Path(workdir) / METRICS
        self._events = Path(workdir) / EVENTS if tensorboard else None
        _drop_unfinished_line(self._metrics)
        self._open()

    def scalars(self, stage: str, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Appends one line, on disk for other programs when this returns."""
        record = {"stage": stage, "step": int(step)} | {name: float(value) for name, value in values.items()}
        self._lines.write(to_json(record) + "\n")
        self._lines.flush()
        self._mirror(record)

    def truncate(self, stage_order: Sequence[str], stage: str, step: int) -> None:
        """Forgets what came after a checkpoint: lines of stages after `stage`, and of `stage` after `step`.

        Lines of stages that `stage_order` doesn't name stay.

        Raises:
          InputError: a line is not what this class writes.
        """
        order = {name: number for number, name in enumerate(stage_order)}
        records = read_metrics(self._metrics)
        keep = [record for record in records if _comes_by(record, order, order[stage], step)]
        if len(keep) == len(records):
            return
        self.close()
        write_text(self._metrics, "".join(to_json(record) + "\n" for record in keep))
        if self._events is not None:
            shutil.rmtree(self._events, ignore_errors=True)
        self._open()
        for record in keep:
            self._mirror(record)

    def close(self) -> None:
        """Writes out what is buffered and closes the files."""
        self._lines.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        # On a full disk closing fails like the write that ended the run: what that one said is to be heard.
        with contextlib.suppress(*([] if kind is None else [OSError])):
            self.close()

    def _open(self) -> None:
        self._lines = self._metrics.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self._events), flush_secs=10) if self._events is not None else None

    def _mirror(self, record: Mapping[str, Any]) -> None:
        if self._board is None:
            return
        for name, value in record.items():
            if name not in ("stage", "step") and math.isfinite(value):
                self._board.add_scalar(f"{record['stage']}/{name}", value, record["step"])


class SilentWriter(RunWriter):
    """Writes nothing: for the processes of a run that leave the files to the first."""

    def __init__(self):
        pass

    def scalars(self, stage: str, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Nothing."""

    def truncate(self, stage_order: Sequence[str], stage: str, step: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads the lines of a metrics.jsonl; an unfinished last line, as a kill leaves it, is passed over.

    Returns:
      One dict a line: "stage" (str), "step" (int), all others float.

    Raises:
      InputError: a finished line is not what `RunWriter` writes.
    """
    if not path.exists():
        return []
    *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [_parse(path, number, line) for number, line in enumerate(lines, 1)]


def write_json(path: Path, obj: Any) -> None:
    """Writes JSON so that the file is always whole: the old one or the new one.

    Numpy numbers and arrays, tuples and paths are taken too; NaN and infinities become strings as in metrics.jsonl.
    """
    write_text(path, to_json(obj, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file; the strings that `write_json` makes of NaN and infinities become numbers again.

    Raises:
      InputError: it is missing, unreadable or not JSON.
    """
    try:
        return from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); restore it or use another workdir") from error


def to_json(obj: Any, indent: int | None = None) -> str:
    """JSON of what `write_json` takes."""
    return json.dumps(_plain(obj), indent=indent, allow_nan=False)


def from_json(text: str | bytes) -> Any:
    """Undoes `to_json`, but that arrays and tuples have become lists and all names strings."""
    return _numbers_again(json.loads(text))


def write_text(path: Path, text: str) -> None:
    """Writes a text file by way of a temporary one in the same folder, renamed when it is on disk."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path` to write to; on success it is synced and takes its name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    temporary = Path(name)
    try:
        yield temporary
        os.fsync(handle)
        os.fchmod(handle, 0o644)
        temporary.replace(path)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def lock_workdir(workdir: Path) -> Iterator[None]:
    """Makes the workdir if need be and keeps other runs out of it, until the block or the process ends.

    Raises:
      InputError: another process has it, or it can't be made or written.
    """
    path = Path(workdir) / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    except OSError as error:
        raise InputError(f"{workdir}: not usable as a workdir ({error.strerror}); choose another folder") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{workdir}: another run is at work here; wait for it or use another workdir") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be locked ({error.strerror}); use a local --workdir") from error
        yield


def own_workdir(
    held: contextlib.ExitStack, workdir: Path, config: Mapping[str, Any], ignore: Sequence[str] = ()
) -> None:
    """Locks the workdir until `held` is closed and claims it, see `lock_workdir` and `claim_workdir`."""
    held.enter_context(lock_workdir(workdir))
    claim_workdir(workdir, config, ignore)


def claim_workdir(workdir: Path, config: Mapping[str, Any], ignore: Sequence[str] = ()) -> None:
    """Writes config.json into a new workdir, or checks that the one there says the same.

    Args:
      workdir: folder of the run, held by `lock_workdir`.
      config: options by name, nested.
      ignore: dotted names of fields (or of sections) that don't change results, such as "data.root".

    Raises:
      InputError: the config there differs, with the fields; or is damaged; or the folder can't be written.
    """
    path = Path(workdir) / CONFIG
    try:
        if not path.exists():
            write_json(path, config)
            return
    except OSError as error:
        raise InputError(f"{workdir}: not usable as a workdir ({error.strerror}); choose another folder") from error
    listed = differences(read_json(path), config, ignore)
    if listed:
        raise InputError(f"{path}: made with other options: {listed}. Use the same options or another workdir")


def differences(there: Mapping[str, Any], now: Mapping[str, Any], ignore: Sequence[str] = ()) -> str:
    """In which fields two configurations differ, "" if in none; ignoring those of `claim_workdir`'s `ignore`."""
    left, right = (_fields(json.loads(to_json(config))) for config in (there, now))
    found = [
        f"{name} is {_shown(left, name)} there, {_shown(right, name)} now"
        for name in sorted(left | right)
        if not _is_ignored(name, ignore) and _shown(left, name) != _shown(right, name)
    ]
    more = f"; and {len(found) - _MAX_DIFFERENCES} more" if len(found) > _MAX_DIFFERENCES else ""
    return "; ".join(found[:_MAX_DIFFERENCES]) + more


def progress(total: int, description: str, unit: str, shown: bool = True) -> tqdm | Lines:
    """Makes a progress bar with rate and time left on stderr; where that is not a terminal, a line now and then."""
    if shown and not sys.stderr.isatty():
        return Lines(total, description, unit)
    return tqdm(total=total, desc=description, unit=unit, disable=not shown, dynamic_ncols=True)


def _comes_by(record: Mapping[str, Any], order: Mapping[str, int], stage: int, step: int) -> bool:
    """Says whether a line was written by `step` of stage number `stage`."""
    number = order.get(record["stage"], -1)
    return number < stage or (number == stage and record["step"] <= step)


def _drop_unfinished_line(path: Path) -> None:
    """Cuts off what follows the last line break, the trace of a kill."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
        head = {"stage": str(record.pop("stage")), "step": int(record.pop("step"))}
        return head | {name: float(value) for name, value in record.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: line {number} is not a line of metrics ({line[:60]!r}); remove it or use another workdir"
        ) from error


def _plain(obj: Any) -> Any:
    """Returns the same in the types JSON has."""
    if isinstance(obj, np.ndarray | np.generic):
        obj = obj.tolist()
    if isinstance(obj, Mapping):
        return {str(name): _plain(value) for name, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if isinstance(obj, float) and not math.isfinite(obj):
        return "NaN" if math.isnan(obj) else "Infinity" if obj > 0 else "-Infinity"
    return str(obj) if isinstance(obj, Path) else obj


def _numbers_again(obj: Any) -> Any:
    """Undoes what `_plain` did to numbers that are not finite."""
    if isinstance(obj, dict):
        return {name: _numbers_again(value) for name, value in obj.items()}
    if isinstance(obj, list):
        return [_numbers_again(value) for value in obj]
    return float(obj) if isinstance(obj, str) and obj in _NOT_FINITE else obj


def _fields(config: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens nested options to dotted names."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    parts = [_fields(value, f"{prefix}.{name}" if prefix else name) for name, value in config.items()]
    return {name: value for part in parts for name, value in part.items()}


def _is_ignored(name: str, ignore: Sequence[str]) -> bool:
    return any(name == field or name.startswith(field + ".") for field in ignore)


def _shown(fields: Mapping[str, Any], name: str) -> str:
    return json.dumps(fields[name]) if name in fields else "absent"
