"""The data of a UnixFS node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from bacpack.content.cid.block import BadBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.ipld.protobuf import bytes_field, integer_field, packed_integers, read_fields

#: Deepest tree of blocks that is followed. A file of 2**63 bytes is seven levels deep; what is deeper means harm.
MAX_DEPTH = 1024


class Kind(IntEnum):
    """What a node is, by its number in the UnixFS message."""

    RAW = 0
    DIRECTORY = 1
    FILE = 2
    METADATA = 3
    SYMLINK = 4
    SHARD = 5


@dataclass(frozen=True, slots=True)
class UnixFsData:
    """The UnixFS message inside a dag-pb node. Sizes are in bytes."""

    kind: Kind
    data: bytes = b""
    #: Size of the file below this node; None where the message does not say.
    file_size: int | None = None
    #: How many bytes of the file each link of the node holds.
    block_sizes: tuple[int, ...] = ()
    hash_type: int | None = None
    fanout: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory. `tsize` is the size of its blocks as the directory states it, unverified."""

    name: str
    cid: Cid
    tsize: int


def encode_data(message: UnixFsData) -> bytes:
    """Return the UnixFS message that a dag-pb node carries as its data."""
    parts = [integer_field(1, message.kind)]
    if message.data:
        parts.append(bytes_field(2, message.data))
    if message.file_size is not None:
        parts.append(integer_field(3, message.file_size))
    parts.extend(integer_field(4, size) for size in message.block_sizes)
    if message.hash_type is not None:
        parts.append(integer_field(5, message.hash_type))
    if message.fanout is not None:
        parts.append(integer_field(6, message.fanout))
    return b"".join(parts)


def decode_data(data: bytes, cid: Cid | None = None) -> UnixFsData:
    """Read a UnixFS message; raises `BadBlockError`, naming `cid`. Fields it does not know, such as times, are left."""
    kind: int | None = None
    content = b""
    numbers: dict[int, int] = {}
    block_sizes: list[int] = []
    try:
        for number, value in read_fields(data, strict=False):
            if number == 2 and isinstance(value, bytes):
                content = value
            elif number == 4 and isinstance(value, int):
                block_sizes.append(value)
            elif number == 4 and isinstance(value, bytes):
                block_sizes += packed_integers(value)
            elif number in (1, 3, 5, 6) and isinstance(value, int):
                numbers[number] = value
        kind = Kind(numbers[1])
    except (ValueError, KeyError) as error:
        reason = "it does not say what it is" if isinstance(error, KeyError) else str(error)
        raise BadBlockError(cid, f"as UnixFS, {reason}") from None
    return UnixFsData(kind, content, numbers.get(3), tuple(block_sizes), numbers.get(5), numbers.get(6))
