"""What of a job is in files: what it is given, what it writes, and what is kept of that.

jobs/<id>/in/       the files it was submitted with
jobs/<id>/root/     what the program sees as `/`; made anew for each attempt, and gone when the job ended
jobs/<id>/out/      the outputs that were asked for
jobs/<id>/stdin, stdout, stderr
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from bacnode.execution.job import OutputFile, Submission, safe_path
from bacpack.files import write_durably


class JobFolder:
    """The folder of one job. No method follows a symbolic link that a program made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = path / "in"
        self.root = path / "root"
        self.outputs = path / "out"
        self.stdin, self.stdout, self.stderr = path / "stdin", path / "stdout", path / "stderr"

    def create(self, submission: Submission) -> None:
        """Write what was submitted inline, durably."""
        self.path.mkdir(mode=0o700, parents=True)
        write_durably(self.stdin, (submission.stdin.inline() if submission.stdin else None) or b"")
        for file in submission.files:
            content = file.inline()
            if content is not None:
                write_durably(self.input(file.path), content)

    def input(self, path: str) -> Path:
        """Where the input that the program sees at `path` is kept."""
        return self.inputs.joinpath(*safe_path(path))

    def begin(self) -> None:
        """Make the program's root, as if nothing had run here before."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self.inputs.is_dir():
            shutil.copytree(self.inputs, self.root)
        else:
            self.root.mkdir(mode=0o700)
        for stream in (self.stdout, self.stderr):
            stream.write_bytes(b"")

    def collect(self, wanted: Sequence[str], max_files: int, max_bytes: int) -> list[OutputFile]:
        """Keep what was asked for, as far as the limits allow, and remove the rest of what the program left."""
        shutil.rmtree(self.outputs, ignore_errors=True)
        kept: dict[str, OutputFile] = {}
        for path in wanted:
            for names, size in list(_regular_files(self.root, safe_path(path))):
                name = "/".join(names)
                if len(kept) >= max_files or size > max_bytes:
                    continue
                target = self.outputs.joinpath(*names)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.root.joinpath(*names).rename(target)
                kept[name] = OutputFile(path=name, bytes=size)
                max_bytes -= size
        shutil.rmtree(self.root, ignore_errors=True)
        return [kept[name] for name in sorted(kept)]

    def cut(self, max_bytes: int) -> tuple[int, int]:
        """Cut what the program printed to so many bytes together; return how many of each stream are left."""
        sizes = []
        for stream in (self.stdout, self.stderr):
            size = stream.stat().st_size if stream.exists() else 0
            if size > max_bytes:
                os.truncate(stream, max_bytes)
                size = max_bytes
            sizes.append(size)
            max_bytes -= size
        return sizes[0], sizes[1]

    def delete(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)


def usage(root: Path, max_files: int) -> tuple[int, int]:
    """Return how many files and folders are below `root`, no more than one above `max_files`, and their bytes."""
    count = size = 0
    waiting = [os.fspath(root)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if count > max_files:
                        return count, size
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        # Blocks, not length: a file may claim a length and take no room.
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            # It was removed meanwhile.
            continue
    return count, size


def _regular_files(root: Path, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the regular files at or below a path, with their sizes; what is reached through a link is none."""
    path = root
    for position, name in enumerate(names):
        path = path / name
        try:
            status = path.lstat()
        except OSError:
            return
        if stat.S_ISREG(status.st_mode) and position == len(names) - 1:
            yield names, status.st_size
            return
        if not stat.S_ISDIR(status.st_mode):
            return
    for folder, _, files in os.walk(path, followlinks=False):
        for file in sorted(files):
            found = Path(folder, file)
            status = found.lstat()
            if stat.S_ISREG(status.st_mode):
                yield found.relative_to(root).parts, status.st_size
