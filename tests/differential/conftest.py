"""What the differential tests share: one host, and the splits of the real programs made by the real command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from commands import command
from corpus import NAMED_PROGRAM, image_blobs, rust_programs
from differential.harness import Case, Host, Outcome, differences


@dataclass(frozen=True)
class Split:
    """A folder that `bacpack split` wrote, and the JSON it printed."""

    folder: Path
    report: dict[str, Any]

    @property
    def modules(self) -> Path:
        return self.folder / "modules"

    def app(self, name: str) -> Path:
        return self.folder / f"{name}.wasm"


@dataclass(frozen=True)
class Comparison:
    """Runs each case twice, by a blob and by its split."""

    host: Host
    blobs: Mapping[str, Path]
    split: Split

    def run(self, name: str, case: Case) -> Outcome:
        """Run `case`, assert that both runs are equal, and return what they had in common."""
        blob = self.host.run(self.blobs[name], case)
        split = self.host.run(self.split.app(name), case, self.split.modules)
        assert differences(blob, split) == [], f"{name} with {list(case.args)}"
        return blob


@pytest.fixture(scope="session")
def host(pytestconfig: pytest.Config) -> Host:
    """One engine a process. What it compiles is kept in pytest's cache, also for the next run."""
    return Host(pytestconfig.cache.mkdir("wasmtime"))


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
            line = command("split", *blobs, "-o", folder, "--json")
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"bacpack split failed:\n{done.stdout}{done.stderr}"
            result.write_text(done.stdout, encoding="utf-8")
    return Split(folder, json.loads(result.read_text(encoding="utf-8")))


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


@pytest.fixture(scope="session")
def images(host: Host, split_corpus: Split) -> Comparison:
    """The image programs against their split."""
    return Comparison(host, image_blobs(), split_corpus)


@pytest.fixture(scope="session")
def rust(host: Host, split_rust: Split) -> Comparison:
    """Our programs against their split."""
    return Comparison(host, rust_programs(), split_rust)


@pytest.fixture(scope="session")
def named(host: Host, split_named: Split) -> Comparison:
    """The program with names against its split."""
    return Comparison(host, {NAMED_PROGRAM.stem: NAMED_PROGRAM}, split_named)
