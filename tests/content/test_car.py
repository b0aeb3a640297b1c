"""CAR files: we read what others write, they read what we write, and malformed files are refused where they break."""

from __future__ import annotations

import io
import itertools
import json
import runpy
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bacpack.content.car import CarError, CarReader, car_chunks
from bacpack.content.car.header import MAX_HEADER_BYTES, MAX_ROOTS, MAX_SECTION_BYTES, V2_PRAGMA, encode_header
from bacpack.content.cid.block import MAX_BLOCK_BYTES
from bacpack.content.cid.cid import DAG_PB, Cid
from bacpack.content.cid.multihash import UnknownHashError
from bacpack.content.cid.varint import encode_varint
from bacpack.content.ipld import dag_cbor
from bacpack.errors import BacpackError, CheckFailedError
from content.harness import REPOSITORY, Bacpack, Oracles, node, raw
from strategies import cids, named_blocks

ONE, TWO = raw(b"first block"), raw(b"second block, a little longer")
ROOT = node({"one": ONE[0], "two": TWO[0]})
BLOCKS = [ROOT, ONE, TWO]


def section(cid: Cid, data: bytes) -> bytes:
    return encode_varint(len(bytes(cid)) + len(data)) + bytes(cid) + data


HEADER = encode_header([ROOT[0]])
V1 = HEADER + b"".join(section(*block) for block in BLOCKS)


def v2(payload: bytes = V1, *, offset: int | None = None, size: int | None = None, index: int = 0,
       padding: bytes = b"", trailer: bytes = b"") -> bytes:  # fmt: skip
    """A version 2 file around `payload`; offset and size are right unless given."""
    offset = 51 + len(padding) if offset is None else offset
    size = len(payload) if size is None else size
    return V2_PRAGMA + bytes(16) + struct.pack("<QQQ", offset, size, index) + padding + payload + trailer


def read(data: bytes) -> list[tuple[Cid, bytes]]:
    return list(CarReader(io.BytesIO(data)))


class Pipe(io.RawIOBase):
    """Gives the bytes of a file a few at a time, and cannot seek."""

    def __init__(self, data: bytes, most: int) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        assert 0 <= count <= MAX_SECTION_BYTES
        return self._file.read(min(count, self._most))


# Sound files


@given(st.lists(cids(), max_size=3), st.lists(named_blocks(), max_size=8))
@settings(max_examples=40)
def test_blocks_survive(roots: list[Cid], blocks: list[tuple[Cid, bytes]]) -> None:
    data = b"".join(car_chunks(roots, blocks))
    for wrapped in (data, v2(data), v2(data, padding=b"\0" * 7, trailer=b"index")):
        for file in (io.BytesIO(wrapped), Pipe(wrapped, 1), Pipe(wrapped, 100)):
            reader = CarReader(file)  # type: ignore[arg-type]
            assert reader.roots == tuple(roots)
            assert list(reader) == blocks


def test_what_is_written_is_version_1_byte_for_byte() -> None:
    assert b"".join(car_chunks([ROOT[0]], BLOCKS)) == V1
    assert CarReader(io.BytesIO(V1)).version == 1
    assert CarReader(io.BytesIO(v2())).version == 2


def test_identity_cids_are_left_out() -> None:
    identity = Cid.parse("bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa")
    assert read(b"".join(car_chunks([identity], [(identity, identity.identity_data)]))) == []


def test_every_hash_function_in_use_is_verified() -> None:
    for code in (0x12, 0x13, 0xB220, 0x00):
        from bacpack.content.cid.multihash import multihash_of

        cid = Cid(1, 0x55, multihash_of(code, b"data"))
        assert read(HEADER + section(cid, b"data")) == [(cid, b"data")]
        with pytest.raises(CheckFailedError):
            read(HEADER + section(cid, b"Data"))
    old = Cid(0, DAG_PB, ROOT[0].multihash)
    assert read(encode_header([old]) + section(old, ROOT[1])) == [(old, ROOT[1])]


def test_blocks_need_not_belong_to_a_root_and_may_be_repeated() -> None:
    assert read(encode_header([]) + section(*ONE) * 3) == [ONE] * 3
    assert read(HEADER) == []


def test_the_largest_block_is_read() -> None:
    block = raw(bytes(MAX_BLOCK_BYTES))
    assert read(HEADER + section(*block)) == [block]


def test_reading_without_verification_takes_blocks_as_they_are() -> None:
    wrong = HEADER + section(ONE[0], b"else")
    assert list(CarReader(io.BytesIO(wrong), verify=False)) == [(ONE[0], b"else")]


# Malformed files: a name, the file, the error's code, and what its message says

