"""A picture of where the bytes of a release went: a treemap as SVG, whose areas are bytes.

Three maps of one scale, one below the other: shared code, shared data, and what each program keeps. It stands alone,
without scripts, fonts or a network, and follows the reader's choice of dark or light.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from bacpack.split.explain.byte_counts import Explanation, ModuleBytes, Part, Parts, ProgramBytes
from bacpack.split.explain.treemap import Box, squarify
from bacpack.text import human_bytes

_WIDTH, _MARGIN = 1200, 16
#: Together, the maps cover so much.
_AREA = (_WIDTH - 2 * _MARGIN) * 760
_HEADING, _GAP = 26, 14
_LEGEND_LINE = 22

#: The colours of Okabe and Ito, which people tell apart who see fewer; whether text on them is white; what they mean.
_KINDS = {
    "shared code": ("#0072b2", True, "shared code"),
    "shared data": ("#009e73", False, "shared data"),
    "code": ("#e69f00", False, "own code"),
    "data": ("#f0e442", False, "own data"),
    "start": ("#d55e00", False, "start functions"),
    "imports": ("#cc79a7", False, "imports"),
    "rest": ("#b4b4b4", False, "rest: types, exports, tables, names"),
}
#: The sizes of text, the largest first, and the least height of a box for each.
_TEXT = ((15, 90), (12, 40), (10, 0))
#: Width of a character, as a part of the text's size: more than fonts take, on average.
_CHARACTER = 0.62
_BOLD = 1.08
_PADDING = 4
_LEADING = 1.2
#: A name is cut to no fewer characters.
_LEAST_CHARACTERS = 4
#: Programs that are named as users of a module before they are only counted.
_NAMED_USERS = 3
#: The same for what is shown when pointing at it.
_LISTED_USERS = 8

_STYLE = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.page{fill:#ffffff}.ink{fill:#1a1a1a}.soft{fill:#595959}.edge{fill:none;stroke:#ffffff}
.dark{fill:#111111}.light{fill:#ffffff}.name{font-weight:600}
@media (prefers-color-scheme:dark){.page{fill:#16181b}.ink{fill:#f0f0f0}.soft{fill:#b0b4ba}.edge{stroke:#16181b}}
"""


@dataclass(frozen=True, slots=True)
class _Tile:
    """A program or module: its name and its bytes by kind."""

    #: What to write into it, as lines: the first that fits.
    labels: Sequence[Sequence[str]]
    title: str
    kinds: dict[str, int]

    @property
    def bytes(self) -> int:
        return sum(self.kinds.values())


@dataclass(frozen=True, slots=True)
class _Map:
    heading: str
    tiles: list[_Tile]

    @property
    def bytes(self) -> int:
        return sum(tile.bytes for tile in self.tiles)


def draw_svg(explanation: Explanation, title: str) -> str:
    """Return the treemap as an SVG file."""
    maps = [entry for entry in _maps(explanation) if entry.bytes]
    total = sum(entry.bytes for entry in maps)
    body, below = _legend(maps)
    y = float(below + 6)
    for entry in maps:
        box = Box(_MARGIN, y + _HEADING, _WIDTH - 2 * _MARGIN, _AREA * entry.bytes / total / (_WIDTH - 2 * _MARGIN))
        heading = f"{human_bytes(entry.bytes)}, {_percent(entry.bytes, total)}"
        body.append(
            f'<text class="ink" x="{_MARGIN}" y="{y + 18:.2f}" font-size="15"><tspan class="name">'
            f"{_text(entry.heading)}</tspan><tspan class='soft' dx='10'>{heading}</tspan></text>"
        )
        body += _draw_map(entry, box)
        y = box.y + box.height + _GAP
    height = round(y + _MARGIN - _GAP)
    files = len(explanation.apps) + len(explanation.modules)
    about = f"{title}: {human_bytes(total)} in {files} file{'' if files == 1 else 's'}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img" aria-label="{_text(about)}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
            _line(about, _MARGIN, _MARGIN + 18, 18, "ink name"),
            *body,
            "</svg>\n",
        ]
    )


