"""Where the field's files lie below one root, and what to say when they are not there."""

import os
import pathlib

from zsl_jax.data.sources import published
from zsl_jax.errors import InputError


def data_root(options) -> pathlib.Path | None:
    """Returns `options.root`, else the environment's ZSL_JAX_DATA, else None."""
    root = options.root or os.environ.get("ZSL_JAX_DATA", "")
    return pathlib.Path(os.path.expanduser(root)) if root else None


def plain_name(value: str, field: str) -> str:
    """Returns a data set's or file's name that can't leave the root.

    Raises:
      InputError: the name is empty or holds a path separator, '..' or a control character.
    """
    if not value or not value.isprintable() or any(part in value for part in ("/", "\\", "..", ":")) or value[0] == ".":
        raise InputError(f"config.data.{field}: {value!r} is no plain name; give a name without folders, e.g. 'SUN'")
    return value


def needed_files(options) -> dict[str, str]:
    """Returns what each file that these options ask for holds, by file name (labels: only where they may be needed)."""
    files = {f"{plain_name(options.features, 'features')}.mat": "features x"}
    if options.representations:
        files[f"{plain_name(options.representations, 'representations')}.mat"] = "representations r"
    if options.labels:
        files.setdefault(f"{plain_name(options.labels, 'labels')}.mat", "labels, where the features have none")
    files[f"{plain_name(options.semantics, 'semantics')}_splits.mat"] = "semantics and splits"
    if options.percent != 100:
        files[percent_file(options.percent)] = f"which {options.percent} percent of trainval to train on"
    return files


def percent_file(percent: int) -> str:
    """Returns the name of the file that says which share of trainval to train on."""
    return f"split_{int(percent)}percent.mat"


def dataset_folder(options) -> pathlib.Path:
    """Returns the folder of the data set.

    Raises:
      InputError: no root is given or the folder isn't there; the message shows the expected file tree.
    """
    root = data_root(options)
    name = plain_name(options.dataset, "dataset")
    if root is None:
        raise InputError(
            "no data: set --config.data.root=FOLDER or the variable ZSL_JAX_DATA\n" + expected_tree(options)
        )
    if not (root / name).is_dir():
        raise InputError(f"{root / name}: no such folder\n" + expected_tree(options))
    return root / name


def mat_file(options, field: str, ending: str = ".mat") -> pathlib.Path:
    """Returns the path of the file that `options.<field>` names; raises InputError as `existing_file` does."""
    return existing_file(options, plain_name(getattr(options, field), field) + ending)


def existing_file(options, name: str) -> pathlib.Path:
    """Returns the path of a file of the data set.

    Raises:
      InputError: it isn't there; the message shows the expected file tree.
    """
    path = dataset_folder(options) / name
    if not path.is_file():
        raise InputError(f"{path}: no such file\n" + expected_tree(options))
    return path


def expected_tree(options) -> str:
    """Renders the files these options need, which of them are there, where each comes from, and the way without data.

    Args:
      options: the config's data section.

    Returns:
      Several lines of text.
    """
    root = data_root(options)
    folder = (root or pathlib.Path("ROOT")) / options.dataset
    files = needed_files(options)
    width = max(map(len, files))
    lines = ["Expected files:", f"  {folder.parent}/", f"    {folder.name}/"]
    for name, content in files.items():
        state = "there  " if root and (folder / name).is_file() else "missing"
        lines.append(f"      {name:<{width}}  {state}  {content}")
    lines.append("Where they come from:")
    lines += [f"  {name:<{width}}  {published.source(options.dataset, name)}" for name in files]
    lines.append("Files of other names: set features, representations, labels or semantics of the data section")
    lines.append("Check a folder with: zsl-jax data check --root ROOT")
    lines.append("Without data, the same run on synthetic features of this size: --config.data.source=synthetic")
    return "\n".join(lines)
