"""Fixtures of the node's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.harness import Command
from node.server import FileServer


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The real command, with an empty store."""
    return Command(tmp_path / "home")


@pytest.fixture
def server() -> Iterator[FileServer]:
    """An HTTP server on loopback."""
    with FileServer() as running:
        yield running
