"""A small data set of one's own, as arrays and as files, and how the programs are run on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.options import data_options
from zsl_jax import __main__ as program
from zsl_jax.data import load_xlsa17
from zsl_jax.data.dataset import Dataset

NAMES = ("ant", "polar bear", "cat", "dog", "eel", "fox")
ROWS, X_DIM, A_DIM = 24, 5, 3
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(NAMES)), ROWS // len(NAMES)))
X = np.random.default_rng(1).normal(size=(ROWS, X_DIM)).astype(np.float32)
SEMANTICS = np.random.default_rng(3).random((len(NAMES), A_DIM))
TEXTS = tuple(NAMES[label] for label in LABELS)
PICTURES = tuple(f"{name}/{row}.jpg" for row, name in enumerate(TEXTS))

Main = Callable[[list[str]], int]


def import_data(arguments: list[str]) -> int:
    """`zsl-jax data import`."""
    return program.main(["data", "import", *arguments])


def write_csv(path: Path, names: Any, values: np.ndarray, header: str = "") -> Path:
    """Lines of a name (or several, as a tuple) and numbers; `header` names the first columns."""
    cells = [([row] if isinstance(row, str) else list(row)) for row in names]
    lines = [",".join([*row, *map(str, numbers)]) for row, numbers in zip(cells, values.tolist(), strict=True)]
    columns = ",".join([header, *(f"f{number}" for number in range(values.shape[1]))])
    path.write_text("\n".join([columns] * bool(header) + lines) + "\n")
    return path


def write_classes(folder: Path) -> Path:
    """`classes.csv`: the classes' names and descriptions."""
    return write_csv(folder / "classes.csv", NAMES, SEMANTICS, "class")


def write_files(folder: Path, **labels: np.ndarray) -> list[Path]:
    """`features.npy`, `labels.npy` (of `labels`, if given) and `classes.csv`."""
    for name, array in ({"features": X, "labels": LABELS} | labels).items():
        np.save(folder / f"{name}.npy", array)
    return [folder / "features.npy", folder / "labels.npy", write_classes(folder)]


def run(main: Main, capsys: Any, root: Path, *arguments: Any) -> tuple[int, str, str]:
    """Runs a program on the data set MINE; returns its exit code and what it printed."""
    code = main([*map(str, arguments), "--dataset=MINE", f"--root={root}"])
    return code, *capsys.readouterr()


def load(root: Path) -> Dataset:
    """The data set that a program made, as training loads it."""
    return load_xlsa17(data_options(root=str(root), dataset="MINE", features="features", labels="features"))


def require_same(dataset: Dataset, names: tuple[str, ...] = NAMES) -> None:
    """Checks that all values are those that went in."""
    np.testing.assert_array_equal(dataset.x, X)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    np.testing.assert_array_equal(dataset.semantics, SEMANTICS.astype(np.float32))
    assert dataset.class_names == names


def require_refused(found: tuple[int, str, str], root: Path, message: str) -> None:
    """Checks that a program ended in one clear line, or one for each question, and left nothing."""
    code, out, err = found
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert all(line.startswith("  ") for line in err.splitlines()[1:])
    assert err.count("\n") == 1 or "say each of these by --set KEY=VALUE:" in err
    assert message in err
    assert not root.exists() or not any(path.is_file() for path in root.glob("**/*"))
