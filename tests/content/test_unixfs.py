"""UnixFS: the CIDs that others give, reading back, and blocks made to do harm."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bacpack.content.cid.block import BadBlockError, MissingBlockError
from bacpack.content.cid.cid import DAG_CBOR, DAG_PB, RAW, Cid
from bacpack.content.ipld.dag_pb import Link, Node, decode_node, encode_node
from bacpack.content.store.file_dag import FileDag
from bacpack.content.unixfs import hamt, writer
from bacpack.content.unixfs.nodes import Kind, UnixFsData, decode_data, encode_data
from bacpack.content.unixfs.reader import (
    file_size,
    is_directory,
    list_directory,
    read_bytes,
    read_file,
    resolve,
    walk_files,
)
from bacpack.content.unixfs.writer import (
    CHUNK_BYTES,
    MAX_DIRECTORY_BYTES,
    MAX_LINKS,
    build_directory,
    build_file,
    cid_of_bytes,
)
from bacpack.errors import InputError
from content.harness import Blocks, Oracles, chacha20, node
from strategies import cids, entry_names

MIB = 1 << 20


# The CIDs that IPIP-499 fixes


def test_published_cids_of_files() -> None:
    """The vectors of IPIP-499 as kubo's tests state them: test/cli/cid_profiles_test.go."""
    # The numbers that only files of more than 1 GiB and directories of thousands of entries show.
    assert (CHUNK_BYTES, MAX_LINKS, MAX_DIRECTORY_BYTES) == (MIB, 1024, 256 << 10)
    stream = chacha20("chunk-v1-seed", MIB + 1)
    assert str(cid_of_bytes(b"hello world")) == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    assert str(cid_of_bytes(b"")) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    assert str(cid_of_bytes(stream[:MIB])) == "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"
    assert str(cid_of_bytes(stream)) == "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"


@pytest.mark.parametrize(
    ("last_name", "cid"),
    [
        # 262,144 bytes in one block: the largest directory that is not sharded.
        (21, "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4"),
        # One byte more.
        (22, "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu"),
    ],
)
def test_published_cids_of_directories(last_name: int, cid: str) -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz01234567890-_"
    stream = iter(chacha20("hamt-unixfs-v1-2025", 4765 * 11 + last_name))
    names = [
        "".join(alphabet[next(stream) % len(alphabet)] for _ in range(11 if index < 4765 else last_name))
        for index in range(4766)
    ]
    blocks: Blocks = {}
    entry = build_file(io.BytesIO(b"x"), blocks.__setitem__)
    root = build_directory(dict.fromkeys(names, entry), blocks.__setitem__)
    assert str(root.cid) == cid
    assert decode_data(decode_node(blocks[root.cid]).data).kind is (Kind.DIRECTORY if last_name == 21 else Kind.SHARD)
    assert sorted(found.name for found in list_directory(blocks.__getitem__, root.cid)) == sorted(names)
    assert {resolve(blocks.__getitem__, root.cid, [name]) for name in names[::500]} == {entry.cid}
    with pytest.raises(InputError) as caught:
        resolve(blocks.__getitem__, root.cid, ["absent"])
    assert caught.value.code == "no-such-entry"


