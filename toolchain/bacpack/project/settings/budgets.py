"""What a project holds its builds to, and where in `bacpack.toml` it says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bacpack.manifest import Manifest
from bacpack.project.settings.config import BudgetsTable


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A budget that a build does not keep."""

    #: Its key in `[budgets]`.
    key: str
    message: str
    #: Bytes, and how many are allowed.
    found: int
    allowed: int


def exceeded(budgets: BudgetsTable, manifest: Manifest, new_bytes: int) -> Iterator[Exceeded]:
    """Yield the budgets that are not kept."""
    allowed = budgets.max_new_bytes
    if allowed is not None and new_bytes > allowed:
        yield Exceeded("max-new-bytes", f"{new_bytes} bytes are new, {allowed} are allowed", new_bytes, allowed)
    allowed = budgets.max_closure_bytes
    for app in manifest.apps:
        if allowed is not None and app.closure_bytes > allowed:
            message = f"`{app.name}` takes {app.closure_bytes} bytes with its modules, {allowed} are allowed"
            yield Exceeded("max-closure-bytes", message, app.closure_bytes, allowed)


def line_of(text: str, table: str, key: str | None = None) -> int:
    """The line of a key in a configuration, or that of its table; 1 if neither is there."""
    found, inside = 1, False
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            inside = header[1] == table
            found = number if inside else found
        elif inside and key is not None and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return number
    return found
