"""From a reference to a program: the module to run, and the sources that its imports are fetched from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bacnode.limits import LoadLimits
from bacnode.resolver import Fetched
from bacnode.sources import BlockSource, FolderSource, Source, Sources, file_cid, too_large, url_name
from bacnode.web import Web
from bacpack.content.blocks import GetBlock, MissingBlockError
from bacpack.content.car import CarReader
from bacpack.content.cid import Cid
from bacpack.content.ref import CidRef, UrlRef, parse_ref
from bacpack.content.store import BlockStore
from bacpack.content.unixfs import is_directory, list_directory, resolve
from bacpack.errors import InputError
from bacpack.files import explain_os_error, read_file


@dataclass(frozen=True, slots=True)
class Program:
    """A module to run, and where to look for what it imports."""

    root: Fetched
    sources: Sources


def open_program(ref: str, store: BlockStore, web: Web, limits: LoadLimits) -> Program:
    """Find the program that `ref` names: a file, a CAR file or something in it, a CID, a path below it, or a URL.

    Raises `InputError`, `UnreachableError`, and `CheckFailedError` when bytes are not what their CID says.
    """
    parsed = parse_ref(ref)
    shared: list[Source] = [BlockSource("store", str(store.folder), "the store", store.get), *web.peers]
    if isinstance(parsed, UrlRef):
        return Program(_fetch_url(parsed.url, web, limits), Sources(shared, web.get))
    if isinstance(parsed, CidRef):
        return _from_content(ref, parsed, Sources(shared, web.get), limits)
    car, inside = _car_path(parsed.path)
    if car is not None:
        source, root = open_car(car, limits)
        return _from_content(ref, CidRef(root, inside), Sources([source, *shared], web.get), limits)
    path = parsed.path
    if path.is_dir():
        path /= _only_program(ref, sorted(entry.name for entry in path.glob("*.wasm")))
    return Program(_read_program(path, limits), Sources([FolderSource(path.parent), *shared], web.get))


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

    if len(reader.roots) != 1:
        raise InputError(
            "car-roots",
            f"`{path}` has {len(reader.roots)} roots, so it does not say what to run",
            hint="bring it into the store with `bacpack fetch`, and name what to run by CID",
            details={"roots": [str(root) for root in reader.roots]},
        )
    return BlockSource("file", str(path), f"`{path}`", get), reader.roots[0]


def list_programs(get: GetBlock, cid: Cid) -> list[str]:
    """Return the names of the programs in a release, which is a directory: its modules are in a folder of their own."""
    return sorted(entry.name for entry in list_directory(get, cid) if entry.name.endswith(".wasm"))


def _from_content(ref: str, content: CidRef, sources: Sources, limits: LoadLimits) -> Program:
    cid = resolve(sources.get, content.cid, content.path)
    if is_directory(sources.get, cid):
        content = CidRef(content.cid, (*content.path, _only_program(ref, list_programs(sources.get, cid))))
    return Program(sources.fetch(content, limits.module_bytes), sources)


def _only_program(ref: str, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    raise InputError(
        "which-program",
        f"`{ref}` holds {len(names) or 'no'} programs",
        hint=f"name one of them: {_choices(ref, names)}" if names else "`bacpack inspect` shows what is in it",
        details={"programs": names},
    )


def _choices(ref: str, names: list[str]) -> str:
    return ", ".join(f"{ref.rstrip('/')}/{name}" for name in names[:5]) + (", …" if len(names) > 5 else "")


def _car_path(path: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Split a path into the CAR file on it and the names inside that file; None if there is no CAR file on it."""
    for candidate in (path, *path.parents):
        if candidate.suffix == ".car" and candidate.is_file():
            return candidate, path.relative_to(candidate).parts
    return None, ()


def _read_program(path: Path, limits: LoadLimits) -> Fetched:
    started = time.perf_counter()
    try:
        size = path.stat().st_size
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