def test_other_programs_give_the_same_cids(oracles: Oracles, tmp_path: Path) -> None:
    contents = {
        "0": b"",
        "1": b"x",
        "mib-1": bytes(range(256)) * 4095 + b"y" * 255,
        "mib": bytes(range(256)) * 4096,
        "mib+1": bytes(range(256)) * 4096 + b"z",
        "3000000": b"abc" * 1_000_000,
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    ours = [str(FileDag().add_file(tmp_path / name).cid) for name in contents]
    assert oracles.ask("files", *(tmp_path / name for name in contents)) == ours
    for name, cid in zip(contents, ours, strict=True):
        packed = oracles.ipfs_car("pack", tmp_path / name, "--no-wrap", "--output", tmp_path / f"{name}.car")
        assert packed.stdout.strip() == cid, name


@pytest.mark.parametrize(
    ("chunk", "links", "size"),
    [
        (16, MAX_LINKS, 16 * 1024),
        (16, MAX_LINKS, 16 * 1024 + 1),
        (16, MAX_LINKS, 16 * 5000),
        (8, 4, 8 * 4**4),
        (8, 4, 8 * 4**4 + 1),
        (8, 4, 999),
    ],
)
def test_trees_have_the_same_shape_elsewhere(
    chunk: int, links: int, size: int, oracles: Oracles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the profile does with files of gigabytes, shown with small chunks."""
    path = tmp_path / "file"
    path.write_bytes(bytes(index * 7 % 251 for index in range(size)))
    monkeypatch.setattr(writer, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(writer, "MAX_LINKS", links)
    assert str(cid_of_bytes(path.read_bytes())) == oracles.ask("shape", chunk, links, path)


def test_other_programs_give_the_same_cids_of_directories(oracles: Oracles, tmp_path: Path) -> None:
    for count in (0, 3, 4800):
        folder = tmp_path / str(count)
        folder.mkdir()
        for index in range(count):
            (folder / f"entry-{index:05}-é").write_bytes(b"%d" % (index % 7))
        dag = FileDag()
        ours = dag.add_directory({path.name: dag.add_file(path) for path in folder.iterdir()})
        if count:
            assert oracles.ask("folder", folder) == str(ours.cid)
        else:
            assert str(ours.cid) == "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"


# Reading what was written


@given(st.binary(max_size=500), st.integers(1, 40), st.integers(2, 5))
@settings(max_examples=60)
def test_files_of_any_shape_are_read_back(data: bytes, chunk: int, links: int) -> None:
    """With the profile's numbers made small, so that trees grow tall."""
    blocks: Blocks = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "CHUNK_BYTES", chunk)
        patch.setattr(writer, "MAX_LINKS", links)
        root = build_file(io.BytesIO(data), blocks.__setitem__)
    assert read_bytes(blocks.__getitem__, root.cid) == data
    assert file_size(blocks.__getitem__, root.cid) == root.size == len(data)
    assert _depths(blocks, root.cid) <= {max(_depths(blocks, root.cid))}


def _depths(blocks: Blocks, cid: Cid, depth: int = 0) -> set[int]:
    if cid.codec == RAW:
        return {depth}
    return set().union(*(_depths(blocks, link.cid, depth + 1) for link in decode_node(blocks[cid]).links))


def test_no_more_than_a_chunk_is_asked_for_at_a_time() -> None:
    class Trickle(io.BytesIO):
        """Gives 100,000 bytes at most, as a pipe may."""

        def read(self, count: int | None = -1) -> bytes:
            assert count is not None
            assert 0 < count <= CHUNK_BYTES
            return super().read(min(count, 100_000))

    data = bytes(2_500_000)
    assert build_file(Trickle(data), lambda cid, block: None).cid == cid_of_bytes(data)


@given(st.dictionaries(entry_names, st.binary(max_size=5), max_size=30), st.booleans())
def test_directories_are_read_back(contents: dict[str, bytes], sharded: bool) -> None:
    blocks: Blocks = {}
    with pytest.MonkeyPatch.context() as patch:
        if sharded:
            patch.setattr(writer, "MAX_DIRECTORY_BYTES", 3)
        entries = {name: build_file(io.BytesIO(data), blocks.__setitem__) for name, data in contents.items()}
        root = build_directory(entries, blocks.__setitem__)
    get = blocks.__getitem__
    assert {entry.name: entry.cid for entry in list_directory(get, root.cid)} == {
        name: entry.cid for name, entry in entries.items()
    }
    for name, data in contents.items():
        assert read_bytes(get, resolve(get, root.cid, [name])) == data
    assert dict(walk_files(get, root.cid)) == {name: entry.cid for name, entry in entries.items()}
    assert root.size == sum(map(len, contents.values()))


def test_slots_are_those_of_murmur3() -> None:
    """Values of MurmurHash3_x64_128, seed 0, first half."""
    assert hamt.slots_of("").hex() == "0000000000000000"
    assert hamt.slots_of("hello").hex() == "cbd8a7b341bd9b02"
    assert hamt.slots_of("The quick brown fox jumps over the lazy dog").hex() == "e34bbc7bbc071b6c"


def test_names_whose_hashes_are_equal_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_DIRECTORY_BYTES", 3)
    monkeypatch.setattr(hamt, "slots_of", lambda name: bytes(8))
    blocks: Blocks = {}
    entry = build_file(io.BytesIO(b""), blocks.__setitem__)
    with pytest.raises(InputError, match="hashes are equal"):
        build_directory({"a": entry, "b": entry}, blocks.__setitem__)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "a\udcff"])
def test_names_that_no_directory_can_hold_are_refused(name: str) -> None:
    entry = build_file(io.BytesIO(b""), lambda cid, block: None)
    with pytest.raises(InputError) as caught:
        build_directory({name: entry}, lambda cid, block: None)
    assert caught.value.code == "bad-name"
    assert caught.value.message.encode()


