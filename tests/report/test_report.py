"""The pictures and the closing table."""

import math
import re

import matplotlib.image
import numpy as np
import pytest
from matplotlib.text import Text

from zsl_jax.report import comparisons, drawing, figures
from zsl_jax.report.table import Row, Table
from zsl_jax.report.tables import result_table


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ink(path) -> float:
    """Reads a PNG back and returns the share of pixels that are not white."""
    pixels = matplotlib.image.imread(path)[..., :3]
    return float((pixels.min(axis=-1) < 0.98).mean())


def colour_share(path, colour: str) -> float:
    """Returns the share of pixels of one colour."""
    pixels = matplotlib.image.imread(path)[..., :3]
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return float((np.abs(pixels - wanted).max(axis=-1) < 0.02).mean())


@pytest.mark.parametrize("count", [1, 5, 300])
def test_loss_curves_draw_any_length_and_missing_names(tmp_path, rng, count):
    records = [
        {"stage": "dfg", "step": 10 * i, "critic_x0": rng.normal(), "penalty_x0": 10 ** rng.normal(), "lr_G": 1e-4}
        | ({"T1": 30.0, "loss": math.nan} if i % 2 else {})
        for i in range(count)
    ]
    figures.loss_curves(records, tmp_path / "loss.png")
    assert ink(tmp_path / "loss.png") > 0.001
    assert [file.name for file in tmp_path.iterdir()] == ["loss.png"]


def test_metrics_are_grouped_by_kind():
    names = ["critic_x0", "gradient_norm_critic_x0", "penalty_x0", "lambda", "bce", "decoder_recons", "loss", "mystery"]
    groups = figures._grouped(names)
    assert groups == {
        "Losses": ["loss"],
        "Critics (Wasserstein)": ["critic_x0"],
        "Gradient penalties": ["penalty_x0"],
        "Penalty weight": ["lambda"],
        "Reconstruction": ["bce", "decoder_recons"],
        "Gradient norms": ["gradient_norm_critic_x0"],
        "Other": ["mystery"],
    }


@pytest.mark.parametrize(("classes", "rows"), [(1, 1), (3, 12), (25, 3)])
def test_tsne_draws_few_and_many_classes(tmp_path, rng, classes, rows):
    labels = np.repeat(np.arange(classes), rows)
    real, synthetic = rng.normal(size=(2, len(labels), 6)).astype(np.float32)
    synthetic[0, 0] = np.inf
    names = [f"class {i}" for i in range(classes)]
    figures.tsne(real, labels, synthetic, labels, names, tmp_path / "tsne.png", max_points=60)
    assert ink(tmp_path / "tsne.png") > 0.001


def test_tsne_takes_rows_of_every_class_drawn(rng):
    labels = np.repeat([2, 5, 9], [100, 4, 50])
    rows = rng.normal(size=(154, 3))
    rows[100] = np.nan
    chosen, chosen_labels = figures._sampled(rows, labels, np.array([2, 5]), 40)
    assert chosen.shape == (40, 3)
    assert set(chosen_labels) == {2, 5}
    assert np.isfinite(chosen).all()


@pytest.mark.parametrize(("unseen", "seen"), [(3, 7), (10, 0), (50, 150)])
def test_per_class_accuracy_draws_bars_in_proportion(tmp_path, unseen, seen):
    names = [f"class with a rather long name {i}" for i in range(max(unseen, seen))]
    values = [50.0] * unseen
    figures.per_class_accuracy(names[:seen], [100.0] * seen, names[:unseen], values, tmp_path / "bars.png")
    orange, blue = (colour_share(tmp_path / "bars.png", colour) for colour in (figures.UNSEEN, figures.SEEN))
    assert orange > 0.01
    assert (blue > orange * seen / unseen) if seen else blue < 0.01


