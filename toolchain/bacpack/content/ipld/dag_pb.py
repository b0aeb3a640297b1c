"""dag-pb: nodes that hold bytes and named links, the codec of UnixFS files and directories.

Specification: https://ipld.io/specs/codecs/dag-pb/spec/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bacpack.content.cid.block import BadBlockError
from bacpack.content.cid.cid import USUAL_PREFIXES, BadCidError, Cid
from bacpack.content.cid.varint import decode_varint
from bacpack.content.ipld.protobuf import bytes_field, integer_field, read_fields


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a node. `tsize` is the bytes of all blocks below it, each counted as often as it is linked."""

    cid: Cid
    name: str
    tsize: int


@dataclass(frozen=True, slots=True)
class Node:
    """A dag-pb node; its links keep the order in which they were written."""

    data: bytes
    links: tuple[Link, ...]


def encode_node(data: bytes, links: Sequence[Link]) -> bytes:
    """Return the block of a node: links in the order given, then `data`, as the specification demands."""
    parts = [
        bytes_field(
            2,
            bytes_field(1, bytes(link.cid)) + bytes_field(2, link.name.encode("utf-8")) + integer_field(3, link.tsize),
        )
        for link in links
    ]
    parts.append(bytes_field(1, data))
    return b"".join(parts)


def decode_node(block: bytes, cid: Cid | None = None) -> Node:
    """Read a node; raises `BadBlockError`, naming `cid`, when `block` is none."""
    data: bytes | None = None
    links: list[Link] = []
    try:
        for number, value in read_fields(block, strict=True):
            if number == 2 and isinstance(value, bytes):
                links.append(_decode_link(value))
            elif number == 1 and isinstance(value, bytes) and data is None:
                data = value
            else:
                raise ValueError(f"field {number} does not belong there")
    except (ValueError, BadCidError) as error:
        raise BadBlockError(cid, f"as dag-pb, {error}") from None
    return Node(data or b"", tuple(links))


def _decode_link(message: bytes) -> Link:
    if usual := _usual_link(message):
        return usual
    cid: Cid | None = None
    name, tsize = "", 0
    last = 0
    for number, value in read_fields(message, strict=True):
        if number <= last:
            raise ValueError("a link's fields are out of order")
        last = number
        if number == 1 and isinstance(value, bytes):
            cid = Cid.from_bytes(value)
        elif number == 2 and isinstance(value, bytes):
            name = value.decode("utf-8")
        elif number == 3 and isinstance(value, int):
            tsize = value
        else:
            raise ValueError(f"a link's field {number} does not belong there")
    if cid is None:
        raise ValueError("a link names no CID")
    return Link(cid, name, tsize)


def _usual_link(message: bytes) -> Link | None:
    """Read a link as nearly all are, with a short name, in a third of the time; None if it is another."""
    if message[:2] != b"\x0a\x24" or message[2:6] not in USUAL_PREFIXES or message[38:39] != b"\x12":
        return None
    end_of_name = 40 + message[39] if len(message) > 40 else len(message)
    if message[39:40] >= b"\x80" or message[end_of_name : end_of_name + 1] != b"\x18":
        return None
    tsize, end = decode_varint(message, end_of_name + 1)
    if end != len(message):
        return None
    return Link(Cid(1, message[3], message[4:38]), message[40:end_of_name].decode("utf-8"), tsize)
