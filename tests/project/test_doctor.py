"""`bacpack doctor`: what it says of the engine that is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from bacpack.installed import line_for_package
from node.jobs.test_engine import installed

ROOT = Path(__file__).parents[2]


def _engine(folder: Path, first: str = "") -> tuple[int, dict[str, str]]:
    line = [sys.executable, "-c", f"{first}\nfrom bacpack.cli import main; main()", "doctor", "--json"]
    done = subprocess.run(line, cwd=folder, env=os.environ, capture_output=True, check=False, timeout=60)
    found = json.loads(done.stdout)
    (check,) = [check for check in found["checks"] if check["name"] == "wasmtime"]
    return done.returncode, check


def test_doctor_names_the_holes_of_the_engine_and_what_mends_them(tmp_path: Path) -> None:
    status, check = _engine(tmp_path, installed(tmp_path, "48.0.0"))
    assert (status, check["status"]) == (1, "missing")
    assert check["found"].startswith("48.0.0 lets programs reach what they were not given: ")
    assert "GHSA-m9f7-9w4p-gv38 (files outside of the folders given)" in check["found"]
    assert check["mend"] == line_for_package("wasmtime>=50.0.1")
    assert "wasmtime>=50.0.1" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_doctor_finds_nothing_wrong_with_the_engine_that_tests_run_with(tmp_path: Path) -> None:
    _, check = _engine(tmp_path)
    assert (check["status"], check["mend"]) == ("ok", None)