def test_files_of_older_profiles_are_read() -> None:
    """Bytes in the nodes themselves, before those of the links; leaves of kind raw and file; CIDs of version 0."""
    blocks: Blocks = {}

    def add(message: UnixFsData, *links: Cid) -> Cid:
        cid, block = node({str(index): link for index, link in enumerate(links)}, message)
        cid = replace(cid, version=0)
        blocks[cid] = block
        return cid

    leaves = [add(UnixFsData(Kind.RAW, b"bcd", 3)), add(UnixFsData(Kind.FILE, b"ef", 2))]
    root = add(UnixFsData(Kind.FILE, b"a", 6, (3, 2)), *leaves)
    assert str(root).startswith("Qm")
    assert list(read_file(blocks.__getitem__, root)) == [b"a", b"bcd", b"ef"]
    assert read_bytes(blocks.__getitem__, add(UnixFsData(Kind.FILE))) == b""


# dag-pb and the UnixFS message


@given(st.binary(max_size=20), st.lists(st.builds(Link, cids(), entry_names, st.integers(0, 2**50)), max_size=5))
def test_nodes_survive(data: bytes, links: list[Link]) -> None:
    assert decode_node(encode_node(data, links)) == Node(data, tuple(links))


@given(
    st.builds(Link, cids(), entry_names, st.integers(0, 2**50)),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=2),
    st.integers(0, 120),
)
def test_usual_links_are_read_as_others_are(link: Link, changes: list[tuple[int, int]], length: int) -> None:
    """The quick way gives what reading field by field gives, also of damaged links."""
    block = bytearray(encode_node(b"", [link])[:length])
    for position, byte in changes:
        block[position : position + 1] = bytes([byte]) if position < len(block) else b""

    def read() -> Node | None:
        try:
            return decode_node(bytes(block))
        except BadBlockError:
            return None

    quickly = read()
    with mock.patch("bacpack.content.ipld.dag_pb._usual_link", lambda message: None):
        assert quickly == read()


@given(
    st.builds(
        UnixFsData,
        st.sampled_from(Kind),
        st.binary(max_size=9),
        st.none() | st.integers(0, 2**62),
        st.lists(st.integers(0, 2**40), max_size=4).map(tuple),
        st.none() | st.integers(0, 99),
        st.none() | st.integers(0, 999),
    )
)
def test_messages_survive(message: UnixFsData) -> None:
    assert decode_data(encode_data(message)) == message


@given(st.binary(max_size=60))
def test_any_bytes_are_a_node_or_refused(data: bytes) -> None:
    for read in (decode_node, decode_data):
        try:
            read(data)
        except BadBlockError as error:
            assert error.code == "bad-block"


LINK_FIELD = b"\x0a\x24" + bytes(Cid.of_raw(b""))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\x0a\x05ab", "field 1 is cut short"),
        (b"\x0a\x00\x0a\x00", "field 1 does not belong"),
        (b"\x1a\x00", "field 3 does not belong"),
        (b"\x0d\x00\x00\x00\x00", "wire type 5"),
        (b"\x12\x00", "names no CID"),
        (b"\x12\x03\x0a\x01\x00", "cut short|version 0"),
        (b"\x12\x02\x12\x00", "names no CID"),
        (b"\x12\x28" + b"\x12\x00" + LINK_FIELD, "out of order"),
        (b"\x12\x4c" + LINK_FIELD + LINK_FIELD, "out of order"),
        (b"\x12\x29" + LINK_FIELD + b"\x12\x01\xff", "decode"),
        (b"\x12\x28" + LINK_FIELD + b"\x22\x00", "field 4 does not belong"),
        (b"\x8a\x00\x00", "shortest form"),
    ],
)
def test_malformed_nodes_are_refused(block: bytes, reason: str) -> None:
    with pytest.raises(BadBlockError, match=reason):
        decode_node(block)


@pytest.mark.parametrize(("data", "reason"), [(b"", "what it is"), (b"\x08\x09", "9 is not a valid"), (b"\x0a", "cut")])
def test_malformed_messages_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadBlockError, match=reason):
        decode_data(data)


# Content made to do harm, and what is not there

LEAF = Cid.of_raw(b"leaf")


def _harmful() -> Iterator[tuple[str, UnixFsData, list[Cid], str]]:
    yield "fewer sizes than links", UnixFsData(Kind.FILE, block_sizes=(4,)), [LEAF, LEAF], "2 links but states 1"
    yield "an empty part", UnixFsData(Kind.FILE, block_sizes=(0,)), [LEAF], "an empty part"
    yield "a size that its parts do not make", UnixFsData(Kind.FILE, b"", 9, (4,)), [LEAF], "parts make 4"
    yield "a part of another size", UnixFsData(Kind.FILE, b"", 5, (5,)), [LEAF], "holds 4 bytes"


