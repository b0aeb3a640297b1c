"""A disk that is soon full, in a mount namespace of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from commands import environment
from wanting import skip

#: The exit code of a script that could not mount.
CANNOT_MOUNT = 99


def run_on_small_disk(disk: Path, script: str, line: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose arguments are a command line, with the store on a file system of 2 MiB at `disk`.

    Skips the test where nothing can be mounted.
    """
    disk.mkdir(exist_ok=True)
    script = f"mount -t tmpfs -o size=2m tmpfs {disk} || exit {CANNOT_MOUNT}\n{script}"
    done = subprocess.run(
        ["unshare", "--mount", "--user", "--map-root-user", "sh", "-c", script, "sh", *line],
        env=environment(disk / "home"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == CANNOT_MOUNT or "unshare" in done.stderr:
        skip("the right to mount")
    return done
