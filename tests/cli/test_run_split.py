"""A split program under `bacpack run`: the caller cannot tell it from its blob, wherever its modules come from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus import rust_programs
from node.harness import Command

PROGRAMS = {name: path for name, path in rust_programs().items() if name in ("wordcount", "logsearch", "jsonfmt")}


class Release:
    """Three of our programs: split, packed, and brought into a store by CID."""

    def __init__(self, folder: Path) -> None:
        self.command = Command(folder / "home")
        self.folder = folder / "out"
        self.car = folder / "release.car"
        self._ok("split", *PROGRAMS.values(), "-o", self.folder)
        self._ok("pack", self.folder, "-o", self.car)
        self._ok("fetch", self.car)
        apps = json.loads((self.folder / "bacpack.json").read_bytes())["apps"]
        self.cids = {app["name"]: app["cid"] for app in apps}

    def _ok(self, *arguments: object) -> None:
        done = self.command(*arguments)
        assert done.returncode == 0, done.stderr.decode()

    def references(self, name: str) -> Iterator[object]:
        yield self.folder / f"{name}.wasm"
        yield f"{self.car}/{name}.wasm"
        yield self.cids[name]
        yield f"ipfs://{self.cids[name]}"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return Release(tmp_path_factory.mktemp("release"))


@pytest.mark.parametrize(
    ("name", "arguments", "stdin"),
    [
        ("wordcount", ["--top", "2"], b"one two two\n"),
        ("wordcount", ["none.txt"], b""),
        ("wordcount", ["--panic"], b""),
        ("logsearch", ["t?o"], b"one two three\n"),
        ("logsearch", ["nowhere"], b"one\n"),
        ("jsonfmt", [], b'{"b": [1, 2.5e3, null], "a": "x"}'),
        ("jsonfmt", [], b'{"b": [1, 2.5e3, nul'),
    ],
)
def test_the_caller_cannot_tell_a_split_from_its_blob(
    release: Release, name: str, arguments: list[str], stdin: bytes
) -> None:
    def outcome(ref: object) -> tuple[int, bytes, bytes]:
        done = release.command("run", "--offline", ref, *arguments, stdin=stdin)
        return done.returncode, done.stdout, done.stderr

    assert outcome(release.cids[name]) == outcome(PROGRAMS[name])


def test_too_little_memory_ends_both_alike(release: Release) -> None:
    statuses = [
        release.command("run", "--max-memory", "64KiB", ref).returncode
        for ref in (PROGRAMS["wordcount"], release.folder / "wordcount.wasm")
    ]
    assert statuses == [134, 134]


def test_the_report_says_where_each_module_came_from(release: Release, tmp_path: Path) -> None:
    sources = []
    for ref in release.references("wordcount"):
        assert release.command("run", "--report", tmp_path / "run.json", ref, stdin=b"one\n").returncode == 0
        modules = json.loads((tmp_path / "run.json").read_bytes())["modules"]
        assert modules[-1]["name"] == "wordcount.wasm"
        assert len(modules) > 2 and all(module["verified"] for module in modules)
        (source,) = {module["source"] for module in modules}
        sources.append(source)
    assert sources == ["file", "file", "store", "store"]
