"""What a person may say about files that don't tell by themselves."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Options:
    """What was said on how to read files and divide rows.

    Attributes:
      orientation: of features: rows [N, D], columns [D, N], or "": as their sizes tell.
      semantics_orientation: likewise, a row or a column for each class.
      label_base: number of the first class in labels, 0 or 1; None: as they tell.
      split_base: number of the first row in lists of rows; likewise.
      unseen: names of the unseen classes, their number or share; "": as lists say, or a share drawn by seed.
      test_fraction: share of each seen class's rows that is set aside for test_seen.
      seed: of what is drawn.
      leave_out_undescribed: leaves out rows of classes without description, which are refused else.
    """

    orientation: str = ""
    semantics_orientation: str = ""
    label_base: int | None = None
    split_base: int | None = None
    unseen: str = ""
    test_fraction: float = 0.2
    seed: int = 0
    leave_out_undescribed: bool = False
