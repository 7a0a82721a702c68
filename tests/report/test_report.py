"""The pictures and the closing table."""

import itertools
import math
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from zsl_jax.report import comparisons, drawing, figures, pictures
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


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """All figures, once each, instead of files."""
    found: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: (Path(file).touch(), found.append(self)))
    monkeypatch.setattr(drawing, "FORMATS", {"png": {}})
    return found


TITLE = "zerodiff on made-up, seed 3"


@pytest.mark.parametrize("count", [1, 5, 300])
def test_loss_curves_draw_any_length_and_missing_names(tmp_path, rng, count):
    records = [
        {"stage": "dfg", "step": 10 * i, "critic_x0": rng.normal(), "penalty_x0": 10 ** rng.normal(), "lr_G": 1e-4}
        | ({"T1": 30.0, "loss": math.nan} if i % 2 else {})
        for i in range(count)
    ]
    figures.loss_curves(records, TITLE, tmp_path / "loss.png")
    assert ink(tmp_path / "loss.png") > 0.001
    assert {file.name for file in tmp_path.iterdir()} == {"loss.png", "loss.pdf"}
    assert (tmp_path / "loss.pdf").read_bytes().startswith(b"%PDF")


def test_equal_pictures_are_equal_files(tmp_path, monkeypatch):
    for second, name in enumerate(("one", "other")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(second))
        figures.confusion(np.eye(3), ["a", "b", "c"], TITLE, tmp_path / f"{name}.png")
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"other.{kind}").read_bytes()


def test_rows_held_out_look_the_same_in_all_panels(tmp_path, drawn):
    """Also where a panel has nothing of the training rows."""
    names = ["loss", "evaluation/heldout_loss", "evaluation/heldout_accuracy", "grad_norm/classifier"]
    figures.loss_curves([dict.fromkeys(names, 1.0) | {"step": step} for step in (1, 2)], TITLE, tmp_path / "loss.png")
    looks: dict[str, set[tuple[str, str]]] = {}
    for axes in drawn[0].axes:
        for line in axes.lines:
            looks.setdefault(str(line.get_label()), set()).add((str(line.get_color()), str(line.get_linestyle())))
    assert len(looks["rows held out"]) == len(looks["training rows"]) == 1
    assert looks["rows held out"] != looks["training rows"] == looks["classifier"]
    assert len(drawn[0].axes) == 3


@pytest.mark.parametrize(("low", "high"), [(-1.3, 8.0), (-400.0, 1e9), (0.0, 1e7), (-3e-7, 2e-2), (-5e8, 0.1)])
def test_ticks_of_axes_of_both_signs_do_not_collide(low, high):
    axes = Figure(figsize=(4.4, 3.4)).add_subplot()
    axes.plot([low, *[1e-3 * high] * 5, high])
    figures._scale_if_wide(axes)
    assert axes.get_yscale() == "symlog"
    at = np.sort(axes.transData.transform([(0, tick) for tick in axes.get_yticks()])[:, 1])
    assert 2 <= len(at) <= 8
    assert np.diff(at).min() > 10  # pixels; letters are 12 high
    assert axes.get_ylim()[1] < 10 * max(high, -low)


@pytest.mark.parametrize(("classes", "rows"), [(1, 1), (3, 12), (25, 3)])
def test_tsne_draws_few_and_many_classes(tmp_path, rng, classes, rows):
    labels = np.repeat(np.arange(classes), rows)
    real, synthetic = rng.normal(size=(2, len(labels), 6)).astype(np.float32)
    synthetic[0, 0] = np.inf
    names = [f"class {i}" for i in range(classes)]
    figures.tsne(real, labels, synthetic, labels, names, TITLE, tmp_path / "tsne.png", max_points=60)
    assert ink(tmp_path / "tsne.png") > 0.001


def test_many_classes_are_told_apart_by_names_at_their_places(tmp_path, rng, drawn):
    """Names do not cover each other even where classes do; colours are those of real and synthetic rows."""
    labels = np.repeat(np.arange(12), 4)
    rows = rng.normal(size=(len(labels), 3))
    names = [f"a long name of a class, {number}" for number in range(12)]
    figures.tsne(rows, labels, rows + 0.01, labels, names, TITLE, tmp_path / "tsne.png")
    (axes,) = drawn[0].axes
    assert sorted(text.get_text() for text in axes.texts) == sorted(map(drawing.shown, names))
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert len({tuple(points.get_facecolor()[0][:3]) for points in axes.collections}) == 2


