"""What every command shares: its common options, and the one object that owns stdout and stderr."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Output:
    """Writes results to stdout and everything else to stderr, as `--json`, `--quiet` and `--no-color` ask."""

    def __init__(self, as_json: bool, quiet: bool, color: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.color = color

    def result(self, data: Mapping[str, Any], text: str) -> None:
        """Print the result once: `data` as one JSON object under `--json`, otherwise `text`."""
        if self.as_json:
            click.echo(json.dumps({"schema": 1, **data}))
        elif text:
            click.echo(text, color=self.color)

    def note(self, text: str) -> None:
        """Tell the person something on stderr, unless `--quiet`."""
        if not self.quiet:
            click.echo(text, err=True, color=self.color)

    @contextmanager
    def progress(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Yield a function that shows how far the work is, from its second second on.

        On a terminal one line is rewritten; elsewhere a line is printed every ten seconds.
        """
        started = last = time.monotonic()
        terminal = sys.stderr.isatty()
        shown = False

        def show(state: str) -> None:
            nonlocal last, shown
            now = time.monotonic()
            if self.quiet or now - started < 1 or now - last < (0.1 if terminal else 10):
                return
            last, shown = now, True
            line = f"{doing}: {state}"
            click.echo(f"\r\x1b[2K{line}" if terminal else line, err=True, nl=not terminal)

        try:
            yield show
        finally:
            if shown and terminal:
                click.echo("\r\x1b[2K", err=True, nl=False)


def common_options(function: F) -> F:
    """Add `--json`, `--quiet` and `--no-color`, and pass the command an `Output` as its first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="Print nothing but the result and errors.")
    @click.option("--no-color", is_flag=True, help="Print no colours (also: NO_COLOR).")
    @functools.wraps(function)
    def with_output(*args: Any, as_json: bool, quiet: bool, no_color: bool, **kwargs: Any) -> Any:
        color = sys.stdout.isatty() and not no_color and not os.environ.get("NO_COLOR")
        return function(Output(as_json, quiet, color), *args, **kwargs)

    return with_output  # type: ignore[return-value]  # same call, less the options that it takes care of


def human_bytes(count: int) -> str:
    """`count` bytes as people write it: `512 B`, `1.1 KB`, `50.4 MB` (powers of ten)."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("KB", "MB", "GB"):
        size /= 1000
        if size < 1000 or unit == "GB":
            return f"{size:.1f} {unit}"
    raise AssertionError("unreachable")


def table(rows: list[list[str]], right: frozenset[int] = frozenset()) -> str:
    """Lay `rows` out in columns, the first row as the heading; columns in `right` are right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: list[str]) -> str:
        cells = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in rows)
