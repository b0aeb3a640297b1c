"""A cursor over bytes that reads the primitives of the binary format, with limits and offsets in errors.

Source: WebAssembly Core Specification 3.0, "Binary Format / Values" and "/ Instructions".
"""

from __future__ import annotations

import re
from array import array

from bacpack.wasm import leb128
from bacpack.wasm.errors import WasmError
from bacpack.wasm.limits import MAX_BRANCH_TARGETS, MAX_NAME_BYTES
from bacpack.wasm.opcodes import BY_NUMBER, PREFIXES, Opcode
from bacpack.wasm.patterns import repeated

# Longest LEB128 forms of 32 and 64-bit numbers.
_LEB_BYTES_32 = 5
_LEB_BYTES_64 = 10

_U32_MAX = (1 << 32) - 1
_SHORT = rb"[\x80-\xff]{0,3}[\x00-\x7f]"
#: Constant expressions of the usual instructions, with numbers of at most four bytes: those are within any range.
_CONSTANT_EXPRESSION = re.compile(
    repeated(
        rb"[\x23\x41\x42\xd2]%b|\xd0[\x69-\x74]|\x43.{4}|\x44.{8}|[\x6a-\x6c\x7c-\x7e]"
        rb"|\xfb(?:[\x00\x01\x06\x07]%b|\x08%b%b|\x1c)" % ((_SHORT,) * 4)
    )
    + rb"\x0b",
    re.DOTALL,
)
_FIXED_BYTES = {"f32": 4, "f64": 8, "v128": 16, "lanes": 16, "lane": 1, "zero": 1, "cast": 1}