def test_tsne_takes_rows_of_every_class_drawn(rng):
    labels = np.repeat([2, 5, 9], [100, 4, 50])
    rows = rng.normal(size=(154, 3))
    rows[100] = np.nan
    chosen, chosen_labels = figures._sampled(rows, labels, np.array([2, 5]), 40)
    assert chosen.shape == (40, 3)
    assert set(chosen_labels) == {2, 5}
    assert np.isfinite(chosen).all()


def bars_of(names, values, colour="#000000") -> figures.ClassScores:
    return figures.ClassScores(names, values, colour)


@pytest.mark.parametrize(("unseen", "seen"), [(3, 7), (10, 0), (50, 150)])
def test_per_class_accuracy_draws_bars_in_proportion(tmp_path, unseen, seen):
    names = [f"class with a rather long name {i}" for i in range(max(unseen, seen))]
    groups = {
        "unseen": bars_of(names[:unseen], [50.0] * unseen, drawing.UNSEEN),
        "seen": bars_of(names[:seen], [100.0] * seen, drawing.SEEN),
    }
    figures.per_class_accuracy(groups, TITLE, tmp_path / "bars.png")
    orange, blue = (colour_share(tmp_path / "bars.png", colour) for colour in (drawing.UNSEEN, drawing.SEEN))
    assert orange > 0.01
    assert (blue > orange * seen / unseen) if seen else blue < 0.01


def test_per_class_accuracy_sorts_and_shows_classes_without_rows(tmp_path):
    bars = figures._sorted_bars(bars_of(["a", "b", "c"], [10.0, math.nan, 90.0]))
    assert [name for name, _, _ in bars] == ["c", "a", "b"]
    figures.per_class_accuracy({"T1": bars_of(["a", "b"], [math.nan, 1.0])}, TITLE, tmp_path / "bars.png")
    assert ink(tmp_path / "bars.png") > 0.001


