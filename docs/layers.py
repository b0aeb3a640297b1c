"""The picture of the packages, made from the lists in concepts/architecture.md when the pages are built."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape

from docutils import nodes
from docutils.parsers.rst import Directive

PAGE = Path(__file__).parent / "concepts" / "architecture.md"
WIDTH, BOX, GAP, LETTER, TITLE = 960, 26, 8, 7.2, 190


class Layers(Directive):
    """`layers`: a band for each list, the first at the bottom, with a box for each package."""

    def run(self) -> list[nodes.Node]:
        """Return the picture; pages without HTML have none."""
        self.state.document.settings.record_dependencies.add(str(PAGE))
        return [nodes.raw("", picture(storeys(PAGE.read_text())), format="html")]


def storeys(page: str) -> list[tuple[str, list[str]]]:
    """Each list of the page, by its heading, with its packages in their order."""
    parts = re.split(r"^### (.*)$", page.partition("## The packages")[2].partition("\n## ")[0], flags=re.MULTILINE)
    found = zip(parts[1::2], parts[2::2], strict=True)
    return [(title, re.findall(r"^\| `([\w/]+)/` \|", rows, re.MULTILINE)) for title, rows in found]


def picture(bands: list[tuple[str, list[str]]]) -> str:
    """An SVG of bands, given from the bottom up."""
    shapes: list[str] = []
    top = GAP
    for title, packages in reversed(bands):
        left, line = float(TITLE), top
        for name in packages:
            width = len(name) * LETTER + 2 * GAP
            if left + width > WIDTH - GAP:
                left, line = float(TITLE), line + BOX + GAP
            shapes.append(
                f'<rect x="{left:.0f}" y="{line}" width="{width:.0f}" height="{BOX}" rx="4" class="package"/>'
                f'<text x="{left + GAP:.0f}" y="{line + 17}" class="name">{escape(name)}</text>'
            )
            left += width + GAP
        bottom = line + BOX
        shapes.append(f'<text x="{GAP}" y="{top + 17}" class="storey">{escape(title)}</text>')
        shapes.append(f'<path d="M0 {bottom + GAP}H{WIDTH}" class="floor"/>')
        top = bottom + 2 * GAP
    style = (
        ".package{fill:none;stroke:currentColor}.floor{stroke:currentColor;opacity:.3}"
        ".name{font:12px monospace;fill:currentColor}.storey{font:bold 12px sans-serif;fill:currentColor}"
    )
    label = "The packages, those that others stand on at the bottom"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="{label}">'
        f"<style>{style}</style>{''.join(shapes)}</svg>"
    )
