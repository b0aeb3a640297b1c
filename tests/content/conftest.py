"""Fixtures of the content tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from content.harness import Bacpack, Oracles


@pytest.fixture
def bacpack(tmp_path: Path) -> Bacpack:
    """The real command, with an empty store."""
    return Bacpack(tmp_path / "home")


@pytest.fixture(scope="session")
def oracles() -> Oracles:
    """Implementations from npm to compare with."""
    return Oracles()
