"""Real modules to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus import NAMED_PROGRAM, image_blobs, rust_programs


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """Every real program there is."""
    return image_blobs() | rust_programs() | {NAMED_PROGRAM.stem: NAMED_PROGRAM}


@pytest.fixture(scope="session")
def sample(programs: dict[str, Path]) -> list[bytes]:
    """Two of them to decode whole: one in C++ and one in Rust."""
    return [programs[name].read_bytes() for name in ("png-read-image.wasi", NAMED_PROGRAM.stem)]
