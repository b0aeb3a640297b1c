"""Follow the guides: run every command that they print, in their order, and compare what comes.

    python docs/follow.py            say where a guide prints something else than a reader would see
    python docs/follow.py --write    put what came into the guides
    python docs/follow.py --rust     the same for those that build Rust, also with --write
    python docs/follow.py --programs DIR    with the `bacpack` of that folder

Sizes and counts must be those that come, and so must the picture of a split. Times, ports and CIDs differ from one
machine or key to the next, so only `--write` cares for them; for Rust also sizes. In a guide `…` on its own line stands
for lines left out, at the end of a line for the rest of it, and inside a CID for its middle.

A guide names at its head, after **Needs**, the programs and extras that not every machine has. One whose needs are not
met is not run, and named at the end. No command may take longer than `--limit` seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType

REPOSITORY = Path(__file__).resolve().parents[1]
GUIDES = (
    "README.md",
    *(
        f"docs/guides/{name}.md"
        for name in (
            "getting-started",
            "split",
            "publish",
            "fetch",
            "provenance",
            "run",
            "node",
            "node-jobs",
            "peers",
            "scheduling",
        )
    ),
)
#: Guides that need a Rust for WASI, by the shell that they are followed in.
RUST_GUIDES = (("docs/guides/rust-projects.md", "docs/guides/ci.md"), ("examples/rust/README.md",))
#: A picture of the folder `out`, and the guide that makes this.
PICTURE, DRAWN_AFTER = REPOSITORY / "docs" / "_static" / "treemap.svg", "docs/guides/getting-started.md"
#: Commands that set a machine up; whoever runs this has done so.
SET_UP = ("apt-get ", "make ", "rustup ", ". .venv/")
#: Seconds for one command; the first one that builds Rust may compile its standard library.
LIMIT, RUST_LIMIT = 180, 900

_BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
_CID = re.compile(r"\b(ba[a-z2-7]{8})[a-z2-7]{10,}([a-z2-7]{6})(?![a-z2-7])|\bba[a-z2-7]{5,10}…[a-z2-7]{0,8}")
#: How much shorter a CID is as the guides print it.
_SHORTER = 59 - 17
#: Ports, as the guides call them: others are used, so that two can follow them at once.
_PORT = re.compile(r"\b83\d\d\b")
_FIGURE = re.compile(r"\d[\d.,:TZ-]*( [KM]?B\b)?")


class TookTooLongError(Exception):
    """A command did not come to its end: says which, and what it had printed."""


class Shell:
    """One shell for all commands, in a folder that looks like the repository as it is checked out."""

    def __init__(self, folder: Path, programs: Path, limit: float) -> None:
        self._folder = folder.resolve()
        self._limit = limit
        self._ports: dict[str, str] = {}
        built = shutil.ignore_patterns("target", "__pycache__")
        shutil.copytree(REPOSITORY / "examples", folder / "examples", ignore=built)
        # As a reader's shell: nothing that is set for bacpack or Python.
        own = {name: value for name, value in os.environ.items() if not name.startswith(("BACPACK_", "PYTHON"))}
        # On a slow machine a line about it would stand between those of the guides.
        own |= {
            f"BACPACK_{name}_PROGRESS": "quiet"
            for name in ("SPLIT", "BUILD", "CI", "PUBLISH", "PACK", "FETCH", "VERIFY", "SUBMIT")
        }
        own |= {"PATH": f"{programs}:{os.environ['PATH']}", "BACPACK_HOME": str(folder / "home")}
        own["LC_ALL"] = "C.UTF-8"
        self._environment = own
        self._bash = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, env=own,
            start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End the shell and all that it started."""
        for end in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._bash.pid, end)
            with suppress(subprocess.TimeoutExpired):
                self._bash.communicate(timeout=5)

    def lacks(self, guide: str) -> list[str]:
        """What a guide says at its head that it needs, and is not here."""
        head = re.search(r"^\*\*Needs\*\* (.*?)\n\n", guide, re.DOTALL | re.MULTILINE)
        if head is None:
            return []
        named = re.findall(r"the programs? ((?:`[\w-]+`(?:, | and )?)+)", head[1].replace("\n", " "))
        programs = re.findall(r"`([\w-]+)`", " ".join(named))
        lacking = [name for name in programs if shutil.which(name, path=self._environment["PATH"]) is None]
        extras = re.findall(r"\[`(\w+)`\]\([^)]*#extras\)", head[1])
        return lacking + [f"the extra {extra}" for extra in extras if extra not in self._extras]

    @cached_property
    def _extras(self) -> set[str]:
        line = ["bacpack", "doctor", "--json"]
        done = subprocess.run(line, env=self._environment, cwd=self._folder, stdout=subprocess.PIPE, check=False)
        if not done.stdout:
            sys.exit(f"`bacpack doctor` does not run here; what is first on the PATH is {self._environment['PATH']}")
        return {check["name"] for check in json.loads(done.stdout)["checks"] if check["status"] == "ok"}

    def run(self, command: str) -> list[str]:
        """Run a command; return the lines that it prints, with folder and ports called as a reader's might be."""
        assert self._bash.stdin
        command = _PORT.sub(lambda port: self._ports.setdefault(port[0], _free_port()), command)
        # The status is kept for a command that asks for it.
        self._bash.stdin.write(f"{command}\nstatus=$?; echo; echo =done=; (exit $status)\n".encode())
        self._bash.stdin.flush()
        printed = self._until(b"\n=done=\n", command).decode().replace(str(self._folder), "/home/me")
        for port, free in self._ports.items():
            printed = re.sub(rf"\b{free}\b", port, printed)
        return printed.splitlines()

    def _until(self, mark: bytes, command: str) -> bytes:
        """All that is printed before a mark."""
        assert self._bash.stdout
        printed = b""
        end = time.monotonic() + self._limit
        while not printed.endswith(mark):
            ready, _, _ = select.select([self._bash.stdout], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self._bash.stdout.fileno(), 65536) if ready else b""
            if not chunk:
                why = f"did not end within {self._limit:g} s" if not ready else "ended the shell"
                raise TookTooLongError(f"$ {command}\n{printed.decode(errors='replace')}(it {why})")
            printed += chunk
        return printed[: -len(mark)]


