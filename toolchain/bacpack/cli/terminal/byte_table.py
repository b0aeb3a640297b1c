"""Where bytes went, for people: as a table, and as a picture in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bacpack.cli.terminal.output import table
from bacpack.cli.terminal.streams import printable
from bacpack.text import human_bytes

if TYPE_CHECKING:
    from bacpack.split.explain.byte_counts import Explanation, ProgramBytes

#: Columns of the table: what they are called, and the parts of a program that they add up.
_COLUMNS = (
    ("code", ("code",)),
    ("start", ("start",)),
    ("imports", ("imports",)),
    ("data", ("data",)),
    ("tables", ("tables",)),
    ("custom", ("custom",)),
    ("component", ("component",)),
    ("rest", ("types", "exports", "other")),
)
#: A name is cut to so many characters.
_NAME = 60
_DRAWINGS = (".html", ".svg")


def _is_drawing(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix not in _DRAWINGS:
        raise click.BadParameter(f"`{path}` ends neither in .html nor in .svg")
    return path


#: The option that asks for a picture.
treemap_option = click.option(
    "--treemap", metavar="FILE", type=click.Path(path_type=Path), callback=_is_drawing,
    help="Draw where the bytes went, as .html or .svg.",
)  # fmt: skip


def write_treemap(explanation: Explanation, path: Path, title: str) -> None:
    """Draw an explanation, as the suffix of `path` says; raises `InputError` when it cannot be written."""
    from bacpack.cli.terminal.treemap_svg import draw_html, draw_svg
    from bacpack.files import write_file

    draw = draw_svg if path.suffix == ".svg" else draw_html
    write_file(path, draw(explanation, _short(title)).encode())


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """An explanation as it stands in JSON."""
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(explanation)
    return data


def explanation_text(explanation: Explanation) -> str:
    """An explanation as tables: the parts of each program, and why code stayed in them."""
    sections = [_parts_table(explanation)] if explanation.apps else []
    if any(program.stayed for program in explanation.apps):
        sections.append(_stayed_text(explanation.apps))
    return "\n\n".join(sections)


def _parts_table(explanation: Explanation) -> str:
    programs = explanation.apps
    columns = [
        (name, sizes)
        for name, parts in _COLUMNS
        if any(sizes := [sum(size for part, size in program.parts.items() if part in parts) for program in programs])
    ]
    shared = [sum(size for kind, size in program.needs.items() if kind != "data") for program in programs]
    data = [program.needs.get("data", 0) for program in programs]
    all_data = sum(module.bytes for module in explanation.modules if module.kind == "data")
    all_shared = sum(module.bytes for module in explanation.modules) - all_data
    rows = [["where the bytes are", "shared code", "shared data", *(f"own {name}" for name, _ in columns)]]
    for position, program in enumerate(programs):
        sizes = [shared[position], data[position], *(sizes[position] for _, sizes in columns)]
        rows.append([_short(program.name), *map(_size, sizes)])
    rows.append(["all, each file once", *map(_size, [all_shared, all_data, *(sum(sizes) for _, sizes in columns)])])
    return table(rows, right=frozenset(range(1, len(rows[0]))))


def _stayed_text(programs: Iterable[ProgramBytes]) -> str:
    programs = list(programs)
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    largest: dict[str, list[tuple[int, str]]] = {}
    for program in programs:
        for group in program.stayed or ():
            count[group.reason] += group.functions
            size[group.reason] += group.bytes
            found = largest.setdefault(group.reason, [])
            found += [(-entry.bytes, f"{_short(entry.name)} in {_short(program.name)}") for entry in group.largest]
    reasons = [reason for reason, _ in sorted(size.items(), key=lambda entry: (-entry[1], entry[0]))]
    rows = [["why code stayed", *(f"({number})" for number in range(1, len(reasons) + 1))]]
    for program in programs:
        sizes = {group.reason: group.bytes for group in program.stayed or ()}
        rows.append([_short(program.name), *(_size(sizes.get(reason, 0)) for reason in reasons)])
    rows.append(["all", *(_size(size[reason]) for reason in reasons)])
    lines = [table(rows, right=frozenset(range(1, len(rows[0])))), ""]
    for number, reason in enumerate(reasons, 1):
        functions = f" in {count[reason]} function{'' if count[reason] == 1 else 's'}" if count[reason] else ""
        lines.append(f"({number}) {reason}: {human_bytes(size[reason])}{functions}")
        lines += [f"      {human_bytes(-negative)}  {name}" for negative, name in sorted(largest[reason])[:3]]
    return "\n".join(lines)


def _size(count: int) -> str:
    return human_bytes(count) if count else "-"


def _short(name: str) -> str:
    """A name that comes from a file, so that it is one line, does nothing to a terminal, and is not too long."""
    shown = printable(name)
    return shown if len(shown) <= _NAME else shown[: _NAME - 1] + "…"
