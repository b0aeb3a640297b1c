"""The gateway beyond the conformance suite: caches, errors, hostile paths and parameters, content that is not whole."""

from __future__ import annotations

import http.client
import io
import json
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bacpack.content.car import CarError, CarReader
from bacpack.content.car.selection import ByteRange, Selection, select
from bacpack.content.cid.cid import DAG_CBOR, Cid
from bacpack.content.ipld.dag_pb import Link
from bacpack.content.store.block_store import BlockStore
from bacpack.content.unixfs.path import trace
from bacpack.content.unixfs.reader import read_bytes
from bacpack.errors import InputError
from node.dags import MULTIBLOCK, Dag
from node.serving import Node, keep

NOWHERE = Cid.of_raw(b"nobody has this")
CAR = {"Accept": "application/vnd.ipld.car"}


def add(node: Node, dag: Dag) -> None:
    keep(node.store, dag.blocks)


# Caches


@pytest.mark.parametrize("query", ["format=raw", "format=car"])
def test_what_a_client_holds_is_not_sent_again(served: Node, dag: Dag, query: str) -> None:
    cid = dag.raw(b"held")
    add(served, dag)
    path = f"/ipfs/{cid}?{query}"
    etag = served.get(path).headers["etag"]
    for known in (etag, f'"other", {etag}', f"W/{etag.removeprefix('W/')}", "*"):
        answer = served.get(path, If_None_Match=known)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == etag
    assert served.get(path, If_None_Match='"other"').status == 200
    assert served.get(f"/ipfs/{NOWHERE}?{query}", If_None_Match="*").status == 404


def test_each_part_of_a_dag_has_its_own_etag(served: Node, dag: Dag) -> None:
    root, _ = dag.file(MULTIBLOCK)
    folder = dag.directory({"a": root, "b": root})
    add(served, dag)
    paths = [f"{folder}", f"{folder}/a", f"{folder}/b"]
    queries = ["", "&dag-scope=block", "&dag-scope=entity", "&entity-bytes=0:1", "&entity-bytes=0:2", "&car-dups=y"]
    etags = {served.get(f"/ipfs/{path}?format=car{query}").headers["etag"] for path in paths for query in queries}
    assert len(etags) == len(paths) * len(queries)


@pytest.mark.parametrize("query", ["format=raw", "format=car"])
def test_only_what_is_here_is_asked_for(served: Node, dag: Dag, query: str) -> None:
    cid = dag.raw(b"here")
    add(served, dag)
    assert served.get(f"/ipfs/{cid}?{query}", Cache_Control="only-if-cached").status == 200
    assert served.get(f"/ipfs/{NOWHERE}?{query}", Cache_Control="only-if-cached").status == 412
    answer = served.get(f"/ipfs/{NOWHERE}?{query}")
    assert (answer.status, answer.code) == (404, "not-here")
    head = served.ask("HEAD", f"/ipfs/{NOWHERE}?{query}", headers={"Cache-Control": "only-if-cached"})
    assert (head.status, head.body) == (412, b"")


@pytest.mark.parametrize("query", ["format=raw", "format=car"])
def test_head_has_the_same_headers_and_no_body(served: Node, dag: Dag, query: str) -> None:
    cid = dag.raw(b"head")
    add(served, dag)
    answer = served.get(f"/ipfs/{cid}?{query}")
    head = served.ask("HEAD", f"/ipfs/{cid}?{query}")
    assert (head.status, head.body) == (200, b"")
    framing = {"date", "transfer-encoding"}
    assert {k: v for k, v in head.headers.items() if k not in framing} == {
        k: v for k, v in answer.headers.items() if k not in framing
    }
    assert served.ask("HEAD", f"/ipfs/{NOWHERE}?{query}").status == 404


def test_the_probe_of_other_nodes(served: Node) -> None:
    for method in ("GET", "HEAD"):
        answer = served.ask(method, "/ipfs/bafkqaaa?format=raw")
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    reader = CarReader(io.BytesIO(served.get("/ipfs/bafkqaaa?format=car").body))
    assert [str(root) for root in reader.roots] == ["bafkqaaa"]


def test_a_format_in_headers_only_is_told_to_caches(served: Node, dag: Dag) -> None:
    cid = dag.raw(b"negotiated")
    add(served, dag)
    answer = served.get(f"/ipfs/{cid}?filename=x", Accept="application/vnd.ipld.raw")
    assert answer.headers["content-location"] == f"/ipfs/{cid}?filename=x&format=raw"
    assert answer.headers["vary"] == "Accept"
    assert "content-location" not in served.get(f"/ipfs/{cid}?format=raw", Accept="application/vnd.ipld.raw").headers


