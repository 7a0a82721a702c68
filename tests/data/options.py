"""The config's data section for tests."""

from typing import Any

import ml_collections


def data_options(**changes: Any) -> ml_collections.ConfigDict:
    """Returns a data section with small synthetic sizes; `changes` by field, synthetic ones as `synthetic={...}`."""
    options = ml_collections.ConfigDict(
        {
            "source": "xlsa17",
            "root": "",
            "dataset": "TOY",
            "features": "ce_ce",
            "representations": "",
            "labels": "res101",
            "semantics": "att",
            "original_semantics": False,
            "semantics_scaling": "none",
            "percent": 100,
            "scaling": "minmax",
            "validation_fraction": 0.2,
            "validation_classes": 0,
            "validation_draws": 0,
            "unseen": (3, 6, 8),
            "pictures": False,
            "synthetic": {
                "preset": "",
                "seen": 6,
                "unseen": 3,
                "a_dim": 5,
                "x_dim": 8,
                "r_dim": 4,
                "trainval": 60,
                "test_seen": 18,
                "test_unseen": 15,
                "noise": 1.0,
                "splits_root": "",
            },
        }
    )
    options.update(changes)
    return options
