"""What comes out of a split, and why functions stayed in the remainders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bacpack.manifest import ModuleKind
from bacpack.wasm import Module


@dataclass(frozen=True, slots=True)
class OutputModule:
    """A module that programs share."""

    cid: str
    data: bytes
    kind: ModuleKind
    #: CIDs of the modules it imports.
    imports: tuple[str, ...]
    #: Whether it came from a catalog.
    reused: bool = False


@dataclass(frozen=True, slots=True)
class OutputApp:
    """A program after the split: `data` is its remainder, or the blob without debug sections when it shares nothing."""

    name: str
    blob: bytes
    #: Size of the blob without debug and name sections.
    blob_bytes: int
    data: bytes
    imports: tuple[str, ...]
    #: What is left of the program; of each core module that was split, for a component. None for one taken over.
    kept_reports: tuple[KeptReport, ...] | None = ()
    #: Whether `data` was proved to behave as `blob`.
    proved: bool = False


@dataclass(frozen=True)
class Split:
    """All that a split makes: programs in the order given, and every module they need."""

    apps: list[OutputApp]
    modules: dict[str, OutputModule]
    #: By CID, what the catalog is to know modules by.
    features: dict[str, list[bytes]] = field(default_factory=dict)

    def closure(self, app: OutputApp) -> set[str]:
        """CIDs of all modules that `app` needs, directly or through others."""
        seen: set[str] = set()
        pending = list(app.imports)
        while pending:
            cid = pending.pop()
            if cid not in seen:
                seen.add(cid)
                pending += self.modules[cid].imports
        return seen


def namespaces(data: bytes) -> tuple[str, ...]:
    """What a module imports from, sorted."""
    return tuple(sorted(Module.parse(data).import_namespaces))


UNLIKE = "no other program has one like it"
NO_LIBRARY = "no other program to compare with, and its name tells of no large library"
LEFT_OVER = "its program has more functions like it than others have"
DOES_NOT_PAY = "others have one like it, but a module of it would not pay"
TOO_LARGE = "what is left of its program would be more than engines accept, so all of it stays"
COPIED = "shared, but a copy is smaller than an import"
#: Before the reason that fingerprinting gives.
CANNOT_MOVE = "cannot be moved: "


@dataclass(frozen=True, slots=True)
class KeptFunction:
    """A function of a blob whose code its remainder holds: its index in the blob, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A core module and what is left of it."""

    blob: bytes
    #: The blob itself, when it shares nothing.
    remainder: bytes
    #: The functions of the blob that the remainder defines, in its order. Functions that bacpack adds come after them.
    stayed: Sequence[KeptFunction]
