"""Five seen and three unseen animals whose rows are linear in their descriptions, and a small generator's sizes."""

import numpy as np

N_SEEN, N_UNSEEN, D, A = 5, 3, 10, 6
NAMES = np.array(["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"])
SEEN, UNSEEN = NAMES[[0, 2, 3, 5, 6]], NAMES[[7, 1, 4]]  # the unseen ones in the order in which they are described
# A stage that makes a view, then a generator; a validation task chooses between the two epochs that are scored.
OPTIONS = {"stages": ("finetune_x", "gan"), "finetune_x.epochs": 2}
SMALL = {"width": 8, "epochs": 2, "batch_size": 16, "syn_num": 60, "validate": True, "options": OPTIONS}


def semantics():
    return np.random.default_rng(0).normal(size=(len(NAMES), A))


def described():
    """Descriptions by label; the unseen classes in the order of `UNSEEN`."""
    return {name: semantics()[NAMES.tolist().index(name)] for name in [*UNSEEN, *SEEN]}


class Frame:
    """What of a data frame is looked at."""

    def __init__(self, values, index, columns=None):
        self.values, self.index, self.columns = values, index, columns

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


def rows_of(names, per_class, seed):
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(names, per_class))
    vectors = np.array([described()[name] for name in labels.tolist()])
    return vectors @ np.random.default_rng(1).normal(size=(A, D)) + 0.3 * random.normal(size=(len(labels), D)), labels
