"""How plots look: on a card of their own colour, so that they read the same on a light and on a dark page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Takes a plot's name, what it shows in words, and what draws it; returns the Markdown that shows it.
Picture: TypeAlias = Callable[[str, str, "Callable[[], Figure]"], str]

CARD, EDGE, INK, FAINT = "#fbfaf6", "#d9d4c7", "#2b2a27", "#6a665c"
BLUE, YELLOW, RED, GREEN, PURPLE, GREY = "#4a7ba6", "#e3b04b", "#c0534e", "#3f8363", "#7d5fa6", "#b9b29f"

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": EDGE,
    "axes.facecolor": "none",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e7e3d8",
    "xtick.color": FAINT,
    "ytick.color": EDGE,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": CARD,
    "svg.hashsalt": "bacpack",
}


def no_picture(_name: str, _alt: str, _draw: Callable[[], Figure]) -> str:
    """For a benchmark that is run alone: it prints figures only."""
    return ""


def pictures_in(folder: Path) -> Picture:
    """Draw into a folder, next to the page that shows it."""

    def picture(name: str, alt: str, draw: Callable[[], Figure]) -> str:
        try:
            import matplotlib as mpl
        except ImportError:
            return "\nThe plot is left out: there is no matplotlib here.\n"
        mpl.use("svg")
        with mpl.rc_context(_STYLE):
            figure = draw()
            written = io.StringIO()
            figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Title": alt})
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(_as_card(written.getvalue()), encoding="utf-8")
        return f"\n```{{image}} {folder.name}/{name}.svg\n:alt: {alt}\n:width: 100%\n```\n"

    return picture


def _as_card(svg: str) -> str:
    """Round the corners of the background; the first path of a figure is that."""
    svg = re.sub(r" *\n", "\n", svg)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box
    width, height = (float(side) for side in box.groups())
    card = f'<rect x="1" y="1" width="{width - 2:g}" height="{height - 2:g}" rx="12" fill="{CARD}" stroke="{EDGE}"/>'
    return re.sub(r'<g id="patch_1">\s*<path.*?/>', f'<g id="patch_1">{card}', svg, count=1, flags=re.DOTALL)


def figure_with(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure as wide as the page, and its axes."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=(8.4, height), layout="constrained", **options)
    figure.get_layout_engine().set(w_pad=0.14, h_pad=0.12)  # inches to the edge of the card
    return figure, axes


def bare(axes: Axes) -> None:
    """Rows with names at the left: a grid across, no line along."""
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