SECOND = len(HEADER) + len(section(*ROOT))
FOREIGN = Cid(1, 0x55, b"\x16\x20" + bytes(32))
MALFORMED: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "car-bad-header", "it is empty"),
    "wasm": (b"\0asm\x01\0\0\0", "car-bad-header", "length zero"),
    "text": (b"hello world" * 30, "car-bad-header", "cannot be read"),
    "header-cut-short": (V1[:20], "car-truncated", "the header at byte 0 is cut short"),
    "header-length-cut-short": (b"\x80", "car-truncated", "byte 0"),
    "header-length-not-minimal": (b"\x80\x00", "car-bad-header", "shortest form"),
    "header-oversized": (encode_varint(MAX_HEADER_BYTES + 1) + b"x", "car-too-large", "up to 1048576"),
    "header-oversized-hugely": (encode_varint(2**62), "car-too-large", "up to 1048576"),
    "header-no-cbor": (b"\x02\xff\xff", "car-bad-header", "byte 0"),
    "header-no-map": (b"\x01\x01", "car-bad-header", "states no version"),
    "header-without-version": (b"\x08\xa1\x65roots\x80", "car-bad-header", "states no version"),
    "header-without-roots": (b"\x0a\xa1\x67version\x01", "car-bad-header", "other fields"),
    "header-roots-no-list": (b"\x11\xa2\x65roots\x01\x67version\x01", "car-bad-header", "not a list"),
    "header-roots-no-cids": (b"\x12\xa2\x65roots\x81\x01\x67version\x01", "car-bad-header", "not a list"),
    "header-version-true": (b"\x11\xa2\x65roots\x80\x67version\xf5", "car-bad-header", "states no version"),
    "wrong-version-42": (b"\x12\xa2\x65roots\x80\x67version\x18\x2a", "car-bad-header", "version 42 is not known"),
    "too-many-roots": (encode_header([ONE[0]] * (MAX_ROOTS + 1)), "car-bad-header", "up to 1024"),
    "cut-inside-a-block": (
        V1[:-5],
        "car-truncated",
        f"the section at byte {len(V1) - len(section(*TWO))} is cut short",
    ),
    "cut-inside-a-cid": (V1[: SECOND + 11], "car-truncated", f"the section at byte {SECOND} is cut short"),
    "cut-inside-a-length": (HEADER + b"\x80", "car-truncated", f"length at byte {len(HEADER)}"),
    "length-not-minimal": (HEADER + b"\x80\x00", "car-bad-section", "shortest form"),
    "length-too-long": (HEADER + b"\xff" * 10, "car-bad-section", "longer than 9 bytes"),
    "section-of-length-zero": (V1 + b"\0", "car-bad-section", f"the section at byte {len(V1)} has length zero"),
    "section-oversized": (HEADER + encode_varint(MAX_SECTION_BYTES + 1), "car-too-large", f"byte {len(HEADER)}"),
    "section-oversized-hugely": (HEADER + encode_varint(2**62), "car-too-large", "up to 2097280"),
    "section-without-a-cid": (HEADER + b"\x05\xff\xff\xff\xff\xff", "car-bad-section", "starts with no CID"),
    "section-shorter-than-its-cid": (HEADER + b"\x0a" + bytes(ONE[0])[:10], "car-bad-section", "cut short"),
    "digest-too-long": (HEADER + encode_varint(134) + b"\x01\x55\x13\x81\x01" + bytes(129), "car-bad-section", "129"),
    "wrong-hash": (V1[:-1] + b"X", "block-mismatch", f"at byte {len(V1) - len(section(*TWO))}"),
    "unknown-hash": (HEADER + section(FOREIGN, b""), "unknown-hash", f"at byte {len(HEADER)}"),
    "v2-pragma-corrupt": (b"\x0a\xa1\x67versioN\x02" + v2()[11:], "car-bad-header", "states no version"),
    "v2-header-cut-short": (v2()[:30], "car-truncated", "version 2 header"),
    "v2-data-inside-the-header": (v2(offset=50), "car-bad-header", "inside the header"),
    "v2-data-outside-of-the-file": (v2(offset=100_000), "car-truncated", "outside of the file"),
    "v2-data-larger-than-the-file": (v2(size=len(V1) + 1), "car-truncated", "outside of the file"),
    "v2-data-offset-huge": (v2(offset=2**64 - 1, size=2**64 - 1), "car-truncated", "outside of the file"),
    "v2-data-ends-inside-a-block": (v2(size=len(V1) - 3, trailer=b""), "car-truncated", "crosses the end of the data"),
    "v2-data-ends-inside-a-length": (v2(HEADER + b"\x80\x01", size=len(HEADER) + 1), "car-truncated", "crosses"),
    "v2-data-of-no-bytes": (v2(size=0), "car-bad-header", "it is empty"),
    "v2-index-inside-the-data": (v2(index=60), "car-bad-header", "inside the data"),
    "v2-inside-v2": (v2(v2()), "car-bad-header", "no version 1 file"),
}