def test_browsers_may_read(served: Node, dag: Dag) -> None:
    cid = dag.raw(b"browser")
    add(served, dag)
    assert served.get(f"/ipfs/{cid}?format=raw").headers["access-control-allow-origin"] == "*"
    assert served.get(f"/ipfs/{NOWHERE}?format=raw").headers["access-control-allow-origin"] == "*"
    preflight = served.ask(
        "OPTIONS", f"/ipfs/{cid}", headers={"Origin": "http://x", "Access-Control-Request-Method": "GET"}
    )
    assert preflight.status == 204
    assert "GET" in preflight.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in served.get("/api/v1/pins").headers
    assert "access-control-allow-origin" not in served.get("/healthz").headers


# Spellings


def test_every_spelling_of_a_cid(served: Node, dag: Dag) -> None:
    cid = dag.node(b"\x08\x01", [])
    add(served, dag)
    old = Cid(0, 0x70, cid.multihash)
    block = dag.blocks[cid]
    for text in (str(cid), str(old), f"%{ord('b'):02x}{str(cid)[1:]}"):
        answer = served.get(f"/ipfs/{text}?format=raw")
        assert (answer.status, answer.body) == (200, block)
    ((found, data),) = CarReader(io.BytesIO(served.get(f"/ipfs/{old}?format=car").body))
    assert (found, data) == (old, block)


def test_names_in_paths_are_decoded_once(served: Node, dag: Dag) -> None:
    names = {"sp ace": b"1", "per%20cent": b"2", "ünï": b"3", "a/b": b"4", "plus+plus": b"5", "q?": b"6"}
    root = dag.directory({name: dag.raw(data) for name, data in names.items()})
    add(served, dag)
    for quoted, data in {
        "sp%20ace": b"1", "per%2520cent": b"2", "%C3%BCn%C3%AF": b"3", "a%2Fb": b"4", "plus+plus": b"5", "q%3F": b"6",
    }.items():  # fmt: skip
        answer = served.get(f"/ipfs/{root}/{quoted}?format=car")
        assert answer.status == 200, answer.body
        assert [block for _, block in CarReader(io.BytesIO(answer.body))][-1] == data
    assert served.get(f"/ipfs/{root}/%FF?format=car").status == 400
    assert served.get(f"/ipfs/{root}/sp%20ace/more?format=car").status == 404


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("plain.wasm", 'attachment; filename="plain.wasm"'),
        ('a"b\\c/d', "attachment; filename=\"a_b_c_d\"; filename*=UTF-8''a%22b%5Cc_d"),
        ("ü\r\nX-Evil: 1", "attachment; filename=\"___X-Evil: 1\"; filename*=UTF-8''%C3%BC%0D%0AX-Evil%3A%201"),
    ],
)
def test_names_for_downloads(served: Node, dag: Dag, name: str, written: str) -> None:
    from urllib.parse import quote

    cid = dag.raw(b"named")
    add(served, dag)
    answer = served.get(f"/ipfs/{cid}?format=raw&filename={quote(name)}")
    assert answer.headers["content-disposition"] == written
    assert "x-evil" not in answer.headers


def test_paths_into_documents(served: Node, dag: Dag) -> None:
    leaf, other = dag.raw(b"leaf"), dag.raw(b"other")
    inner = dag.document({"leaf": leaf})
    root = dag.document({"list": [inner, other], "map": {"x": 1, "y": other}})
    add(served, dag)

    def blocks(path: str) -> list[Cid]:
        answer = served.get(f"/ipfs/{root}{path}", **CAR)
        assert answer.status == 200, answer.body
        return [cid for cid, _ in CarReader(io.BytesIO(answer.body))]

    assert blocks("/list/0/leaf") == [root, inner, leaf]
    assert blocks("/list/0") == [root, inner, leaf]
    assert blocks("/list/1") == [root, other]
    # A path that ends inside a document means what is linked from there.
    assert blocks("/map") == [root, other]
    assert blocks("/map/x") == [root]
    # Shorter keys come first in a document.
    assert blocks("") == [root, other, inner, leaf]
    for path in ("/list/2", "/list/x", "/map/z", "/map/x/1", "/map/y/1"):
        assert served.get(f"/ipfs/{root}{path}", **CAR).status == 404


