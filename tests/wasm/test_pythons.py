"""Every Python that bacpack may run on cuts code alike: the `re` of Debian 12's 3.11.2 has a fault that others lack."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bacpack.wasm.patterns import repeated
from corpus import rust_programs

REPOSITORY = Path(__file__).parents[2]
NAMES = [f"python3.{minor}" for minor in range(11, 16)]
#: Where a system's own Python is, when another comes before it on the PATH.
FOLDERS = (None, "/usr/bin", "/usr/local/bin")


def pythons() -> list[str]:
    found = (shutil.which(name, path=folder) for name in NAMES for folder in FOLDERS)
    return list(dict.fromkeys([sys.executable, *filter(None, found)]))


def digest(python: str) -> str:
    command = [python, "-S", "-B", REPOSITORY / "tests" / "wasm" / "cut_digest.py", *rust_programs().values()]
    done = subprocess.run(
        command,
        env={"PYTHONPATH": str(REPOSITORY / "toolchain")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip() or done.stderr


@pytest.fixture(scope="module")
def own() -> str:
    return digest(sys.executable)


@pytest.mark.parametrize("python", pythons())
def test_every_python_cuts_programs_alike(python: str, own: str) -> None:
    assert re.fullmatch("[0-9a-f]{64}", own), own
    if subprocess.run([python, "-c", ""], check=False, capture_output=True, timeout=60).returncode:
        return  # a shim of a version manager, behind which there is no such Python
    assert digest(python) == own


def test_repeats_go_back_to_where_a_body_failed() -> None:
    found = re.match(repeated(b"ab?c"), b"acab")
    assert found
    assert found.span() == (0, 2)
