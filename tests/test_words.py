"""A word that was replaced by one of the field does not come back in an identifier: see docs/reference/glossary.md."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: By package, each word that is retired there, and what is written for it.
RETIRED = {
    "proof": {
        "world": "linked program", "unit": "module view", "track": "byte pattern", "landmark": "step",
        "far": "checked load", "cut": "tokenize", "walk": "fix-ups",
    },
    "linker": {"placer": "relocator", "placed": "relocated"},
    "split": {
        "far": "checked load", "stretch": "run of entries", "stretches": "runs of entries", "home": "location",
        "homes": "locations", "shelf": "reuse", "fold": "identical", "unreached": "unreachable", "walk": "fix-up",
        "knowledge": "relocation hints", "exact": "relocated operands", "room": "scratch", "rooms": "scratch",
        "remains": "kept report",
    },
    "content": {"here": "local", "near": "local", "lacking": "missing", "survey": "completeness", "whence": "origin"},
    "ipfs_clients": {"here": "local", "near": "local", "lacking": "missing", "lied": "sent corrupt"},
    "http_client": {"near": "local", "wire": "connection", "patience": "retry policy"},
    "publish": {
        "lacking": "missing", "lacks": "missing", "everywhere": "publish", "chosen": "parsed target",
        "needed": "required", "here": "local", "near": "local",
    },
    "project": {"room": "reserved", "needed": "required", "here": "local", "near": "local", "whence": "origin"},
    "attest": {"here": "local", "whence": "origin"},
    "cli": {
        "room": "capacity", "orders": "submitted jobs", "far": "cluster", "beside": "supervisor",
        "here": "local", "near": "local", "front": "middleware", "survey": "describe", "everywhere": "publish",
    },
    "bacnode": {
        "swarm": "block exchange", "side": "job service", "turns": "shortest first", "front": "middleware",
        "guard": "upload lock", "keeper": "process supervisor", "keepers": "process supervisors", "room": "capacity",
        "here": "local", "near": "local", "far": "remote", "lied": "sent corrupt", "liars": "sent corrupt",
        "outrun": "lost race", "strikes": "failures", "hear": "read", "orders": "submitted jobs",
        "lacking": "missing", "lacks": "missing", "survey": "missing modules", "surveyed": "missing modules",
        "whence": "origin", "beside": "supervisor",
    },
}  # fmt: skip


def folder_of(package: str) -> Path:
    """Where a package is: the node's is its own, the others are parts of the toolchain's."""
    return ROOT / "node" / "bacnode" if package == "bacnode" else ROOT / "toolchain" / "bacpack" / package


def identifiers(package: Path) -> Iterator[tuple[Path, int, str]]:
    """Every name in the code of a package, with its file and line."""
    for path in sorted(package.rglob("*.py")):
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.NAME:
                    yield path, token.start[0], token.string


def parts(name: str) -> set[str]:
    """The words that an identifier is made of."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("package", RETIRED)
def test_no_retired_word_comes_back(package: str) -> None:
    retired = RETIRED[package]
    found = [
        f"{path.relative_to(ROOT)}:{line}: `{name}`: write {', '.join(retired[word] for word in words)}"
        for path, line, name in identifiers(folder_of(package))
        if (words := sorted(parts(name) & retired.keys()))
    ]
    assert not found


def test_identifiers_are_taken_apart() -> None:
    assert parts("_find_farLoad") == {"find", "far", "load"}
    assert parts("FAR_LOADS") == {"far", "loads"}
