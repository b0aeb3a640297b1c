"""From a reference to a program: the module to run, and the sources that its imports are fetched from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bacnode.fetch.fetched import Fetched
from bacnode.fetch.limits import LoadLimits
from bacnode.fetch.session import Web
from bacnode.fetch.source import BlockSource, FolderSource, Source, file_cid
from bacnode.fetch.sources import Sources, url_name
from bacpack.content.car import CarReader
from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef, UrlRef, parse_ref
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.reader import is_directory, list_directory, resolve
from bacpack.errors import InputError
from bacpack.files import explain_os_error, read_file
from bacpack.http_client import too_large

_SUFFIX = ".wasm"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that holds programs, on this machine or by CID."""

    sources: Sources
    #: Names of the programs in it: a release keeps its modules in a folder of their own.
    list_programs: Callable[[], list[str]]
    #: Reads a file in it; raises `BacpackError`.
    read: Callable[[str], Fetched]
    #: None for one on this machine.
    cid: Cid | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A module to run, and where to look for what it imports."""

    root: Fetched
    sources: Sources
    #: The folder it stands in; None where there is none.
    folder: Folder | None = None


def open_program(ref: str, store: BlockStore, web: Web, limits: LoadLimits) -> Program:
    """Find the program that `ref` names, or the only one in the folder that it names; raises as `open_ref` does."""
    opened = open_ref(ref, store, web, limits)
    if isinstance(opened, Program):
        return opened
    name = _only_program(ref, opened.list_programs())
    return Program(opened.read(name), opened.sources, opened)


def open_ref(ref: str, store: BlockStore, web: Web, limits: LoadLimits) -> Program | Folder:
    """Find what `ref` names: a file, a CAR file or something in it, a CID, a path below it, a folder, or a URL.

    Raises `InputError`, `UnreachableError`, and `CheckFailedError` when bytes are not what their CID says.
    """
    parsed = parse_ref(ref)
    local = BlockSource("store", str(store.folder), "the store", store.get)
    if isinstance(parsed, UrlRef):
        return Program(_fetch_url(parsed.url, web, limits), _sources(web, local))
    if isinstance(parsed, CidRef):
        opened = _open_content(parsed, _sources(web, local), limits)
        return opened if parsed.path or isinstance(opened, Folder) else _named(opened, store)
    car, inside = _car_path(parsed.path)
    if car is not None:
        source, root = open_car(car, limits)
        return _open_content(CidRef(root, inside), _sources(web, source, local), limits)
    path = parsed.path
    if path.is_dir():
        return _folder_on_disk(path, local, web, limits)
    folder = _folder_on_disk(path.parent, local, web, limits)
    return Program(_read_file(path, limits), folder.sources, folder)


def open_car(path: Path, limits: LoadLimits) -> tuple[BlockSource, Cid]:
    """Read a CAR file whole; return its blocks as a source, and its root."""
    blocks: dict[Cid, bytes] = {}
    total = 0
    try:
        with path.open("rb") as file:
            reader = CarReader(file, f"`{path}`")
            for cid, data in reader:
                total += len(data)
                if total > limits.total_bytes:
                    raise too_large(f"`{path}`", None, limits.total_bytes)
                blocks[cid.to_v1()] = data
    except OSError as error:
        raise explain_os_error(error, f"read `{path}`") from error

    def get(cid: Cid) -> bytes:
        block = cid.identity_data if cid.is_identity else blocks.get(cid.to_v1())
        if block is None:
            raise MissingBlockError(cid, f"`{path}`")
        return block

    if len(set(reader.roots)) != 1:
        raise InputError(
            "car-roots",
            f"`{path}` has {len(reader.roots)} roots, so it does not say what to run",
            hint="bring it into the store with `bacpack fetch`, and name what to run by CID",
            details={"roots": [str(root) for root in reader.roots]},
        )
    return BlockSource("file", str(path), f"`{path}`", get), reader.roots[0]


def _sources(web: Web, *local: Source) -> Sources:
    """What is on this machine first, then what is on the network."""
    return Sources([*local, *web.sources], web.get, web.hold_url, remote=bool(web.sources))


def _folder_on_disk(path: Path, local: Source, web: Web, limits: LoadLimits) -> Folder:
    return Folder(
        sources=_sources(web, FolderSource(path), local),
        list_programs=lambda: _programs_on_disk(path),
        read=lambda name: _read_file(path / name, limits),
    )


def _programs_on_disk(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.suffix == _SUFFIX)
    except OSError as error:
        raise explain_os_error(error, f"read the folder `{folder}`") from error


def _open_content(content: CidRef, sources: Sources, limits: LoadLimits) -> Program | Folder:
    content, cid = _resolve_program(content, sources)
    if is_directory(sources.get, cid):
        return _folder_by_cid(cid, sources, limits)
    folder = None
    if content.path:
        folder = _folder_by_cid(resolve(sources.get, content.cid, content.path[:-1]), sources, limits)
    return Program(sources.fetch(content, limits.module_bytes), sources, folder)


def _resolve_program(content: CidRef, sources: Sources) -> tuple[CidRef, Cid]:
    """Follow a path by CID; a program may also be called by its name without `.wasm`, as the manifest does."""
    try:
        return content, resolve(sources.get, content.cid, content.path)
    except InputError as error:
        if error.code != "no-such-entry":
            raise
        named = CidRef(content.cid, (*content.path[:-1], f"{content.path[-1]}{_SUFFIX}"))
        try:
            return named, resolve(sources.get, named.cid, named.path)
        except InputError:
            raise error from None


def _folder_by_cid(cid: Cid, sources: Sources, limits: LoadLimits) -> Folder:
    return Folder(
        sources=sources,
        list_programs=lambda: sorted(
            entry.name for entry in list_directory(sources.get, cid) if entry.name.endswith(_SUFFIX)
        ),
        read=lambda name: sources.fetch(CidRef(cid, (name,)), limits.module_bytes),
        cid=cid,
    )


def _named(program: Program, store: BlockStore) -> Program:
    """Call a program that was named by its bare CID as the release did that brought it here."""
    from bacpack.content.store.origins import Provenance

    origin = None if program.root.cid is None else Provenance(store.folder).get(program.root.cid)
    names = [PurePosixPath(name).name for name in (origin.names if origin else ()) if name.endswith(_SUFFIX)]
    return replace(program, root=replace(program.root, name=names[0])) if names else program


def _only_program(ref: str, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    raise InputError(
        "which-program",
        f"`{ref}` holds {len(names) or 'no'} programs",
        hint=f"name one of them after a slash: {_some_of(names)}" if names else "`bacpack inspect` shows what is in it",
        details={"programs": names},
    )


def _some_of(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _car_path(path: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Split a path into the CAR file on it and the names inside that file; None if there is no CAR file on it."""
    for candidate in (path, *path.parents):
        if candidate.suffix == ".car" and candidate.is_file():
            return candidate, path.relative_to(candidate).parts
    return None, ()


def _read_file(path: Path, limits: LoadLimits) -> Fetched:
    started = time.perf_counter()
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        named = path.with_name(f"{path.name}{_SUFFIX}")
        hint = f"there is `{named}`" if named.is_file() else "check the path"
        raise InputError("not-found", f"there is no file `{path}`", hint=hint, details={"path": str(path)}) from error
    except OSError as error:
        raise explain_os_error(error, f"read `{path}`") from error
    if size > limits.module_bytes:
        raise too_large(f"`{path}`", size, limits.module_bytes)
    data = read_file(path)
    return Fetched(
        data=data,
        name=path.name,
        cid=file_cid(data),
        source="file",
        fetched_from=str(path),
        fetch_ms=(time.perf_counter() - started) * 1000,
    )


def _fetch_url(url: str, web: Web, limits: LoadLimits) -> Fetched:
    started = time.perf_counter()
    data = web.get(url, limits.module_bytes, named_by_user=True)
    return Fetched(
        data=data,
        name=url_name(url),
        cid=None,
        url=url,
        source="url",
        fetched_from=url,
        fetch_ms=(time.perf_counter() - started) * 1000,
    )
