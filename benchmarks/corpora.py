"""The programs that are measured, in sets that share code, and what each set is split to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from measure import BACPACK, LeftOutError, run

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # programs and pictures are found where the tests find them

import corpus  # noqa: E402 - after the path is set
from corpus import rust_programs  # noqa: E402 - as above

__all__ = ["Corpus", "SplitFolder", "corpora", "image_blobs", "images", "rust_examples", "rust_programs", "split_of"]

TOOLCHAINS = ROOT / "tests" / "data" / "toolchains"
GO = ROOT / "tests" / "differential" / "go"
#: The Rust programs that are compared: five of the six.
RUST = ("csvsum", "jsonfmt", "logsearch", "thumbnail", "wordcount")


@dataclass(frozen=True)
class Corpus:
    """Programs that are split together."""

    title: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class SplitFolder:
    """A folder that `bacpack split` wrote, and the JSON it printed."""

    folder: Path
    report: dict[str, Any]

    def files(self) -> dict[str, list[bytes]]:
        """The contents of all WebAssembly files, each once, by what they are."""
        found: dict[str, list[bytes]] = {"remainder": [], "shared": [], "data": [], "environment": []}
        found["remainder"] = [Path(app["path"]).read_bytes() for app in self.report["apps"]]
        for module in self.report["modules"]:
            found[module["kind"]].append(Path(module["path"]).read_bytes())
        return found


def image_blobs() -> dict[str, Path]:
    """The image readers and writers by name; raises `LeftOutError` where they are not installed."""
    try:
        return corpus.image_blobs()
    except FileNotFoundError as error:
        raise LeftOutError(str(error)) from error


def images() -> Corpus:
    """The 42 image readers and writers."""
    return Corpus("42 image programs, C++", tuple(image_blobs().values()))


def rust_examples() -> Corpus:
    """Five of our Rust programs."""
    programs = rust_programs()
    return Corpus("5 programs of `examples/rust`", tuple(programs[name] for name in RUST))


def corpora() -> tuple[list[Corpus], list[str]]:
    """All sets that can be had here, and for each that cannot, why."""
    found, left_out = [], []
    for get in (images, rust_examples, *_pairs(), _go):
        try:
            found.append(get())
        except LeftOutError as error:
            left_out.append(str(error))
    return found, left_out


def _pairs() -> Sequence[Any]:
    names = {"c": "2 in C", "cpp": "2 in C++", "rust": "2 in Rust", "rust/lto": "2 in Rust, link-time optimisation"}
    return [
        lambda folder=folder, title=title: Corpus(title, tuple(sorted((TOOLCHAINS / folder).glob("*.wasm"))))
        for folder, title in names.items()
    ]


def _go() -> Corpus:
    command = shutil.which("go")
    if command is None:
        raise LeftOutError("programs in Go: there is no `go` here to compile them")
    known = subprocess.run([command, "tool", "dist", "list"], capture_output=True, text=True, check=True).stdout
    if "wasip1/wasm" not in known.split():
        raise LeftOutError("programs in Go: this `go` cannot compile for wasip1, as 1.21 and later can")
    folder = _scratch() / "go"
    env = os.environ | {"GOOS": "wasip1", "GOARCH": "wasm", "GOFLAGS": "-ldflags=-s", "GOTOOLCHAIN": "local"}
    for name in ("hello", "jsonsort"):
        subprocess.run([command, "build", "-o", folder / f"{name}.wasm", f"./{name}"], cwd=GO, env=env, check=True)
    return Corpus("2 in Go", tuple(sorted(folder.glob("*.wasm"))))


@cache
def split_of(programs: Corpus) -> SplitFolder:
    """Split a set with the command, once a process."""
    folder = Path(tempfile.mkdtemp(dir=_scratch()))
    done = run([BACPACK, "split", *map(str, programs.paths), "-o", str(folder), "--json", "--quiet"])
    return SplitFolder(folder, json.loads(done.stdout))


@cache
def _scratch() -> Path:
    import atexit

    folder = tempfile.mkdtemp(prefix="bacpack-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
