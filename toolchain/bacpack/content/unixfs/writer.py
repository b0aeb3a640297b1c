"""UnixFS, writing: files and directories as blocks, by the ratified profile `unixfs-v1-2025`.

Specification: IPIP-499 (https://specs.ipfs.tech/ipips/ipip-0499/). The profile fixes everything a CID depends on, so
`ipfs add --profile=unixfs-v1-2025`, `ipfs-car pack` and this give the same CID for the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from bacpack.content.cid.cid import DAG_PB, Cid
from bacpack.content.ipld.dag_pb import Link, encode_node
from bacpack.content.unixfs import hamt
from bacpack.content.unixfs.hash_ahead import hashed
from bacpack.content.unixfs.nodes import Kind, UnixFsData, encode_data
from bacpack.errors import InputError

#: The profile's numbers: bytes of file in a leaf; links of a file's node; bytes of a directory's block above which it
#: is sharded.
CHUNK_BYTES = 1 << 20
MAX_LINKS = 1024
MAX_DIRECTORY_BYTES = 256 << 10

#: Takes each block as it is made, children before parents.
PutBlock: TypeAlias = Callable[[Cid, bytes], object]


@dataclass(frozen=True, slots=True)
class Built:
    """A file or directory that was made."""

    cid: Cid
    #: Bytes of file content; for a directory, of everything in it.
    size: int
    #: Bytes of all its blocks, each counted as often as it is linked.
    tsize: int


def build_file(file: BinaryIO, put: PutBlock) -> Built:
    """Make a file of what `file` holds from here to its end, a few chunks in memory at a time."""
    first = _read_chunk(file)
    if len(first) < CHUNK_BYTES:
        cid = Cid.of_raw(first)
        put(cid, first)
        return Built(cid, len(first), len(first))
    tree = _BalancedTree(put)
    for cid, chunk in hashed(_chunks(first, file)):
        put(cid, chunk)
        tree.add(Built(cid, len(chunk), len(chunk)))
    return tree.finish()


def cid_of_bytes(data: bytes) -> Cid:
    """Return the CID of `data` as a file: the plain hash of it up to 1 MiB, the root of its tree above."""
    return build_file(io.BytesIO(data), lambda cid, block: None).cid


def build_directory(entries: Mapping[str, Built], put: PutBlock) -> Built:
    """Make a directory; raises `InputError` (`bad-name`) for a name that no directory can hold."""
    for name in entries:
        _check_name(name)
    links = [
        Link(built.cid, name, built.tsize)
        for name, built in sorted(entries.items(), key=lambda item: item[0].encode("utf-8"))
    ]
    size = sum(built.size for built in entries.values())
    block = encode_node(encode_data(UnixFsData(Kind.DIRECTORY)), links)
    if len(block) > MAX_DIRECTORY_BYTES:
        return _build_shard([(hamt.slots_of(link.name), link) for link in links], 0, size, put)
    return _put_node(block, links, size, put)


def _chunks(chunk: bytes, file: BinaryIO) -> Iterator[bytes]:
    """The chunks of a file, of which the first was read."""
    yield chunk
    while len(chunk) == CHUNK_BYTES and (chunk := _read_chunk(file)):
        yield chunk


def _read_chunk(file: BinaryIO) -> bytes:
    # A pipe may give less than was asked for; a chunk ends only where the profile says.
    chunk = file.read(CHUNK_BYTES)
    if not chunk or len(chunk) == CHUNK_BYTES:
        return chunk
    parts = [chunk]
    missing = CHUNK_BYTES - len(chunk)
    while missing and (part := file.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class _BalancedTree:
    """Joins parts of a file, in order, into nodes of `MAX_LINKS`, and those in turn: every leaf is equally deep."""

    def __init__(self, put: PutBlock) -> None:
        self._put = put
        #: Parts of each level that have no node above them yet, the leaves' level first.
        self._levels: list[list[Built]] = []

    def add(self, part: Built, level: int = 0) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == MAX_LINKS:
            self._close(level)
        self._levels[level].append(part)

    def finish(self) -> Built:
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            self._close(level)
            level += 1
        return self._levels[level][0]

    def _close(self, level: int) -> None:
        """Put one node above all parts of `level`."""
        parts = self._levels[level]
        self._levels[level] = []
        size = sum(part.size for part in parts)
        links = [Link(part.cid, "", part.tsize) for part in parts]
        data = UnixFsData(Kind.FILE, file_size=size, block_sizes=tuple(part.size for part in parts))
        self.add(_put_node(encode_node(encode_data(data), links), links, size, self._put), level + 1)


def _build_shard(entries: list[tuple[bytes, Link]], level: int, size: int, put: PutBlock) -> Built:
    """Make a shard of `entries`, links with the slots of their names, and the shards below it."""
    if level == hamt.MAX_LEVELS:
        names = ", ".join(link.name for _, link in entries)
        raise _bad_name(names, "their hashes are equal, so no directory can hold them all")
    slots: dict[int, list[tuple[bytes, Link]]] = {}
    for path, link in entries:
        slots.setdefault(path[level], []).append((path, link))
    links = []
    for slot, inside in sorted(slots.items()):
        prefix = f"{slot:02X}"
        if len(inside) == 1:
            link = inside[0][1]
            links.append(Link(link.cid, prefix + link.name, link.tsize))
        else:
            below = _build_shard(inside, level + 1, 0, put)
            links.append(Link(below.cid, prefix, below.tsize))
    data = UnixFsData(Kind.SHARD, hamt.bitfield(set(slots)), hash_type=hamt.MURMUR3_X64_64, fanout=hamt.FANOUT)
    return _put_node(encode_node(encode_data(data), links), links, size, put)


def _put_node(block: bytes, links: list[Link], size: int, put: PutBlock) -> Built:
    cid = Cid.of_block(DAG_PB, block)
    put(cid, block)
    return Built(cid, size, len(block) + sum(link.tsize for link in links))


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise _bad_name(name, "it is empty, `.`, `..`, or holds `/` or a null character")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise _bad_name(name.encode("utf-8", "backslashreplace").decode(), "it is not UTF-8") from None


def _bad_name(name: str, reason: str) -> InputError:
    return InputError(
        "bad-name",
        f"`{name}` cannot be a name in a directory: {reason}",
        hint="rename the file",
        details={"name": name},
    )
