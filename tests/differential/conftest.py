"""What the differential tests share: one host, and the splits of the real programs made by the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from corpus import NAMED_PROGRAM, image_blobs, rust_programs
from differential.harness import Host


@dataclass(frozen=True)
class Split:
    """A folder that `bacpack split` wrote."""

    folder: Path

    @property
    def modules(self) -> Path:
        return self.folder / "modules"

    def app(self, name: str) -> Path:
        return self.folder / f"{name}.wasm"


@pytest.fixture(scope="session")
def host(pytestconfig: pytest.Config) -> Host:
    """One engine a process. What it compiles is kept in pytest's cache, also for the next run."""
    folder = pytestconfig.cache.mkdir("wasmtime")
    config = folder / "cache.toml"
    with FileLock(folder / "lock"):
        config.write_text(f"[cache]\ndirectory = {json.dumps(str(folder / 'compiled'))}\n", encoding="utf-8")
    return Host(config)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that its xdist workers share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def split_once(blobs: Iterable[Path], folder: Path) -> Split:
    """Split `blobs` into `folder`, unless another worker has; the command's JSON is kept beside it."""
    result = folder.with_suffix(".json")
    with FileLock(folder.with_suffix(".lock")):
        if not result.exists():
            command = [sys.executable, "-m", "bacpack.cli", "split", *map(str, blobs), "-o", str(folder), "--json"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"bacpack split failed:\n{done.stdout}{done.stderr}"
            result.write_text(done.stdout, encoding="utf-8")
    return Split(folder)


@pytest.fixture(scope="session")
def split_corpus(shared_folder: Path) -> Split:
    """The 42 image programs, split together."""
    return split_once(image_blobs().values(), shared_folder / "split-corpus")


@pytest.fixture(scope="session")
def split_rust(shared_folder: Path) -> Split:
    """Our six Rust programs, split together."""
    return split_once(rust_programs().values(), shared_folder / "split-rust")


@pytest.fixture(scope="session")
def split_named(shared_folder: Path) -> Split:
    """One Rust program, split alone along its names."""
    return split_once([NAMED_PROGRAM], shared_folder / "split-named")
