"""Reading files of a release by their paths, from a folder or by CID: only what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from bacpack.content.cid.block import GetBlock
from bacpack.content.cid.cid import RAW, Cid
from bacpack.content.ipld.dag_pb import decode_node
from bacpack.content.unixfs.nodes import Kind, decode_data
from bacpack.content.unixfs.reader import read_bytes, resolve
from bacpack.errors import InputError, UnreachableError
from bacpack.files import read_file

#: Reads a file of a release by its path; None when there is none.
ReadFile: TypeAlias = Callable[[str], bytes | None]


def folder_reader(folder: Path) -> ReadFile:
    """Read the files of a release that lies in a folder."""

    def read(path: str) -> bytes | None:
        return read_file(folder / path) if (folder / path).is_file() else None

    return read


def content_reader(get: GetBlock, root: Cid, max_bytes: int) -> ReadFile:
    """Read the files, of at most so many bytes, of the release that is the directory `root`.

    A catalog of many shards is a large directory, so each is fetched and read only once.
    """
    blocks: dict[Cid, bytes] = {}
    directories: dict[Cid, dict[str, Cid] | None] = {}

    def get_once(cid: Cid) -> bytes:
        if cid not in blocks:
            blocks[cid] = get(cid)
        return blocks[cid]

    def entries(cid: Cid) -> dict[str, Cid] | None:
        """What a directory that is one block holds; None for others, in which a name is found without reading all."""
        if cid.codec == RAW:
            return None
        node = decode_node(get_once(cid), cid)
        if decode_data(node.data, cid).kind is not Kind.DIRECTORY:
            return None
        return {link.name: link.cid for link in reversed(node.links)}  # of equal names the first counts

    def find(names: Sequence[str]) -> Cid | None:
        cid = root
        for name in names:
            if cid not in directories:
                directories[cid] = entries(cid)
            known = directories[cid]
            if known is None:
                try:
                    cid = resolve(get_once, cid, [name])
                except InputError as error:
                    if error.code != "no-such-entry":
                        raise
                    return None
            elif name in known:
                cid = known[name]
            else:
                return None
        return cid

    def read(path: str) -> bytes | None:
        try:
            cid = find(path.split("/"))
            return None if cid is None else read_bytes(get, cid, max_bytes)
        except UnreachableError as error:
            raise UnreachableError(
                error.code, f"`{path}` of {root}: {error.message}", hint=error.hint, details=error.details
            ) from error

    return read
