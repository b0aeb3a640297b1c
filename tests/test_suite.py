"""The tests' own machinery: waits end, nothing is left behind, what is not run is told; and how `make` installs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from waiting import PATIENCE, line_of, started, until

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
#: What a run of tests is made of besides its tests.
MACHINERY = ("conftest.py", "leftovers.py", "wanting.py", "packages.py", "soak.py")


def test_a_wait_ends_and_says_what_for() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.1 s for this: the moon is full"):
        until(lambda: False, "the moon is full", 0.1)


def test_a_process_that_prints_nothing_is_not_waited_for() -> None:
    with (
        started([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.PIPE) as process,
        pytest.raises(AssertionError, match="it says something"),
    ):
        line_of(process.stdout, "it says something", 0.2)
    assert process.poll() is not None


RUN = """
import subprocess, sys, tempfile, threading, time
from pathlib import Path
import pytest
from wanting import skip

def test_hangs(): threading.Event().wait()
def test_leaves_a_file(): tempfile.mkstemp(prefix="lost-")
def test_leaves_a_process(tmp_path): subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
def test_writes_to_the_home_folder(): (Path.home() / ".config").mkdir(); (Path.home() / ".config" / "own").touch()
@pytest.mark.soak
def test_takes_hours(): raise AssertionError
def test_lacks_a_program(): skip("nosuch", "make nosuch")
def test_lacks_it_too(): skip("nosuch", "make nosuch")
"""


def test_a_run_fails_for_what_hangs_and_for_what_is_left_and_says_what_was_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    for name in MACHINERY:
        shutil.copy(TESTS / name, folder / name)
    (folder / "test_some.py").write_text(RUN)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers = long: begins first\n\tsoak: in make soak alone\ntimeout = 1\n"
    )
    line = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", folder]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "BACPACK_"))}
    done = subprocess.run(line, cwd=tmp_path, env=own, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 3 passed, 2 skipped" in done.stdout
    assert "Timeout (>1.0s) from pytest-timeout" in done.stdout
    left = [line for line in done.stdout.splitlines() if line.startswith("left behind: ")]
    assert len(left) == 3, left
    assert "lost-" in left[0] and "~/.config/own" in left[1] and "time.sleep(60)" in left[2]
    assert "\nnot run: 2 tests, for want of nosuch (2, make nosuch)\n" in done.stdout
    # What it had is removed all the same.
    assert not list(tmp_path.glob("**/lost-*"))


#: Stands for Python: makes an environment that holds itself, and installs slowly, saying what.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "-c "*) exit "$OLD";;
  "--version ") echo Python 3.99;;
  "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python";;
  "-m pip") echo "Collecting something"; sleep 0.5; echo "$*" >> installed; exit "$FAILS";;
esac
"""


class Install:
    """`ci/install` in a folder of its own, with a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a b"
        (self.folder / "ci").mkdir(parents=True)
        shutil.copy(REPOSITORY / "ci" / "install", self.folder / "ci" / "install")
        (self.folder / "pyproject.toml").touch()
        self.python = self.folder / "python"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)
        self.done = self.folder / ".venv" / "dev.done"

    def line(self) -> list[str]:
        return ["ci/install", ".venv/dev.done", str(self.python), "all", "--group", "dev"]

    def environment(self, *, old: int = 0, fails: int = 0) -> dict[str, str]:
        return {**os.environ, "OLD": str(old), "FAILS": str(fails)}

    def run(self, **how: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(), cwd=self.folder, env=self.environment(**how), capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip

    def installed(self) -> int:
        """How often all was installed; pip itself goes before."""
        return (self.folder / "installed").read_text().count("--group dev")


@pytest.fixture
def install(tmp_path: Path) -> Install:
    return Install(tmp_path)


def test_an_install_says_what_it_does_while_it_does_it(install: Install) -> None:
    done = install.run()
    assert (done.returncode, done.stderr) == (0, "")
    said = [
        "making .venv with Python 3.99",
        "Collecting something",
        "installing all into .venv",
        "Collecting something",
    ]
    assert all(part in line for part, line in zip(said, done.stdout.splitlines(), strict=True)), done.stdout
    assert install.done.exists()


def test_two_installs_at_once_take_turns(install: Install) -> None:
    options = {"cwd": install.folder, "env": install.environment(), "stdout": subprocess.PIPE, "text": True}
    with started(install.line(), **options) as one, started(install.line(), **options) as two:
        outs = [process.communicate(timeout=PATIENCE)[0] for process in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0]
    assert sorted(out.startswith("another make is installing; waiting for it") for out in outs) == [False, True]
    assert install.installed() == 1


def test_what_an_interrupted_install_left_is_made_anew(install: Install) -> None:
    assert install.run(fails=1).returncode == 1
    assert not install.done.exists()
    (install.folder / ".venv" / "half of a package").touch()
    done = install.run()
    assert done.returncode == 0
    assert "making .venv" in done.stdout
    assert [path.name for path in (install.folder / ".venv").iterdir()].count("half of a package") == 0


def test_a_python_that_is_too_old_is_named(install: Install) -> None:
    done = install.run(old=1)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bacpack needs Python 3.11 or later; name one: make PYTHON=python3.12" in done.stderr
    assert not (install.folder / ".venv").exists()


def test_the_pipeline_runs_with_the_variables_of_a_login_shell_and_those_of_the_index(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "make $*"; env\n')
    make.chmod(0o755)
    own = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "PIP_INDEX_URL": "http://index", "LANG": "C"}
    more = {"PYTHONUNBUFFERED": "1", "BACPACK_HOME": "/elsewhere"}
    done = subprocess.run(
        [REPOSITORY / ".ci" / "run"], env=own | more, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    said = done.stdout.splitlines()
    assert [line for line in said if line.startswith("make ")] == ["make lint", "make test"]
    assert {f"{name}={value}" for name, value in own.items()} <= set(said)
    assert not [line for line in said if line.partition("=")[0] in more]
