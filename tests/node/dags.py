"""The shapes of content that the public conformance suite of gateways asks about, built here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from bacpack.content.cid.cid import DAG_CBOR, DAG_PB, Cid
from bacpack.content.ipld import dag_cbor
from bacpack.content.ipld.dag_pb import Link, decode_node, encode_node
from bacpack.content.unixfs import hamt
from bacpack.content.unixfs.nodes import Kind, UnixFsData, encode_data
from content.harness import Blocks

#: A text of 1026 bytes: four chunks of 256, and one of two.
MULTIBLOCK = b"".join(b"%04d lorem ipsum dolor sit amet\n" % line for line in range(40))[:1026]
CHUNK = 256


class Dag:
    """Blocks, and the CIDs of what was built of them by name."""

    def __init__(self) -> None:
        self.blocks: Blocks = {}
        self.cids: dict[str, Cid] = {}

    def raw(self, data: bytes) -> Cid:
        cid = Cid.of_raw(data)
        self.blocks[cid] = data
        return cid

    def node(self, data: bytes, links: Sequence[Link], version: int = 1) -> Cid:
        block = encode_node(data, links)
        cid = Cid.of_block(DAG_PB, block)
        cid = cid if version == 1 else Cid(0, DAG_PB, cid.multihash)
        self.blocks[cid] = block
        return cid

    def directory(self, entries: Mapping[str, Cid]) -> Cid:
        links = [Link(cid, name, 1) for name, cid in sorted(entries.items())]
        return self.node(encode_data(UnixFsData(Kind.DIRECTORY)), links)

    def file(self, data: bytes, chunk: int = CHUNK, *, version: int = 1) -> tuple[Cid, list[Cid]]:
        """A file in chunks; return its CID and those of the chunks, which version 0 wraps in nodes."""
        parts = [data[start : start + chunk] for start in range(0, len(data), chunk)]
        if version == 0:
            leaves = [self.node(encode_data(UnixFsData(Kind.FILE, part, len(part))), [], 0) for part in parts]
        else:
            leaves = [self.raw(part) for part in parts]
        return self.file_of(leaves, list(map(len, parts)), version), leaves

    def file_of(self, parts: Sequence[Cid], sizes: Sequence[int], version: int = 1) -> Cid:
        message = UnixFsData(Kind.FILE, file_size=sum(sizes), block_sizes=tuple(sizes))
        return self.node(encode_data(message), [Link(part, "", 1) for part in parts], version)

    def document(self, value: dag_cbor.Value) -> Cid:
        block = dag_cbor.encode(value)
        cid = Cid.of_block(DAG_CBOR, block)
        self.blocks[cid] = block
        return cid

    def shard(self, entries: Mapping[str, Cid], level: int = 0) -> Cid:
        """A sharded directory, in the order of slots."""
        slots: dict[int, dict[str, Cid]] = {}
        for name, cid in entries.items():
            slots.setdefault(hamt.slots_of(name)[level], {})[name] = cid
        links = []
        for slot, inside in sorted(slots.items()):
            if len(inside) == 1:
                ((name, cid),) = inside.items()
                links.append(Link(cid, f"{slot:02X}{name}", 1))
            else:
                links.append(Link(self.shard(inside, level + 1), f"{slot:02X}", 1))
        data = hamt.bitfield(set(slots))
        message = UnixFsData(Kind.SHARD, data, hash_type=hamt.MURMUR3_X64_64, fanout=hamt.FANOUT)
        return self.node(encode_data(message), links)

    def chain(self, depth: int) -> Cid:
        """Nodes that each link the next one."""
        cids = [self.raw(b"the end")]
        for _ in range(depth):
            cids.append(self.node(b"", [Link(cids[-1], "", 1)]))
        assert all(below in self.blocks for below, _ in pairwise(cids))
        return cids[-1]


def below(dag: Dag, cid: Cid) -> list[Cid]:
    """Everything below a block, depth first, each once, told apart from what the code under test does: by recursion."""
    found: list[Cid] = []

    def visit(block: Cid) -> None:
        if block.codec == DAG_PB:
            for link in decode_node(dag.blocks[block], block).links:
                if link.cid not in found:
                    found.append(link.cid)
                    visit(link.cid)

    visit(cid)
    return found
