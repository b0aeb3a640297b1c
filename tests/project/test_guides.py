"""Guides that build Rust print what a reader gets."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from project.conftest import REPOSITORY, TARGET_FOLDER, Rust
from wanting import skip


@pytest.mark.long
@pytest.mark.timeout(900)
def test_guides_of_rust_print_what_a_reader_gets(toolchain: Rust) -> None:
    if toolchain.target != "wasm32-wasip1":
        skip("Rust 1.78")
    environment = {**os.environ, "CARGO": toolchain.cargo, "CARGO_TARGET_DIR": str(TARGET_FOLDER)}
    follow = [sys.executable, REPOSITORY / "docs" / "follow.py", "--rust"]
    done = subprocess.run(follow, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{done.stderr}\nfix the guides; `python docs/follow.py --rust --write` sets figures"
