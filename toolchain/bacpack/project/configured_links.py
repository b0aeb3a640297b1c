"""Linking one program by the names in `bacpack.toml`, without splitting it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bacpack.content.cid.reference import CidRef, PathRef, parse_ref
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import InputError
from bacpack.files import read_file
from bacpack.linker.import_check import Providers, check_imports, read_at_hand
from bacpack.linker.namespaces import namespace_of
from bacpack.linker.shared_library import is_shared_form, relocate
from bacpack.project.programs import on_environment
from bacpack.project.settings.config import CONFIG_NAME, Project
from bacpack.project.settings.lock_file import LOCK_NAME, UrlLock
from bacpack.split.abi.environment import environment, environment_cid
from bacpack.split.input.blob import Input
from bacpack.wasm import Module
from bacpack.wasm.interface import read_interface


@dataclass(slots=True)
class Links:
    """What the import namespaces of a program become."""

    #: Namespace by name.
    namespaces: dict[str, str] = field(default_factory=dict)
    #: The modules that are at hand, by CID.
    modules: dict[str, bytes] = field(default_factory=dict)
    #: Names that namespaces of the program could have been meant for.
    known: list[str] = field(default_factory=list)

    def add(self, name: str, data: bytes) -> None:
        """Let `name` stand for a module."""
        cid = str(cid_of_bytes(data))
        self.namespaces[name] = cid
        self.modules[cid] = data


def configured_links(project: Project, data: bytes) -> Links:
    """What `bacpack.toml` says of the namespaces that a program imports; a crate must have been built.

    Raises `InputError` (`not-built`, `cannot-share`).
    """
    links = Links(known=list(project.tables.modules))
    imported = set(Module.parse(data).import_namespaces)
    locked = UrlLock(project.folder / LOCK_NAME).modules()
    for name, source in project.tables.modules.items():
        if name not in imported:
            continue
        ref = parse_ref(source)
        if not isinstance(ref, PathRef):
            links.namespaces[name] = namespace_of(ref)
            continue
        path = project.resolve(str(ref.path))
        if path.is_file():
            links.add(name, relocate(str(path), read_file(path)).data)
            continue
        built = project.output / "modules" / f"{locked[name].cid if name in locked else 'none'}.wasm"
        if not built.is_file():
            raise InputError(
                "not-built",
                f"`{name}` is the crate `{source}`, which was not built",
                hint=f"run `bacpack build` in the folder of {CONFIG_NAME}",
                details={"module": name},
            )
        links.add(name, read_file(built))
    return links


def on_one_memory(program: Input, modules: Mapping[str, bytes]) -> tuple[bytes, dict[str, bytes]]:
    """Return a program that works on one memory with the modules it is linked with, and what it needs for that.

    A program with a memory of its own gets that of the environment, if one of the modules works on it.
    """
    if not any(is_shared_form(Module.parse(data)) for data in modules.values()):
        return program.data, {}
    if not Module.parse(program.data).memories:
        return program.data, {}
    return on_environment(program).apps[0].data, {environment_cid(): environment()}


def check_linked(what: str, data: bytes, links: Links, store: BlockStore) -> None:
    """Raise `InputError` unless a linked module, called `what`, and those it is linked with get what they import.

    Of what is not at hand nothing is said.
    """

    def find(ref: CidRef) -> bytes | None:
        return links.modules.get(str(ref)) or read_at_hand(store.get, ref)

    called = {cid: name for name, cid in links.namespaces.items()}
    providers = Providers(find, called)
    check_imports(what, read_interface(data), providers, links.known)
    for cid, module in links.modules.items():
        check_imports(f"`{called.get(cid, cid)}`", read_interface(module), providers)
