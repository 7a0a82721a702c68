"""A fitted estimator in a folder: `estimator.json`, `arrays.safetensors`. What is read is checked, never executed."""

import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zsl_jax import files
from zsl_jax.config import presets
from zsl_jax.data.formats import tensors
from zsl_jax.data.scaling import SEMANTICS, Scaler, SemanticsScaler
from zsl_jax.errors import InputError
from zsl_jax.estimator import engine, inputs
from zsl_jax.evaluation import rows
from zsl_jax.experiment import checks, problems
from zsl_jax.train_steps.method import Method, vector_spec

RECORD, ARRAYS = "estimator.json", "arrays.safetensors"
FORMAT = 1
LONGEST_RECORD = 1 << 26  # bytes
LARGEST = 10**6  # whole number in a configuration, but for its seed
LONGEST_LIST = 100
NUMBERS = "biuf"  # kinds of labels that are numbers
HEADS = ("gzsl", "zsl")
SIZES = ("x_dim", "r_dim", "a_dim", "n_classes")  # of the data


def write(path: Path, estimator: Any) -> None:
    """Writes a fitted estimator; one that is there, and nothing else with it, is replaced.

    Raises:
      InputError: something else is there, a parameter is no plain value, or the folder cannot be written.
    """
    record, arrays = record_of(estimator), arrays_of(estimator)
    for name, value in record["parameters"].items():
        try:
            as_json(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name}: {value!r} is no plain value ({error}), so it cannot be saved") from error
    text = as_json(record)
    try:
        require_free(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
    with files.replacing_folder(path) as temporary:
        tensors.write(temporary / ARRAYS, arrays, {})
        files.write_text(temporary / RECORD, text)


def as_json(value: Any) -> str:
    """JSON of numbers and texts; those of numpy become plain ones."""

    def plain(scalar: Any) -> Any:
        if not isinstance(scalar, np.generic):
            raise TypeError(f"numbers and texts are needed, not {type(scalar).__name__}")
        return scalar.item()

    return json.dumps(value, allow_nan=False, indent=2, default=plain)


def require_free(path: Path) -> None:
    """Raises InputError where saving would take something else away: it removes what is at `path`."""
    if path.is_symlink():
        raise InputError(f"{path}: there already, a link; name the folder itself")
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"{path}: there already, and not a saved estimator; choose another folder")
    held = {entry.name for entry in path.iterdir()}
    others = sorted(name for name in held if name not in (RECORD, ARRAYS) or not (path / name).is_file())
    if others:
        raise InputError(
            f"{path}: there already, not a saved estimator alone, with {others[0]!r}; choose another folder"
        )
    if held == {ARRAYS}:
        raise InputError(f"{path}: there already, and not a saved estimator; choose another folder")


def record_of(estimator: Any) -> dict[str, Any]:
    """All of a fitted estimator that is not an array, as JSON has it."""
    generator = estimator.generator_
    return {
        "format": FORMAT,
        "parameters": {name: value for name, value in estimator.get_params().items() if name != "workdir"},
        "seen": labels_record(estimator.seen_classes_),
        "unseen": labels_record(estimator.unseen_classes_),
        "features": int(estimator.n_features_in_),
        "names": list(getattr(estimator, "feature_names_in_", ())),
        "attributes": list(estimator.attribute_names_),
        "calibration": float(estimator.calibration_),
        "generator": None
        if generator is None
        else {
            "config": generator.config,
            "raw": {name: getattr(generator.raw, name) for name in SIZES},
            "space": generator.space,
            "sampler": generator.sampler,
        },
    }


def labels_record(labels: np.ndarray) -> dict[str, Any]:
    """Labels and their type, as JSON has them; of texts as long as the longest."""
    kind = labels.dtype.kind
    return {"dtype": labels.dtype.str if kind in NUMBERS else kind, "values": labels.tolist()}


def arrays_of(estimator: Any) -> dict[str, np.ndarray]:
    """The arrays of a fitted estimator, by flat names."""
    tree: dict[str, Any] = {"heads": {name: head._asdict() for name, head in estimator.heads_.items()}}
    generator = estimator.generator_
    if generator is None:
        return tensors.flatten(tree | {"scaler": vars(estimator.scaler_)})
    views = {name: {"params": view.params, "scaler": vars(view.scaler)} for name, view in generator.views.items()}
    tree |= {"rows": estimator._views, "labels": estimator._labels, "semantics": estimator.semantics_}
    tree |= {"params": generator.params, "views": views, "key": generator.key}
    tree |= {"descriptions": {"shift": generator.semantics.shift, "scale": generator.semantics.scale}}
    return tensors.flatten(tree | {"scalers": {name: vars(one) for name, one in generator.scalers.items()}})


