"""UnixFS as others write it: what Kubo and Helia read is read here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bacpack.content.car.selection import Selection, select
from bacpack.content.cid.block import BadBlockError
from bacpack.content.cid.cid import DAG_PB, Cid
from bacpack.content.ipld.dag_pb import Link, encode_node
from bacpack.content.unixfs import hamt
from bacpack.content.unixfs.nodes import Kind, UnixFsData, encode_data
from bacpack.content.unixfs.path import Trace
from bacpack.content.unixfs.reader import list_directory, read_bytes, resolve, trail
from content.harness import Blocks, node

LEAF = Cid.of_raw(b"leaf")


@pytest.mark.parametrize("fanout", [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
def test_sharded_directories_of_any_fanout_are_read(fanout: int) -> None:
    names = [f"app{number}.wasm" for number in range(200)] + ["a", "ä", "0F"]
    blocks: Blocks = {LEAF: b"leaf"}
    root = sharded(names, fanout, blocks)
    get = blocks.__getitem__
    assert sorted(entry.name for entry in list_directory(get, root)) == sorted(names)
    assert all(resolve(get, root, [name]) == LEAF for name in names)
    assert trail(get, root, "nothing") == []
    entity = select(get, Trace((), root, (root,)), Selection("entity"))
    assert {cid for cid, _ in entity} == blocks.keys() - {LEAF}


def sharded(names: Sequence[str], fanout: int, blocks: Blocks, used: int = 0) -> Cid:
    """A directory as Kubo writes it: so many bits of the hash a level, slots in as many digits as the last one has."""
    bits, width = fanout.bit_length() - 1, len(f"{fanout - 1:x}")
    slots: dict[int, list[str]] = {}
    for name in names:
        whole = int.from_bytes(hamt.slots_of(name), "big")
        slots.setdefault(int(f"{whole:064b}"[used : used + bits], 2), []).append(name)
    links = {}
    for slot, inside in sorted(slots.items()):
        prefix = f"{slot:x}".rjust(width, "0").upper()
        if len(inside) == 1:
            links[prefix + inside[0]] = LEAF
        else:
            links[prefix] = sharded(inside, fanout, blocks, used + bits)
    data = hamt.bitfield(set(slots))
    cid, block = node(links, UnixFsData(Kind.SHARD, data, hash_type=hamt.MURMUR3_X64_64, fanout=fanout))
    blocks[cid] = block
    return cid


def test_shards_of_two_fanouts_are_no_directory() -> None:
    shard = UnixFsData(Kind.SHARD, b"\x01", hash_type=hamt.MURMUR3_X64_64, fanout=16)
    inner, inner_block = node({"0x": LEAF}, replace(shard, fanout=8))
    outer, outer_block = node({"0": inner}, shard)
    with pytest.raises(BadBlockError, match="fanout"):
        list_directory({inner: inner_block, outer: outer_block}.__getitem__, outer)


def test_a_file_is_read_whose_sizes_are_packed_and_whose_parts_may_be_empty() -> None:
    parts = [b"first", b"", b"second", b""]
    blocks: Blocks = {Cid.of_raw(part): part for part in parts}
    links = [Link(Cid.of_raw(part), "", len(part)) for part in parts]
    # Type, packed sizes (one longer than it need be), a field of fixed length that nobody knows, mode, time.
    sizes = bytes([5, 0x80, 0x00, 6, 0])
    message = b"\x08\x02\x18\x0b\x22" + bytes([len(sizes)]) + sizes
    for more in (b"", b"\x5d\x01\x02\x03\x04", b"\x38\xa4\x03\x42\x02\x08\x01", b"\x59" + bytes(8)):
        block = encode_node(message + more, links)
        cid = Cid.of_block(DAG_PB, block)
        assert read_bytes({**blocks, cid: block}.__getitem__, cid) == b"firstsecond"


def test_data_may_come_before_links() -> None:
    message = encode_data(UnixFsData(Kind.FILE, block_sizes=(4,)))
    whole = encode_node(message, [Link(LEAF, "", 4)])
    data = whole[-len(message) - 2 :]
    block = data + whole[: -len(data)]
    cid = Cid.of_block(DAG_PB, block)
    assert read_bytes({cid: block, LEAF: b"leaf"}.__getitem__, cid) == b"leaf"


def test_an_empty_part_must_be_empty() -> None:
    """A tree of empty blocks would take for ever and give nothing."""
    empty = Cid.of_raw(b"")
    below, below_block = node({"": empty}, UnixFsData(Kind.FILE, block_sizes=(0,)))
    root, block = node({"0": below}, UnixFsData(Kind.FILE, block_sizes=(0,)))
    with pytest.raises(BadBlockError, match="an empty part"):
        read_bytes({root: block, below: below_block, empty: b""}.__getitem__, root)
