"""Fixtures of the node's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bacpack.content.store.block_store import BlockStore
from content.conftest import bacpack
from node.dags import Dag
from node.harness import Command
from node.server import FileServer
from node.serving import Node

__all__ = ["bacpack"]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The real command, with an empty store."""
    return Command(tmp_path / "home")


@pytest.fixture
def server() -> Iterator[FileServer]:
    """An HTTP server on loopback."""
    with FileServer() as running:
        yield running


@pytest.fixture
def serve() -> Iterator[ExitStack]:
    """Servers entered here end with the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    """An empty store."""
    return BlockStore(tmp_path / "store")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node, for content that tests add to its store."""
    with Node(tmp_path_factory.mktemp("served")) as node:
        yield node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node with an empty store."""
    with Node(tmp_path / "store") as running:
        yield running


@pytest.fixture
def dag() -> Dag:
    """Nothing yet, to build in."""
    return Dag()
