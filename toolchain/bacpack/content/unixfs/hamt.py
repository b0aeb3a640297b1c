"""How UnixFS spreads a large directory over blocks: by the murmur3 hash of each name, so many bits a level.

Specification: https://specs.ipfs.tech/unixfs/ ("HAMTDirectory"). The hash is murmur3-x64-64 everywhere. We write a
fanout of 256, which is eight bits a level; others are read.
"""

from __future__ import annotations

#: Slots of one shard, as we write it. A slot's number is written in hexadecimal digits before the names in it.
FANOUT = 256
#: As others may write it: more would be a way to have much memory taken.
_FANOUTS = frozenset(1 << bits for bits in range(1, 11))
#: Code of murmur3-x64-64 in the multicodec table.
MURMUR3_X64_64 = 0x22
#: Bytes of a name's hash, and so the most levels of a sharded directory with this fanout.
MAX_LEVELS = 8

_MASK = (1 << 64) - 1
_C1 = 0x87C37B91114253D5
_C2 = 0x4CF5AD432745937F


def slots_of(name: str) -> bytes:
    """Return the slot of `name` on each level: the first half of its murmur3-x64-128 hash, highest byte first."""
    return _murmur3_x64_64(name.encode("utf-8")).to_bytes(MAX_LEVELS, "big")


def is_fanout(count: int | None) -> bool:
    """Whether a shard may have so many slots."""
    return count in _FANOUTS


def slots_in(name: str, fanout: int) -> list[int]:
    """Return the slot of `name` on each level of a directory with this fanout: the hash's bits, highest first."""
    bits = fanout.bit_length() - 1
    whole = int.from_bytes(slots_of(name), "big")
    return [whole >> 64 - bits * level & fanout - 1 for level in range(1, max_levels(fanout) + 1)]


def max_levels(fanout: int) -> int:
    """The most levels of a sharded directory: there is no more hash."""
    return 8 * MAX_LEVELS // (fanout.bit_length() - 1)


def digits(fanout: int) -> int:
    """Hexadecimal digits of a slot's number."""
    return len(f"{fanout - 1:X}")


def bitfield(slots: set[int]) -> bytes:
    """Return the big-endian bit field of the slots in use, without leading zeros, as a shard's data holds it."""
    bits = sum(1 << slot for slot in slots)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "big")


def _murmur3_x64_64(data: bytes) -> int:
    """Return the first 64 bits of MurmurHash3_x64_128 with seed 0 (Austin Appleby, public domain)."""
    h1 = h2 = 0
    whole = len(data) - len(data) % 16
    for offset in range(0, whole, 16):
        h1 ^= _mix(int.from_bytes(data[offset : offset + 8], "little"), _C1, 31, _C2)
        h1 = (_rotate(h1, 27) + h2) * 5 + 0x52DCE729 & _MASK
        h2 ^= _mix(int.from_bytes(data[offset + 8 : offset + 16], "little"), _C2, 33, _C1)
        h2 = (_rotate(h2, 31) + h1) * 5 + 0x38495AB5 & _MASK
    tail = data[whole:]
    h2 ^= _mix(int.from_bytes(tail[8:], "little"), _C2, 33, _C1)
    h1 ^= _mix(int.from_bytes(tail[:8], "little"), _C1, 31, _C2)
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = h1 + h2 & _MASK
    h2 = h2 + h1 & _MASK
    return _finish(h1) + _finish(h2) & _MASK


def _mix(part: int, first: int, turn: int, second: int) -> int:
    return _rotate(part * first & _MASK, turn) * second & _MASK


def _rotate(value: int, turn: int) -> int:
    return (value << turn | value >> 64 - turn) & _MASK


def _finish(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33
