"""Where each module is drawn: programs on the left, what they need to the right of them, few lines crossing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

WIDTH, HEIGHT = 176, 34
COLUMN_GAP, ROW_GAP, MARGIN = 64, 8, 8
#: Between the parts of a tall column.
PIECE_GAP = 20
#: Rows of a column before it is laid out in several side by side.
MAX_ROWS = 60
_SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Box:
    """A module in the picture."""

    cid: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """An import, from the module that has it to the one it names; `path` is as SVG has it."""

    user: str
    provider: str
    path: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it; sizes are in pixels."""

    width: int
    height: int
    boxes: list[Box]
    lines: list[Line]


def draw(imports: Mapping[str, Collection[str]]) -> Picture:
    """Lay out a graph; imports of what is not in it are left out, and an import that closes a circle is drawn back."""
    edges = {cid: sorted({other for other in others if other in imports} - {cid}) for cid, others in imports.items()}
    columns = _ordered(_columns(edges), edges)
    boxes: dict[str, Box] = {}
    x = float(MARGIN)
    # A tall column becomes several, a little apart, so that 200 programs are no tower.
    pieces = [_pieces(column) for column in columns]
    rows = max((len(piece) for column in pieces for piece in column), default=0)
    height = rows * (HEIGHT + ROW_GAP)
    for column in pieces:
        for piece in column:
            top = MARGIN + (height - len(piece) * (HEIGHT + ROW_GAP)) / 2
            for row, cid in enumerate(piece):
                boxes[cid] = Box(cid, x, round(top + row * (HEIGHT + ROW_GAP), 1))
            x += WIDTH + PIECE_GAP
        x += COLUMN_GAP - PIECE_GAP
    lines = [
        Line(user, provider, _curve(boxes[user], boxes[provider])) for user in sorted(edges) for provider in edges[user]
    ]
    width = x - COLUMN_GAP + MARGIN if boxes else 2 * MARGIN
    return Picture(int(width), int(height - ROW_GAP * bool(rows) + 2 * MARGIN), list(boxes.values()), lines)


def _columns(edges: Mapping[str, list[str]]) -> list[list[str]]:
    """Put each module to the right of all that import it: as far as the longest way from a program."""
    users: dict[str, int] = dict.fromkeys(edges, 0)
    for others in edges.values():
        for other in others:
            users[other] += 1
    depth = dict.fromkeys(edges, 0)
    placed: set[str] = set()
    ready = sorted(cid for cid, count in users.items() if not count)
    while len(placed) < len(edges):
        if not ready:
            # Only circles are left: begin in one of them.
            ready = [min(cid for cid in edges if cid not in placed)]
        cid = ready.pop()
        if cid in placed:
            continue
        placed.add(cid)
        for other in edges[cid]:
            users[other] -= 1
            if other not in placed:
                depth[other] = max(depth[other], depth[cid] + 1)
                if users[other] == 0:
                    ready.append(other)
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for cid in sorted(edges):
        columns[depth[cid]].append(cid)
    return [column for column in columns if column]


def _ordered(columns: list[list[str]], edges: Mapping[str, list[str]]) -> list[list[str]]:
    """Order each column by where its neighbours stand, forth and back a few times."""
    neighbours: dict[str, list[str]] = {cid: list(others) for cid, others in edges.items()}
    for cid, others in edges.items():
        for other in others:
            neighbours[other].append(cid)
    place = {cid: row / max(1, len(column)) for column in columns for row, cid in enumerate(column)}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 else reversed(columns):
            middle = {
                cid: sum(place[other] for other in neighbours[cid]) / len(neighbours[cid])
                if neighbours[cid]
                else place[cid]
                for cid in column
            }
            column.sort(key=lambda cid: (middle[cid], cid))
            place.update({cid: (row + 0.5) / len(column) for row, cid in enumerate(column)})
    return columns


def _pieces(column: list[str]) -> list[list[str]]:
    count = -(-len(column) // MAX_ROWS)
    size = -(-len(column) // count)
    return [column[start : start + size] for start in range(0, len(column), size)]


def _curve(user: Box, provider: Box) -> str:
    x1, y1 = user.x + WIDTH, user.y + HEIGHT / 2
    x2, y2 = provider.x, provider.y + HEIGHT / 2
    bend = max(40.0, abs(x2 - x1) / 2)
    return f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
