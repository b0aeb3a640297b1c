"""Which versions of the engine, wasmtime, have a known hole: a way for a program to reach what it was not given.

Sources, as of 27 November 2026: the advisories at https://github.com/bytecodealliance/wasmtime/security/advisories,
RustSec, and the notes of wasmtime's releases. Left out is what needs something that bacpack does not use (Winch, WASI
beyond preview 1, components, the pooling allocator, read-only folders, Windows), and what ends no more than the process
that runs the program: a node lives on.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib.metadata import version

from bacpack.errors import InputError
from bacpack.installed import line_for_package

#: The first version that fixes all that is known, as in pyproject.toml.
SAFE = "wasmtime>=50.0.1"


@dataclass(frozen=True, slots=True)
class Hole:
    """An advisory, and the first version of each line of releases that is known not to have the hole."""

    advisory: str
    what: str
    fixed: tuple[str, ...]
    #: Processors that it concerns; none stands for all.
    machines: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where to read about it."""
        return f"https://github.com/bytecodealliance/wasmtime/security/advisories/{self.advisory}"

    def is_in(self, installed: str, machine: str) -> bool:
        """Whether a version has it on a kind of processor."""
        if self.machines and machine not in self.machines:
            return False
        own, fixed = _numbers(installed), [_numbers(one) for one in self.fixed]
        return own < max(fixed) and not any(one[0] == own[0] and one <= own for one in fixed)


_ARM = ("aarch64", "arm64")
HOLES = (
    Hole("GHSA-jhxm-h53p-jm7w", "reads and writes outside of memory", ("36.0.7", "42.0.2", "43.0.1"), _ARM),
    Hole("GHSA-vqjp-4c8c-hfgg", "files outside of the folders given", ("36.0.14", "46.0.3", "47.0.4", "48.0.0")),
    Hole("GHSA-96f6-r43r-8c24", "bytes of the host, by listing a folder", ("48.0.4", "49.0.2", "50.0.0")),
    Hole("GHSA-m9f7-9w4p-gv38", "files outside of the folders given", ("36.0.18", "48.0.9", "49.0.3", "50.0.0")),
    Hole("GHSA-897f-g5gm-fmxm", "code that is compiled wrongly", ("36.0.19", "48.0.9", "49.0.4", "50.0.0")),
    Hole("GHSA-mghf-wjfp-p5xm", "jumps to anywhere", ("36.0.19", "48.0.9", "49.0.4", "50.0.0"), _ARM),
)  # fmt: skip


def known_holes(installed: str | None = None, machine: str | None = None) -> list[Hole]:
    """Return the holes of a version, such as `50.0.1`, on a kind of processor; by default of what is installed here."""
    installed, machine = installed or version("wasmtime"), machine or platform.machine()
    return [hole for hole in HOLES if hole.is_in(installed, machine)]


def unsafe_engine(what: str) -> InputError | None:
    """Return the error (`unsafe-engine`) that says of `what` why it is not done; None if no hole is known."""
    holes = known_holes()
    if not holes:
        return None
    named = ", ".join(hole.advisory for hole in holes)
    return InputError(
        "unsafe-engine",
        f"{what}: wasmtime {version('wasmtime')} lets programs reach what they were not given ({named})",
        hint=line_for_package(SAFE),
        details={"advisories": [hole.url for hole in holes]},
    )


def _numbers(text: str) -> tuple[int, ...]:
    """The three numbers of a version: a candidate for a release counts as the release."""
    return tuple(int(number) for number in re.findall("[0-9]+", text)[:3])