@pytest.mark.parametrize(
    ("message", "links", "reason"), [case[1:] for case in _harmful()], ids=[c[0] for c in _harmful()]
)
def test_files_that_do_not_add_up_are_refused(message: UnixFsData, links: list[Cid], reason: str) -> None:
    cid, block = node({str(index): link for index, link in enumerate(links)}, message)
    with pytest.raises(BadBlockError, match=reason):
        read_bytes({cid: block, LEAF: b"leaf"}.__getitem__, cid)


def test_a_file_larger_than_allowed_is_refused_before_it_is_read() -> None:
    """A few blocks linked again and again claim to be 2**60 bytes."""
    blocks: Blocks = {LEAF: b"leaf"}
    cid, size = LEAF, 4
    for _ in range(6):
        cid, block = node({}, None)
        block = encode_node(
            encode_data(UnixFsData(Kind.FILE, block_sizes=(size,) * 1000)), [Link(cid, "", size)] * 1000
        )
        size *= 1000
        cid = Cid.of_block(DAG_PB, block)
        blocks[cid] = block
    assert file_size(blocks.__getitem__, cid) == size
    with pytest.raises(InputError) as caught:
        read_bytes(blocks.__getitem__, cid, max_bytes=1 << 30)
    assert caught.value.code == "too-large"


def test_a_file_deeper_than_any_is_refused() -> None:
    blocks: Blocks = {LEAF: b"leaf"}
    cid = LEAF
    for _ in range(1026):
        cid, block = node({"": cid}, UnixFsData(Kind.FILE, block_sizes=(4,)))
        blocks[cid] = block
    with pytest.raises(InputError) as caught:
        read_bytes(blocks.__getitem__, cid)
    assert caught.value.code == "too-deep"


def test_a_few_directories_linked_again_and_again_are_walked_once() -> None:
    blocks: Blocks = {LEAF: b"leaf"}
    cid = LEAF
    for _ in range(50):
        cid, block = node({"a": cid, "b": cid})
        blocks[cid] = block
    assert len(list(walk_files(blocks.__getitem__, cid))) == 2


def test_a_shard_linked_twice_is_refused() -> None:
    shard = UnixFsData(Kind.SHARD, b"\x01", hash_type=hamt.MURMUR3_X64_64, fanout=hamt.FANOUT)
    inner, inner_block = node({"00x": LEAF}, shard)
    outer, outer_block = node({"00": inner, "01": inner}, shard)
    get = {inner: inner_block, outer: outer_block}.__getitem__
    with pytest.raises(BadBlockError, match="twice"):
        list_directory(get, outer)
    odd, odd_block = node({}, replace(shard, fanout=12))
    with pytest.raises(BadBlockError, match="fanout"):
        list_directory({odd: odd_block}.__getitem__, odd)


def test_paths_that_lead_nowhere() -> None:
    root, block = node({"file": LEAF})
    blocks = {root: block, LEAF: b"leaf"}
    get = blocks.__getitem__
    assert resolve(get, root) == root
    assert is_directory(get, root)
    assert not is_directory(get, LEAF)
    for path, code in ((["nope"], "no-such-entry"), (["file", "x"], "not-a-directory")):
        with pytest.raises(InputError) as caught:
            resolve(get, root, path)
        assert caught.value.code == code
    for cid, code in ((root, "not-a-file"), (Cid.of_block(DAG_CBOR, b"\x01"), "not-a-file")):
        with pytest.raises(InputError) as caught:
            read_bytes({**blocks, Cid.of_block(DAG_CBOR, b"\x01"): b"\x01"}.__getitem__, cid)
        assert caught.value.code == code
    with pytest.raises(InputError, match="not a directory"):
        list_directory(get, LEAF)


# Leaves that stay in their files


def test_a_file_changed_while_it_is_packed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(b"before")
    dag = FileDag()
    cid = dag.add_file(path).cid
    assert dag.get(cid) == b"before"
    path.write_bytes(b"after!")
    with pytest.raises(InputError) as caught:
        dag.get(cid)
    assert caught.value.code == "changed-meanwhile"
    path.unlink()
    with pytest.raises(InputError) as caught:
        dag.get(cid)
    assert caught.value.code == "not-found"
    with pytest.raises(MissingBlockError):
        dag.get(LEAF)
