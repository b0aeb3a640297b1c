"""What some tests need and not every machine has: tests without it are skipped, and counted in the last line of a run.

A test is skipped for want of a thing alone. Where that is there and does not work, the test fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

from packages import npm_packages, program

_REASON = "for want of "
#: What tests that build for WASI need; without the target a cargo is not enough.
RUST = "Rust for wasm32-wasip1"
KUBO = ("ipfs", "`make interop`")


def wanting(what: str, how: str = "") -> str:
    """The reason for a skip: what is wanting, and how to get it."""
    return f"{_REASON}{what}{f': {how}' if how else ''}"


def skip(what: str, how: str = "", *, module: bool = False) -> NoReturn:
    """Skip a test, or all of a module that is being imported."""
    pytest.skip(wanting(what, how), allow_module_level=module)


def needed(name: str, how: str = "") -> str:
    """The path of a program without which a test is skipped."""
    return program(name) or skip(name, how)


def npm(name: str) -> Path:
    """A folder with packages of npm."""
    try:
        return npm_packages(name)
    except subprocess.SubprocessError:
        skip("packages of npm", "its registry does not answer")


def cargo() -> str:
    """The cargo of this machine, or the one that `CARGO` names."""
    return shutil.which(os.environ.get("CARGO", "cargo")) or skip(RUST)


def not_run(skipped: Iterable[pytest.TestReport | pytest.CollectReport], root: Path) -> str:
    """One line that says how many tests were not run, and for want of what; empty if none was skipped."""
    counts: Counter[str] = Counter()
    for report in skipped:
        assert isinstance(report.longrepr, tuple)
        reason = report.longrepr[2].removeprefix("Skipped: ").removeprefix(_REASON)
        counts[reason] += 1
        if isinstance(report, pytest.CollectReport):
            counts[reason] += len(re.findall(r"^def test_", (root / report.nodeid).read_text(), re.MULTILINE)) - 1
    if not counts:
        return ""
    wants = []
    for reason, count in sorted(counts.items()):
        what, _, how = reason.partition(": ")
        wants.append(f"{what} ({count}{f', {how}' if how else ''})")
    return f"not run: {counts.total()} tests, for want of {', '.join(wants)}"