def _free_port() -> str:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return str(tried.getsockname()[1])


def shortened(line: str) -> str:
    """A line as the guides print it: CIDs cut in the middle, and the columns after them moved along."""
    short = _CID.sub(lambda cid: f"{cid[1]}…{cid[2]}" if cid[1] else cid[0], line)
    return re.sub(r" {50,}", lambda spaces: spaces[0][_SHORTER:], short).rstrip()


def renewed(printed: str, came: str) -> str:
    """What a guide's line becomes: the line that came, cut off where the guide's is."""
    if not printed.endswith("…"):
        return shortened(came)
    kept = re.match(rf"\s*(\S+\s+){{{len(printed[:-1].split())}}}", shortened(came))
    return f"{kept[0]}…" if kept and is_stale(printed, came) else printed


def masked(line: str) -> str:
    """What of a line must stay the same: no figure, no CID, no width."""
    return " ".join(_FIGURE.sub("0", _CID.sub("CID", line)).split())


def alike(printed: str, came: str) -> bool:
    """Whether a guide's line stands for one that came."""
    if printed.endswith("…"):
        return masked(came).startswith(masked(printed[:-1]))
    return masked(printed) == masked(came)


def sizes(line: str) -> list[str]:
    """What of a line is the same on every machine: how much, and how many."""
    return re.findall(r"\d(?:[\d.,]*\d)?(?: ?(?:[KM]?B\b|%)| (?!m?s\b)[a-z]+)", line)


def aligned(printed: list[str], came: list[str]) -> list[tuple[str, str]] | None:
    """Pair each line of a guide with the one that came in its place, or return None when they differ."""
    pairs: list[tuple[str, str]] = []
    rest = list(came)
    skipping = False
    for line in printed:
        if line.strip() == "…":
            skipping = True
            pairs.append((line, line))
            continue
        while skipping and rest and not alike(line, rest[0]):
            rest.pop(0)
        if not rest or not alike(line, rest[0]):
            return None
        pairs.append((line, rest.pop(0)))
        skipping = False
    return pairs if skipping or not rest else None


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a block and the lines printed below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *printed = part.splitlines()
        if command.endswith("<<'END'"):
            end = printed.index("END") + 1
            command, printed = "\n".join([command, *printed[:end]]), printed[end:]
        yield command, printed


