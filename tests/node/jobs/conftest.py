"""Fixtures of the tests of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.jobs.harness import JobNode


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobNode]:
    """A node for all tests of a module, with two workers."""
    with JobNode(tmp_path_factory.mktemp("node") / "store", "--workers", 2) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"
