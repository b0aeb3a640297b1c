"""The prebuilt Rust programs are what their record says, and what their sources say."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from corpus import NAMED_PROGRAM, PREBUILT, rust_programs
from differential.harness import Case, Host, differences
from wanting import RUST, cargo, skip

WORKSPACE = PREBUILT.parent
RECORD = json.loads((PREBUILT / "build.json").read_text(encoding="utf-8"))
#: One run of each program that reads, computes and writes.
SAMPLES = {
    "checksum": Case(["a", "b"], files={"a": b"abc", "b": bytes(5000)}),
    "csvsum": Case(["--by", "k", "--sum", "v"], stdin=b"k,v\nx,1.5\ny,2\nx,3\n"),
    "jsonfmt": Case(["--in-place", "a"], files={"a": b'{"x": [1, 2.5, "\\u00e9"], "y": {}}'}),
    "logsearch": Case(["-i", "w*d", "a"], files={"a": b"hello World\nnothing\n"}),
    "thumbnail": Case(["--size", "2", "a", "b"], files={"a": b"P2 4 4 15 " + b"3 9 " * 8}),
    "wordcount": Case(["--top", "2"], stdin=b"a b a\nc\n"),
}


def test_the_record_names_the_files_that_are_there() -> None:
    assert {entry["file"] for entry in RECORD["files"]} == {path.name for path in PREBUILT.glob("*.wasm")}
    assert set(SAMPLES) == set(rust_programs())


@pytest.mark.parametrize("entry", RECORD["files"], ids=lambda entry: str(entry["file"]))
def test_a_file_is_what_its_record_says(entry: Mapping[str, str | int]) -> None:
    data = (PREBUILT / str(entry["file"])).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])


def test_only_the_named_program_has_names() -> None:
    names = {path.stem for path in PREBUILT.glob("*.wasm") if b"\x04name" in path.read_bytes()}
    assert names == {NAMED_PROGRAM.stem}
    for path in PREBUILT.glob("*.wasm"):
        assert b".debug_" not in path.read_bytes(), path


def release_in(text: str, after: str) -> tuple[int, int]:
    """The first release number that follows the word `after`."""
    found = re.search(rf"{after}\D*(\d+)\.(\d+)", text)
    assert found is not None, f"no release in {text!r}"
    return int(found[1]), int(found[2])


def release_of(cargo: str) -> tuple[int, int]:
    return release_in(subprocess.run([cargo, "version"], capture_output=True, text=True, check=True).stdout, "cargo")


def test_the_programs_built_anew_behave_as_the_prebuilt_ones(tmp_path: Path) -> None:
    oldest = release_in((WORKSPACE / "Cargo.toml").read_text(encoding="utf-8"), "rust-version")
    if release_of(cargo()) < oldest:
        skip(f"Rust {'.'.join(map(str, oldest))}")
    # What is compiled stays in the workspace, as after `cargo build`: std, where it comes as source, takes a minute.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(WORKSPACE / "target")}
    command = [sys.executable, str(WORKSPACE / "build.py"), str(tmp_path)]
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "target may not be installed" in built.stderr:
        skip(RUST, f"rustup target add {RECORD['target']}")
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr
    host = Host()
    for name, case in SAMPLES.items():
        prebuilt = host.run(PREBUILT / f"{name}.wasm", case)
        assert prebuilt.exit_code == 0
        assert differences(prebuilt, host.run(tmp_path / f"{name}.wasm", case)) == []
