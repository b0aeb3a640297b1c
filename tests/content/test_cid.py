"""CIDs against the `multiformats` package, published ones, and text that is none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiformats import CID

from bacpack.content.cid.cid import DAG_PB, RAW, BadCidError, Cid
from bacpack.content.cid.multihash import UnknownHashError, decode_multihash, matches, multihash_of
from bacpack.content.cid.varint import decode_varint, encode_varint
from strategies import cids, varints

HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
HELLO_V0 = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"


@given(varints)
def test_varints_are_read_as_written(value: int) -> None:
    encoded = encode_varint(value)
    assert len(encoded) <= 9
    assert decode_varint(b"\xff" + encoded + b"\x00", 1) == (value, 1 + len(encoded))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (b"\x80", "cut short"),
        (b"\xff" * 8, "cut short"),
        (b"\x80\x00", "shortest form"),
        (b"\xff\x80\x00", "shortest form"),
        (b"\xff" * 9 + b"\x01", "longer than 9 bytes"),
    ],
)
def test_bad_varints_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_varint(data)


@given(cids())
def test_cids_survive_text_and_bytes(cid: Cid) -> None:
    assert Cid.parse(str(cid)) == cid
    assert Cid.from_bytes(bytes(cid)) == cid
    assert Cid.decode(b"\0" + bytes(cid) + b"\0", 1) == (cid, 1 + len(bytes(cid)))


@given(cids())
def test_multiformats_writes_the_same_cids(cid: Cid) -> None:
    theirs = cid.to_multiformats()
    assert theirs.version == cid.version
    assert theirs.codec.code == cid.codec
    assert bytes(theirs) == bytes(cid)
    assert str(theirs) == str(cid)
    assert Cid.from_multiformats(theirs) == cid


@given(st.binary(max_size=100))
def test_bytes_that_multiformats_refuses_are_refused(data: bytes) -> None:
    """Ours may be stricter, never laxer."""
    try:
        ours = Cid.from_bytes(data)
    except BadCidError:
        return
    assert bytes(CID.decode(data)) == bytes(ours)


@given(st.binary(max_size=300))
def test_hashes_are_those_of_multiformats(data: bytes) -> None:
    from multiformats import multihash

    for name, code in (("sha2-256", 0x12), ("sha2-512", 0x13), ("blake2b-256", 0xB220)):
        assert multihash.digest(data, name) == multihash_of(code, data)
        assert matches(multihash_of(code, data), data)
        assert not matches(multihash_of(code, data), data + b"x")


def test_published_cids() -> None:
    assert str(Cid.of_raw(b"hello world")) == HELLO
    old = Cid.parse(HELLO_V0)
    assert (old.version, old.codec) == (0, DAG_PB)
    assert str(old.to_v1()) == "bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa"
    assert Cid.parse("zb2rhj7crUKTQYRGCRATFaQ6YFLTde2YzdqbbhAASkL9uRDXn").codec == RAW
    identity = Cid.parse("bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa")
    assert identity.is_identity
    assert identity.identity_data == b"hello i am inlined cid\n"
    assert identity.matches(b"hello i am inlined cid\n")


def test_what_a_cid_names_is_told_apart() -> None:
    cid = Cid.of_raw(b"hello world")
    assert cid.matches(b"hello world")
    assert cid.matches(memoryview(b"hello world"))
    assert not cid.matches(b"hello worlD")
    assert cid.of_same_kind(b"x") == Cid.of_raw(b"x")
    shortened = Cid(1, RAW, b"\x12\x14" + cid.multihash[2:22])
    assert shortened.matches(b"hello world")
    assert not shortened.matches(b"hello")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "starts with none"),
        ("hello", "starts with none"),
        ("b", "base32"),
        ("B" + HELLO[1:], "starts with none"),
        ("c" + HELLO[1:], "starts with none"),
        ("f0155", "starts with none"),
        ("b" + HELLO[1:].upper(), "base32"),
        (HELLO[:-1], "some lengths are not possible"),
        (HELLO[:-2], "cut short"),
        (HELLO[:-1] + "f", "bits that belong to no byte"),
        (HELLO + "a", "possible"),
        (HELLO + "aa", "bytes follow it|possible"),
        (HELLO[:20] + "1" + HELLO[21:], "base32"),
        (HELLO_V0[:-1] + "0", "no character of base58"),
        (HELLO_V0[:-1], "starts with none"),
        ("z" + HELLO_V0, "without a multibase prefix"),
        ("b" + "a" * 400, "longer than 300"),
        ("bafybeicg2rebjoofv4kbyovkw7af3rpiitvnl6i7ckcywaq6xjcxnc2mby/x", "base32"),
        ("bé", "base32"),
    ],
)
def test_text_that_is_no_cid_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadCidError, match=reason) as caught:
        Cid.parse(text)
    assert caught.value.code == "bad-cid"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (b"\x12\x20" + bytes(31), "cut short"),
        (b"\x02\x55\x12\x20" + bytes(32), "version 2"),
        (b"\x01\x55\x12\x20" + bytes(31), "cut short"),
        (b"\x01\x55\x12\x20" + bytes(33), "1 bytes follow"),
        (b"\x01\x55\x12\x81\x01" + bytes(129), "129 bytes long"),
        (b"\x01\x55\x12\x13" + bytes(19), "19 bytes long"),
        (b"\x01\x55\x00\x81\x01" + bytes(129), "129 bytes long"),
        (b"\x01\xd5\x00\x12\x20" + bytes(32), "shortest form"),
        (b"\x81\x00\x55\x12\x20" + bytes(32), "shortest form"),
    ],
)
def test_bytes_that_are_no_cid_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadCidError, match=reason):
        Cid.from_bytes(data)


def test_a_hash_function_that_is_not_known_is_an_error() -> None:
    cid = Cid(1, RAW, b"\x16\x20" + bytes(32))
    assert Cid.parse(str(cid)) == cid
    with pytest.raises(UnknownHashError, match="0x16"):
        cid.matches(b"")
    assert decode_multihash(cid.multihash) == (0x16, 2, 34)


def test_multiformats_is_not_imported_until_it_is_needed() -> None:
    """It takes longer to import than most commands take to run."""
    script = (
        "import sys; from bacpack.content import car; from bacpack.content.cid import cid, reference\n"
        "from bacpack.content.store import block_store, car_import, collection, pins\n"
        "from bacpack.content.unixfs import reader\n"
        "cid.Cid.parse(str(cid.Cid.of_raw(b'')))\n"
        "assert 'multiformats' not in sys.modules\n"
        "cid.Cid.of_raw(b'').to_multiformats()\n"
        "assert 'multiformats' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