def test_per_class_accuracy_sorts_and_shows_classes_without_rows(tmp_path):
    bars = figures._sorted_bars(["a", "b", "c"], [10.0, math.nan, 90.0], "#000000")
    assert [name for name, _, _ in bars] == ["c", "a", "b"]
    figures.per_class_accuracy(["a"], [math.nan], ["b"], [1.0], tmp_path / "bars.png")
    assert ink(tmp_path / "bars.png") > 0.001


def test_seen_unseen_curve(tmp_path):
    bias = np.linspace(0.0, 1.0, 50)
    curves = {"V": (60 * bias, 80 * (1 - bias)), "V (progressive)": (50 * bias, 80 * (1 - bias))}
    figures.seen_unseen_curve(curves, {"V": 24.0}, {"V": (30.0, 40.0)}, tmp_path / "curve.png")
    assert colour_share(tmp_path / "curve.png", drawing.LINE_COLOURS[0]) > 0.0005


@pytest.mark.parametrize("count", [3, 30])
def test_confusion_of_a_perfect_classifier_is_a_dark_diagonal(tmp_path, count):
    figures.confusion(np.eye(count), [f"c{i}" for i in range(count)], tmp_path / "confusion.png")
    dark, background = (colour_share(tmp_path / "confusion.png", colour) for colour in ("#08306b", "#f7fbff"))
    assert dark > 0
    assert background == pytest.approx(dark * (count - 1), rel=0.25)


@pytest.mark.parametrize("runs", [("test",), ("test", "validation")])
def test_scores_over_epochs(tmp_path, runs):
    spaces = {"V": {"T1": 30.0, "H": math.nan}, "C": {"T1": 9.0, "H": 8.0}}
    entries = [{"epoch": epoch, "scores": spaces} for epoch in (0, 5)]
    path = tmp_path / "scores.png"
    figures.scores_over_epochs(dict.fromkeys(runs, entries), path, {"oracle": 5, "last": 5, "validated": 0})
    assert colour_share(path, drawing.LINE_COLOURS[0]) > 0.0005


NAMES = ["Ba$$in", "$5_ to $10^", "\u5317\u6781\u718a", "tench, Tinca tinca", "_wolf", "50% mix", "a\\b", "na\u00efve"]


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    """All that is written in pictures, with what is taken for mathematics marked."""
    found = []

    def draw(self, *_, **__):
        found.append(self.get_text() if not self.get_parse_math() else f"formula: {self.get_text()}")

    monkeypatch.setattr(Text, "draw", draw)
    return found


def test_names_are_shown_as_they_are(tmp_path, rng, texts, caplog):
    labels = np.repeat(np.arange(len(NAMES)), 4)
    real, synthetic = rng.normal(size=(2, len(labels), 6))
    values = [10.0] * len(NAMES)
    draw = {
        "tsne.png": lambda path: figures.tsne(real, labels, synthetic, labels, NAMES, path),
        "bars.png": lambda path: figures.per_class_accuracy(NAMES, values, NAMES, values, path),
        "confusion.png": lambda path: figures.confusion(np.eye(len(NAMES)), NAMES, path),
        "swept.png": lambda path: comparisons.swept(
            {"T1": {NAMES[0]: dict.fromkeys(NAMES, (1.0, 0.5))}}, "f", "p", path
        ),
    }
    for file, drawn in draw.items():
        texts.clear()
        drawn(tmp_path / file)
        assert (tmp_path / file).exists()
        assert set(NAMES) <= set(texts), file
    assert caplog.messages == []


def test_a_picture_that_fails_is_one_line_of_warning(tmp_path, caplog):
    figures.confusion(np.zeros((2, 2, 7)), ["a", "b"], tmp_path / "new" / "confusion.png")
    (tmp_path / "file").touch()
    figures.confusion(np.eye(2), ["a", "b"], tmp_path / "file" / "confusion.png")
    shapes, folder = caplog.messages
    assert shapes.startswith(f"{tmp_path / 'new' / 'confusion.png'}: not drawn (TypeError: Invalid shape")
    assert folder.startswith(f"{tmp_path / 'file' / 'confusion.png'}: not drawn (")
    assert not any("\n" in message for message in caplog.messages)
    assert not (tmp_path / "new").exists()


