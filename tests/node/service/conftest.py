"""Fixtures of the service's tests: one node for all that only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.service.dags import Dag
from node.service.harness import Node


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
