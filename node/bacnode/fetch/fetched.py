"""Bytes, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from bacpack.content.cid.cid import Cid

#: What a module can come from.
SourceKind: TypeAlias = Literal["store", "file", "peer", "gateway", "kubo", "url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A module's bytes and where they came from."""

    data: bytes
    #: What people call it: a file's name, or else its CID.
    name: str
    #: The CID of the bytes; None for what came from a URL, which promises nothing about them.
    cid: Cid | None
    url: str | None = None
    source: SourceKind
    #: The folder, file or URL that had it.
    fetched_from: str
    fetch_ms: float
    #: Others that gave some of its blocks.
    also_from: tuple[str, ...] = ()
    #: Whether what came from a URL was compared with what came from there before.
    is_locked: bool = False

    @property
    def verified(self) -> bool:
        """Whether the bytes were compared with a CID."""
        return self.cid is not None or self.is_locked

    @property
    def identity(self) -> str:
        """Equal for modules that are one: the CID, or the URL."""
        return self.url or "" if self.cid is None else str(self.cid.to_v1())


@dataclass(frozen=True, slots=True)
class Found:
    """A file's bytes, and which source had them; `origin` is its folder, file or URL."""

    data: bytes
    kind: SourceKind
    origin: str
    #: Others that had some of its blocks.
    also: tuple[str, ...] = ()
