"""Follow the guides: run every command that they print, in their order, and compare what comes.

    python docs/follow.py            say where a guide prints something else than a reader would see
    python docs/follow.py --write    put what came into the guides
    python docs/follow.py --rust     the same for those that build Rust, also with --write

Figures, times and CIDs change with the programs and with bacpack, so only `--write` cares for them. In a guide `…` on
its own line stands for lines left out, at the end of a line for the rest of it, and inside a CID for its middle.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
#: Commands that set a machine up; whoever runs this has done so.
SET_UP = ("apt-get ", "make ", "rustup ", ". .venv/", "bacpack --version")

_BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)
_CID = re.compile(r"\b(ba[a-z2-7]{8})[a-z2-7]{10,}([a-z2-7]{6})(?![a-z2-7])|\bba[a-z2-7]{5,10}…[a-z2-7]{0,8}")
#: How much shorter a CID is as the guides print it.
_SHORTER = 59 - 17
_FIGURE = re.compile(r"\d[\d.,:TZ-]*( [KM]?B\b)?")


class Shell:
    """One shell for all commands, in a folder that looks like the repository as it is checked out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        built = shutil.ignore_patterns("target", "__pycache__")
        shutil.copytree(REPOSITORY / "examples", folder / "examples", ignore=built)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {name: value for name, value in os.environ.items() if not name.startswith("BACPACK_")}
        # On a slow machine a line about it would stand between those of the guides.
        own |= {
            f"BACPACK_{name}_PROGRESS": "quiet"
            for name in ("SPLIT", "BUILD", "CI", "PUBLISH", "PACK", "FETCH", "VERIFY", "SUBMIT")
        }
        self._bash = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
            env={**own, "PATH": path, "BACPACK_HOME": str(folder / "home"), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip

    def run(self, command: str) -> list[str]:
        """Run a command; return the lines that it prints, with the folder called as a reader's might be."""
        assert self._bash.stdin and self._bash.stdout
        # The status is kept for a command that asks for it.
        self._bash.stdin.write(f"{command}\nstatus=$?; echo; echo =done=; (exit $status)\n")
        self._bash.stdin.flush()
        lines = list(iter(self._bash.stdout.readline, "=done=\n"))
        return "".join(lines)[:-1].replace(str(self._folder), "/home/me").splitlines()


def shortened(line: str) -> str:
    """A line as the guides print it: CIDs cut in the middle, and the columns after them moved along."""
    short = _CID.sub(lambda cid: f"{cid[1]}…{cid[2]}" if cid[1] else cid[0], line)
    return re.sub(r" {50,}", lambda spaces: spaces[0][_SHORTER:], short).rstrip()


def masked(line: str) -> str:
    """What of a line must stay the same: no figure, no CID, no width."""
    return " ".join(_FIGURE.sub("0", _CID.sub("CID", line)).split())


def alike(printed: str, came: str) -> bool:
    """Whether a guide's line stands for one that came."""
    if printed.endswith("…"):
        return masked(came).startswith(masked(printed[:-1]))
    return masked(printed) == masked(came)


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


def follow(guide: Path, shell: Shell, *, write: bool) -> list[str]:
    """Run the commands of one guide; return what is wrong with it."""
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
            if pairs is None:
                wrong.append("\n".join([f"{guide.name}: $ {command}", *(f"  {shortened(line)}" for line in came)]))
                pairs = [(line, line) for line in printed]
            for line, real in pairs:
                for cid, real_cid in zip(_CID.finditer(line), _CID.finditer(real), strict=False):
                    known[cid[0]] = real_cid[0]
            now = _CID.sub(lambda cid: shortened(known.get(cid[0], cid[0])), command)
            out += [f"$ {now}", *(line if line.endswith("…") else shortened(real) for line, real in pairs)]
        return "\n".join([*out, ""])

    text = guide.read_text()
    new = _BLOCK.sub(replay, text)
    if write:
        guide.write_text(new)
    return wrong


def main() -> None:
    """Follow every guide, in one shell each after the one before."""
    wrong: list[str] = []
    for group in RUST_GUIDES if "--rust" in sys.argv else (GUIDES,):
        with tempfile.TemporaryDirectory() as folder:
            shell = Shell(Path(folder))
            for name in group:
                wrong += follow(REPOSITORY / name, shell, write="--write" in sys.argv)
    sys.exit("\n".join(["these commands print something else:", *wrong]) if wrong else 0)


if __name__ == "__main__":
    main()
