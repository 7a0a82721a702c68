"""All files of a run: what lies where in its workdir, who owns it, metrics as text and as TensorBoard events.

The first process of a run reads and writes them; in the others nothing is touched, and what is read is sent to them.
"""

import contextlib
import dataclasses
import fcntl
import json
import logging
import math
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, SupportsFloat

from tqdm import tqdm

from zsl_jax.config.options import completed
from zsl_jax.errors import InputError
from zsl_jax.files import read_json, to_json, write_json, write_text
from zsl_jax.training import processes
from zsl_jax.training.progress import Lines

log = logging.getLogger(__name__)

CONFIG = "config.json"
RESULT = "result.json"
SETTLED = "settled"  # beside the configuration: what it left to the data, by dotted field
SCALER = "semantics_scaler"  # beside the configuration: how descriptions were scaled
ATTRIBUTES = "attribute_names"  # beside the configuration: of the columns of descriptions, by which others are joined
SIZES = "data_sizes"  # beside the configuration: sizes of the data, from which nets can be built without them
FINGERPRINT = "data_fingerprint"  # kept beside the configuration, so that a run never goes on with other data
METRICS = "metrics.jsonl"
EVENTS = "tensorboard"
LOCK = ".lock"
UNUSABLE = "[\\"  # Orbax takes these for a pattern of names
FLUSHED_EVERY = 10  # seconds, events for TensorBoard
_MAX_DIFFERENCES = 10


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The files of a run, or of its validation task, below one folder; all processes call the same methods.

    `config.json` (options and fingerprint of the data), `result.json`, `metrics.jsonl` with its mirror `tensorboard/`,
    `evaluations/` (scores of each evaluated epoch), `checkpoints/` (a folder for each stage), `features/` (views that
    stages made, as a data set), `figures/`; `imported/` see `zsl_jax.training.imported`.
    """

    path: Path

    @property
    def figures(self) -> Path:
        """The folder of the pictures."""
        return self.path / "figures"

    @property
    def features(self) -> Path:
        """The data root of the views that stages made."""
        return self.path / "features"

    def checkpoints(self, stage: str) -> Path:
        """The folder of a stage's checkpoints."""
        return self.path / "checkpoints" / stage

    def evaluation(self, stage: str, epoch: int) -> Path:
        """The scores of a stage after an epoch."""
        return self.path / "evaluations" / f"{stage}_{epoch:05d}.json"

    @processes.in_first
    def own(self, held: contextlib.ExitStack, config: Mapping[str, Any], ignore: Sequence[str] = ()) -> None:
        """Locks the workdir until `held` is closed and claims it, see `lock_workdir` and `claim_workdir`."""
        held.enter_context(lock_workdir(self.path))
        claim_workdir(self.path, config, ignore)

    @processes.in_first
    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`: with it the run is finished."""
        write_json(self.path / RESULT, result)

    @processes.in_first
    def write_evaluation(self, stage: str, epoch: int, scores: Mapping[str, Any]) -> None:
        """Writes the scores of a stage after an epoch."""
        write_json(self.evaluation(stage, epoch), scores)

    @processes.from_first
    def read_evaluations(self, stage: str, epochs: Iterable[int]) -> list[dict[str, Any]]:
        """The scores of a stage after some epochs; raises InputError where one is missing or damaged."""
        return [read_json(self.evaluation(stage, epoch)) for epoch in epochs]


class RunWriter:
    """Writes scalars to `<workdir>/metrics.jsonl` and, as a mirror of it, TensorBoard events; makes the folder.

    A line is one object {"stage", "step", name: value, ...}. JSON has no NaN and no infinities: they are written as the
    strings "NaN", "Infinity" and "-Infinity", which `read_metrics` turns back. TensorBoard gets finite values only.
    Other processes than the first write nothing.
    """

    def __init__(self, workdir: Path, tensorboard: bool = True):
        self._metrics = Path(workdir) / METRICS
        self._events = Path(workdir) / EVENTS if tensorboard else None
        self._begin()

    @processes.in_first
    def _begin(self) -> None:
        self._metrics.parent.mkdir(parents=True, exist_ok=True)
        _drop_unfinished_line(self._metrics)
        self._open()

    @processes.in_first
    def scalars(self, stage: str, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Appends one line, on disk for other programs when this returns."""
        record = {"stage": stage, "step": int(step)} | {name: float(value) for name, value in values.items()}
        self._lines.write(to_json(record) + "\n")
        self._lines.flush()
        self._mirror.write(record)

    @processes.in_first
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
            self._mirror.write(record)

    def close(self) -> None:
        """Closes the files."""
        if processes.is_first():
            self._mirror.close()
            self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        # On a full disk closing fails like the write that ended the run: what that one said is to be heard.
        with contextlib.suppress(*([] if kind is None else [OSError])):
            self.close()

    def _open(self) -> None:
        self._lines = self._metrics.open("a", encoding="utf-8")
        self._mirror = _Mirror(self._events)


class _Mirror:
    """TensorBoard events in a folder (None: no events). Where they cannot be written a warning says so, and no more.

    They are written at once, not by tensorboardX's thread: where that dies of a full disk, all who write wait for ever.
    """

    def __init__(self, folder: Path | None):
        self._folder, self._flushed = folder, time.monotonic()
        self._file: Any = None
        if folder is not None:
            self._try(lambda: self._open(folder))

    def write(self, record: Mapping[str, Any]) -> None:
        """Writes the finite values of a line of metrics."""
        if self._file is not None:
            self._try(lambda: self._write(record))

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._try(self._file.close)
        self._file = None

    def _open(self, folder: Path) -> None:
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._file = RecordWriter(str(folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"))
        self._add(file_version="brain.Event:2")

    def _write(self, record: Mapping[str, Any]) -> None:
        from tensorboardX import summary

        shown = summary.Summary(value=[
            summary.scalar(f"{record['stage']}/{name}", value).value[0]
            for name, value in record.items()
            if name not in ("stage", "step") and math.isfinite(value)
        ])  # fmt: skip
        self._add(step=record["step"], summary=shown)

    def _add(self, **fields: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

        self._file.write(Event(wall_time=time.time(), **fields).SerializeToString())
        if time.monotonic() > self._flushed + FLUSHED_EVERY:
            self._file.flush()
            self._flushed = time.monotonic()

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, ImportError) as error:
            log.warning("%s: no events for TensorBoard from here on (%s); the run goes on", self._folder, error)
            broken, self._file = self._file, None
            with contextlib.suppress(OSError):
                if broken is not None:
                    broken.close()


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


@contextlib.contextmanager
def lock_workdir(workdir: Path) -> Iterator[None]:
    """Makes the workdir if need be and keeps other runs out of it, until the block or the process ends.

    Raises:
      InputError: another process has it, it can't be made or written, or its name can't be that of a workdir.
    """
    require_name(workdir)
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


def require_name(workdir: Path) -> None:
    """Raises InputError for a path in which Orbax would not find the checkpoints again that it saved."""
    path = str(Path(workdir).absolute())
    if found := [letter for letter in UNUSABLE if letter in path]:
        raise InputError(
            f"{path}: {' and '.join(found)} cannot be part of a workdir's path: checkpoints would not be found again; "
            "choose another, with / between folders"
        )


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
    if not path.exists():
        write_json(path, config)
        return
    listed = differences(completed(read_json(path)), config, ignore)
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
