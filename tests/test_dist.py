"""What `make dist` builds: the same bytes from the same sources, wherever, whenever and by whom."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bacpack import __version__

REPOSITORY = Path(__file__).parents[1]
WHEEL, SOURCES = (f"bacpack_wasm-{__version__}{end}" for end in ("-py3-none-any.whl", ".tar.gz"))
BUILD = ("-m", "hatchling", "build", "-d", "dist")


def copy_of_sources(folder: Path) -> Path:
    """What of the repository goes into a distribution, as somebody else would have it, and some of what does not."""
    for name in ("node", "templates", "toolchain", "ci"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", ".gitignore"):
        shutil.copyfile(REPOSITORY / name, folder / name)
    return folder


def build(folder: Path, umask: int, time: int, zone: str) -> dict[str, bytes]:
    """Build both; return their bytes by name. `time` is when the files were last changed."""
    for path in folder.rglob("*"):
        os.utime(path, (time, time))
        path.chmod(0o777 & ~umask if path.is_dir() else 0o666 & ~umask)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "TZ": zone, "PYTHONHASHSEED": str(umask)}
    done = subprocess.run(
        [sys.executable, *BUILD], cwd=folder, env=environment, umask=umask, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in (folder / "dist").iterdir()}


def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    assert find_spec("hatchling"), "hatchling is missing: `make test` installs it"
    one = build(copy_of_sources(tmp_path / "one"), 0o022, 1_600_000_000, "UTC")
    other = copy_of_sources(tmp_path / "far away" / "another")
    (other / "toolchain" / "bacpack" / "__pycache__").mkdir()
    (other / "toolchain" / "bacpack" / "__pycache__" / "home.cpython-311.pyc").write_bytes(b"compiled")
    (other / "build").mkdir()
    (other / "build" / "left.over").touch()
    assert build(other, 0o077, 1_750_000_000, "Pacific/Kiritimati") == one
    assert sorted(one) == [WHEEL, SOURCES]

    # The source distribution gives that wheel, too.
    with tarfile.open(tmp_path / "one" / "dist" / SOURCES) as archive:
        # Python before 3.11.4 has no filters.
        safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path / "unpacked", **safely)
    [unpacked] = (tmp_path / "unpacked").iterdir()
    again = build(unpacked, 0o022, 1_650_000_000, "UTC")
    assert again[WHEEL] == one[WHEEL]


def test_the_wheel_holds_all_that_runs(tmp_path: Path) -> None:
    folder = copy_of_sources(tmp_path / "sources")
    built = build(folder, 0o022, 1_600_000_000, "UTC")
    (tmp_path / "it.whl").write_bytes(built[WHEEL])
    with zipfile.ZipFile(tmp_path / "it.whl") as archive:
        inside = {name: hashlib.sha256(archive.read(name)).digest() for name in archive.namelist()}
    for source, prefix in (
        ("toolchain/bacpack", "bacpack"),
        ("node/bacnode", "bacnode"),
        ("templates", "bacpack/templates"),
    ):
        for path in (folder / source).rglob("*"):
            if path.is_file():
                name = f"{prefix}/{path.relative_to(folder / source)}"
                assert inside.pop(name) == hashlib.sha256(path.read_bytes()).digest()
    assert sorted(name.rpartition("/")[2] for name in inside) == [
        "LICENSE", "LICENSE", "METADATA", "RECORD", "WHEEL", "entry_points.txt",
    ]  # fmt: skip


def test_make_builds_so() -> None:
    done = subprocess.run(
        ["make", "-n", "dist"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert " ".join(BUILD) in done.stdout
    assert "git log -1 --format=%ct" in done.stdout
