"""The expectations of ipfs/gateway-conformance for trustless gateways, on content of the same shapes built here.

Its presets trustless-block-gateway, trustless-car-gateway and trustless-car-gateway-optional: 66 cases. Those of CARs
are asked for both by `format` and by `Accept`, and each answer must hold exactly these blocks in this order.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pytest

from bacpack.content.car import CarReader
from bacpack.content.cid.cid import DAG_PB, Cid
from bacpack.content.ipld import dag_cbor
from bacpack.content.ipld.dag_pb import decode_node
from bacpack.content.unixfs.nodes import Kind, decode_data
from bacpack.content.unixfs.reader import trail
from node.dags import MULTIBLOCK, Dag, below
from node.serving import Answer, Node, keep

CAR_TYPE = "application/vnd.ipld.car"
RAW_TYPE = "application/vnd.ipld.raw"


@dataclass(frozen=True)
class Content:
    """All that is asked about."""

    dag: Dag

    def __getitem__(self, name: str) -> Cid:
        return self.dag.cids[name]

    def shards(self, name: str) -> list[Cid]:
        """The shards on the way to a name, without the root."""
        return trail(self.dag.blocks.__getitem__, self["hamt"], name)[:-1]

    def all_shards(self) -> list[Cid]:
        """The shards below the root."""
        return [cid for cid in below(self.dag, self["hamt"]) if self._is_shard(cid)]

    def _is_shard(self, cid: Cid) -> bool:
        return cid.codec == DAG_PB and decode_data(decode_node(self.dag.blocks[cid]).data).kind is Kind.SHARD


@cache
def content() -> Content:
    dag = Dag()
    cids = dag.cids
    cids["ascii.txt"] = dag.raw(b"hello application/vnd.ipld.car\n")
    cids["hello.txt"] = dag.raw(b"hello world\n")
    cids["multiblock.txt"], leaves = dag.file(MULTIBLOCK)
    cids.update({f"leaf{number}": leaf for number, leaf in enumerate(leaves)})
    cids["subdir"] = dag.directory({"ascii.txt": cids["ascii.txt"], "hello.txt": cids["hello.txt"]})
    cids["dir"] = dag.directory({"subdir": cids["subdir"]})
    three = {name: cids[name] for name in ("ascii.txt", "hello.txt", "multiblock.txt")}
    cids["mixed subdir"] = dag.directory(three)
    cids["mixed"] = dag.directory({"subdir": cids["mixed subdir"]})
    cids["copies"] = dag.directory({**three, "ascii-copy.txt": cids["ascii.txt"]})
    files: dag_cbor.Value = {"single": cids["hello.txt"], "multi": cids["multiblock.txt"]}
    cids["document"] = dag.document({"files": files, "list": [1, cids["subdir"]]})
    cids["with document"] = dag.directory({"document": cids["document"], "hello.txt": cids["hello.txt"]})
    entries = {}
    for number in range(1000):
        name = f"{number}.txt"
        entries[name] = dag.file(b"%d " % number * 300)[0] if number in (1, 685) else dag.raw(b"%d\n" % number)
        cids[f"in hamt {name}"] = entries[name]
    cids["hamt"] = dag.shard(entries)
    cids["lacking"], (first, missing, last) = dag.file(b"%08d" * 384 % tuple(range(384)), 1024, version=0)
    cids["lacking first"], cids["lacking last"] = first, last
    del dag.blocks[missing]
    return Content(dag)


@pytest.fixture(scope="module")
def gateway(served: Node) -> Node:
    keep(served.store, content().dag.blocks)
    return served


def blocks_of(answer: Answer) -> list[Cid]:
    """The CIDs of the blocks in a CAR, each checked."""
    return [cid for cid, _ in CarReader(io.BytesIO(answer.body))]


# Blocks: five cases, and two of ranges


@pytest.mark.parametrize("by", ["format", "Accept"])
def test_a_block(gateway: Node, by: str) -> None:
    cid = content()["dir"]
    path, headers = (f"/ipfs/{cid}?format=raw", {}) if by == "format" else (f"/ipfs/{cid}", {"Accept": RAW_TYPE})
    answer = gateway.get(path, **headers)
    assert answer.status == 200
    assert answer.body == content().dag.blocks[cid]


def test_headers_of_a_block(gateway: Node) -> None:
    cid = content()["ascii.txt"]
    answer = gateway.get(f"/ipfs/{cid}", Accept=RAW_TYPE)
    data = content().dag.blocks[cid]
    assert answer.body == data
    headers = answer.headers
    assert headers["content-type"] == RAW_TYPE
    assert headers["content-length"] == str(len(data))
    assert headers["content-disposition"] == f'attachment; filename="{cid}.bin"'
    assert headers["x-content-type-options"] == "nosniff"
    # Those for caches
    assert headers["etag"] == f'"{cid}.raw"'
    assert headers["x-ipfs-path"] == f"/ipfs/{cid}"
    assert str(cid) in headers["x-ipfs-roots"]
    directives = set(headers["cache-control"].replace(" ", "").split(","))
    assert {"public", "immutable"} < directives
    assert next(int(d.removeprefix("max-age=")) for d in directives if d.startswith("max-age=")) >= 29030400


def test_a_block_under_a_name(gateway: Node) -> None:
    answer = gateway.get(f"/ipfs/{content()['ascii.txt']}?filename=foobar.bin", Accept=RAW_TYPE)
    assert answer.status == 200
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert 'filename="foobar.bin' in answer.headers["content-disposition"]


@pytest.mark.parametrize("ranges", ["bytes=2-9", "bytes=2-5,10-12"])
def test_ranges_of_a_block_may_be_ignored_but_not_wrong(gateway: Node, ranges: str) -> None:
    cid = content()["ascii.txt"]
    answer = gateway.get(f"/ipfs/{cid}", Accept=RAW_TYPE, Range=ranges)
    assert (answer.status, answer.headers["content-type"]) == (200, RAW_TYPE)
    assert answer.body == content().dag.blocks[cid]


# CARs: name, path after /ipfs/, query, blocks

LEAVES = [f"leaf{number}" for number in range(5)]


def _cases() -> list[tuple[str, str, str, Sequence[Cid]]]:
    c = content()
    names = c.dag.cids
    file, subdir = c["multiblock.txt"], c["mixed subdir"]
    leaves = [names[name] for name in LEAVES]
    ranged = "dag-scope=entity&entity-bytes="
    return [
        ("path", f"{c['dir']}/subdir/ascii.txt", "", [c["dir"], c["subdir"], c["ascii.txt"]]),
        (
            "path-through-shards",
            f"{c['hamt']}/685.txt",
            "",
            [c["hamt"], *c.shards("685.txt"), c["in hamt 685.txt"], *below(c.dag, c["in hamt 685.txt"])],
        ),
        ("path-through-a-document", f"{c['document']}/files/single", "", [c["document"], c["hello.txt"]]),
        ("block-of-a-directory", f"{c['dir']}/subdir", "dag-scope=block", [c["dir"], c["subdir"]]),
        (
            "block-of-a-file",
            f"{c['dir']}/subdir/ascii.txt",
            "dag-scope=block",
            [c["dir"], c["subdir"], c["ascii.txt"]],
        ),
        (
            "block-behind-shards",
            f"{c['hamt']}/1.txt",
            "dag-scope=block",
            [c["hamt"], *c.shards("1.txt"), c["in hamt 1.txt"]],
        ),
        ("entity-directory", f"{c['dir']}", "dag-scope=entity", [c["dir"]]),
        ("entity-shards", f"{c['hamt']}", "dag-scope=entity", [c["hamt"], *c.all_shards()]),
        (
            "entity-file",
            f"{c['mixed']}/subdir/ascii.txt",
            "dag-scope=entity",
            [c["mixed"], subdir, c["ascii.txt"]],
        ),
        (
            "entity-file-in-chunks",
            f"{c['mixed']}/subdir/multiblock.txt",
            "dag-scope=entity",
            [c["mixed"], subdir, file, *leaves],
        ),
        (
            "entity-document",
            f"{c['with document']}/document",
            "dag-scope=entity",
            [c["with document"], c["document"]],
        ),
        (
            "all-of-a-directory",
            f"{c['mixed']}/subdir",
            "dag-scope=all",
            [c["mixed"], subdir, *below(c.dag, subdir)],
        ),
        (
            "all-of-a-file",
            f"{c['mixed']}/subdir/multiblock.txt",
            "dag-scope=all",
            [c["mixed"], subdir, file, *leaves],
        ),
        ("bytes-before-what-is-missing", f"{c['lacking']}", ranged + "0:1000", [c["lacking"], c["lacking first"]]),
        ("bytes-after-what-is-missing", f"{c['lacking']}", ranged + "2200:*", [c["lacking"], c["lacking last"]]),
        ("bytes-of-a-directory", f"{c['dir']}", ranged + "0:*", [c["dir"]]),
        ("bytes-of-shards", f"{c['hamt']}", ranged + "0:*", [c["hamt"], *c.all_shards()]),
        ("bytes-whole", f"{file}", ranged + "0:*", [file, *leaves]),
        ("bytes-from", f"{file}", ranged + "512:*", [file, *leaves[2:]]),
        ("bytes-between", f"{file}", ranged + "512:1023", [file, *leaves[2:4]]),
        ("bytes-up-to-before-the-end", f"{file}", ranged + "512:-256", [file, *leaves[2:4]]),
        ("bytes-at-the-end", f"{file}", ranged + "-5:*", [file, *leaves[3:]]),
        ("bytes-from-before-the-start", f"{file}", ranged + "-9999:*", [file, *leaves]),
        ("bytes-from-before-the-start-to", f"{file}", ranged + "-9999:-3", [file, *leaves[:4]]),
        ("bytes-first", f"{file}", ranged + "0:0", [file, leaves[0]]),
    ]


@pytest.mark.parametrize("by", ["format", "Accept"])
@pytest.mark.parametrize(("path", "query", "expected"), [case[1:] for case in _cases()], ids=[c[0] for c in _cases()])
def test_a_car(gateway: Node, path: str, query: str, expected: Sequence[Cid], by: str) -> None:
    if by == "format":
        answer = gateway.get(f"/ipfs/{path}?format=car&{query}")
    else:
        answer = gateway.get(f"/ipfs/{path}?{query}", Accept=CAR_TYPE)
    assert answer.status == 200, answer.body
    assert blocks_of(answer) == list(expected)
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["accept-ranges"] == "none"
    assert headers["content-type"] == f"{CAR_TYPE}; version=1; order=dfs; dups=n"
    assert re.fullmatch(r'attachment; filename=".*\.car"', headers["content-disposition"])
    assert headers["etag"].startswith('W/"')


@pytest.mark.parametrize("by", ["format", "Accept"])
def test_a_car_of_what_is_not_there(gateway: Node, by: str) -> None:
    path = f"/ipfs/{content()['dir']}/subdir/i-do-not-exist"
    answer = gateway.get(f"{path}?format=car") if by == "format" else gateway.get(path, Accept=CAR_TYPE)
    assert (answer.status, answer.code) == (404, "no-such-entry")


@pytest.mark.parametrize(("asked", "accepted"), [("car", RAW_TYPE), ("raw", CAR_TYPE)])
def test_the_query_wins(gateway: Node, asked: str, accepted: str) -> None:
    answer = gateway.get(f"/ipfs/{content()['dir']}?format={asked}", Accept=accepted)
    assert answer.status == 200
    assert answer.headers["content-type"].partition(";")[0] == f"application/vnd.ipld.{asked}"


# CARs, optional parts

COPIES_ONCE = ["ascii.txt", "hello.txt", "multiblock.txt", *LEAVES]


@pytest.mark.parametrize("query", ["", "?format=car"], ids=["Accept", "format"])
@pytest.mark.parametrize(
    ("repeats", "expected"), [("y", ["ascii.txt", *COPIES_ONCE]), ("n", COPIES_ONCE)], ids=["dups=y", "dups=n"]
)
def test_repeated_blocks(gateway: Node, query: str, repeats: str, expected: Sequence[str]) -> None:
    path = f"/ipfs/{content()['copies']}{query}"
    answer = gateway.get(path, Accept=f"{CAR_TYPE}; version=1; order=dfs; dups={repeats}")
    assert answer.headers["content-type"] == f"{CAR_TYPE}; version=1; order=dfs; dups={repeats}"
    assert blocks_of(answer) == [content()["copies"], *(content()[name] for name in expected)]


def test_any_order(gateway: Node) -> None:
    answer = gateway.get(f"/ipfs/{content()['copies']}", Accept=f"{CAR_TYPE}; version=1; order=unk")
    assert "order=" in answer.headers["content-type"]
    assert set(blocks_of(answer)) == {content()["copies"], *(content()[name] for name in COPIES_ONCE)}


def test_a_car_of_an_identity_cid_has_no_block(gateway: Node) -> None:
    cid = "bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa"
    answer = gateway.get(f"/ipfs/{cid}", Accept=f"{CAR_TYPE}; dups=y")
    assert answer.status == 200
    assert "dups=y" in answer.headers["content-type"]
    reader = CarReader(io.BytesIO(answer.body))
    assert [str(root) for root in reader.roots] == [cid]
    assert list(reader) == []


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [("car-order=dfs", "order=unk", "order=dfs"), ("car-dups=y", "dups=n", "dups=y")],
)
def test_parameters_in_the_query_win(gateway: Node, query: str, accept: str, expected: str) -> None:
    answer = gateway.get(f"/ipfs/{content()['copies']}?format=car&{query}", Accept=f"{CAR_TYPE}; {accept}")
    assert answer.status == 200
    assert expected in answer.headers["content-type"]
