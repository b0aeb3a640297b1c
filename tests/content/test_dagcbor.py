"""dag-cbor: what is written is read back, and every value has one encoding."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.content.cid.block import BadBlockError
from bacpack.content.cid.cid import DAG_CBOR, Cid
from bacpack.content.ipld.dag_cbor import MAX_NESTING, Value, decode, encode, links_in_cbor
from strategies import cbor_values

LINK = Cid.of_raw(b"hello")


@given(cbor_values)
def test_values_survive(value: Value) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=40))
def test_what_is_read_has_one_encoding(data: bytes) -> None:
    try:
        value = decode(data)
    except BadBlockError:
        return
    if not any(isinstance(part, float | bool | None) for part in _parts(value)):
        assert encode(value) == data


def _parts(value: Value) -> list[Value]:
    if isinstance(value, list):
        return [part for item in value for part in _parts(item)]
    if isinstance(value, dict):
        return [part for item in value.values() for part in _parts(item)]
    return [value]


@pytest.mark.parametrize(
    "value", [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, -1, -24, -25, -(2**64)]
)
def test_numbers_at_the_edges_of_their_sizes(value: int) -> None:
    assert decode(encode(value)) == value


def test_other_values_are_read() -> None:
    assert decode(bytes.fromhex("83f4f5f6")) == [False, True, None]
    assert decode(b"\xfb" + struct.pack(">d", 1.5)) == 1.5
    assert decode(bytes.fromhex("a2616101626162f6")) == {"a": 1, "ab": None}


def test_links_are_found_in_order() -> None:
    other = Cid.of_raw(b"other")
    block = encode({"b": [1, LINK, {"x": other}], "aa": "text"})
    assert links_in_cbor(block, Cid.of_block(DAG_CBOR, block)) == [LINK, other]


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("", "cut short at byte 0"),
        ("1817", "shortest form"),
        ("190017", "shortest form"),
        ("1900ff", "shortest form"),
        ("1a0000ffff", "shortest form"),
        ("1b00000000ffffffff", "shortest form"),
        ("18", "cut short"),
        ("6261", "cut short in the string"),
        ("5b7fffffffffffffff", "cut short in the string"),
        ("9b7fffffffffffffff", "cut short at byte 9"),
        ("bb7fffffffffffffff", "cut short at byte 9"),
        ("9fff", "no use"),
        ("5f4100ff", "no use"),
        ("1c", "no use"),
        ("f7", "no use"),
        ("f90000", "no use"),
        ("fa00000000", "no use"),
        ("fb7ff8000000000000", "no use"),
        ("fb7ff0000000000000", "no use"),
        ("c001", "tag 0"),
        ("d82a01", "is no CID"),
        ("d82a4101", "is no CID"),
        ("d82a4100", "cut short"),
        ("a10101", "no text"),
        ("a2616101616101", "repeated or out of order"),
        ("a2616201616101", "repeated or out of order"),
        ("a262616101616201", "repeated or out of order"),
        ("61ff", "codec can't decode"),
        ("0101", "1 bytes follow"),
        ("81" * (MAX_NESTING + 1) + "01", "nested more than"),
        ("d82a" * (MAX_NESTING + 1) + "01", "nested more than"),
    ],
)
def test_what_is_not_strict_is_refused(encoded: str, reason: str) -> None:
    with pytest.raises(BadBlockError, match=reason):
        decode(bytes.fromhex(encoded), LINK)


def test_values_that_are_not_written() -> None:
    with pytest.raises(TypeError, match="float"):
        encode(1.5)
    with pytest.raises(ValueError, match="64 bits"):
        encode(2**64)


def test_the_error_names_the_block() -> None:
    with pytest.raises(BadBlockError) as caught:
        decode(b"\xff", LINK)
    assert str(LINK) in caught.value.message
    assert json.loads(json.dumps(caught.value.details)) == {"cid": str(LINK)}
