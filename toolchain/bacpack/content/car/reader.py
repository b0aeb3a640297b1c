"""Reading a CAR file from start to end: any binary file will do, a pipe as well."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from bacpack.content.car.header import (
    MAX_HEADER_BYTES,
    MAX_SECTION_BYTES,
    V2_HEADER_BYTES,
    CarError,
    decode_header,
    decode_v2_header,
)
from bacpack.content.cid.block import block_mismatch
from bacpack.content.cid.cid import USUAL_BYTES, USUAL_PREFIXES, BadCidError, Cid
from bacpack.content.cid.multihash import UnknownHashError
from bacpack.content.cid.varint import MAX_VARINT_BYTES, decode_varint

_SKIP_BYTES = 1 << 16


class CarReader:
    """The blocks of a CAR file, read once and in order; one block is in memory at a time.

    The header is read at once. Iterating yields CID and bytes of each block, checked against each other unless
    `verify` is false. Raises `CarError` for a malformed file, `CheckFailedError` (`block-mismatch`) for a block that
    its CID does not name, `UnknownHashError` for one that cannot be checked; all name the byte offset.
    """

    def __init__(self, file: BinaryIO, name: str = "the CAR file", *, verify: bool = True) -> None:
        self._file = file
        self._name = name
        self._verify = verify
        #: Offset of the next byte, and of the end of the data if the file states it.
        self._offset = 0
        self._end: int | None = None
        #: 1 or 2.
        self.version, self.roots = self._read_header()
        if self.version == 2:
            self._enter_v2()

    def __iter__(self) -> Iterator[tuple[Cid, bytes]]:
        """Yield CID and bytes of the blocks that were not read yet."""
        while True:
            start = self._offset
            length = self._read_varint("section")
            if length is None:
                return
            if length == 0:
                raise self._error("car-bad-section", f"the section at byte {start} has length zero")
            if length > MAX_SECTION_BYTES:
                raise self._error(
                    "car-too-large",
                    f"the section at byte {start} is {length} bytes; up to {MAX_SECTION_BYTES} are read",
                )
            cid, data = self._read_section(length, start)
            if self._verify:
                self._check(cid, data, start)
            yield cid, data

    def _read_section(self, length: int, start: int) -> tuple[Cid, bytes]:
        what = f"the section at byte {start}"
        head = self._read(min(length, USUAL_BYTES), what)
        if length >= USUAL_BYTES and head.startswith(USUAL_PREFIXES):
            # Reading the data on its own saves copying it out of the section, a quarter of the time of hashing it.
            return Cid(1, head[1], head[2:]), self._read(length - USUAL_BYTES, what)
        section = head + self._read(length - len(head), what)
        try:
            cid, at = Cid.decode(section)
        except BadCidError as error:
            raise self._error("car-bad-section", f"{what} starts with no CID: {error.reason}") from None
        return cid, section[at:]

    def _check(self, cid: Cid, data: bytes, start: int) -> None:
        where = f" at byte {start} of {self._name}"
        try:
            sound = cid.matches(data)
        except UnknownHashError as error:
            raise UnknownHashError(error.hash_code, where) from None
        if not sound:
            raise block_mismatch(cid, data, where)

    def _read_header(self) -> tuple[int, tuple[Cid, ...]]:
        start = self._offset
        length = self._read_varint("header")
        if not length:
            what = "it is empty" if length is None else f"its header at byte {start} has length zero"
            raise self._error("car-bad-header", what)
        if length > MAX_HEADER_BYTES:
            raise self._error(
                "car-too-large", f"its header at byte {start} is {length} bytes; up to {MAX_HEADER_BYTES} are read"
            )
        try:
            return decode_header(self._read(length, f"the header at byte {start}"))
        except ValueError as error:
            raise self._error("car-bad-header", f"its header at byte {start} cannot be read: {error}") from None

    def _enter_v2(self) -> None:
        """Go to the version 1 file inside a version 2 file, and read its header."""
        start = self._offset
        try:
            header = decode_v2_header(self._read(V2_HEADER_BYTES, "the version 2 header"))
        except ValueError as error:
            raise self._error("car-bad-header", f"its version 2 header at byte {start}: {error}") from None
        end = header.data_offset + header.data_size
        size = self._size()
        if size is not None and end > size:
            raise self._error(
                "car-truncated", f"its data ends at byte {end}, outside of the file, which has {size} bytes"
            )
        while self._offset < header.data_offset:
            self._read(min(header.data_offset - self._offset, _SKIP_BYTES), "the padding before the data")
        self._end = end
        inner, self.roots = self._read_header()
        if inner != 1:
            raise self._error("car-bad-header", f"the data at byte {header.data_offset} is no version 1 file")

    def _read_varint(self, what: str) -> int | None:
        """Return the length that starts a section or header, or None where the data ends."""
        start = self._offset
        if start == self._end:
            return None
        encoded = self._file.read(1)
        if not encoded and self._end is None:
            return None
        while len(encoded) < MAX_VARINT_BYTES and encoded[-1:] >= b"\x80":
            byte = self._file.read(1)
            if not byte:
                break
            encoded += byte
        if self._end is not None and start + len(encoded) > self._end:
            raise self._error("car-truncated", f"the length at byte {start} crosses the end of the data")
        try:
            value, end = decode_varint(encoded)
        except ValueError as error:
            code = "car-truncated" if not encoded or (encoded[-1] >= 0x80 and len(encoded) < 9) else f"car-bad-{what}"
            raise self._error(code, f"the {what}'s length at byte {start}: {error}") from None
        self._offset += end
        return value

    def _read(self, count: int, what: str) -> bytes:
        """Return exactly the next `count` bytes, however few the file gives at a time."""
        if self._end is not None and self._offset + count > self._end:
            raise self._error("car-truncated", f"{what} crosses the end of the data at byte {self._end}")
        data = self._file.read(count)
        if len(data) != count:
            parts = [data]
            left = count - len(data)
            while left and (part := self._file.read(left)):
                parts.append(part)
                left -= len(part)
            if left:
                raise self._error(
                    "car-truncated", f"{what} is cut short: {count} bytes are needed, {count - left} are left"
                )
            data = b"".join(parts)
        self._offset += count
        return data

    def _size(self) -> int | None:
        """Bytes from where the reader began to the end of the file, or None for a pipe."""
        if not self._file.seekable():
            return None
        position = self._file.tell()
        end = self._file.seek(0, io.SEEK_END)
        self._file.seek(position)
        return self._offset + end - position

    def _error(self, code: str, message: str) -> CarError:
        hint = "get the file again: it was cut short on the way" if code == "car-truncated" else "is it a CAR file?"
        return CarError(code, f"{self._name}: {message}", hint=hint, details={"offset": self._offset})
