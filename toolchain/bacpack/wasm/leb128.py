"""LEB128: the variable-length integers of the binary format.

Encoding is minimal; decoding accepts the padded forms that linkers leave behind (specification, "Values / Integers").
"""

from __future__ import annotations

from bacpack.wasm.errors import WasmError

#: Numbers have at most 64 bits, in at most ten bytes.
_MOST_BITS = 63
_ONE_BYTE = [bytes([value]) for value in range(0x80)]


def encode_unsigned(value: int) -> bytes:
    """Return the shortest unsigned LEB128 form of `value`, which is not negative."""
    if value < 0x80:
        return _ONE_BYTE[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_signed(value: int) -> bytes:
    """Return the shortest signed LEB128 form of `value`."""
    if -64 <= value < 64:
        return _ONE_BYTE[value & 0x7F]
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def decode_unsigned(data: bytes, position: int = 0) -> tuple[int, int]:
    """Decode at `position`; return the value and the position after it.

    `IndexError` when the data ends, `WasmError` for a number of more bytes than any number has.
    """
    byte = data[position]
    position += 1
    if byte < 0x80:
        return byte, position
    value = byte & 0x7F
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > _MOST_BITS:
            raise WasmError("wasm-malformed", "a number has more than ten bytes", position)


def decode_signed(data: bytes, position: int = 0) -> tuple[int, int]:
    """Decode at `position` with sign; return the value and the position after it. `IndexError` when the data ends."""
    value, end = decode_unsigned(data, position)
    if data[end - 1] & 0x40:
        value -= 1 << 7 * (end - position)
    return value, end
