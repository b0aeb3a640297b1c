"""A program and a split that is said to be it, and one module of it changed consistently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from bacpack.wasm import Module, WasmError
from differential.harness import cid_of

#: Where a module stands that is not named by its CID: the remainder.
REMAINDER = ""


@dataclass(frozen=True)
class Release:
    """A blob, its remainder, and every module of the split by CID."""

    blob: bytes
    remainder: bytes
    modules: Mapping[str, bytes] = field(default_factory=dict)

    def __getitem__(self, place: str) -> bytes:
        """The bytes of the remainder or of a module."""
        return self.remainder if place == REMAINDER else self.modules[place]

    def needed(self) -> list[str]:
        """The modules that the remainder needs, directly or through others, each after those that it imports."""
        done: dict[str, None] = {}

        open_: set[str] = set()

        def visit(place: str) -> None:
            open_.add(place)
            for name in namespaces(self[place]):
                if name in self.modules and name not in open_:
                    visit(name)
                    done[name] = None

        visit(REMAINDER)
        return list(done)

    def changed(self, place: str, data: bytes) -> Release:
        """The release with other bytes at a place; a module gets its new CID wherever the old one stood."""
        written: dict[str, tuple[str, bytes]] = {}

        open_: set[str] = set()

        def write(content: bytes) -> bytes:
            try:
                names = namespaces(content)
            except WasmError:
                return content  # what cannot be read imports nothing
            for name in names:
                # What is not what its name says may import itself in the end.
                if name in self.modules and (name in written or name not in open_):
                    if name not in written:
                        open_.add(name)
                        before = self.modules[name]
                        after = write(data if name == place else before)
                        written[name] = (name if after == before else cid_of(after)), after
                    content = content.replace(name.encode(), written[name][0].encode())
            return content

        remainder = write(data if place == REMAINDER else self.remainder)
        for name, before in self.modules.items():
            if name not in written:  # nothing needs it
                after = write(data if name == place else before)
                written[name] = (name if after == before else cid_of(after)), after
        return replace(self, remainder=remainder, modules=dict(written.values()))

    def with_module(self, data: bytes) -> tuple[Release, str]:
        """The release with one module more, and its CID."""
        cid = cid_of(data)
        return replace(self, modules={**self.modules, cid: data}), cid

    def outputs(self) -> Iterator[bytes]:
        """The bytes of everything in the split."""
        yield self.remainder
        yield from self.modules.values()


def namespaces(data: bytes) -> list[str]:
    """The namespaces that a module imports from, each once, in order."""
    return list(dict.fromkeys(entry.module for entry in Module.parse(data).imports))
