"""The example as a project: a pipeline builds it, finds its budgets kept, and what was built runs by CID."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wanting import RUST, cargo, skip

WORKSPACE = Path(__file__).parents[2] / "examples" / "rust"
TARGET_FOLDER = Path(__file__).parents[2] / "build" / "cargo"


@pytest.mark.long
def test_the_pipeline_is_green_and_its_programs_run(tmp_path: Path) -> None:
    cargo()
    project = tmp_path / "example"
    shutil.copytree(WORKSPACE, project, ignore=shutil.ignore_patterns("target", "prebuilt"))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI_", "BACPACK_"))}
    environment = {**own, "CARGO_TARGET_DIR": str(TARGET_FOLDER), "BACPACK_HOME": str(tmp_path / "home")}

    def bacpack(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bacpack.cli", *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    done = bacpack("ci", "--format", "text", "--json")
    if '"no-rust-target"' in done.stdout:
        skip(RUST, "rustup target add wasm32-wasip1")
    if "a later Rust builds this" in done.stdout:
        skip("a later Rust")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report["apps"]) == {"checksum", "csvsum", "jsonfmt", "logsearch", "thumbnail", "wordcount"}
    assert report["exceeded"] == []
    text = project / "words.txt"
    text.write_text("one two two\n")
    ran = bacpack("run", "--offline", "--dir", ".", report["apps"]["wordcount"], "--top", "1", "words.txt")
    assert ran.stdout == "       1        3       12 words.txt\n       2 two\n"
    assert (project / "target" / "bacpack.car").stat().st_size > 100_000
