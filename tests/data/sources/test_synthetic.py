import numpy as np
import pytest
import scipy.stats

from tests.data import toy
from tests.data.options import data_options
from zsl_jax import data
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.sources.published import DATASETS
from zsl_jax.data.sources.synthetic import RectifiedGaussian
from zsl_jax.errors import InputError


def make(seed=0, **sizes):
    return data.load(data_options(source="synthetic", synthetic=sizes), seed)


def densities(dataset: Dataset, view: str = "x") -> RectifiedGaussian:
    assert isinstance(dataset.bayes, dict)
    return dataset.bayes[view]


def test_sizes_are_those_asked_for():
    dataset = make(seen=7, unseen=2, a_dim=3, x_dim=11, r_dim=5, trainval=70, test_seen=20, test_unseen=9)
    splits = dataset.splits
    assert (dataset.seen.size, dataset.unseen.size, dataset.semantics.shape) == (7, 2, (9, 3))
    assert (splits.trainval.size, splits.test_seen.size, splits.test_unseen.size) == (70, 20, 9)
    assert dataset.r is not None
    assert (dataset.x.shape, dataset.r.shape, dataset.x.dtype) == ((99, 11), (99, 5), np.float32)
    counts = np.bincount(dataset.labels[splits.trainval])
    assert set(counts[dataset.seen]) == {10}
    assert make(r_dim=0).r is None


def test_the_seed_decides():
    assert make(3).fingerprint() == make(3).fingerprint()
    assert make(3).fingerprint() != make(4).fingerprint()


def test_scores_are_the_log_densities_of_a_rectified_gaussian():
    dataset = make(noise=0.7)
    for view, whole in (("x", dataset.x), ("r", dataset.r)):
        assert whole is not None
        rows, truth = whole[:9], densities(dataset, view)
        mean, std = truth.mean.astype(np.float64)[None], truth.std.astype(np.float64)[None, None, :]
        values = rows.astype(np.float64)[:, None, :]
        logs = np.where(values > 0, scipy.stats.norm.logpdf(values, mean, std), scipy.stats.norm.logcdf(0, mean, std))
        np.testing.assert_allclose(data.bayes_scores(dataset, rows, view), logs.sum(axis=2), rtol=1e-9)


def test_features_follow_the_stated_densities():
    dataset = make(trainval=30_000, seen=2, unseen=1, x_dim=3)
    truth, label = densities(dataset), int(dataset.seen[0])
    rows = dataset.x[dataset.labels == label]
    for column in range(3):
        mean, std = float(truth.mean[label, column]), float(truth.std[column])
        expected = scipy.stats.norm.cdf(0, mean, std)
        assert abs(np.mean(rows[:, column] == 0) - expected) < 5 * np.sqrt(0.25 / len(rows))
        positive = rows[:, column][rows[:, column] > 0]
        law = scipy.stats.truncnorm(-mean / std, np.inf, mean, std)
        assert scipy.stats.kstest(positive, law.cdf).pvalue > 1e-4


def test_nothing_beats_the_optimum_and_noise_moves_it():
    accuracies = []
    for noise in (0.3, 1.0, 3.0):
        dataset = make(trainval=6000, x_dim=6, noise=noise)
        rows = dataset.splits.trainval
        of_seen = data.bayes_scores(dataset, dataset.x[rows])[:, dataset.seen]
        nearest = -((dataset.x[rows][:, None] - densities(dataset).mean[dataset.seen][None].clip(0)) ** 2).sum(axis=2)
        scores = [np.mean(dataset.seen[scores.argmax(axis=1)] == dataset.labels[rows]) for scores in (of_seen, nearest)]
        accuracies.append(scores[0])
        assert scores[0] > scores[1]
    assert accuracies == sorted(accuracies, reverse=True)


def test_means_are_linear_in_the_semantics():
    dataset = make(seen=10, unseen=4, trainval=60)
    inputs = np.column_stack([dataset.semantics, np.ones(14)])
    solution = np.linalg.lstsq(inputs[dataset.seen], densities(dataset).mean[dataset.seen], rcond=None)[0]
    np.testing.assert_allclose(inputs[dataset.unseen] @ solution, densities(dataset).mean[dataset.unseen], atol=1e-4)


@pytest.mark.parametrize("preset", ["APY", "CUB"])
def test_presets_have_the_published_sizes(preset):
    options = data_options(source="synthetic", semantics="att", synthetic={"preset": preset})
    dataset, known = data.load(options, 0), DATASETS[preset]
    splits = dataset.splits
    assert dataset.x.shape == (known.rows, 2048)
    assert dataset.r is None
    assert dataset.semantics.shape == (known.classes, known.a_dims["att"])
    assert (splits.trainval.size, splits.test_seen.size) == (known.trainval, known.test_seen)
    assert np.unique(dataset.labels[splits.val]).size == known.validation


@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_real_semantics_and_rows(tmp_path, monkeypatch, variant):
    toy.write_toy(tmp_path, variant)
    fields = toy.split_fields(toy.features_fields()["labels"], variant)
    sizes = [fields[f"{part}_loc"].size for part in ("trainval", "test_seen", "test_unseen")]
    monkeypatch.setitem(DATASETS, "TOY", type(DATASETS["APY"])(4, 2, 1, {"att": 4}, *sizes))
    synthetic = {"preset": "TOY", "splits_root": str(tmp_path)}
    dataset = data.load(data_options(source="synthetic", representations="r", synthetic=synthetic), 0)
    np.testing.assert_array_equal(dataset.splits.trainval, fields["trainval_loc"][:, 0].astype(np.int64) - 1)
    np.testing.assert_array_equal(dataset.semantics, fields["att"].T.astype(np.float32))
    assert dataset.class_names == tuple(toy.class_names())
    assert np.unique(dataset.labels[dataset.splits.val]).size == 1
    assert dataset.r is not None


@pytest.mark.parametrize(
    ("synthetic", "message"),
    [
        ({"preset": "NOPE"}, "preset: 'NOPE' is unknown"),
        ({"seen": 1}, "synthetic.seen: 1; at least 2"),
        ({"trainval": 5}, "synthetic.trainval: 5; at least 6"),
        ({"test_unseen": 0}, "test_unseen: 0"),
        ({"noise": 0.0}, "noise: 0.0"),
        ({"splits_root": "there"}, "needs a preset"),
        ({"splits_root": "there", "preset": "APY"}, "no such file"),
    ],
)
def test_impossible_requests(synthetic, message):
    with pytest.raises(InputError, match=message):
        data.load(data_options(source="synthetic", synthetic=synthetic), 0)


def test_other_data_have_no_known_optimum():
    digits = data.load(data_options(source="digits"), 0)
    with pytest.raises(InputError, match="synthetic data only"):
        data.bayes_scores(digits, digits.x)
