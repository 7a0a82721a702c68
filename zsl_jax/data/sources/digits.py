"""Embedded real data: scikit-learn's 8 x 8 handwritten digits, with class attributes written by hand.

The attributes say what each digit looks like when written by hand. They were written down once from the shapes, not
fitted to any score. Entries: 1 has it, 0 has not, 0.5 partly or in some handwritings; with
`original_semantics=False` they become 1, -1 and 0, so that to lack an attribute says as much as to have it. In the
order of the table:

* Seven segments, the strokes of a pocket calculator's display. Halves: a 1 may begin or end on the right side, the 6
  has only a short open top, the 2 and the 7 cross the middle without a stroke along it.
* Loops: a closed round in the upper half (8, 9), in the lower half (6, 8), or over the whole height (0).
* Open sides: where the bay of a half opens. Above: 2, 3 and 7 to the left, 5 and 6 to the right, 4 upwards. Below: 3, 5
  and 9 to the left, 2 to the right.
* Strokes: a straight vertical (1, 4); a slanting one from upper right to lower left (2, 7; partly 4 and 6).
* Whole shape: ink in the centre of the picture (the 1's stroke and the 8's crossing; none in a 0), curved all over.

Measured on the default split: ESZSL in closed form (Romera-Paredes and Torr, ICML 2015) with both ridge terms 1 on
pixels and attributes as they stand reaches 78.2 % per class on the unseen 3, 6 and 8 (65.9 % with L2-normalised
attributes); chance is 33.3 %.
"""

import numpy as np
from sklearn.datasets import load_digits as load_pictures

from zsl_jax.data import checks, splits
from zsl_jax.data.dataset import Dataset
from zsl_jax.errors import InputError

HELD_OUT_EVERY = 5  # every fifth picture of a seen class, in the order of the source, is in test_seen
BRIGHTEST = 16  # pixels are 0..16
SIDE = 8  # of a picture

# fmt: off
ATTRIBUTES = {  # digit:     0    1    2    3    4    5    6    7    8    9
    "segment top":          (1,   0,   1,   1,   0,   1,   0.5, 1,   1,   1),
    "segment upper right":  (1,   0.5, 1,   1,   1,   0,   0,   1,   1,   1),
    "segment lower right":  (1,   0.5, 0,   1,   1,   1,   1,   0,   1,   1),
    "segment bottom":       (1,   0,   1,   1,   0,   1,   1,   0,   1,   1),
    "segment lower left":   (1,   0,   1,   0,   0,   0,   1,   0,   1,   0),
    "segment upper left":   (1,   0,   0,   0,   1,   1,   1,   0,   1,   1),
    "segment middle":       (0,   0,   0.5, 1,   1,   1,   1,   0.5, 1,   1),
    "loop above":           (0,   0,   0,   0,   0,   0,   0,   0,   1,   1),
    "loop below":           (0,   0,   0,   0,   0,   0,   1,   0,   1,   0),
    "loop over all":        (1,   0,   0,   0,   0,   0,   0,   0,   0,   0),
    "open left above":      (0,   0,   1,   1,   0,   0,   0,   1,   0,   0),
    "open right above":     (0,   0,   0,   0,   0,   1,   1,   0,   0,   0),
    "open upwards":         (0,   0,   0,   0,   1,   0,   0,   0,   0,   0),
    "open left below":      (0,   0,   0,   1,   0,   1,   0,   0,   0,   1),
    "open right below":     (0,   0,   1,   0,   0,   0,   0,   0,   0,   0),
    "vertical":             (0,   1,   0,   0,   1,   0,   0,   0,   0,   0),
    "diagonal":             (0,   0,   1,   0,   0.5, 0,   0.5, 1,   0,   0),
    "ink in the centre":    (0,   1,   0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1,   0.5),
    "curved":               (1,   0,   0.5, 1,   0,   0.5, 1,   0,   1,   1),
}
# fmt: on


def attributes(signed: bool = True) -> np.ndarray:
    """The attributes of the digits 0 to 9 [10, 19] float64: -1 (has it not), 0, 1 (has it), or 0 to 1 as written."""
    written = np.array(list(ATTRIBUTES.values()), np.float64).T
    return 2 * written - 1 if signed else written


def load_digits(options) -> Dataset:
    """Loads the embedded digits.

    Args:
      options: the config's data section (`unseen`, `original_semantics`, `validation_classes`,
        `pictures`).

    Returns:
      1797 pictures as x = pixels / 16 [N, 64], without r; with `pictures` also as image [N, 8, 8, 1] uint8, 0 to 16.

    Raises:
      InputError: `unseen` isn't a choice of digits that leaves two or more seen ones.
    """
    unseen = _unseen_digits(options.unseen)
    pixels, digits = load_pictures(return_X_y=True)
    labels = np.asarray(digits, np.int64)
    semantics = attributes(signed=not options.original_semantics)
    parts = _parts(labels, unseen)
    chosen, notes = splits.complete_splits(parts, labels, options.validation_classes, "digits", "digits")
    signed = "" if options.original_semantics else ", signed"
    views = {"x": checks.float32(np.asarray(pixels) / BRIGHTEST)}
    if options.pictures:
        views["image"] = np.asarray(pixels, np.uint8).reshape(-1, SIDE, SIDE, 1)
    return Dataset(
        name="digits",
        views=views,
        origins=dict.fromkeys(views, "pixels"),
        semantics_name=f"attributes by hand{signed}",
        labels=labels.astype(np.int32),
        semantics=checks.float32(semantics),
        splits=chosen,
        class_names=tuple(map(str, range(10))),
        notes=notes,
        given_semantics=semantics,
        attribute_names=tuple(ATTRIBUTES),
    )


def _unseen_digits(unseen) -> np.ndarray:
    digits = checks.whole_numbers(np.asarray(unseen), "config.data.unseen", 0, 9)
    if not 1 <= np.unique(digits).size == digits.size <= 8:
        raise InputError(f"config.data.unseen: {tuple(unseen)}; 1 to 8 different digits are needed, e.g. (3, 6, 8)")
    return digits


def _parts(labels: np.ndarray, unseen: np.ndarray) -> dict[str, np.ndarray]:
    """Returns row numbers of trainval, test_seen and test_unseen."""
    position = np.zeros(labels.size, np.int64)
    for digit in range(10):
        rows = np.flatnonzero(labels == digit)
        position[rows] = np.arange(rows.size)
    is_unseen = np.isin(labels, unseen)
    held_out = position % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return {
        "trainval": np.flatnonzero(~is_unseen & ~held_out),
        "test_seen": np.flatnonzero(~is_unseen & held_out),
        "test_unseen": np.flatnonzero(is_unseen),
    }
