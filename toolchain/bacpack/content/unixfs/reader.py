"""UnixFS, reading: files and directories made of blocks, resolved by path and streamed.

Specification: https://specs.ipfs.tech/unixfs/. Every function takes `get`, which returns a verified block for a CID:
the store's, a CAR's or the network's. Writing is in `writer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bacpack.content.cid.block import BadBlockError, GetBlock
from bacpack.content.cid.cid import DAG_PB, RAW, Cid
from bacpack.content.ipld.dag_pb import Node, decode_node
from bacpack.content.unixfs import hamt
from bacpack.content.unixfs.nodes import MAX_DEPTH, Entry, Kind, UnixFsData, decode_data
from bacpack.errors import InputError


def resolve(get: GetBlock, cid: Cid, path: Sequence[str] = ()) -> Cid:
    """Follow the names in `path` from `cid` and return the CID they lead to.

    Raises `InputError` (`no-such-entry`, `not-a-directory`), `BadBlockError`, and what `get` raises.
    """
    for depth, name in enumerate(path):
        found = trail(get, cid, name)
        if not found:
            where = "/".join((str(cid) if depth == 0 else "", *path[:depth])).lstrip("/") or str(cid)
            raise InputError(
                "no-such-entry",
                f"there is no `{name}` in `{where}`",
                hint="the names are listed by `bacpack inspect` on the directory",
                details={"cid": str(cid), "name": name},
            )
        cid = found[-1]
    return cid


def trail(get: GetBlock, cid: Cid, name: str) -> list[Cid]:
    """Return what `name` in the directory `cid` leads to, after the shards on the way; nothing if it is not in it.

    Raises `InputError` (`not-a-directory`), `BadBlockError`, and what `get` raises.
    """
    node, message = _directory(get, cid)
    if message.kind is Kind.DIRECTORY:
        return next(([link.cid] for link in node.links if link.name == name), [])
    shards: list[Cid] = []
    fanout = message.fanout or 0
    for slot in hamt.slots_in(name, fanout):
        prefix = f"{slot:0{hamt.digits(fanout)}X}"
        below = None
        for link in node.links:
            if link.name == prefix + name:
                return [*shards, link.cid]
            if link.name == prefix:
                below = link.cid
        if below is None:
            return []
        shards.append(below)
        node = _shard(get, below, fanout)
    return []


def list_directory(get: GetBlock, cid: Cid) -> list[Entry]:
    """Return the entries of the directory `cid`, in the order of its blocks.

    Raises `InputError` (`not-a-directory`), `BadBlockError`, and what `get` raises.
    """
    node, message = _directory(get, cid)
    if message.kind is Kind.DIRECTORY:
        return [Entry(link.name, link.cid, link.tsize) for link in node.links]
    return list(_shard_entries(get, node, message.fanout or 0, {cid}))


def is_directory(get: GetBlock, cid: Cid) -> bool:
    """Whether `cid` is a UnixFS directory, sharded or not; raises `BadBlockError` and what `get` raises."""
    if cid.codec != DAG_PB:
        return False
    node = decode_node(get(cid), cid)
    return decode_data(node.data, cid).kind in (Kind.DIRECTORY, Kind.SHARD)


def walk_files(get: GetBlock, cid: Cid) -> Iterator[tuple[str, Cid]]:
    """Yield path and CID of every file below the directory `cid`; for a file, that alone with an empty path.

    A directory linked from several places is entered once, so that a few blocks cannot make endless paths.
    """
    entered: set[Cid] = set()
    waiting = [("", cid)]
    while waiting:
        path, cid = waiting.pop()
        if not is_directory(get, cid):
            yield path, cid
        elif cid not in entered:
            entered.add(cid)
            entries = list_directory(get, cid)
            waiting.extend((f"{path}/{entry.name}".lstrip("/"), entry.cid) for entry in reversed(entries))


def file_size(get: GetBlock, cid: Cid) -> int:
    """Return the size in bytes of the file `cid`, as its root block states it; raises as `read_file` does."""
    return _file_node(get, cid)[2]


def read_file(get: GetBlock, cid: Cid, max_bytes: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of the file `cid`, a block's worth at a time, in order.

    Raises `InputError`: `not-a-file` for a directory, `too-large` before the first byte when the file is larger than
    `max_bytes`, `BadBlockError` when its blocks do not add up to the size that they state; and what `get` raises.
    """
    content, children, size = _file_node(get, cid)
    if max_bytes is not None and size > max_bytes:
        raise InputError(
            "too-large",
            f"{cid} is {size} bytes, more than the {max_bytes} allowed here",
            hint="raise the limit if you trust the content",
            details={"cid": str(cid), "bytes": size, "max_bytes": max_bytes},
        )
    if content:
        yield content
    # Each level holds what is left of a node's children, so no more than one block is in memory.
    stack = [iter(children)]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
            continue
        child_cid, expected = child
        content, children, size = _file_node(get, child_cid)
        if not expected and (size or children):
            # A tree of empty blocks would take for ever and give nothing.
            raise BadBlockError(child_cid, "it is an empty part of a file by its parent, and has parts or bytes")
        if size != expected:
            raise BadBlockError(child_cid, f"it holds {size} bytes of the file where its parent states {expected}")
        if content:
            yield content
        if len(stack) >= MAX_DEPTH:
            raise _too_deep(cid)
        stack.append(iter(children))