def follow(guide: Path, shell: Shell, *, write: bool, strict: bool = True) -> list[str]:
    """Run the commands of one guide; return what is wrong with it, if `strict` also where a size has changed."""
    wrong: list[str] = []
    #: CIDs as the guide prints them -> as they came.
    known: dict[str, str] = {}

    def replay(block: re.Match[str]) -> str:
        out: list[str] = []
        for command, printed in commands(block[0]):
            if command.startswith(SET_UP):
                out += [f"$ {command}", *printed]
                continue
            came = shell.run(_CID.sub(lambda cid: known.get(cid[0], cid[0]), command))
            pairs = aligned(printed, came)
            stale = strict and not write and any(is_stale(*pair) for pair in pairs or [])
            if pairs is None or stale:
                wrong.append("\n".join([f"{guide.name}: $ {command}", *(f"  {shortened(line)}" for line in came)]))
            if pairs is None:
                pairs = [(line, line) for line in printed]
            for line, real in pairs:
                for cid, real_cid in zip(_CID.finditer(line), _CID.finditer(real), strict=False):
                    known[cid[0]] = real_cid[0]
            now = _CID.sub(lambda cid: shortened(known.get(cid[0], cid[0])), command)
            out += [f"$ {now}", *(renewed(line, real) for line, real in pairs)]
        return "\n".join([*out, ""])

    text = guide.read_text()
    new = _BLOCK.sub(replay, text)
    if write:
        guide.write_text(new)
    return wrong


def is_stale(printed: str, came: str) -> bool:
    """Whether a guide's line shows other sizes than those that came."""
    if printed.endswith("…"):
        return sizes(came)[: len(sizes(printed[:-1]))] != sizes(printed[:-1])
    return sizes(printed) != sizes(came)


def draw(shell: Shell, *, write: bool) -> list[str]:
    """Draw the split that the guides made as their picture; return what is wrong with it."""
    shell.run("bacpack inspect out --treemap treemap.svg")
    drawn = "\n".join([*shell.run("cat treemap.svg"), ""])
    if write:
        PICTURE.write_text(drawn)
    return [] if PICTURE.read_text() == drawn else [f"{PICTURE.name}: bacpack inspect out --treemap draws another"]


def main() -> None:
    """Follow every guide, in one shell each after the one before."""
    parser = argparse.ArgumentParser(description="Run the commands of the guides, and compare what they print.")
    parser.add_argument("--write", action="store_true", help="put what came into the guides")
    parser.add_argument("--rust", action="store_true", help="the guides that build Rust")
    parser.add_argument("--programs", type=Path, default=Path(sys.executable).parent, metavar="DIR",
                        help="folder of the `bacpack` to run")  # fmt: skip
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="the longest that one command may take")
    options = parser.parse_args()
    limit = options.limit or (RUST_LIMIT if options.rust else LIMIT)
    wrong: list[str] = []
    for group in RUST_GUIDES if options.rust else (GUIDES,):
        with tempfile.TemporaryDirectory() as folder, Shell(Path(folder), options.programs, limit) as shell:
            for name in group:
                if lacking := shell.lacks((REPOSITORY / name).read_text()):
                    sys.stderr.write(f"not run: {name}, for want of {', '.join(lacking)}\n")
                    continue
                try:
                    wrong += follow(REPOSITORY / name, shell, write=options.write, strict=not options.rust)
                    if name == DRAWN_AFTER:
                        wrong += draw(shell, write=options.write)
                except TookTooLongError as error:
                    wrong.append(f"{Path(name).name}: {error}; what comes after it was not run")
                    break
    sys.exit("\n".join(["these commands print something else:", *wrong]) if wrong else 0)


if __name__ == "__main__":
    main()
