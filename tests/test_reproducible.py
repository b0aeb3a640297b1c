"""The same programs and version give the same release, to the last byte, wherever it is made.

`tests/data/golden` holds three small programs and the CIDs that they give. These change only with a reason, which is
kept beside them: `PYTHONPATH=tests python tests/test_reproducible.py "why they change"` writes both.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import packages
from bacpack import __version__
from corpus import image_blobs
from wanting import skip

REPOSITORY = Path(__file__).parents[1]
GOLDEN = REPOSITORY / "tests" / "data" / "golden"
BLOBS = [GOLDEN / f"{name}.wasm" for name in ("one", "two", "three")]
STATED = GOLDEN / "golden.json"


@dataclass
class Place:
    """Somewhere to run bacpack: an interpreter, where its packages lie, and what surrounds it."""

    home: Path
    python: Path = Path(sys.executable)
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path = REPOSITORY
    umask: int = 0o022
    #: How many processors it may use; all if None.
    processors: int | None = None

    def run(self, *arguments: object) -> dict[str, Any]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}

        def prepare() -> None:
            if self.processors is not None:
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: self.processors])

        done = subprocess.run(
            [self.python, "-m", "bacpack.cli", *map(str, arguments), "--json"], capture_output=True, text=True,
            env={**kept, "BACPACK_HOME": str(self.home), **self.environment}, cwd=self.cwd, umask=self.umask,
            preexec_fn=prepare, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout, done.stderr)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def release(self, blobs: list[Path], folder: Path) -> dict[str, Any]:
        """Split and publish; return all that anybody could tell two releases apart by."""
        split = self.run("split", *blobs, "-o", folder)
        published = self.run("publish", folder, "--to", f"car:{folder}.car")
        files = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return {
            "root": published["root"],
            "apps": published["apps"],
            "modules": sorted(module["cid"] for module in split["modules"]),
            "car": hashlib.sha256(Path(f"{folder}.car").read_bytes()).hexdigest(),
            "files": files,
        }


def here(tmp_path: Path) -> Place:
    return Place(tmp_path / "home", environment={"PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC"})


def elsewhere(tmp_path: Path, python: Path) -> Place:
    """Everything is different that could be: also the installed files lie somewhere else."""
    installed = tmp_path / "far" / "away" / "site"
    for package in (REPOSITORY / "toolchain" / "bacpack", REPOSITORY / "node" / "bacnode"):
        shutil.copytree(package, installed / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "empty").mkdir()
    environment = {
        "PYTHONPATH": str(installed),
        "PYTHONHASHSEED": "4242",
        "LC_ALL": "C",
        "LANG": "tr_TR.UTF-8",
        "TZ": "Pacific/Kiritimati",
        "COLUMNS": "33",
        "USER": "somebody",
        "HOSTNAME": "another",
        "TMPDIR": str(tmp_path / "empty"),
    }
    return Place(tmp_path / "other home", python, environment, tmp_path / "empty", 0o077, processors=1)


def copied(blobs: list[Path], folder: Path) -> list[Path]:
    """The same files in another place, order and time."""
    folder.mkdir()
    copies = []
    for number, blob in enumerate(reversed(blobs)):
        copies.append(Path(shutil.copyfile(blob, folder / blob.name)))
        os.utime(copies[-1], (86_400 * number, 86_400 * number))
        copies[-1].chmod(0o400)
    return copies


@pytest.fixture(scope="session")
def other_python() -> Path:
    """Another version of Python, with the packages that bacpack needs; installed once for all tests."""
    return packages.other_python() or skip(f"a Python besides {sys.version_info.major}.{sys.version_info.minor}")


def test_small_programs_give_the_cids_that_are_stated(tmp_path: Path) -> None:
    stated = json.loads(STATED.read_bytes())
    made = here(tmp_path).release(BLOBS, tmp_path / "out")
    why = "CIDs changed: if that is meant, state why (see the head of this file)"
    # Modules are the same for every version of bacpack that has not changed how they are made.
    assert made["modules"] == stated["modules"], why
    assert (__version__, made["apps"], made["root"]) == (stated["version"], stated["apps"], stated["root"]), why
    assert stated["reasons"]


def test_another_process_environment_and_place_give_the_same(tmp_path: Path) -> None:
    one = here(tmp_path).release(BLOBS, tmp_path / "out")
    place = elsewhere(tmp_path, Path(sys.executable))
    assert place.release(copied(BLOBS, tmp_path / "blobs"), tmp_path / "empty" / "elsewhere") == one


@pytest.mark.long
def test_another_python_gives_the_same(tmp_path: Path, other_python: Path) -> None:
    one = here(tmp_path).release(BLOBS, tmp_path / "out")
    place = elsewhere(tmp_path, other_python)
    assert place.release(copied(BLOBS, tmp_path / "blobs"), tmp_path / "empty" / "elsewhere") == one


@pytest.mark.long
def test_one_worker_and_several_give_the_same(tmp_path: Path) -> None:
    """Large enough that they are split by several processes where there are several processors."""
    blobs = sorted(image_blobs().values(), key=lambda blob: blob.stat().st_size)[:5]
    assert sum(blob.stat().st_size for blob in blobs) > 4_000_000
    one = here(tmp_path).release(blobs, tmp_path / "out")
    place = elsewhere(tmp_path, Path(sys.executable))
    assert place.release(copied(blobs, tmp_path / "blobs"), tmp_path / "empty" / "elsewhere") == one


def write(reason: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = here(Path(folder)).release(BLOBS, Path(folder) / "out")
    reasons = json.loads(STATED.read_bytes())["reasons"] if STATED.exists() else []
    stated = {"version": __version__, **{name: made[name] for name in ("root", "apps", "modules")}}
    STATED.write_text(json.dumps({**stated, "reasons": [*reasons, f"{__version__}: {reason}"]}, indent=2) + "\n")


if __name__ == "__main__":
    write(sys.argv[1])
