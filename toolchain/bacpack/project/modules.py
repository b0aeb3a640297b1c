"""What the names in `[modules]` stand for: the bytes of each module, linked with those that it imports from itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bacpack.content.cid.reference import PathRef, parse_ref
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import BacpackError, InputError
from bacpack.files import read_file
from bacpack.linker.import_check import Providers, check_imports
from bacpack.linker.namespaces import link_imports
from bacpack.linker.shared_library import PLACE, relocate, reserved_bytes
from bacpack.split.abi.environment import environment, environment_cid
from bacpack.wasm import Module
from bacpack.wasm.interface import read_interface
from bacpack.wasm.reader import Reader

#: Fetches the module that a reference names, with all that it imports, itself last; raises `BacpackError`.
FetchClosure = Callable[[str], list[bytes]]


@dataclass(frozen=True, slots=True)
class Provider:
    """A module that programs import by name."""

    name: str
    cid: str
    data: bytes
    #: What `bacpack.toml` says that it is.
    source: str
    #: All that it needs, by CID, itself included; what the environment is goes without saying.
    closure: Mapping[str, bytes]
    #: Bytes of memory that a program must give it.
    reserved_bytes: int


@dataclass(slots=True)
class Modules:
    """All modules of a project, by name."""

    by_name: dict[str, Provider] = field(default_factory=dict)

    def namespaces(self, data: bytes) -> dict[str, str]:
        """The CID of each name that a module imports and that stands for one."""
        names = Module.parse(data).import_namespaces
        return {name: self.by_name[name].cid for name in names if name in self.by_name}

    def used_by(self, data: bytes) -> list[Provider]:
        """The modules that a program imports, by name or by CID."""
        names = set(Module.parse(data).import_namespaces)
        return [entry for entry in self.by_name.values() if names & {entry.name, entry.cid}]


def load_modules(
    configured: Mapping[str, str], folder: Path, built: Mapping[str, bytes], fetch: FetchClosure
) -> Modules:
    """Return what the names stand for, each linked with those that it imports.

    `built` has the libraries that cargo made for folders, by name. Raises `InputError` (`module-cycle`, `cannot-share`,
    `bad-module`, and where one does not get what it imports), and what `fetch` raises; the details name the module.
    """
    loaded = Modules()
    libraries: dict[str, bytes] = {}
    for name, source in configured.items():
        with _naming(name):
            ref = parse_ref(source)
            if isinstance(ref, PathRef):
                path = folder / ref.path
                if name not in built and path.is_dir():
                    raise InputError(
                        "bad-module",
                        f"`{path}` holds no library that cargo links as a file",
                        hint='add the crate to the workspace, with `crate-type = ["cdylib", "rlib"]` below [lib]',
                        details={"path": str(path)},
                    )
                libraries[name] = relocate(str(path), built.get(name) or read_file(path)).data
            else:
                loaded.by_name[name] = _fetched(name, source, fetch(source))
    for name in _providers_first(libraries):
        data = link_imports(name, libraries[name], loaded.namespaces(libraries[name])).data
        cid = str(cid_of_bytes(data))
        closure = {cid: data}
        for entry in Module.parse(data).imports:
            below = next((one for one in loaded.by_name.values() if one.cid == entry.module), None)
            closure |= below.closure if below else {}
        loaded.by_name[name] = Provider(name, cid, data, configured[name], closure, reserved_bytes(Module.parse(data)))
        with _naming(name):
            refuse_unlinked(name, data, loaded)
    return loaded


def refuse_unlinked(user: str, data: bytes, modules: Modules) -> None:
    """Raise `InputError` unless a program or module gets what it imports: the same check as when it is run."""
    at_hand = {environment_cid(): environment()}
    for provider in modules.by_name.values():
        at_hand |= provider.closure
    called = {provider.cid: name for name, provider in modules.by_name.items()}
    linked = link_imports(user, data, modules.namespaces(data)).data
    providers = Providers(lambda ref: at_hand.get(str(ref)), called)
    check_imports(
        user,
        read_interface(linked),
        providers,
        [name for name, provider in modules.by_name.items() if provider.source != name],
    )


def _fetched(name: str, source: str, modules: list[bytes]) -> Provider:
    closure = {str(cid_of_bytes(data)): data for data in modules}
    closure.pop(environment_cid(), None)
    data = modules[-1]
    return Provider(name, str(cid_of_bytes(data)), data, source, closure, reserved_bytes(Module.parse(data)))


def _providers_first(libraries: Mapping[str, bytes]) -> Iterator[str]:
    """The names of modules, each after those that it imports from."""
    needs = {}
    for name, data in libraries.items():
        needs[name] = [other for other in Module.parse(data).import_namespaces if other in libraries]
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> Iterator[str]:
        if name in path:
            raise InputError(
                "module-cycle",
                f"modules import each other in a circle: {' -> '.join([*path[path.index(name) :], name])}",
                hint="move what both need into a module of its own",
                details={"module": name},
            )
        if name in done:
            return
        for below in needs[name]:
            yield from visit(below, (*path, name))
        done.add(name)
        yield name

    for name in libraries:
        yield from visit(name, ())


def refuse_misuse(program: str, data: bytes, providers: Iterable[Provider]) -> None:
    """Raise `InputError` unless a program gives each module that it imports the room that it needs."""
    module = Module.parse(data)
    imported = {(entry.module, entry.name) for entry in module.imports}
    for provider in providers:
        names = {provider.name, provider.cid}
        if not any(namespace in names for namespace, _ in imported):
            continue
        if provider.reserved_bytes and not any((name, PLACE) in imported for name in names):
            raise InputError(
                "module-not-placed",
                f"`{program}` imports `{provider.name}` and gives it no room: the module has data or a stack, "
                f"{provider.reserved_bytes} bytes",
                hint=f"import `_room` and `{PLACE}` from it, and call `{PLACE}` once with the address of that much "
                "memory, as the API crate of a template does",
                details={"program": program, "module": provider.name, "room": provider.reserved_bytes},
            )
        if _is_go(module) and any(map(_grows_memory, provider.closure.values())):
            raise InputError(
                "module-allocates",
                f"`{program}` is a Go program, and `{provider.name}` takes memory on its own: Go's allocator takes all "
                "memory for its own",
                hint="let the module work in buffers that it is given: without `std` and `alloc`",
                details={"program": program, "module": provider.name},
            )


def _is_go(module: Module) -> bool:
    return bool(module.custom_sections("go:buildid"))


def _grows_memory(data: bytes) -> bool:
    module = Module.parse(data)
    for body in module.bodies:
        reader = Reader(data, body.start, body.end)
        for _ in range(reader.u32("the number of local declarations")):
            reader.u32("a number of locals")
            reader.value_type()
        while reader.remaining:
            if reader.instruction()[0].name == "memory.grow":
                return True
    return False


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Add to an error which module it is about."""
    try:
        yield
    except BacpackError as error:
        error.details.setdefault("module", name)
        raise