# What is refused


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("{cid}", "", 400),
        ("{cid}", "*/*", 400),
        ("{cid}", "text/html", 406),
        ("{cid}?format=tar", "", 406),
        ("{cid}?format=", "", 406),
        ("{cid}", "text/html, application/vnd.ipld.raw;q=0.5", 200),
        ("{cid}", "application/vnd.ipld.raw;q=0", 400),
        ("{cid}/x?format=raw", "", 400),
        ("{cid}?format=car&dag-scope=some", "", 400),
        ("{cid}?format=car&car-version=2", "", 400),
        ("{cid}", "application/vnd.ipld.car; version=2", 400),
        ("{cid}?format=car&car-order=bfs", "", 400),
        ("{cid}?format=car&car-dups=maybe", "", 400),
        *(
            (f"{{cid}}?format=car&entity-bytes={wrong}", "", 400)
            for wrong in ("x", "0", ":", "0:", ":5", "1:0", "-1:-5", "0x1:*", "1.5:2", "*:*", "9" * 30 + ":*", "4:*")
        ),
        ("not-a-cid?format=raw", "", 400),
        ("?format=raw", "", 400),
        ("%FF?format=raw", "", 400),
        ("bafkreinonono?format=raw", "", 400),
        ("b" + "a" * 5000 + "?format=raw", "", 400),
        ("..%2F..%2Fnode-token?format=raw", "", 400),
        ("{cid}/../../../etc/passwd?format=raw", "", 400),
        ("{cid}/%2e%2e/%2e%2e/node-token?format=car", "", 404),
        ("{cid}?" + "&".join(f"a{n}=1" for n in range(100)), "application/vnd.ipld.raw", 400),
    ],
)
def test_requests_that_cannot_be_understood(served: Node, dag: Dag, path: str, accept: str, status: int) -> None:
    cid = dag.raw(b"ask")
    add(served, dag)
    answer = served.ask("GET", "/ipfs/" + path.replace("{cid}", str(cid)), headers={"Accept": accept} if accept else {})
    assert answer.status == status, answer.body
    assert status == 200 or answer.code
    assert b"passwd" not in answer.body and served.token.encode() not in answer.body


def test_only_reading_is_offered(served: Node) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        answer = served.ask(method, f"/ipfs/{NOWHERE}?format=raw", b"")
        assert (answer.status, answer.code) == (405, "wrong-method")
        assert "GET" in answer.headers["allow"]
    answer = served.get(f"/ipfs/{NOWHERE}?format=raw", Service_Worker="script")
    assert (answer.status, answer.code) == (400, "bad-request")


def test_the_rest_of_the_store_is_not_served(served: Node) -> None:
    for path in (
        "/node-token",
        "/store.sqlite3",
        "/blocks",
        "/ipfs/../node-token",
        "//node-key",
        "/api/v1/../node-key",
    ):
        with socket.create_connection((served.host, served.port)) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            received = b"".join(iter(lambda: raw.recv(65536), b""))
        assert received.split()[1] in (b"400", b"404"), received
        assert served.token.encode() not in received


# Content that is not whole


def cut_answer(node: Node, path: str) -> bytes:
    """What came of a CAR that was cut short, which the framing must tell."""
    connection = node.connect()
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    connection.close()
    return caught.value.partial


def test_a_car_that_lacks_a_block_is_cut_where_that_shows(node: Node, dag: Dag) -> None:
    parts = [dag.raw(bytes([n]) * 300_000) for n in range(6)]
    root = dag.file_of(parts, [300_000] * 6)
    del dag.blocks[parts[4]]
    add(node, dag)
    partial = cut_answer(node, f"/ipfs/{root}?format=car")
    whole = [root, *parts[:4]]
    try:
        found = [cid for cid, _ in CarReader(io.BytesIO(partial))]
    except CarError:
        found = []
    assert found == whole[: len(found)]
    assert node.get("/healthz").status == 200


def test_a_damaged_block_is_not_served(node: Node, dag: Dag) -> None:
    small, large = dag.raw(b"small"), dag.raw(bytes(1 << 20))
    root = dag.directory({"small": small, "large": large})
    add(node, dag)
    for cid in (small, large):
        path = BlockStore(node.store).path(cid)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        answer = node.get(f"/ipfs/{cid}?format=raw")
        assert (answer.status, answer.code) == (404, "not-here")
    cut_answer(node, f"/ipfs/{root}?format=car")
    assert node.get(f"/ipfs/{root}?format=raw").status == 200


def test_a_dag_deeper_than_any_honest_one_is_cut(tmp_path: Path, dag: Dag) -> None:
    deep, deepest = dag.chain(31), dag.chain(30)
    with Node(tmp_path, limits={"bacpack.content.car.selection.MAX_DAG_DEPTH": 30}) as node:
        add(node, dag)
        cut_answer(node, f"/ipfs/{deep}?format=car")
        answer = node.get(f"/ipfs/{deepest}?format=car")
        assert len(list(CarReader(io.BytesIO(answer.body)))) == 31


