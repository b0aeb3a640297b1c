"""Values that options take: paths to write to, sizes in bytes, and seconds."""

from __future__ import annotations

import re
from typing import Any

import click

_SIZE = re.compile(r"([0-9]+)\s*(?:([KMG])(i?)B)?", re.IGNORECASE)
#: The engine takes sizes as signed numbers of 64 bits.
_MAX_SIZE = (1 << 63) - 1
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}


class OutputPath(click.Path):
    """A file or folder to write to. `-` is none: stdout has the result of the command, or is the program's own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return `value` as `click.Path` does; refuse `-`."""
        if value == "-":
            self.fail("`-` is no file to write to: give it a name, or `./-` for a file that is called so", param, ctx)
        return super().convert(value, param, ctx)


def size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Read a number of bytes, or one with a unit such as `64MiB`."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(f"`{value}` is no size: give bytes, or a number with KiB, MiB or GiB")
    number, unit, binary = match.groups()
    power = _POWERS[(unit or "").lower()]
    count = int(number) << 10 * power if binary else int(number) * int(1000**power)
    if count > _MAX_SIZE:
        raise click.BadParameter(f"`{value}` is more than any machine has")
    return count


def seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Read a number of seconds above 0."""
    if value is None:
        return None
    try:
        count = float(value)
    except ValueError:
        count = 0
    if not 0 < count < 1e8:
        raise click.BadParameter(f"`{value}` is no number of seconds above 0: give one such as 5 or 0.5")
    return count
