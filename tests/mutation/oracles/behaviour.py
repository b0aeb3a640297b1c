"""What can be observed of a program: it is run, whole or split, over given inputs and in several orders of linking."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import wasmtime

from bacpack.content.cid.cid import Cid, is_cid
from differential.harness import Case, Host, LinkError, cid_of
from mutation.parts import Parts
from mutation.release import REMAINDER, Release, namespaces
from split.harness import Call, World, engine

#: Far more than any program here takes, whole or split.
_SECONDS = 20.0
_FUEL = 50_000_000


class Inputs(Protocol):
    """What programs are given, and how they are run."""

    def observe(
        self, program: bytes, modules: Mapping[str, bytes], *, backwards: bool = False, initializes: bool = False
    ) -> object:
        """All that can be observed, to be compared.

        Hosts differ in which of two modules they instantiate first, and in whether they call `_initialize` of modules.
        """
        ...

    def close(self) -> None:
        """Remove what running programs left."""


@dataclass
class Calls:
    """Calls of exported functions, one after the other, with a host whose functions note how they are called."""

    calls: Sequence[Call]
    _world: World = field(default_factory=lambda: World(engine(), fuel=_FUEL))

    def observe(
        self, program: bytes, modules: Mapping[str, bytes], *, backwards: bool = False, initializes: bool = False
    ) -> object:
        """What the calls give, what the host was asked, and what exports hold afterwards."""
        world = replace(self._world, backwards=backwards, initializes=initializes, _compiled={})
        return world.run(program, modules, self.calls)

    def close(self) -> None:
        """Nothing is left."""


@dataclass
class Runs:
    """Runs of a WASI program."""

    cases: Sequence[Case]
    _folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)
    _hosts: tuple[Host, Host] = field(
        default_factory=lambda: (Host(time_limit=_SECONDS), Host(time_limit=_SECONDS, backwards=True))
    )
    _known: set[str] = field(default_factory=set)

    def observe(
        self, program: bytes, modules: Mapping[str, bytes], *, backwards: bool = False, initializes: bool = False
    ) -> object:
        """What each run writes and how it ends."""
        folder = Path(self._folder.name)
        names = {cid_of(program): program, **modules}
        for name, data in names.items():
            path = folder / f"{name}.wasm"
            if "/" not in name and not path.exists():  # what cannot be a file is not found
                path.write_bytes(data)
        host = self._hosts[backwards]
        return [host.run(folder / f"{cid_of(program)}.wasm", case, folder) for case in self.cases]

    def close(self) -> None:
        """Remove the folder of modules."""
        self._folder.cleanup()


def differences(release: Release, inputs: Inputs, expected: object) -> Iterator[str]:
    """In which ways of linking a split does something else than `expected`, which its blob does."""
    views = [(release, False, False), (release, True, False)]
    single = one_spelling(release)
    if single != release or any(b"_initialize" in data for data in release.modules.values()):
        views.append((single, False, True))
    for view, backwards, initializes in views:
        try:
            found = inputs.observe(view.remainder, view.modules, backwards=backwards, initializes=initializes)
        except (LinkError, TimeoutError, wasmtime.WasmtimeError, AssertionError, KeyError) as error:
            found = f"{type(error).__name__}: {error}"
        if found != expected:
            order = "the last" if backwards else "the first"
            habits = ", as a node does it, one instance for each CID" if initializes else ""
            yield f"linked with {order} namespace first{habits}: {str(found)[:600]}"


def one_spelling(release: Release) -> Release:
    """The release with each CID spelled in one way, for hosts that go by the content."""
    spelled = {name for data in release.outputs() for name in namespaces(data) if is_cid(name)}
    if all(str(Cid.parse(name).to_v1()) == name for name in spelled):
        return release

    def written(data: bytes) -> bytes:
        parts = Parts.of(data)
        parts.imports = [
            replace(entry, module=str(Cid.parse(entry.module).to_v1())) if is_cid(entry.module) else entry
            for entry in parts.imports
        ]
        return parts.encode()

    modules = {str(Cid.parse(name).to_v1()): written(data) for name, data in release.modules.items()}
    return Release(release.blob, written(release[REMAINDER]), modules)
