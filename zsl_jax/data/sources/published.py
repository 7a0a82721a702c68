"""The data sets of the field as published: sizes, and where each file comes from.

Sizes: Xian, Lampert, Schiele, Akata, "Zero-Shot Learning - A Comprehensive Evaluation of the Good, the Bad and the
Ugly", TPAMI 2019, proposed splits (FLO: Xian et al., "Feature Generating Networks for Zero-Shot Learning", CVPR 2018).
"""

import dataclasses

FINE_TUNED = ("AWA2", "CUB", "SUN")  # with published ce_ce and con_paco
FEATURE_WIDTH = 2048  # res101, ce_ce and con_paco


@dataclasses.dataclass(frozen=True)
class Published:
    """Sizes of a published data set.

    `seen` and `unseen` count classes, `validation` those of the seen classes that its split sets aside for
    validation; `a_dims` gives the width of each published semantics; the last three count rows.
    """

    seen: int
    unseen: int
    validation: int
    a_dims: dict[str, int]
    trainval: int
    test_seen: int
    test_unseen: int

    @property
    def classes(self) -> int:
        return self.seen + self.unseen

    @property
    def rows(self) -> int:
        return self.trainval + self.test_seen + self.test_unseen


DATASETS = {
    "AWA1": Published(40, 10, 13, {"att": 85}, 19832, 4958, 5685),
    "AWA2": Published(40, 10, 13, {"att": 85}, 23527, 5882, 7913),
    "CUB": Published(150, 50, 50, {"att": 312, "sent": 1024}, 7057, 1764, 2967),
    "SUN": Published(645, 72, 65, {"att": 102}, 10320, 2580, 1440),
    "APY": Published(20, 12, 5, {"att": 64}, 5932, 1483, 7924),
    "FLO": Published(82, 20, 20, {"att": 1024}, 5631, 1403, 1155),
}

_XLSA17 = "archive xlsa17.zip of the benchmark by Xian et al. (datasets.d2.mpi-inf.mpg.de/xian/xlsa17.zip)"
_CVPR18 = "archive cvpr18xian.zip of f-CLSWGAN by Xian et al. (datasets.d2.mpi-inf.mpg.de/xian/cvpr18xian.zip)"
_CE_GZSL = "1024-d sentence semantics in this layout, in the repository github.com/Hanzy1996/CE-GZSL"
_ZERODIFF = "published with ZeroDiff by Ye et al. (link in the README of github.com/FouriYe/ZeroDiff_ICLR25)"
_ZERODIFF_FILES = ("ce_ce.mat", "con_paco.mat", "split_30percent.mat", "split_10percent.mat")


def source(dataset: str, file_name: str) -> str:
    """Says where a file of a data set comes from."""
    if file_name in _ZERODIFF_FILES and dataset in FINE_TUNED:
        return _ZERODIFF
    if file_name == "sent_splits.mat":
        return _CE_GZSL
    if file_name in ("res101.mat", "att_splits.mat"):
        return _CVPR18 if dataset == "FLO" else _XLSA17
    return "not a published file: yours, or of the fine-tuning stage"
