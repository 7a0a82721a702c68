"""The loaders and scalers of the original implementations, on the recorded input files."""

import numpy as np
import pytest

from tests.data.options import data_options
from tests.parity.recorded import assert_close, folder, load, under
from zsl_jax import data

ARRAYS, META = load("metrics")
FILES = {name: file.removesuffix(".mat") for name, file in META["options"]["data"].items()}


def options_of(block: str, **changes):
    recorded = META["options"]
    return data_options(
        root=str(folder() / "loader_input"),
        dataset=FILES["dataset"],
        features=FILES["x"],
        representations=FILES["r"],
        labels=FILES["res101"],
        semantics=FILES["splits"].removesuffix("_splits"),
        original_semantics=True,
        semantics_scaling="l2" if recorded["class_embedding_norm"].get(block, True) else "none",
        percent=recorded["split_percent_by_block"].get(block, 100),
        **changes,
    )


def test_everything_the_loader_returns():
    recorded = under(ARRAYS, "loader")
    options = options_of("loader")
    dataset = data.load(options, 0)
    task = data.test_task(dataset, options)
    parts = {"train": task.train, "test_seen": task.test_seen, "test_unseen": task.test_unseen}
    for name, part in parts.items():
        assert_close(part.x, recorded[f"{name}_feature"], what=f"{name} x")
        assert_close(part.r, recorded[f"{name}_paco"], what=f"{name} r")
        np.testing.assert_array_equal(part.labels, recorded[f"{name}_label"])
    assert_close(task.semantics, recorded["attribute"], what="semantics")
    np.testing.assert_array_equal(task.seen, recorded["seenclasses"])
    np.testing.assert_array_equal(task.unseen, recorded["unseenclasses"])
    np.testing.assert_array_equal(np.searchsorted(task.seen, task.train.labels), recorded["train_mapped_label"])
    np.testing.assert_array_equal(np.arange(task.semantics.shape[0]), recorded["allclasses"])


def test_a_share_of_the_training_rows():
    recorded = under(ARRAYS, "loader30")
    options = options_of("loader30")
    train = data.test_task(data.load(options, 0), options).train
    assert_close(train.x, recorded["train_feature"], what="x")
    assert_close(train.r, recorded["train_paco"], what="r")
    np.testing.assert_array_equal(train.labels, recorded["train_label"])


def test_semantics_as_they_stand():
    recorded = under(ARRAYS, "loader")
    semantics = data.load(options_of("attribute_nonorm"), 0).semantics
    assert_close(semantics, recorded["attribute_nonorm"], what="not normalised")
    assert_close(semantics, recorded["ori_attribute"], what="original")


def test_the_zoo_loader_on_features_stored_by_column():
    recorded = under(ARRAYS, "loader_ganzoo")
    options = options_of("loader_ganzoo")
    options.update(features=FILES["res101"], representations="", original_semantics=False, semantics_scaling="none")
    dataset = data.load(options, 0)
    task = data.test_task(dataset, options)
    assert_close(task.train.x, recorded["train_feature"], what="train")
    assert_close(task.test_seen.x, recorded["test_seen_feature"], what="test_seen")
    assert_close(task.test_unseen.x, recorded["test_unseen_feature"], what="test_unseen")
    assert_close(task.semantics, recorded["attribute"], what="semantics")
    np.testing.assert_array_equal(task.train.labels, recorded["train_label"])
    scaler = data.fit_scaler("minmax", dataset.x[dataset.splits.trainval])
    assert_close(data.apply_scaler(scaler, dataset.x), recorded["all_feature"], what="all rows")
    tested = np.concatenate([dataset.splits.test_seen, dataset.splits.test_unseen])
    np.testing.assert_array_equal(np.sort(tested), np.sort(recorded["test_idx"]))


@pytest.mark.parametrize("kind", ["minmax", "standard"])
def test_scaling(kind):
    rows, recorded = under(ARRAYS, "prep/in"), under(ARRAYS, f"prep/{kind}")
    scaler = data.fit_scaler(kind, rows["train"])
    for part in recorded:
        assert_close(data.apply_scaler(scaler, rows[part]), recorded[part], what=part)
