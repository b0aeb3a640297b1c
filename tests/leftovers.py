"""What a run of the tests leaves behind: it has a temporary folder and a home of its own, both empty in the end.

Whatever is started inherits both, so that what is left of it is found: files there, and processes that name the folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: Where tools keep what they need, below the real home, by the variable that says so.
_KEPT = {"CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup", "PYENV_ROOT": ".pyenv"}
#: Where tools put what makes the next run quicker, below `build/`.
_CACHES = {
    "ZIG_GLOBAL_CACHE_DIR": "zig", "ZIG_LOCAL_CACHE_DIR": "zig-local", "GOCACHE": "go", "GOMODCACHE": "go-modules",
    "npm_config_cache": "npm-cache", "PIP_CACHE_DIR": "pip-cache",
}  # fmt: skip
#: Seconds that a process may take to end after the tests.
_PATIENCE = 5


class Place:
    """The folder of one run, removed at its end unless tests failed."""

    def __init__(self, build: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bacpack-tests-")).resolve()
        self.temporary, self.home = self.folder / "tmp", self.folder / "home"
        for folder in (self.temporary, self.home):
            folder.mkdir()
        for variable, name in _KEPT.items():
            if (Path.home() / name).is_dir():
                os.environ.setdefault(variable, str(Path.home() / name))
        for variable, name in _CACHES.items():
            os.environ.setdefault(variable, str(build / "cache" / name))
        for variable in [name for name in os.environ if name.startswith("XDG_")]:
            del os.environ[variable]
        os.environ |= {"HOME": str(self.home), "TMPDIR": str(self.temporary)}
        tempfile.tempdir = None

    def leftovers(self) -> list[str]:
        """Files that are there, besides pytest's own folder, and processes that are still running, which are killed."""
        left = [f"a file: {path}" for path in self.temporary.iterdir() if not path.name.startswith("pytest-of-")]
        left += [f"a file: ~/{path.relative_to(self.home)}" for path in self.home.rglob("*") if not path.is_dir()]
        end = time.monotonic() + _PATIENCE
        while (running := dict(self._running())) and time.monotonic() < end:
            time.sleep(0.1)
        for process in running:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return [*left, *(f"a process: {line}" for line in running.values())]

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _running(self) -> Iterator[tuple[int, str]]:
        """Processes that were started by tests, and their command lines."""
        name = os.fsencode(self.folder)
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                line = (process / "cmdline").read_bytes()  # empty for one that has ended and is not forgotten yet
                # Python's own helper ends with whom it helps, which may be this process.
                if int(process.name) == os.getpid() or not line or b"multiprocessing.resource_tracker" in line:
                    continue
                if name in line or name in _environment(process):
                    yield int(process.name), line.replace(bytes(1), b" ").decode(errors="replace")[:200]


def _environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:  # another user's, or one that shows nothing of itself
        return b""