def test_how_deep_that_is(dag: Dag) -> None:
    get = dag.blocks.__getitem__
    deepest, deep = dag.chain(1024), dag.chain(1025)
    assert len(list(select(get, trace(get, deepest, ()), Selection()))) == 1025
    with pytest.raises(InputError, match="1024 levels"):
        list(select(get, trace(get, deep, ()), Selection()))


def test_a_few_blocks_that_repeat_without_end_are_cut(tmp_path: Path, dag: Dag) -> None:
    cid = dag.raw(b"x")
    for _ in range(60):
        cid = dag.node(b"", [Link(cid, "", 1), Link(cid, "", 1)])
    with Node(tmp_path, limits={"bacpack.content.car.selection.MAX_REPEATS": 5000}) as node:
        add(node, dag)
        cut_answer(node, f"/ipfs/{cid}?format=car&car-dups=y")
        answer = node.get(f"/ipfs/{cid}?format=car")
        assert len(list(CarReader(io.BytesIO(answer.body)))) == 61


def test_links_that_cannot_be_followed(node: Node, dag: Dag) -> None:
    foreign = Cid(1, 0x0129, NOWHERE.multihash)
    dag.blocks[Cid(1, 0x0129, Cid.of_raw(b"{}").multihash)] = b"{}"
    held = Cid(1, 0x0129, Cid.of_raw(b"{}").multihash)
    document = dag.document({"json": held})
    add(node, dag)
    assert node.get(f"/ipfs/{foreign}?format=raw").status == 404
    assert node.get(f"/ipfs/{held}?format=raw").body == b"{}"
    assert node.get(f"/ipfs/{document}?format=car&dag-scope=block").status == 200
    cut_answer(node, f"/ipfs/{document}?format=car")


def test_blocks_that_are_not_what_their_codec_says(node: Node, dag: Dag) -> None:
    bad = Cid.of_block(DAG_CBOR, b"\xff\xff")
    dag.blocks[bad] = b"\xff\xff"
    add(node, dag)
    assert node.get(f"/ipfs/{bad}?format=raw").status == 200
    answer = node.get(f"/ipfs/{bad}/x?format=car")
    assert (answer.status, answer.code) == (404, "bad-block")
    cut_answer(node, f"/ipfs/{bad}?format=car")


# What is selected


@given(
    data=st.binary(min_size=1, max_size=200),
    chunk=st.integers(1, 40),
    links=st.integers(2, 4),
    first=st.integers(-250, 250),
    last=st.none() | st.integers(-250, 250),
)
@settings(max_examples=200)
def test_blocks_of_a_range_are_enough_and_none_too_many(
    data: bytes, chunk: int, links: int, first: int, last: int | None
) -> None:
    dag = Dag()
    level = [(dag.raw(data[at : at + chunk]), len(data[at : at + chunk])) for at in range(0, len(data), chunk)]
    while len(level) > 1:
        groups = [level[at : at + links] for at in range(0, len(level), links)]
        level = [(dag.file_of([c for c, _ in g], [s for _, s in g]), sum(s for _, s in g)) for g in groups]
    root = level[0][0]
    get = dag.blocks.__getitem__
    selected = dict(select(get, trace(get, root, ()), Selection("entity", ByteRange(first, last))))
    start, end = ByteRange(first, last).within(len(data))
    wanted = range(len(data))[first if first < 0 and -first <= len(data) else max(0, first) :]
    stop = len(data) if last is None else last + 1 if last >= 0 else len(data) + last + 1
    wanted = range(max(0, wanted.start), max(wanted.start, min(stop, len(data))))
    assert (start, end) == (wanted.start, wanted.stop) or not wanted

    # Reading that range touches these blocks and no others.
    touched: set[Cid] = {root}

    def visit(cid: Cid, at: int) -> int:
        from bacpack.content.ipld.dag_pb import decode_node
        from bacpack.content.unixfs.nodes import decode_data

        if cid.codec == 0x55:
            return len(get(cid))
        node = decode_node(get(cid))
        size = 0
        for link, part in zip(node.links, decode_data(node.data).block_sizes, strict=True):
            if at + size < end and at + size + part > start and start < end:
                touched.add(link.cid)
                visit(link.cid, at + size)
            size += part
        return size

    visit(root, 0)
    assert set(selected) == touched
    whole = dict(select(get, trace(get, root, ()), Selection("all")))
    assert read_bytes(whole.__getitem__, root) == data


def test_errors_are_json(served: Node) -> None:
    answer = served.get("/ipfs/x?format=raw")
    assert answer.headers["content-type"] == "application/json"
    assert set(json.loads(answer.body)) == {"schema", "error"}