def test_seen_unseen_curve_has_the_points_of_the_method_and_of_baselines(tmp_path, drawn):
    """White without calibration, in the method's colour with it; each method has a look of its own."""
    bias = np.linspace(0.0, 1.0, 50)
    points = {"zerodiff": [(6.0, 72.0), (30.0, 40.0)], "ESZSL x": [(5.0, 70.0), (20.0, 50.0)], "chance": [(10.0, 10.0)]}
    figures.seen_unseen_curve((60 * bias, 80 * (1 - bias)), points, TITLE, tmp_path / "curve.png")
    curve, *lines = drawn[0].axes[0].lines
    assert curve.get_label() == "all calibrations, area 24.0 %"  # of a triangle of 60 and 80
    named = {
        (line.get_marker(), line.get_color()): str(line.get_label()) for line in lines if not len(line.get_xdata())
    }
    found: dict[str, dict[bool, tuple[float, float]]] = {}
    for line in (line for line in lines if len(line.get_xdata())):
        is_white = line.get_markerfacecolor() == "white"
        place = (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        found.setdefault(named[line.get_marker(), line.get_color()], {})[is_white] = place
    assert found == {name: dict(zip((True, False), places, strict=False)) for name, places in points.items()}


@pytest.mark.parametrize("count", [3, 30])
def test_confusion_of_a_perfect_classifier_is_a_dark_diagonal(tmp_path, count):
    figures.confusion(np.eye(count), [f"c{i}" for i in range(count)], TITLE, tmp_path / "confusion.png")
    dark, background = (colour_share(tmp_path / "confusion.png", colour) for colour in ("#08306b", "#f7fbff"))
    assert dark > 0
    assert background == pytest.approx(dark * (count - 1), rel=0.25)


@pytest.mark.parametrize("runs", [("test",), ("test", "validation", "validation_2")])
def test_scores_over_epochs(tmp_path, drawn, runs):
    """Each panel has the curves and the lines of its own score; lines are those of the run that is reported."""
    spaces = {"V": {"T1": 30.0, "H": math.nan, "AUSUC": 7.0}, "C": {"T1": 9.0, "H": 8.0, "AUSUC": 1.0}}
    entries = [{"epoch": epoch, "scores": spaces} for epoch in (0, 5)]
    chosen = {"T1": {"oracle": 5, "last": 5, "validated": 0}, "H": {"oracle": 0}, "AUSUC": {"oracle": 2}}
    figures.scores_over_epochs(dict.fromkeys(runs, entries), chosen, TITLE, tmp_path / "scores.png")
    panels = {axes.get_title(): axes for axes in drawn[0].axes}
    names = ["test", "validation", "validation 2"][: len(runs)]
    assert list(panels) == [f"{score}, {name} task" for name in names for score in ("T1", "H", "AUSUC")]
    for score, epochs in {"T1": {5, 0}, "H": {0}, "AUSUC": {2}}.items():
        lines = {line.get_label(): line for line in panels[f"{score}, test task"].lines}
        assert {line.get_xdata()[0] for line in lines.values() if len(set(line.get_xdata())) == 1} == epochs
        assert list(lines["C"].get_ydata()) == [spaces["C"][score]] * 2
    texts = [text.get_text() for text in panels["T1, test task"].texts]
    assert sorted(texts) == ["oracle, last", "validated"]
    assert not any(axes.texts for title, axes in panels.items() if "validation" in title)


NAMES = ["Ba$$in", "$5_ to $10^", "\u5317\u6781\u718a", "tench, Tinca tinca", "_wolf", "50% mix", "a\\b", "na\u00efve"]


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    """All that is written in pictures, with what is taken for mathematics marked."""
    found = []

    def draw(self, *_, **__):
        found.append(self.get_text() if not self.get_parse_math() else f"formula: {self.get_text()}")

    monkeypatch.setattr(Text, "draw", draw)
    return found


def test_names_are_shown_as_they_are_and_titles_say_of_what_run(tmp_path, rng, texts, caplog):
    labels = np.repeat(np.arange(len(NAMES)), 4)
    real, synthetic = rng.normal(size=(2, len(labels), 6))
    bars = {"T1": bars_of(NAMES, [10.0] * len(NAMES))}
    means = dict.fromkeys(NAMES, comparisons.Mean(1.0, 0.5, [1.0]))
    draw = {
        "tsne.png": lambda path: figures.tsne(real, labels, synthetic, labels, NAMES, TITLE, path),
        "bars.png": lambda path: figures.per_class_accuracy(bars, TITLE, path),
        "confusion.png": lambda path: figures.confusion(np.eye(len(NAMES)), NAMES, TITLE, path),
        "swept.png": lambda path: comparisons.swept({"T1": {NAMES[0]: means}}, "f", TITLE, path),
        "ranks.png": lambda path: comparisons.leaderboard(
            {"T1": {name: {100: mean} for name, mean in means.items()}}, TITLE, path
        ),
    }
    for file, drawn in draw.items():
        texts.clear()
        drawn(tmp_path / file)
        assert (tmp_path / file).exists()
        assert set(NAMES) <= set(texts), file
        assert any(TITLE in text for text in texts), file
    assert caplog.messages == []


def test_long_names_are_cut_where_they_are_alike():
    """Names of a data set often begin alike, or end alike."""
    names = [f"{first} of the very long shores of the sea, {last}" for first in ("gull", "tern") for last in "ab"]
    assert len({drawing.shown(name) for name in names}) == 4
    assert {len(drawing.shown(name)) for name in names} == {drawing.LONGEST_NAME}
    assert drawing.shown("gull") == "gull"


def test_a_picture_that_fails_is_one_line_of_warning(tmp_path, caplog):
    figures.confusion(np.zeros((2, 2, 7)), ["a", "b"], TITLE, tmp_path / "new" / "confusion.png")
    (tmp_path / "file").touch()
    figures.confusion(np.eye(2), ["a", "b"], TITLE, tmp_path / "file" / "confusion.png")
    shapes, folder = caplog.messages
    assert shapes.startswith(f"{tmp_path / 'new' / 'confusion.png'}: not drawn (TypeError: Invalid shape")
    assert folder.startswith(f"{tmp_path / 'file' / 'confusion.png'}: not drawn (")
    assert not any("\n" in message for message in caplog.messages)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("half", "seeds", "reach"),
    [(3.0, 3, (3.0, 3.0)), (40.0, 3, (10.0, 40.0)), (95.0, 5, (10.0, 90.0)), (3.0, 2, None), (math.nan, 1, None)],
)
def test_no_interval_of_two_seeds_or_beyond_what_there_is(half, seeds, reach):
    found = comparisons.Mean(10.0, half, [10.0] * seeds).reach()
    assert found == reach if reach else np.isnan(found).all()


