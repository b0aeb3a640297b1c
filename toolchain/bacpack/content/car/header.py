"""The fixed parts of a CAR file: its headers, and the limits on what is read."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from bacpack.content.cid.block import MAX_BLOCK_BYTES, BadBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.varint import encode_varint
from bacpack.content.ipld import dag_cbor
from bacpack.errors import InputError

#: A header holds roots only: this is room for more of them than `MAX_ROOTS`.
MAX_HEADER_BYTES = 1 << 20
#: One root is usual. Each root is walked on its own, so their number bounds the work.
MAX_ROOTS = 1024
#: The largest block that IPFS implementations exchange, and its CID.
MAX_SECTION_BYTES = MAX_BLOCK_BYTES + 128

#: What a version 2 file starts with: a version 1 header that says `{version: 2}`.
V2_PRAGMA = bytes.fromhex("0aa16776657273696f6e02")
V2_HEADER_BYTES = 40
#: The first byte that the data of a version 2 file can be at.
V2_FIRST_DATA_BYTE = len(V2_PRAGMA) + V2_HEADER_BYTES


class CarError(InputError):
    """A file is no sound CAR; the message names the byte where that shows."""


@dataclass(frozen=True, slots=True)
class V2Header:
    """Where things are in a version 2 file, in bytes from its start; an index offset of 0 means that it has none."""

    data_offset: int
    data_size: int
    index_offset: int


def encode_header(roots: Sequence[Cid]) -> bytes:
    """Return the header of a version 1 file, with its length before it."""
    header = dag_cbor.encode({"roots": list(roots), "version": 1})
    return encode_varint(len(header)) + header


def decode_header(data: bytes) -> tuple[int, tuple[Cid, ...]]:
    """Return version and roots of a header read without its length; raises `ValueError` with the reason."""
    try:
        header = dag_cbor.decode(data)
    except BadBlockError as error:
        raise ValueError(error.message.partition(": ")[2]) from None
    version = header.get("version") if isinstance(header, dict) else None
    # `True` is an int to Python, and no version.
    if not isinstance(header, dict) or not isinstance(version, int) or isinstance(version, bool):
        raise ValueError("it states no version")
    if header == {"version": 2}:
        return 2, ()
    if version != 1:
        raise ValueError(f"version {version} is not known; 1 and 2 are")
    roots = header.get("roots")
    if len(header) != 2:
        raise ValueError("it has other fields than `roots` and `version`")
    if not isinstance(roots, list) or not all(isinstance(root, Cid) for root in roots):
        raise ValueError("its roots are not a list of CIDs")
    if len(roots) > MAX_ROOTS:
        raise ValueError(f"it has {len(roots)} roots; up to {MAX_ROOTS} are read")
    return 1, tuple(root for root in roots if isinstance(root, Cid))


def decode_v2_header(data: bytes) -> V2Header:
    """Read the 40 bytes after the pragma; raises `ValueError` when the places they name cannot be."""
    data_offset, data_size, index_offset = struct.unpack("<16xQQQ", data)
    if data_offset < V2_FIRST_DATA_BYTE:
        raise ValueError(f"its data starts at byte {data_offset}, inside the header")
    if index_offset and index_offset < data_offset + data_size:
        raise ValueError(f"its index starts at byte {index_offset}, inside the data")
    return V2Header(data_offset, data_size, index_offset)
