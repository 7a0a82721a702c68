"""Made-up data of any size with a known optimum: rectified class-conditional Gaussians whose means follow semantics.

Row i of class c is max(0, m_c + s * n), n standard normal, elementwise. The means are one random linear map of the
standardised semantics, m_c = W (a_c - mean) / std + b: what is learnt from seen classes holds for the unseen ones.
"""

import dataclasses
import os
import pathlib

import numpy as np
from scipy.special import log_ndtr

from zsl_jax.data import checks, splits
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.sources import layout, published, xlsa17
from zsl_jax.errors import InputError

CHUNK = 4096  # rows made or scored at once
R_NOISE = 0.5  # noise of r relative to that of x: representations are cleaner than features
SPARSITY_SHIFT = -0.5  # mean of the means: about as many zeros as in rectified deep features


@dataclasses.dataclass(frozen=True)
class RectifiedGaussian:
    """True densities of the classes before rectification: mean [C, D] by class, std [D] shared by all. float32."""

    mean: np.ndarray
    std: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of a made-up data set, named as in `published.Published`; `r_dim` 0: no representations."""

    seen: int
    unseen: int
    a_dim: int
    x_dim: int
    r_dim: int
    trainval: int
    test_seen: int
    test_unseen: int


def load_synthetic(options, seed: int) -> Dataset:
    """Makes a synthetic data set.

    With a preset the sizes are the published ones (r only if `representations` is set), and if `synthetic.splits_root`
    is set, semantics and row numbers are those of the real split file. Which class a row has is made up: split
    files don't tell.

    Args:
      options: the config's data section; `synthetic.noise` is the noise of a dimension relative to the spread of
        the class means in it.
      seed: of everything random.

    Returns:
      The data set; its `bayes` holds the true densities by view ("x", "r"), for `bayes_scores`.

    Raises:
      InputError: sizes that can't be, an unknown preset, or an unusable split file.
    """
    sizes = _sizes(options)
    rng = np.random.default_rng(seed)
    path = _split_file(options)
    if path:
        semantics, semantics_name, notes = xlsa17.read_semantics(path, options)
        parts = xlsa17.read_parts(path, sizes.trainval + sizes.test_seen + sizes.test_unseen)
        names = xlsa17.read_class_names(path, semantics.shape[0])
    else:
        semantics, semantics_name, notes = rng.random((sizes.seen + sizes.unseen, sizes.a_dim)), "random", ()
        parts = _consecutive_parts(sizes)
        names = tuple(f"class {number}" for number in range(1, semantics.shape[0] + 1))
    labels = _labels(parts, semantics.shape[0], sizes, options, rng)
    where = str(path or "config.data.synthetic")
    chosen, split_notes = splits.complete_splits(
        parts, labels, options.validation_classes, options.synthetic.preset, where
    )
    widths = {"x": (sizes.x_dim, options.synthetic.noise), "r": (sizes.r_dim, R_NOISE * options.synthetic.noise)}
    bayes = {view: _densities(semantics, *width, rng) for view, width in widths.items() if width[0]}
    views = {view: _draw(densities, labels, rng) for view, densities in bayes.items()}
    return Dataset(
        name=f"synthetic {options.synthetic.preset}".strip(),
        views=views,
        origins=dict.fromkeys(views, "synthetic"),
        semantics_name=semantics_name,
        labels=labels.astype(np.int32),
        semantics=checks.float32(semantics),
        splits=chosen,
        class_names=names,
        notes=(*notes, *split_notes),
        given_semantics=semantics,
        bayes=bayes,
    )


def bayes_scores(dataset: Dataset, rows: np.ndarray, view: str = "x") -> np.ndarray:
    """Scores rows by the true class densities: the best any classifier can do for equally likely classes.

    A rectified Gaussian has a point mass at 0 and the Gaussian's density above it, so a row's log density is
    sum_d [x_d = 0] log Phi(-m_d / s_d) + [x_d > 0] log N(x_d; m_d, s_d).

    Args:
      dataset: a synthetic data set.
      rows: features as in the data set, not scaled [n, D].
      view: "x" or "r".

    Returns:
      Log densities [n, C] float64.

    Raises:
      InputError: the true densities aren't known.
    """
    if not isinstance(dataset.bayes, dict) or view not in dataset.bayes:
        raise InputError(f"{dataset.name}: the true densities of '{view}' are known for synthetic data only")
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    scores = [_log_densities(dataset.bayes[view], chunk) for chunk in chunks]
    return np.concatenate(scores) if scores else np.zeros((0, dataset.semantics.shape[0]))


def _log_densities(densities: RectifiedGaussian, x: np.ndarray) -> np.ndarray:
    """Returns log densities [n, C]: the squares are multiplied out, so that two matrix products do the work."""
    mean, std, x = densities.mean.astype(np.float64), densities.std.astype(np.float64)[None, :], x.astype(np.float64)
    positive = (x > 0).astype(np.float64)
    at_zero = log_ndtr(-mean / std)
    of_row = -0.5 * (x / std) ** 2 - positive * np.log(np.sqrt(2 * np.pi) * std)
    by_class = x @ (mean / std**2).T + positive @ (-0.5 * (mean / std) ** 2 - at_zero).T
    return by_class + at_zero.sum(axis=1)[None, :] + of_row.sum(axis=1)[:, None]


def _sizes(options) -> Sizes:
    """Returns the preset's sizes, or those of the config after checking them."""
    made_up = options.synthetic
    if made_up.preset:
        return _published_sizes(made_up.preset, options.semantics, bool(options.representations))
    sizes = Sizes(**{field.name: int(getattr(made_up, field.name)) for field in dataclasses.fields(Sizes)})
    lowest = Sizes(2, 1, 1, 1, 0, trainval=sizes.seen, test_seen=1, test_unseen=sizes.unseen)
    for name, least in dataclasses.asdict(lowest).items():
        if getattr(sizes, name) < least:
            raise InputError(f"config.data.synthetic.{name}: {getattr(sizes, name)}; at least {least} is needed")
    return sizes


