"""What all pictures have in common: size, style, colours, and that names are shown as they are."""

import contextlib
import logging
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure

from zsl_jax.files import replacing

log = logging.getLogger(__name__)

DPI = 150
FORMATS = {"png": {}, "pdf": {"CreationDate": None}}  # with their metadata; equal pictures are equal files
LETTERS_PER_INCH = 12  # of a title
SEEN, UNSEEN = "#5790fc", "#e76300"
# Ten colours that stay apart for colour-blind readers: M. Petroff, "Accessible Color Sequences for Data Visualization",
# arXiv:2107.02270.
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "figure.titlesize": 10,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}
# Where one of these is installed it shows what matplotlib's own font lacks.
WIDE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Microsoft YaHei", "Hiragino Sans GB")
LINE_COLOURS = ("#3f90da", "#e76300", "#832db6", "#717581", "#bd1f01", "#ffa90e")
DASHES = ("-", (0, (4, 1.5)), ":", "-.")
LONGEST_NAME = 28


@contextlib.contextmanager
def picture(path: Path, size: tuple[float, float], title: str, formulas: bool = False) -> Iterator[Figure]:
    """Yields a figure in the common style and saves it in the end; where drawing or saving fails, a warning says so.

    Args:
      path: PNG to write, and a PDF beside it, each whole or not at all; their folder is made if need be.
      size: in inches.
      title: stands above the figure.
      formulas: whether text between dollars is mathematics, as the numbers of logarithmic axes are.
    """
    style: dict[Any, Any] = STYLE | {"text.parse_math": formulas, "font.family": _fonts()}
    try:
        with mpl.rc_context(style), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            figure = Figure(figsize=size, layout="constrained")
            lines = (textwrap.fill(line, int(LETTERS_PER_INCH * size[0])) for line in title.splitlines())
            figure.suptitle("\n".join(lines))
            yield figure
            path.parent.mkdir(parents=True, exist_ok=True)
            for kind, metadata in FORMATS.items():
                with replacing(path.with_suffix(f".{kind}")) as temporary:
                    figure.savefig(temporary, dpi=DPI, format=kind, bbox_inches="tight", metadata=metadata)
    except Exception as error:  # whatever a name or a number does to matplotlib, what was trained is there
        log.warning("%s: not drawn (%s)", path, " ".join(f"{type(error).__name__}: {error}".split()))


def _fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in WIDE_FONTS if name in installed)]


def shown(name: str) -> str:
    """A name as pictures show it: a long one without its middle, since names differ at either end."""
    end = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[: end - 1]}\u2026{name[-end:]}"


def line_styles(count: int) -> list[dict[str, Any]]:
    """Returns colours, with other dashes for each further round of colours."""
    return [line_style(number, number // len(LINE_COLOURS)) for number in range(count)]


def line_style(colour: int, dashes: int) -> dict[str, Any]:
    return {"color": LINE_COLOURS[colour % len(LINE_COLOURS)], "linestyle": DASHES[dashes % len(DASHES)]}
