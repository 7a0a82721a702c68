"""A data set of one's own: a manifest proposed or read, settled, assembled, written."""

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zsl_jax.data import check
from zsl_jax.data.importing import contradictions, deduce, manifest, store
from zsl_jax.data.importing.assemble import Assembled, assemble
from zsl_jax.data.importing.manifest import TOP, Manifest
from zsl_jax.data.importing.places import Places
from zsl_jax.data.importing.propose import Proposal
from zsl_jax.errors import InputError

PACKAGES = ("zsl_jax", "numpy", "scipy", "h5py", "safetensors")
MOST_SHOWN = 8  # of the things in the files that are not used


class Imported(NamedTuple):
    """What was made: its folder, manifest and data; what the data check says; fields that were not used, in words."""

    folder: Path
    manifest: Manifest
    assembled: Assembled
    report: check.Report
    unused: tuple[str, ...]


def make(made: Manifest, sources: Sequence[Path], described: Path | None, overwrite: bool) -> Imported:
    """Makes a data set.

    Args:
      made: a manifest with `dataset` and `root` at least; what else it lacks is proposed.
      sources: files and folders to look into.
      described: that of them which describes classes, if one was named.
      overwrite: whether a data set that this program made may be replaced.

    Returns:
      What was made.

    Raises:
      InputError: something is to be said (all at once), a file has changed since the manifest was written, or what
        `assemble` and `store.write` raise.
    """
    place = store.target(Path(made[TOP]["root"]), made[TOP]["dataset"], overwrite)
    at = Places(Path(made[TOP].get("folder", ".")), made.get("features", {}).get("axis", ""))
    try:
        proposal = _settled(made, at, sources, described)
        _require_apart([file.absolute() for file in at.files()], place.absolute())
        assembled = assemble(made, at)
        made["sha256"] = _hashes(made.get("sha256", {}), at)
        made["made"] = _description(assembled)
        report = store.write(place, assembled, manifest.render(_of_here(made)), overwrite)
    except MemoryError as error:
        raise InputError(f"{place}: not made, the memory here doesn't suffice; give fewer rows") from error
    unused = [f"{at.place(field)}, {field.shape}" for field in proposal.unused()]
    more = [f"{len(unused) - MOST_SHOWN} more"] if len(unused) > MOST_SHOWN else []
    return Imported(place, made, assembled, report, (*unused[:MOST_SHOWN], *more))


def _settled(made: Manifest, at: Places, sources: Sequence[Path], described: Path | None) -> Proposal:
    """Completes a manifest; raises InputError with all that is open, or contradicts it."""
    at.normalise(made, sources)
    proposal = Proposal(made, at, sources, described)
    if sources:
        proposal.settle_places()
    try:
        deduce.settle(proposal)
    except InputError:  # perhaps for want of an answer
        if not proposal.questions:
            raise
    if lines := proposal.questions or contradictions.questions(made, at, proposal.unused()):
        raise InputError("\n  ".join(["say each of these by --set KEY=VALUE:", *lines]))
    return proposal


def _require_apart(files: Sequence[Path], place: Path) -> None:
    """Refuses sources in the folder of the data set, which may be replaced, and a data set in a folder of sources."""
    for file in files:
        if file.is_relative_to(place) or (file.is_dir() and place.is_relative_to(file)):
            raise InputError(f"{file}: and {place} lie in each other; choose another --dataset or --root")


def require_place(made: Manifest) -> None:
    """Raises InputError where the manifest doesn't say what the data set is called and where it goes."""
    if missing := [key for key in ("dataset", "root") if not made[TOP].get(key)]:
        raise InputError(f"{missing[0]}: is missing; say it by --{missing[0]}, or in the manifest")


def _hashes(known: Mapping[str, str], at: Places) -> dict[str, str]:
    """SHA-256 of each source; raises InputError where the manifest says another."""
    found = {at.name(file): store.sha256(file) for file in sorted(at.files())}
    for name, digest in found.items():
        if known.get(name, digest) != digest:
            raise InputError(
                f"{at.folder / name}: has changed since the manifest was written; if it is meant to, take its line out "
                "of [sha256] there"
            )
    return found


def _of_here(made: Manifest) -> Manifest:
    """The manifest with whole paths, since it will lie elsewhere."""
    top = {key: str(Path(value).absolute()) if key in ("root", "folder") else value for key, value in made[TOP].items()}
    return made | {TOP: top}


def _description(made: Assembled) -> dict[str, Any]:
    """What the data set is, and by which versions it was made."""
    dataset = made.dataset
    return {
        "fingerprint": dataset.fingerprint(),
        "classes": {"seen": int(dataset.seen.size), "unseen": int(dataset.unseen.size)},
        "rows": {part: int(getattr(dataset.splits, part).size) for part in ("trainval", "test_seen", "test_unseen")},
        "notes": list(dataset.notes),
        "versions": {"python": platform.python_version()} | {one: importlib.metadata.version(one) for one in PACKAGES},
    }


def words(found: Imported) -> list[str]:
    """The manifest as a short table in words, and what a person should know beyond it."""
    made, dataset = found.manifest, found.assembled.dataset
    shapes = {"features": dataset.x.shape, "semantics": dataset.semantics.shape, "labels": dataset.labels.shape}
    if dataset.r is not None:
        shapes["representations"] = dataset.r.shape
    lines = []
    for section in ("features", "representations", "labels", "semantics", "splits"):
        for key, value in made.get(section, {}).items():
            size = f" ({' x '.join(map(str, shapes[section]))})" if key == "from" and section in shapes else ""
            lines.append((f"{section}.{key}", f"{_shown(value)}{size}"))
    lines += [("not used", one) for one in found.unused]
    lines += [("note", one) for one in dataset.notes]
    width = max(len(name) for name, _ in lines)
    return [f"{name:{width}}  {value}" for name, value in lines]


def _shown(value: Any) -> str:
    """A value, a long list by its ends."""
    if not isinstance(value, list):
        return str(value)
    return f"{value[0]} .. {value[-1]} ({len(value)})" if len(value) > 3 else ", ".join(value)


def training_command(found: Imported) -> str:
    """The command that trains on a data set."""
    dataset, scaling = found.assembled.dataset, found.manifest["semantics"].get("scaling", "validation")
    variant = "" if dataset.r is None else ":representations"
    config = [f"own_data{variant}", "--workdir", f"runs/{dataset.name}"]
    data = [f"--config.data.root={found.folder.parent}", f"--config.data.dataset={dataset.name}"]
    scaled = [] if scaling == "validation" else [f"--config.data.semantics_scaling={scaling}"]
    return shlex.join(["zsl-jax", "train", *config, *data, *scaled])
