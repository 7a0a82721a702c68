"""Puts a data set of one's own below a root, with its manifest: checked first, then whole or not at all."""

import hashlib
import os
import pathlib

from zsl_jax import files
from zsl_jax.data import check
from zsl_jax.data.importing import assemble, folders, manifest
from zsl_jax.data.importing.assemble import Assembled
from zsl_jax.data.sources import layout
from zsl_jax.data.sources.xlsa17 import write_xlsa17
from zsl_jax.errors import InputError

OURS = {
    manifest.FILE,
    f"{assemble.SEMANTICS}_splits.mat",
    *(f"{name}.mat" for name in (assemble.FEATURES, assemble.REPRESENTATIONS)),
}
MAX_NAME = 200  # bytes of a data set's name; file systems take 255, and working copies have longer ones
MAX_MATLAB_BYTES = 2**32 - 2**16  # of one array in a file of version 5


def target(root: pathlib.Path, name: str, overwrite: bool) -> pathlib.Path:
    """The folder that a data set will have.

    Args:
      root: the data root.
      name: of the data set.
      overwrite: whether a data set may be there that these programs made.

    Returns:
      `<root>/<name>`; nothing has been made yet.

    Raises:
      InputError: the name leaves the root, or something is there that may not be replaced.
    """
    if name.startswith("-") or len(os.fsencode(name)) > MAX_NAME:
        raise InputError(
            f"--dataset: {name[:40]!r} begins with '-' or is longer than {MAX_NAME} bytes; give a name like MINE"
        )
    try:
        folder = root / layout.plain_name(name, "dataset")
    except InputError as error:
        raise InputError(f"--dataset: {name!r} is no plain name; give one without folders, e.g. MINE") from error
    if not os.path.lexists(folder):
        return folder
    if not overwrite:
        raise InputError(f"{folder}: is there; choose another --dataset, or replace it by --overwrite")
    if not _is_ours(folder):
        raise InputError(f"{folder}: not only files that this program made; remove it yourself, or choose --dataset")
    return folder


def write(folder: pathlib.Path, made: Assembled, text: str, overwrite: bool) -> check.Report:
    """Writes a data set beside its place, checks it there, then gives it its name.

    Args:
      folder: from `target`; what is there is replaced.
      made: the data set.
      text: the manifest.
      overwrite: see `target`; another process may have made the folder meanwhile.

    Returns:
      What the data check says.

    Raises:
      InputError: the folder can't be written, or the check finds a problem.
    """
    _require_writable_size(made)
    with files.replacing_folder(folder) as whole:
        names = (made.dataset.origins["x"], made.dataset.representations)
        write_xlsa17(whole, made.dataset, *names, made.original_semantics, made.image_names)
        files.write_text(whole / manifest.FILE, text)
        report = check.check_dataset(whole.parent, folder.name)
        if report.problems or not report.trainable:
            raise InputError(f"{folder}: not made, it can't be trained on: {'; '.join(report.problems)}")
        target(folder.parent, folder.name, overwrite)
    return report


def sha256(path: pathlib.Path) -> str:
    """The SHA-256 (hex) of a file; of a folder that of lines `<SHA-256> <path>` for all its files, in their order.

    Raises:
      InputError: it can't be read.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for file in (file for of_class in folders.files(path).values() for file in of_class):
            digest.update(f"{sha256(file)} {file.relative_to(path)}\n".encode())
        return digest.hexdigest()
    with files.opened(path) as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _is_ours(folder: pathlib.Path) -> bool:
    """Says whether a folder holds only what these programs write; raises InputError where it can't be read."""
    try:
        is_folder = folder.is_dir() and not folder.is_symlink()
        return is_folder and {manifest.FILE} <= {entry.name for entry in folder.iterdir()} <= OURS
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); choose another --dataset") from error


def _require_writable_size(made: Assembled) -> None:
    for name, array in {"features": made.dataset.x, "representations": made.dataset.r}.items():
        if array is not None and array.nbytes > MAX_MATLAB_BYTES:
            raise InputError(f"{name}: {array.nbytes} bytes; a MATLAB file of version 5 holds less, use fewer rows")