def test_points_beside_the_curve_are_those_of_the_headline_and_of_baselines():
    given = {
        "method": "vae",
        "headline": {"protocol": "validated", "space": "V"},
        "protocols": {
            "validated": {"V": {"U": 1.0, "S": 2.0, "calibrated": {"U": 3.0, "S": 4.0}}},
            "last": {"V": {"U": 9.0, "S": 8.0}},
        },
        "baselines": {
            "chance": {"U": 5.0, "S": 6.0, "T1": 9.0},
            "SAE x": {"U": 1.5, "S": 2.5, "calibrated": {"U": 3.5, "S": 4.5}},
        },
        "nearest": {"1-NN V": {"U": 7.0, "S": 8.0}},
    }
    assert pictures.points(given) == {
        "vae": [(1.0, 2.0), (3.0, 4.0)],
        "chance": [(5.0, 6.0)],
        "SAE x": [(1.5, 2.5), (3.5, 4.5)],
        "1-NN V": [(7.0, 8.0)],
    }
    given["headline"]["protocol"] = "last"
    assert pictures.points(given)["vae"] == [(9.0, 8.0)]


def scores(t1, u, s, h, ausuc):
    return {"T1": t1, "U": u, "S": s, "H": h, "AUSUC": ausuc}


def result(**more):
    best = scores(40.04, 10.0, 50.0, 16.67, 12.0) | {"calibrated": {"H": 60.0}}
    chosen = scores(38.5, 12.0, 45.0, math.nan, None)
    calibrated = {"calibrated": {"gamma": 0.25, "U": 30.0, "S": 40.0, "H": 34.3}}
    places = {
        "T1": {"T1": 44.0, "draws": [40.0, 48.0]},
        "H": {"draws": [8.0, 10.0], "U": 1.0, "S": 2.0, "H": 1.3, "AUSUC": 9.0},
        "calibrated": {"H_gamma": 33.0},
    }
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
        "protocols": {
            "oracle": {"V": best, "VC": best},
            "last": {"V": chosen},
            "validated": {"V": chosen | calibrated},
        },
        "validation": {"select": "AUSUC", "stages": {"dfg": {"V": places}}},
        "warnings": ["few classes"],
        "headline": {"protocol": "validated", "space": "V", "intervals": {"T1": [30.0, 47.0]}} | chosen | calibrated,
    } | more


def rows(table):
    """Returns the cells of each line, split at runs of two blanks or more."""
    return [re.split(r" {2,}", line.strip()) for line in table.splitlines()]


def test_result_table_holds_every_score_and_the_price_of_selection(tmp_path):
    references = {"baselines": {"chance": {"T1": 10.0}}, "nearest": {"1-NN V": {"T1": 20.0}}}
    table = result_table(result(**references), pictures=tmp_path)
    cells = rows(table)
    assert ["oracle", "V", "40.0", "10.0", "50.0", "16.7", "12.0", "-", "-", "60.0"] in cells
    assert ["VC", "40.0", "10.0", "50.0", "16.7", "12.0", "-", "-", "60.0"] in cells
    assert ["validated", "V", "38.5", "12.0", "45.0", "-", "-", "30.0", "40.0", "34.3"] in cells
    assert ["oracle - validated", "V", "+1.5", "-2.0", "+5.0", "-", "-", "-", "-", "+25.7"] in cells
    assert ["validation task", "V", "44.0", "1.0", "2.0", "1.3", "9.0", "-", "-", "33.0"] in cells
    assert ["baseline", "chance", "10.0", *7 * ["-"]] in cells
    assert ["baseline", "1-NN V", "20.0", *7 * ["-"]] in cells
    assert "Headline (validated, space V): T1 38.5  U 12.0  S 45.0  H -  AUSUC -" in table
    assert "calibrated, 0.25 off seen classes' scores: U 30.0  S 40.0  H 34.3" in table
    assert "95 % over classes like these: T1 30.0-47.0" in table
    assert "draws of validation classes: T1 40.0, 48.0; AUSUC 8.0, 10.0" in table
    assert "warning: few classes" in table
    assert "seen classes 40, unseen classes 10" in table
    assert table.splitlines()[-1] == f"Pictures: {tmp_path}"
    order = [row[0] for row in cells if row[0] in ("validated", "last", "oracle", "oracle - validated")]
    assert order == ["validated", "last", "oracle", "oracle - validated"]


def test_result_table_without_a_validated_protocol():
    only = result(protocols={"last": {"V": scores(1.0, 2.0, 3.0, 2.4, 1.0)}}, validation={})
    table = result_table(only)
    assert "oracle" not in table
    assert "Pictures" not in table
    assert ["last", "V", "1.0", "2.0", "3.0", "2.4", "1.0", "-", "-", "-"] in rows(table)


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