class Reader:
    """Reads `data` from `position` up to `end`; every method advances `position` and raises `WasmError`."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return self.end - self.position

    def fail(self, message: str, code: str = "wasm-malformed") -> WasmError:
        """Return the error for the current position."""
        return WasmError(code, message, self.position)

    def byte(self) -> int:
        """Read one byte."""
        if self.position >= self.end:
            raise self.fail("unexpected end", "wasm-cut-short")
        value = self.data[self.position]
        self.position += 1
        return value

    def take(self, count: int, what: str) -> bytes:
        """Read `count` bytes of `what`."""
        start = self.skip(count, what)
        return self.data[start : self.position]

    def skip(self, count: int, what: str) -> int:
        """Pass over `count` bytes of `what`; return where they start."""
        if count > self.remaining:
            raise self.fail(f"{what} of {count} bytes goes beyond the end", "wasm-cut-short")
        start = self.position
        self.position += count
        return start

    def u32(self, what: str = "number") -> int:
        """Read an unsigned number below 2**32."""
        # Nearly all numbers take one byte: no call for those.
        if self.position < self.end and self.data[self.position] < 0x80:
            self.position += 1
            return self.data[self.position - 1]
        return self._leb(what, _LEB_BYTES_32, _U32_MAX)

    def u64(self, what: str = "number") -> int:
        """Read an unsigned number below 2**64."""
        return self._leb(what, _LEB_BYTES_64, (1 << 64) - 1)

    def _leb(self, what: str, longest: int, maximum: int) -> int:
        end = self._leb_end(what, longest)
        value, _ = leb128.decode_unsigned(self.data, self.position)
        if value > maximum:
            raise self.fail(f"{what} is too large")
        self.position = end
        return value

    def s33(self, what: str) -> int:
        """Read a signed number of 33 bits, as block and heap types are."""
        return self.signed(what, 33)

    def signed(self, what: str, bits: int) -> int:
        """Read a signed number of `bits` bits."""
        end = self._leb_end(what, (bits + 6) // 7)
        value, _ = leb128.decode_signed(self.data, self.position)
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise self.fail(f"{what} is too large")
        self.position = end
        return value

    def _leb_end(self, what: str, longest: int) -> int:
        for end in range(self.position, min(self.position + longest, self.end)):
            if self.data[end] < 0x80:
                return end + 1
        if self.remaining < longest:
            raise self.fail(f"unexpected end in {what}", "wasm-cut-short")
        raise self.fail(f"{what} takes more than {longest} bytes")

    def count(self, what: str, maximum: int, item_bytes: int = 1) -> int:
        """Read how many `what` follow, each of at least `item_bytes`; refuse what cannot be true or is too much."""
        start = self.position
        count = self.u32(f"the number of {what}")
        if count > maximum:
            self.position = start
            raise self.fail(f"{count} {what}, more than the limit of {maximum}", "wasm-too-large")
        if count * item_bytes > self.remaining:
            self.position = start
            raise self.fail(f"{count} {what} cannot fit in the {self.remaining} bytes left", "wasm-cut-short")
        return count

    def numbers(self, count: int, what: str) -> array[int]:
        """Read `count` unsigned numbers below 2**32 that follow each other."""
        if count <= self.remaining and max(self.data[self.position : self.position + count], default=0) < 0x80:
            self.position += count
            return array("I", iter(self.data[self.position - count : self.position]))
        u32 = self.u32
        return array("I", (u32(what) for _ in range(count)))

    def name(self, what: str) -> str:
        """Read a UTF-8 string."""
        size = self.count(f"bytes in {what}", MAX_NAME_BYTES)
        start = self.position
        try:
            return self.take(size, what).decode("utf-8")
        except UnicodeDecodeError:
            self.position = start
            raise self.fail(f"{what} is not UTF-8") from None

    def value_type(self) -> bytes:
        """Read a value type; return its bytes."""
        start = self.position
        code = self.byte()
        if code in (0x63, 0x64):  # a reference to a heap type, nullable or not
            self.s33("a heap type")
        elif not (0x7B <= code <= 0x7F or 0x69 <= code <= 0x74):
            self.position = start
            raise self.fail(f"unknown value type 0x{code:02x}")
        return self.data[start : self.position]

    def instruction(self) -> tuple[Opcode, list[int]]:
        """Read one instruction; return its row of the table and its immediates that are numbers.

        Constants of floats and vectors, lanes, value types and handlers are passed over and give no number; a `memarg`
        gives alignment, memory index and offset; `labels` gives each label, the default last.
        """
        start = self.position
        first = self.byte()
        row = BY_NUMBER.get((first, self.u32("an opcode")) if first in PREFIXES else (None, first))
        if row is None:
            self.position = start
            raise self.fail(f"unknown instruction 0x{first:02x}")
        values: list[int] = []
        for kind in row.immediates:
            self._immediate(kind, values)
        return row, values

    def _immediate(self, kind: str, values: list[int]) -> None:
        if kind in _FIXED_BYTES:
            self.skip(_FIXED_BYTES[kind], f"a {kind} immediate")
        elif kind == "i32":
            values.append(self.signed("an i32 constant", 32))
        elif kind == "i64":
            values.append(self.signed("an i64 constant", 64))
        elif kind in ("block", "heap"):
            if kind == "block" and self.remaining and self.data[self.position] in (0x63, 0x64):
                self.value_type()
                values.append(-1)
            else:
                values.append(self.s33(f"a {kind} type"))
        elif kind == "memarg":
            alignment = self.u32("an alignment")
            memory = self.u32("a memory index") if alignment & 0x40 else 0
            values += alignment & ~0x40, memory, self.u64("an offset")
        elif kind == "labels":
            count = self.count("branch targets", MAX_BRANCH_TARGETS)
            values += [self.u32("a label") for _ in range(count + 1)]
        elif kind == "types":
            for _ in range(self.count("value types", MAX_BRANCH_TARGETS)):
                self.value_type()
        elif kind == "catches":
            for _ in range(self.count("handlers", MAX_BRANCH_TARGETS)):
                handler = self.byte()
                if handler > 3:
                    raise self.fail(f"unknown handler 0x{handler:02x}")
                if handler < 2:
                    self.u32("a tag index")
                self.u32("a label")
        else:
            values.append(self.u32(f"a {kind} index"))

    def constant_expression(self) -> bytes:
        """Read a constant expression; return its bytes, the final `end` included."""
        start = self.position
        if found := _CONSTANT_EXPRESSION.match(self.data, start, self.end):
            self.position = found.end()
            return found[0]
        while self.instruction()[0].name != "end":
            pass
        return self.data[start : self.position]