def _published_sizes(preset: str, semantics: str, with_r: bool) -> Sizes:
    if preset not in published.DATASETS:
        raise InputError(f"config.data.synthetic.preset: {preset!r} is unknown; one of {', '.join(published.DATASETS)}")
    known = published.DATASETS[preset]
    a_dim = known.a_dims.get(semantics, next(iter(known.a_dims.values())))
    width = published.FEATURE_WIDTH
    rows = (known.trainval, known.test_seen, known.test_unseen)
    return Sizes(known.seen, known.unseen, a_dim, width, width if with_r else 0, *rows)


def _split_file(options) -> pathlib.Path | None:
    """Returns the real split file to use, if one is asked for."""
    root, preset = options.synthetic.splits_root, options.synthetic.preset
    if not root:
        return None
    if not preset:
        raise InputError("config.data.synthetic.splits_root: needs a preset, which names the data set")
    semantics = layout.plain_name(options.semantics, "semantics")
    return (
        pathlib.Path(os.path.expanduser(root))
        / layout.plain_name(preset, "synthetic.preset")
        / f"{semantics}_splits.mat"
    )


def _consecutive_parts(sizes: Sizes) -> dict[str, np.ndarray]:
    """Returns row numbers of the three parts, one part after the other."""
    ends = np.cumsum([sizes.trainval, sizes.test_seen, sizes.test_unseen])
    starts = (0, *ends[:-1])
    return {name: np.arange(*bounds) for name, *bounds in zip(splits.MAIN_PARTS, starts, ends, strict=True)}


def _labels(
    parts: dict[str, np.ndarray], n_classes: int, sizes: Sizes, options, rng: np.random.Generator
) -> np.ndarray:
    """Draws which classes are unseen (and which are the validation's) and deals rows to classes evenly [N] int64."""
    if n_classes != sizes.seen + sizes.unseen:
        raise InputError(
            f"config.data.synthetic: {n_classes} classes described, {sizes.seen + sizes.unseen} are needed"
        )
    order = rng.permutation(n_classes)
    seen, unseen = np.sort(order[: sizes.seen]), np.sort(order[sizes.seen :])
    labels = np.zeros(sizes.trainval + sizes.test_seen + sizes.test_unseen, np.int64)
    _deal(labels, parts["trainval"], seen, rng)
    _deal(labels, parts["test_seen"], seen, rng)
    _deal(labels, parts["test_unseen"], unseen, rng)
    if "val" in parts:
        n_validation = splits.default_validation_classes(options.synthetic.preset, sizes.seen)
        validation = rng.permutation(seen)[:n_validation]
        _deal(labels, np.intersect1d(parts["val"], parts["trainval"]), validation, rng)
        _deal(labels, np.setdiff1d(parts["trainval"], parts["val"]), np.setdiff1d(seen, validation), rng)
    return labels


def _deal(labels: np.ndarray, rows: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> None:
    """Gives the rows classes in equal numbers, in random order."""
    labels[rows] = rng.permutation(np.resize(classes, rows.size))


def _densities(semantics: np.ndarray, width: int, noise: float, rng: np.random.Generator) -> RectifiedGaussian:
    """Draws the linear map from semantics [C, A] to class means [C, width] and the noise of each dimension."""
    if not noise > 0:
        raise InputError(f"config.data.synthetic.noise: {noise}; a positive number is needed")
    spread = semantics.std(axis=0, dtype=np.float64)
    standard = (semantics - semantics.mean(axis=0)[None, :]) / np.where(spread > 0, spread, 1.0)[None, :]
    weights = rng.standard_normal((semantics.shape[1], width)) / np.sqrt(semantics.shape[1])
    std = noise * rng.uniform(0.5, 1.5, width)
    return RectifiedGaussian(checks.float32(standard @ weights + SPARSITY_SHIFT), checks.float32(std))


def _draw(densities: RectifiedGaussian, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws one row for each label [N, D] float32."""
    rows = np.empty((labels.size, densities.std.size), np.float32)
    for start in range(0, labels.size, CHUNK):
        chunk = rows[start : start + CHUNK]
        rng.standard_normal(out=chunk, dtype=np.float32)
        chunk *= densities.std[None, :]
        chunk += densities.mean[labels[start : start + CHUNK]]
        np.maximum(chunk, 0, out=chunk)
    return rows
