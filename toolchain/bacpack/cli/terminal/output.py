"""What every command shares: its common options, and the one object that owns stdout and stderr."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import click

from bacpack.cli.terminal.streams import printable, say

if TYPE_CHECKING:
    from bacpack.cli.terminal.progress import Progress

#: `auto` means `tty` on a terminal and `plain` elsewhere.
ProgressOption: TypeAlias = Literal["auto", "tty", "plain", "quiet"]
F = TypeVar("F", bound=Callable[..., Any])


class Output:
    """Writes results to stdout and everything else to stderr, as `--json`, `--quiet` and `--no-color` ask."""

    def __init__(self, as_json: bool, quiet: bool, color: bool, progress: ProgressOption = "auto") -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._color = color
        self._progress = progress
        self._shown: list[Progress] = []

    def result(self, data: Mapping[str, Any], text: str) -> None:
        """Print the result once: `data` as one JSON object under `--json`, otherwise `text`."""
        if self.as_json:
            say(json.dumps({"schema": 1, **data}))
        elif text:
            say(text)

    def note(self, text: str) -> None:
        """Tell the person something on stderr, unless `--quiet`."""
        if not self.quiet:
            for show in self._shown:
                show.pause()
            say(text, err=True)

    @contextmanager
    def progress(self, doing: str, total_bytes: int | None = None) -> Iterator[Progress]:
        """Yield what shows how far the work is, from its second second on: see `bacpack.cli.terminal.progress`."""
        from bacpack.cli.terminal.progress import Progress

        style = self._progress
        if style == "auto":
            style = "tty" if sys.stderr.isatty() else "plain"
        color = sys.stderr.isatty() and self._color
        show = Progress(doing, total_bytes, "quiet" if self.quiet else style, color=color)
        self._shown.append(show)
        try:
            yield show
        finally:
            self._shown.remove(show)
            show.end()


def common_options(function: F) -> F:
    """Add `--json`, `--quiet`, `--progress` and `--no-color`, and pass the command an `Output` as first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="Print nothing but the result and errors.")
    @click.option("--progress", type=click.Choice(["auto", "tty", "plain", "quiet"]), default="auto", show_default=True,
                  help="How to show on stderr how far long work is: a bar, lines, or not at all.")  # fmt: skip
    @click.option("--no-color", is_flag=True, help="Print no colours (also: NO_COLOR).")
    @functools.wraps(function)
    def with_output(
        *args: Any, as_json: bool, quiet: bool, progress: ProgressOption, no_color: bool, **kwargs: Any
    ) -> Any:
        color = not no_color and not os.environ.get("NO_COLOR")
        return function(Output(as_json, quiet, color, progress), *args, **kwargs)

    return with_output  # type: ignore[return-value]  # same call, less the options that it takes care of


def table(rows: list[list[str]], right: frozenset[int] = frozenset()) -> str:
    """Lay `rows` out in columns, the first row as the heading; columns in `right` are right-aligned."""
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: list[str]) -> str:
        cells = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in rows)