def read_bytes(get: GetBlock, cid: Cid, max_bytes: int | None = None) -> bytes:
    """Return the whole file `cid`; raises as `read_file` does."""
    return b"".join(read_file(get, cid, max_bytes))


def _file_node(get: GetBlock, cid: Cid) -> tuple[bytes, list[tuple[Cid, int]], int]:
    """Return the bytes that the block `cid` of a file holds itself, its children with their sizes, and the sum."""
    block = get(cid)
    if cid.codec == RAW:
        return block, [], len(block)
    if cid.codec != DAG_PB:
        raise _not_a_file(cid, f"its codec is 0x{cid.codec:x}")
    node = decode_node(block, cid)
    message = decode_data(node.data, cid)
    if message.kind not in (Kind.FILE, Kind.RAW):
        raise _not_a_file(cid, f"it is a {message.kind.name.lower()}")
    if len(message.block_sizes) != len(node.links):
        raise BadBlockError(cid, f"it has {len(node.links)} links but states {len(message.block_sizes)} sizes")
    size = len(message.data) + sum(message.block_sizes)
    if message.file_size is not None and message.file_size != size:
        raise BadBlockError(cid, f"it states a size of {message.file_size} bytes where its parts make {size}")
    children = [(link.cid, part) for link, part in zip(node.links, message.block_sizes, strict=True)]
    return message.data, children, size


def _directory(get: GetBlock, cid: Cid) -> tuple[Node, UnixFsData]:
    if cid.codec != DAG_PB:
        raise _not_a_directory(cid)
    node = decode_node(get(cid), cid)
    message = decode_data(node.data, cid)
    if message.kind not in (Kind.DIRECTORY, Kind.SHARD):
        raise _not_a_directory(cid)
    if message.kind is Kind.SHARD and not (message.hash_type == hamt.MURMUR3_X64_64 and hamt.is_fanout(message.fanout)):
        raise BadBlockError(cid, "it is a sharded directory with a hash or fanout that nothing uses")
    return node, message


def _shard(get: GetBlock, cid: Cid, fanout: int) -> Node:
    """Return a shard below another one, whose fanout it must have."""
    node, message = _directory(get, cid)
    if message.kind is not Kind.SHARD or message.fanout != fanout:
        raise BadBlockError(cid, f"it is no shard with the fanout of the one above, {fanout}")
    return node


def _shard_entries(get: GetBlock, node: Node, fanout: int, entered: set[Cid], level: int = 1) -> Iterator[Entry]:
    digits = hamt.digits(fanout)
    for link in node.links:
        if len(link.name) > digits:
            yield Entry(link.name[digits:], link.cid, link.tsize)
        elif link.cid in entered or level >= hamt.max_levels(fanout):
            raise BadBlockError(link.cid, "it is a shard linked twice, or deeper than names have hash")
        else:
            entered.add(link.cid)
            yield from _shard_entries(get, _shard(get, link.cid, fanout), fanout, entered, level + 1)


def _not_a_directory(cid: Cid) -> InputError:
    return InputError(
        "not-a-directory",
        f"{cid} is not a directory",
        hint="leave out what follows it in the path",
        details={"cid": str(cid)},
    )


def _not_a_file(cid: Cid, reason: str) -> InputError:
    return InputError(
        "not-a-file", f"{cid} is not a file: {reason}", hint="name a file inside it", details={"cid": str(cid)}
    )


def _too_deep(cid: Cid) -> InputError:
    return InputError(
        "too-deep",
        f"{cid} is nested more than {MAX_DEPTH} levels deep",
        hint="no honest file or directory is: do not trust it",
        details={"cid": str(cid), "max_depth": MAX_DEPTH},
    )
