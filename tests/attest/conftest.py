"""Fixtures of the tests of statements: blobs to split, and keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from attest.harness import Keys
from content.conftest import bacpack
from split.harness import both
from split.test_outputs import TEXT
from wasmtools import assemble

__all__ = ["bacpack"]


@pytest.fixture
def blobs(tmp_path: Path) -> list[Path]:
    """Two programs that share code."""
    folder = tmp_path / "blobs"
    folder.mkdir()
    paths = [folder / "first.wasm", folder / "second.wasm"]
    for path, text in zip(paths, both(TEXT), strict=True):
        path.write_bytes(assemble(text))
    return paths


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Keys as the guide makes them."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("own", "other"):
        private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return Keys(folder)
