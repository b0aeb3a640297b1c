"""A word that was replaced by one of the field does not come back in an identifier: see docs/reference/glossary.md."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PRODUCT = Path(__file__).parents[1] / "toolchain" / "bacpack"
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
}  # fmt: skip


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
        f"{path.relative_to(PRODUCT)}:{line}: `{name}`: write {', '.join(retired[word] for word in words)}"
        for path, line, name in identifiers(PRODUCT / package)
        if (words := sorted(parts(name) & retired.keys()))
    ]
    assert not found


def test_identifiers_are_taken_apart() -> None:
    assert parts("_find_farLoad") == {"find", "far", "load"}
    assert parts("FAR_LOADS") == {"far", "loads"}