@pytest.mark.parametrize(("data", "code", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_files_are_refused(data: bytes, code: str, message: str) -> None:
    with pytest.raises((CarError, CheckFailedError, UnknownHashError), match=message) as caught:
        read(data)
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize("name", ["v2-data-outside-of-the-file", "v2-data-larger-than-the-file"])
def test_files_that_say_too_much_are_refused_from_a_pipe(name: str) -> None:
    with pytest.raises(CarError) as caught:
        list(CarReader(Pipe(MALFORMED[name][0], 64)))  # type: ignore[arg-type]
    assert caught.value.code == "car-truncated"


@given(st.integers(0, len(V1) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_noticed_or_harms_no_block(byte: int, bit: int) -> None:
    changed = bytearray(V1)
    changed[byte] ^= 1 << bit
    try:
        found = read(bytes(changed))
    except BacpackError:
        return
    # A hash covers neither the roots nor the codec of a CID: walking from the roots finds those blocks missing.
    assert [data for _, data in found] == [data for _, data in BLOCKS]
    assert byte < len(HEADER) or [cid.codec for cid, _ in found] != [cid.codec for cid, _ in BLOCKS]


@given(st.integers(0, len(V1) - 1))
def test_a_cut_is_noticed_unless_between_blocks(end: int) -> None:
    boundaries = list(itertools.accumulate((len(section(*block)) for block in BLOCKS), initial=len(HEADER)))
    if end in boundaries:
        assert read(V1[:end]) == BLOCKS[: boundaries.index(end)]
    else:
        with pytest.raises(CarError):
            read(V1[:end])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for start in (b"", HEADER, V2_PRAGMA):
        try:
            read(start + data)
        except BacpackError as error:
            assert error.hint


def test_a_header_that_states_more_than_there_is_allocates_nothing() -> None:
    """In 400 MB of address space a file that claims sections of 2 MiB and roots without end is refused as any other."""
    script = """if True:
        import io, resource
        from bacpack.content.car import CarReader, CarError
        from bacpack.content.cid.varint import encode_varint

        resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
        many_roots = bytes.fromhex("12a265726f6f74739b") + b"\\x7f" * 8
        long_root = bytes.fromhex("3aa265726f6f74735affffffff") + bytes(60)
        for data in (many_roots, encode_varint(2**62), long_root):
            try:
                list(CarReader(io.BytesIO(data)))
            except CarError as error:
                print(error.code)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["car-truncated", "car-too-large", "car-bad-header"]


# Others


def test_others_read_what_we_write(oracles: Oracles, tmp_path: Path) -> None:
    path = tmp_path / "ours.car"
    path.write_bytes(V1)
    blocks = [[str(cid), len(data)] for cid, data in BLOCKS]
    assert oracles.ask("read", path) == {"version": 1, "roots": [str(ROOT[0])], "blocks": blocks}
    assert oracles.ipfs_car("roots", path).stdout.split() == [str(ROOT[0])]
    assert oracles.ipfs_car("blocks", path).stdout.split() == [cid for cid, _ in blocks]
    unpacked = oracles.ipfs_car("unpack", path, "--output", tmp_path / "out")
    assert unpacked.returncode == 0, unpacked.stderr
    assert (tmp_path / "out" / "two").read_bytes() == TWO[1]


def test_we_read_what_others_write(oracles: Oracles, tmp_path: Path) -> None:
    path = tmp_path / "theirs.car"
    documents = [(0x55, b"a"), (0x70, ROOT[1]), (0x71, dag_cbor.encode({"link": ONE[0]})), (0x55, bytes(300_000))]
    cids = oracles.ask("write", path, stdin=json.dumps([[codec, data.hex()] for codec, data in documents]))
    with path.open("rb") as file:
        reader = CarReader(file)
        found = list(reader)
    assert [str(cid) for cid, _ in found] == cids
    assert [(cid.codec, data) for cid, data in found] == documents
    assert [str(root) for root in reader.roots] == cids[:1]


def test_we_accept_nothing_that_others_refuse(oracles: Oracles, tmp_path: Path) -> None:
    """`@ipld/car` checks no hashes and has no limits; in structure it must never be the stricter."""
    for name, (data, _, _) in MALFORMED.items():
        (tmp_path / f"{name}.car").write_bytes(data)
    for name in ("cut-inside-a-block", "wrong-version-42", "section-of-length-zero", "v2-pragma-corrupt", "text"):
        assert "error" in oracles.ask("read", tmp_path / f"{name}.car"), name
    tampered = oracles.ipfs_car("blocks", tmp_path / "wrong-hash.car")
    assert tampered.returncode != 0


# The commands


@pytest.mark.parametrize("name", MALFORMED)
def test_commands_refuse_malformed_files(name: str, bacpack: Bacpack, tmp_path: Path) -> None:
    data, code, _ = MALFORMED[name]
    path = tmp_path / f"{name}.car"
    path.write_bytes(data)
    bacpack.fails(2 if code == "unknown-hash" else 1, code, "verify", path)
    bacpack.fails(1 if code == "block-mismatch" else 2, code, "fetch", path)
    assert bacpack.files() == []


@pytest.mark.parametrize("wrap", [lambda data: data, v2], ids=["v1", "v2"])
def test_a_car_cut_between_blocks_is_incomplete(
    wrap: Callable[[bytes], bytes], bacpack: Bacpack, tmp_path: Path
) -> None:
    path = tmp_path / "cut.car"
    path.write_bytes(wrap(V1[: -len(section(*TWO))]))
    for status, command in ((1, "verify"), (3, "fetch")):
        error = bacpack.fails(status, "incomplete", command, path)
        assert error["details"]["missing"] == [str(TWO[0])]
        assert str(TWO[0]) in error["message"]
    assert bacpack.files() == []
    path.write_bytes(wrap(V1))
    assert bacpack.ok("verify", path)["blocks"] == 3
    assert bacpack.ok("verify", path, ROOT[0])["cid"] == str(ROOT[0])
    bacpack.fails(1, "cid-mismatch", "verify", path, ONE[0])
    assert bacpack.ok("fetch", path)["new_bytes"] == sum(len(data) for _, data in BLOCKS)


def test_blocks_in_the_store_may_be_left_out_of_a_car(bacpack: Bacpack, tmp_path: Path) -> None:
    part, rest = tmp_path / "part.car", tmp_path / "rest.car"
    part.write_bytes(encode_header([TWO[0]]) + section(*TWO))
    rest.write_bytes(V1[: -len(section(*TWO))])
    bacpack.fails(3, "incomplete", "fetch", rest)
    bacpack.ok("fetch", part, "--no-pin")
    assert bacpack.ok("fetch", rest)["roots"] == [str(ROOT[0])]
    assert bacpack.ok("verify", ROOT[0])["blocks"] == 3
    assert [pin["name"] for pin in bacpack.ok("pin", "ls")["pins"]] == ["rest"]


def test_a_car_without_a_root_is_refused(bacpack: Bacpack, tmp_path: Path) -> None:
    path = tmp_path / "rootless.car"
    path.write_bytes(encode_header([]) + section(*ONE))
    bacpack.fails(2, "car-no-roots", "fetch", path)
    bacpack.fails(2, "car-no-roots", "verify", path)


def test_a_document_is_followed_through_its_links(bacpack: Bacpack, tmp_path: Path) -> None:
    document = dag_cbor.encode({"module": ONE[0], "more": [TWO[0]]})
    root = Cid.of_block(0x71, document)
    path = tmp_path / "document.car"
    path.write_bytes(encode_header([root]) + section(root, document) + section(*ONE))
    assert bacpack.fails(3, "incomplete", "fetch", path)["details"]["missing"] == [str(TWO[0])]
    path.write_bytes(path.read_bytes() + section(*TWO))
    assert bacpack.ok("fetch", path)["blocks"] == 3


def test_files_that_cannot_be_read(bacpack: Bacpack, tmp_path: Path) -> None:
    bacpack.fails(2, "not-found", "fetch", tmp_path / "absent.car")
    bacpack.fails(2, "is-a-directory", "fetch", tmp_path)
    bacpack.fails(3, "offline", "fetch", "https://example.org/x.car", "--offline")
    bacpack.fails(3, "not-supported", "verify", "https://example.org/x.car")
    bacpack.fails(3, "incomplete", "fetch", f"{ROOT[0]}/x")
    bacpack.fails(2, "bad-cid", "fetch", str(ROOT[0])[:-1])


def test_the_benchmark_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figure depends on the machine and is not judged here."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    benchmark = runpy.run_path(str(REPOSITORY / "benchmarks" / "car.py"))
    hashing, reading = benchmark["measure"](16 << 10, 1 << 20, 1)
    assert reading > 0
    assert hashing > 0
