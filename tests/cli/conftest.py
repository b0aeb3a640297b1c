"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from differential.conftest import host
from node.conftest import command, server

__all__ = ["command", "host", "server"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a test's own."""
    made = tmp_path / "work"
    made.mkdir()
    return made