def draw_html(explanation: Explanation, title: str) -> str:
    """Return the treemap as a page."""
    svg = draw_svg(explanation, title)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)}</title>\n<style>\nbody{{margin:0;background:#ffffff}}\n"
        "svg{display:block;max-width:100%;height:auto;margin:auto}\n"
        "@media (prefers-color-scheme:dark){body{background:#16181b}}\n"
        f"</style>\n</head>\n<body>\n{svg}</body>\n</html>\n"
    )


def _maps(explanation: Explanation) -> list[_Map]:
    code = [entry for entry in explanation.modules if entry.kind != "data"]
    data = [entry for entry in explanation.modules if entry.kind == "data"]
    programs = explanation.apps
    ending = _common_ending([program.name for program in programs])
    return [
        _Map(f"Shared code: {_count(len(code), 'module')}", [_module(entry, "shared code", ending) for entry in code]),
        _Map(f"Shared data: {_count(len(data), 'module')}", [_module(entry, "shared data", ending) for entry in data]),
        _Map(f"Kept by {_count(len(programs), 'program')}", [_program(entry, ending) for entry in programs]),
    ]


def _common_ending(names: Sequence[str]) -> str:
    """What all names end in, from a character on that is no letter or digit: it tells nothing."""
    common = min(names, key=len, default="")
    while common and (common[0].isalnum() or common in names or not all(name.endswith(common) for name in names)):
        common = common[1:]
    return common


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _module(entry: ModuleBytes, kind: str, ending: str) -> _Tile:
    users = _count(len(entry.users), "program")
    labels = [[f"for {users}"], [f"for {len(entry.users)}"]]
    if len(entry.users) <= _NAMED_USERS:
        names = [user.removesuffix(ending) for user in entry.users]
        labels = [[", ".join(names)], names, *labels]
    listed = ", ".join(entry.users[:_LISTED_USERS]) + (", …" if len(entry.users) > _LISTED_USERS else "")
    return _Tile(labels, f"{entry.cid}\nfor {users}: {listed}", _kinds(entry.parts, {"code": kind, "data": kind}))


def _program(entry: ProgramBytes, ending: str) -> _Tile:
    short = entry.name.removesuffix(ending)
    cuts = [[f"{short[:end]}…"] for end in range(len(short) - 1, _LEAST_CHARACTERS - 1, -1)]
    return _Tile([[entry.name], [short], *cuts], entry.name, _kinds(entry.parts, {}))


def _kinds(parts: Parts, called: dict[Part, str]) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for part, size in parts.items():
        kinds[called.get(part, part if part in _KINDS else "rest")] += size
    return {kind: kinds[kind] for kind in _KINDS if kinds[kind]}


def _legend(maps: Sequence[_Map]) -> tuple[list[str], int]:
    """Return what to draw above the maps, and where it ends."""
    totals: Counter[str] = Counter()
    for entry in maps:
        for tile in entry.tiles:
            totals.update(tile.kinds)
    drawn: list[str] = []
    x, y = _MARGIN, _MARGIN + 34
    for kind, (colour, _, meaning) in _KINDS.items():
        if not totals[kind]:
            continue
        label = f"{meaning}: {human_bytes(totals[kind])}"
        width = round(_text_width(label, 13, 1)) + 38
        if x > _MARGIN and x + width > _WIDTH - _MARGIN:
            x, y = _MARGIN, y + _LEGEND_LINE
        drawn.append(f'<rect x="{x}" y="{y}" width="14" height="14" rx="2" fill="{colour}"/>')
        drawn.append(_line(label, x + 20, y + 12, 13, "ink"))
        x += width
    return drawn, y + _LEGEND_LINE


def _draw_map(entry: _Map, box: Box) -> Iterator[str]:
    tiles = [tile for tile in entry.tiles if tile.bytes]
    for tile, place in zip(tiles, squarify([tile.bytes for tile in tiles], box), strict=True):
        yield "<g>"
        kinds = list(tile.kinds)
        leaves = dict(zip(kinds, squarify(list(tile.kinds.values()), place), strict=True))
        for kind, leaf in leaves.items():
            title = f"{tile.title}\n{_KINDS[kind][2]}: {human_bytes(tile.kinds[kind])} of {human_bytes(tile.bytes)}"
            yield f'<rect {_at(leaf)} fill="{_KINDS[kind][0]}"><title>{_text(title)}</title></rect>'
        largest = max(kinds, key=lambda kind: tile.kinds[kind])
        label = _label(leaves.pop(largest), largest, tile.labels, tile.bytes)
        # What the parts are called means nothing where the whole has no name.
        parts = [_label(leaf, kind, [[kind]], tile.kinds[kind]) for kind, leaf in leaves.items()] if label else []
        yield from filter(None, [label, *parts])
        edge = min(2.0, place.width / 8, place.height / 8)
        yield f'<rect class="edge" {_at(place)} stroke-width="{edge:.2f}"/></g>'


def _label(box: Box, kind: str, labels: Iterable[Sequence[str]], count: int) -> str:
    """Write the first of `labels` that fits into a box, and the size below it if that fits too."""
    width, height = box.width - 2 * _PADDING, box.height - 2 * _PADDING
    size = next(size for size, least in _TEXT if box.height >= least and box.width >= 2 * least)
    lines_most = int(height / (size * _LEADING))
    fitting = (
        lines for lines in labels if len(lines) <= lines_most and all(_text_width(t, size) <= width for t in lines)
    )
    label = next(fitting, None)
    if label is None:
        return ""
    amount = human_bytes(count)
    lines = [*label, amount] if len(label) < lines_most and _text_width(amount, size) <= width else label
    written = [
        _line(text, _PADDING, _PADDING + size * (_LEADING * number + 0.9), size, "name" if number < len(label) else "")
        for number, text in enumerate(lines)
    ]
    # An inner <svg> clips what a font makes wider than was reckoned.
    ink = "light" if _KINDS[kind][1] else "dark"
    return f'<svg {_at(box)} class="{ink}" pointer-events="none">{"".join(written)}</svg>'


def _line(text: str, x: float, y: float, size: float, style: str) -> str:
    classes = f' class="{style}"' if style else ""
    return f'<text{classes} x="{x:.2f}" y="{y:.2f}" font-size="{size}">{_text(text)}</text>'


def _text_width(text: str, size: float, weight: float = _BOLD) -> float:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return (len(text) * _CHARACTER + wide * (1 - _CHARACTER)) * size * weight


def _text(text: str) -> str:
    """Text for SVG and HTML: names come from files, and may hold anything."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text))


def _at(box: Box) -> str:
    return f'x="{box.x:.3f}" y="{box.y:.3f}" width="{box.width:.3f}" height="{box.height:.3f}"'


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if part * 100 >= whole else "less than 1 %"
