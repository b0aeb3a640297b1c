"""Which blocks of a DAG are asked for: one, those of one file or directory, those of some of a file's bytes, or all.

Specification: https://specs.ipfs.tech/http-gateways/trustless-gateway/ (`dag-scope`, `entity-bytes`, `dups`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bacpack.content.cid.block import BadBlockError, GetBlock
from bacpack.content.cid.cid import DAG_PB, RAW, Cid
from bacpack.content.ipld.dag_cbor import links_in
from bacpack.content.ipld.dag_pb import Node, decode_node
from bacpack.content.ipld.links import MAX_DAG_DEPTH, links_of
from bacpack.content.unixfs import hamt
from bacpack.content.unixfs.nodes import Kind, UnixFsData, decode_data
from bacpack.content.unixfs.path import Trace, value_inside
from bacpack.errors import InputError

Scope: TypeAlias = Literal["block", "entity", "all"]

#: Blocks that are sent again when repeats are asked for. A few blocks that link each other twice make endless ones.
MAX_REPEATS = 1 << 16


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a file, the first and the last one; from its end where negative, to its end where that is None."""

    first: int
    last: int | None

    def within(self, size: int) -> tuple[int, int]:
        """Return the start and end, exclusive, in a file of `size` bytes; equal where nothing of it is in the file."""
        first = max(0, size + self.first) if self.first < 0 else self.first
        last = size - 1 if self.last is None else size + self.last if self.last < 0 else self.last
        end = min(size, last + 1)
        return (first, end) if first < end else (0, 0)


@dataclass(frozen=True, slots=True)
class Place:
    """A block to go to; where it is part of a file, the bytes of that part that are wanted, or None for all."""

    cid: Cid
    bytes: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What of the DAG that a path ends at is wanted. `repeats` says that a block linked twice comes twice."""

    scope: Scope = "all"
    bytes: ByteRange | None = None
    repeats: bool = False


def select(get: GetBlock, found: Trace, wanted: Selection) -> Iterator[tuple[Cid, bytes]]:
    """Yield the blocks on the path and then those below its end that are wanted: depth first, links left to right.

    Raises `BadBlockError`, `InputError` (`unknown-codec`, `too-deep`, `too-many-repeats`), and what `get` raises.
    """
    # A block that leads to another cannot be below it, so none on the way comes up again.
    for cid in found.before:
        yield cid, get(cid)
    below = _below(found, wanted)
    sent: set[Cid] = set()
    #: Those below which all is wanted were sent with all of that.
    finished: set[Cid] = set()
    repeats = 0
    waiting: list[tuple[Place, int]] = [(Place(found.end, wanted.bytes), 0)]
    while waiting:
        place, depth = waiting.pop()
        key = place.cid.to_v1()
        if key in finished and not wanted.repeats:
            continue
        block = get(place.cid)
        if key in sent:
            repeats += 1
            if repeats > MAX_REPEATS:
                raise _too_many_repeats(found.end)
        if key not in sent or wanted.repeats:
            yield place.cid, block
        sent.add(key)
        if place.bytes is None:
            finished.add(key)
        places = below(place, block)
        if places and depth >= MAX_DAG_DEPTH:
            raise _too_deep(found.end)
        waiting.extend((link, depth + 1) for link in reversed(places))


def file_bytes(block: bytes, cid: Cid) -> int | None:
    """Return how many bytes the file `cid` has by its root block, or None for what is no file."""
    if cid.codec == RAW:
        return len(block)
    read = _unixfs(block, cid)
    return None if read is None else _file_bytes(read[1])


def _below(found: Trace, wanted: Selection) -> Callable[[Place, bytes], Sequence[Place]]:
    """Return what tells where a block leads, as far as that is wanted."""

    def everything(place: Place, block: bytes) -> Sequence[Place]:
        if found.inside and place.cid == found.end:
            return [Place(link) for link in links_in(value_inside(block, place.cid, found.inside))]
        return [Place(link) for link in links_of(place.cid, block)]

    def entity(place: Place, block: bytes) -> Sequence[Place]:
        read = None if found.inside else _unixfs(block, place.cid)
        if read is None:
            return ()
        node, message = read
        if message.kind is Kind.SHARD:
            return [
                Place(link.cid) for link in node.links if len(link.name) == hamt.digits(message.fanout or hamt.FANOUT)
            ]
        return _parts(node, message, place) if _file_bytes(message) is not None else ()

    def nothing(_place: Place, _block: bytes) -> Sequence[Place]:
        return ()

    return {"all": everything, "entity": entity, "block": nothing}[wanted.scope]


def _parts(node: Node, message: UnixFsData, place: Place) -> list[Place]:
    """Return the links of a file's node that hold the wanted bytes of it."""
    if place.bytes is None:
        return [Place(link.cid) for link in node.links]
    if len(node.links) != len(message.block_sizes):
        raise BadBlockError(place.cid, f"it has {len(node.links)} links but states {len(message.block_sizes)} sizes")
    first, end = place.bytes.within(_file_bytes(message) or 0)
    parts = []
    start = len(message.data)
    for link, size in zip(node.links, message.block_sizes, strict=True):
        if start < end and start + size > first:
            covered = first <= start and start + size <= end
            within = None if covered else ByteRange(max(0, first - start), min(size, end - start) - 1)
            parts.append(Place(link.cid, within))
        start += size
    return parts


def _unixfs(block: bytes, cid: Cid) -> tuple[Node, UnixFsData] | None:
    """Read a block as UnixFS; None for what is none, of which only the block itself is meant."""
    if cid.codec != DAG_PB:
        return None
    try:
        node = decode_node(block, cid)
        return node, decode_data(node.data, cid)
    except BadBlockError:
        return None


def _file_bytes(message: UnixFsData) -> int | None:
    return len(message.data) + sum(message.block_sizes) if message.kind in (Kind.FILE, Kind.RAW) else None


def _too_deep(cid: Cid) -> InputError:
    return InputError(
        "too-deep",
        f"the blocks below {cid} are nested more than {MAX_DAG_DEPTH} levels deep",
        hint="no honest content is: do not trust it",
        details={"cid": str(cid), "max_depth": MAX_DAG_DEPTH},
    )


def _too_many_repeats(cid: Cid) -> InputError:
    return InputError(
        "too-many-repeats",
        f"the blocks below {cid} repeat more than {MAX_REPEATS} times",
        hint="ask for each block once",
        details={"cid": str(cid), "max_repeats": MAX_REPEATS},
    )
