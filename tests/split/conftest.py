"""One engine for all tests of splitting."""

from __future__ import annotations

import pytest

from split.harness import Comparer, World, engine


@pytest.fixture(scope="session")
def world() -> World:
    """Where programs run."""
    return World(engine())


@pytest.fixture(scope="session")
def compare(world: World) -> Comparer:
    """Splits blobs and compares each with its split."""
    return Comparer(world)