def test_kinds_of_a_space_share_its_colour():
    styles = figures._space_styles(["V", "V (progressive)", "VS", "VS (progressive)"])
    colours = [style["color"] for style in styles.values()]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert len({(style["color"], str(style["linestyle"])) for style in styles.values()}) == len(styles)


def scores(t1, u, s, h, ausuc):
    return {"T1": t1, "U": u, "S": s, "H": h, "AUSUC": ausuc}


def result(**more):
    best, chosen = scores(40.04, 10.0, 50.0, 16.67, 12.0), scores(38.5, 12.0, 45.0, math.nan, None)
    return {
        "method": "zerodiff",
        "dataset": {
            "name": "AWA1",
            "features": "lowlevel512",
            "semantics": "att",
            "fingerprint": "0123456789abcdef",
            "sizes": {"seen classes": 40, "unseen classes": 10},
        },
        "seed": 3,
        "protocols": {"oracle": {"V": best, "VC": best}, "last": {"V": chosen}, "validated": {"V": chosen}},
        "headline": {"protocol": "validated", "space": "V"} | chosen,
    } | more


def rows(table):
    """Returns the cells of each line, split at runs of two blanks or more."""
    return [re.split(r" {2,}", line.strip()) for line in table.splitlines()]


def test_result_table_holds_every_score_and_the_price_of_selection(tmp_path):
    references = {"baselines": {"chance": {"T1": 10.0}}, "nearest": {"1-NN V": {"T1": 20.0}}}
    table = result_table(result(**references), pictures=tmp_path)
    cells = rows(table)
    assert ["oracle", "V", "40.0", "10.0", "50.0", "16.7", "12.0"] in cells
    assert ["VC", "40.0", "10.0", "50.0", "16.7", "12.0"] in cells
    assert ["validated", "V", "38.5", "12.0", "45.0", "-", "-"] in cells
    assert ["oracle - validated", "V", "+1.5", "-2.0", "+5.0", "-", "-"] in cells
    assert ["baseline", "chance", "10.0", "-", "-", "-", "-"] in cells
    assert ["baseline", "1-NN V", "20.0", "-", "-", "-", "-"] in cells
    assert "Headline (validated, space V): T1 38.5  U 12.0  S 45.0  H -  AUSUC -" in table
    assert "seen classes 40, unseen classes 10" in table
    assert table.splitlines()[-1] == f"Pictures: {tmp_path}"
    order = [row[0] for row in cells if row[0] in ("validated", "last", "oracle", "oracle - validated")]
    assert order == ["validated", "last", "oracle", "oracle - validated"]


def test_result_table_without_a_validated_protocol():
    only = result(protocols={"last": {"V": scores(1.0, 2.0, 3.0, 2.4, 1.0)}})
    table = result_table(only)
    assert "oracle" not in table
    assert "Pictures" not in table
    assert ["last", "V", "1.0", "2.0", "3.0", "2.4", "1.0"] in rows(table)


def test_a_table_as_text_and_as_markdown():
    rows = [("a", "", "1.0"), ("", "b c", "10.0"), ("d", "e", "-")]
    table = Table(("", "space", "T1"), [Row(cells, block) for cells, block in zip(rows, "aab", strict=True)], left=2)
    assert table.text().splitlines() == [
        "   space    T1",
        "--------------",
        "a          1.0",
        "   b c    10.0",
        "",
        "d  e         -",
    ]
    plain = table._replace(rows=[row._replace(block="") for row in table.rows])
    assert plain.text().splitlines() == [line for line in table.text().splitlines() if line.strip("-")]
    assert table.markdown().splitlines() == [
        "|  | space | T1 |",
        "| --- | --- | --- |",
        "| a |  | 1.0 |",
        "|  | b c | 10.0 |",
        "| d | e | - |",
    ]