def read(path: Path, estimator: Any) -> Any:
    """Fills a fresh estimator from a folder.

    Raises:
      InputError: the folder is missing, damaged or not of this format.
    """
    record, arrays = read_record(path / RECORD), tensors.read(path / ARRAYS)[0]
    try:
        _fill(estimator, record, arrays)
    except Exception as error:  # made-up sizes and types may break anything
        said = " ".join(f"{type(error).__name__}: {error}".removeprefix("InputError: ").split())[:300]
        raise InputError(f"{path}: not a saved estimator ({said}); save it anew") from error
    return estimator


def read_record(path: Path) -> dict[str, Any]:
    """Reads `estimator.json`.

    Raises:
      InputError: it is missing, too large, not JSON, or of another format.
    """
    with files.opened(path) as stream:
        if files.size_of(stream) > LONGEST_RECORD:
            raise InputError(f"{path}: {files.size_of(stream)} bytes are no record of an estimator; save it anew")
        text = stream.read()
    try:
        record = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); save the estimator anew") from error
    found = record.get("format") if isinstance(record, dict) else None
    if found != FORMAT:
        raise InputError(f"{path}: format {found!r}, this version reads {FORMAT}; save the estimator anew")
    return record


def _fill(estimator: Any, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Checks a record and its arrays and sets what `fit` would have set."""
    estimator.set_params(**record["parameters"]).set_params(workdir=None)
    inputs.check_parameters(estimator.get_params())
    seen, unseen = read_labels(record["seen"]), read_labels(record["unseen"])
    inputs.require_labels([*seen.tolist(), *unseen.tolist()], "seen and unseen")
    classes = np.concatenate([seen, unseen])
    if len(set(classes.tolist())) < len(classes) or len(seen) < 2:
        raise InputError("two seen classes or more are needed, and none twice")
    estimator.seen_classes_, estimator.unseen_classes_, estimator.classes_ = seen, unseen, np.sort(classes)
    estimator.n_features_in_ = whole(record["features"])
    if record["names"]:
        estimator.feature_names_in_ = feature_names(record["names"], estimator.n_features_in_)
    if type(record["calibration"]) is not float or not np.isfinite(record["calibration"]):
        raise InputError(f"calibration {record['calibration']!r}")
    estimator.calibration_ = record["calibration"]
    take = Arrays(arrays)
    n_seen, n_unseen = len(seen), len(unseen)
    generator = estimator.generator_ = record["generator"] and read_generator(record["generator"], take)
    attributes = record.get("attributes")  # earlier versions wrote none
    estimator.attribute_names_ = tuple(feature_names(attributes, generator.raw.a_dim)) if attributes else ()
    if generator is None:
        estimator.scaler_, estimator.semantics_ = take.scaler("scaler", estimator.n_features_in_), None
        estimator.heads_ = {"gzsl": take.head("gzsl", n_seen, estimator.n_features_in_)}
        return
    use, widths = engine.ready(generator), {name: len(one.shift) for name, one in generator.scalers.items()}
    estimator.scaler_, width = None, embedded_width(use.method, generator.params, widths, generator.space)
    if generator.raw.x_dim != estimator.n_features_in_:
        raise InputError(f"{generator.raw.x_dim} and {estimator.n_features_in_} features")
    sizes = {"gzsl": n_seen + n_unseen, "zsl": n_unseen}
    estimator.heads_ = {name: take.head(name, sizes[name], width) for name in HEADS if sizes[name]}
    estimator.semantics_ = take.floats("semantics", n_seen + n_unseen, generator.raw.a_dim)
    estimator._labels = take.labels("labels", n_seen)
    n = len(estimator._labels)
    estimator._views = {name: take.floats(f"rows/{name}", n, len(s.shift)) for name, s in generator.scalers.items()}


class Arrays:
    """Arrays by name, handed out if they are what is expected."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays

    def get(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The array of a name; raises InputError if its shape or dtype is another."""
        if name not in self.arrays:
            raise InputError(f"no array {name!r}")
        found = self.arrays[name]
        if found.shape != shape or found.dtype != dtype:
            raise InputError(f"{name} is {found.dtype}{list(found.shape)}, expected {np.dtype(dtype)}{list(shape)}")
        return found

    def floats(self, name: str, *shape: int) -> np.ndarray:
        """Finite numbers of a shape."""
        found = self.get(name, shape, np.float32)
        if not np.isfinite(found).all():
            raise InputError(f"{name} holds numbers that are not finite")
        return found

    def scaler(self, name: str, width: int) -> Scaler:
        """A scaler of rows of a width."""
        return Scaler(self.floats(f"{name}/shift", width), self.floats(f"{name}/scale", width))

    def semantics_scaler(self, kind: str, width: int) -> SemanticsScaler:
        """A scaler of descriptions of a width; earlier versions kept none, since their kinds have no numbers."""
        if "descriptions/shift" not in self.arrays and kind in ("none", "l2"):
            return SemanticsScaler(kind, np.zeros(width), np.ones(width))
        shift, scale = (self.get(f"descriptions/{name}", (width,), np.float64) for name in ("shift", "scale"))
        if kind not in SEMANTICS or not np.isfinite([shift, scale]).all():
            raise InputError(f"descriptions scaled by {kind!r}, or by numbers that are not finite")
        return SemanticsScaler(kind, shift, scale)

    def head(self, name: str, n_classes: int, width: int) -> engine.Head:
        """A final classifier."""
        weights = self.floats(f"heads/{name}/weights", n_classes, width)
        return engine.Head(weights, self.floats(f"heads/{name}/bias", n_classes))

    def labels(self, name: str, n_classes: int) -> np.ndarray:
        """Class numbers [n], each class at least once."""
        found = self.get(name, self.arrays[name].shape[:1], np.int32)
        if not np.array_equal(np.unique(found), np.arange(n_classes)):
            raise InputError(f"{name} must hold the numbers 0 to {n_classes - 1}")
        return found

    def tree(self, prefix: str, shapes: Any) -> Any:
        """A parameter tree of the shapes given, whose names begin with `prefix`."""

        def of(path: tuple[Any, ...], leaf: Any) -> np.ndarray:
            name = "/".join([prefix, *(str(key.key) for key in path)])
            found = self.get(name, leaf.shape, leaf.dtype)
            return self.floats(name, *leaf.shape) if leaf.dtype == np.float32 else found

        return jax.tree_util.tree_map_with_path(of, shapes)


def read_generator(record: dict[str, Any], take: Arrays) -> engine.Generator:
    """A generator whose parameters have the shapes that its configuration asks for.

    Raises:
      InputError: the configuration makes no sense, or an array is missing or of another shape.
    """
    require_modest({name: value for name, value in record["config"].items() if name != "seed"})
    config, raw = presets.restore(record["config"]), vector_spec(**{name: whole(record["raw"][name]) for name in SIZES})
    checks.check_options(config)
    outlines, views, widths = checks.outlines(config, raw), {}, {"x": raw.x_dim}
    for name, outline in outlines.items():
        if view := outline.method.produces:
            scaler = take.scaler(f"views/{name}/scaler", raw.x_dim)
            views[name] = engine.View(take.tree(f"views/{name}/params", outline.params), scaler)
            widths[view] = embedded_width(outline.method, outline.params, {"x": raw.x_dim}, view)
    *_, last = outlines.values()
    method = last.method
    spaces = problems.eval_options(config, config.stages[-1], method).spaces
    for what, offered in (("space", spaces), ("sampler", method.samplers)):
        if record[what] not in offered:
            raise InputError(f"{what} {record[what]!r}: {method.name} offers {offered}")
    return engine.Generator(
        config=config.to_dict(),
        raw=raw,
        views=views,
        scalers={name: take.scaler(f"scalers/{name}", width) for name, width in widths.items()},
        semantics=take.semantics_scaler(config.data.semantics_scaling, raw.a_dim),
        params=take.tree("params", last.params),
        space=record["space"],
        sampler=record["sampler"],
        key=take.get("key", jax.random.key_data(jax.random.key(0)).shape, np.uint32),
    )


def embedded_width(method: Method, params: Any, widths: dict[str, int], space: str) -> int:
    """Width of what a method makes of views of these widths, in one space."""
    views = {name: jax.ShapeDtypeStruct((1, width), np.float32) for name, width in widths.items()}
    return jax.eval_shape(lambda given, one: rows.embed(method, given, one, space), params, views).shape[1]


def require_modest(value: Any) -> None:
    """Raises InputError where a configuration holds a number that is not finite, or one or a list so large that to
    look at it takes for ever.
    """
    if isinstance(value, dict):
        value = list(value.values())
    elif isinstance(value, list) and len(value) > LONGEST_LIST:
        raise InputError(f"a list of {len(value)} entries in the configuration")
    elif (isinstance(value, int) and abs(value) > LARGEST) or (isinstance(value, float) and not math.isfinite(value)):
        raise InputError(f"{value} in the configuration")
    for one in value if isinstance(value, list) else ():
        require_modest(one)


def read_labels(record: dict[str, Any]) -> np.ndarray:
    """Labels as `labels_record` left them: numbers of a type, or texts."""
    dtype, values = np.dtype(record["dtype"]), record["values"]
    texts = isinstance(values, list) and all(isinstance(one, str) for one in values)
    if dtype.kind not in NUMBERS and not (texts and record["dtype"] in ("U", "O")):
        raise InputError(f"labels of type {record['dtype']!r}")
    labels = np.array(values, dtype)
    if labels.ndim != 1 or (dtype.kind == "f" and not np.isfinite(labels).all()):
        raise InputError("labels that are no list of numbers or texts")
    return labels


def feature_names(names: Any, count: int) -> np.ndarray:
    """Names of the columns [count]; raises InputError if they are something else."""
    if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise InputError(f"names of columns that are not {count} texts")
    return np.array(names, object)


def whole(value: Any) -> int:
    """A whole number from 0 on; raises InputError if it is none."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise InputError(f"{value!r} where a whole number is needed")
    return value
