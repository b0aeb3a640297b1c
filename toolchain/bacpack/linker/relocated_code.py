"""The code of a shared module: addresses count from its reserved memory, and functions have moved by one.

A constant that is an address gets the base added. A load or store whose offset is one gets it added to its operand: as
in what the linker wrote, the two together are an address in the module's own data.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace

from bacpack.wasm import Module, SectionId
from bacpack.wasm.instructions import op
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.reader import Reader
from bacpack.wasm.relocations import Relocation, RelocationKind
from bacpack.wasm.types import F32, F64, I32, I64, Element

#: Relocations of addresses that can be moved.
RELOCATED_KINDS = frozenset(
    (RelocationKind.MEMORY_ADDR_LEB, RelocationKind.MEMORY_ADDR_SLEB, RelocationKind.MEMORY_ADDR_I32)
)
_STORED = {
    "i32.store": I32, "i32.store8": I32, "i32.store16": I32, "i64.store": I64, "i64.store8": I64, "i64.store16": I64,
    "i64.store32": I64, "f32.store": F32, "f64.store": F64,
}  # fmt: skip
#: Instructions that name a function.
_CALLS = ("call", "return_call", "ref.func")


class CodeRelocator:
    """Writes function bodies anew: global `base` is added to addresses, functions from `moved` on are one further."""

    def __init__(
        self,
        module: Module,
        addresses: Sequence[Relocation],
        base: int,
        moved: int,
        unsupported: Callable[[str], object],
    ) -> None:
        self._module = module
        section = module.section(SectionId.CODE)
        content = section.content if section else 0
        #: Where an address stands in the file.
        self._places = sorted({content + entry.offset for entry in addresses})
        self._add_base = op("global.get", base) + op("i32.add")
        self._moved = moved
        self._unsupported = unsupported
        self._done = 0

    def function(self, index: int) -> int:
        """The index of a function in the module that is written."""
        return index + (index >= self._moved)

    def body(self, number: int) -> bytes:
        """The body of a function that the library defines, without its size."""
        data, body = self._module.data, self._module.bodies[number]
        reader = Reader(data, body.start, body.end)
        groups: list[bytes] = []
        locals_ = len(self._module.function_type(self._module.functions[number]).params)
        for _ in range(reader.u32("the number of local declarations")):
            start = reader.position
            locals_ += reader.u32("a number of locals")
            reader.value_type()
            groups.append(data[start : reader.position])
        #: A local for the value of a store, by its type.
        scratch: dict[bytes, int] = {}
        out: list[bytes] = []
        copied = reader.position
        while reader.remaining:
            start = reader.position
            row, values = reader.instruction()
            is_call = row.name in _CALLS
            is_address = self._is_address(start, reader.position)
            if not is_call and not is_address:
                continue
            out.append(data[copied:start])
            instruction = data[start : reader.position]
            copied = reader.position
            if is_call:
                out.append(op(row.name, self.function(values[0])))
            elif row.name == "i32.const":
                out += instruction, self._add_base
            elif row.name in _STORED:
                value = scratch.setdefault(_STORED[row.name], locals_ + len(scratch))
                out += op("local.set", value), self._add_base, op("local.get", value), instruction
            elif ".load" in row.name and not row.name.startswith("v128") and row.immediates == ("memarg",):
                out += self._add_base, instruction
            else:
                self._unsupported(f"`{row.name}` has an address in it")
        out.append(data[copied : body.end])
        groups += [encode_unsigned(1) + type_ for type_ in scratch]
        return encode_unsigned(len(groups)) + b"".join(groups) + b"".join(out)

    def element(self, entry: Element) -> Element:
        """An element segment."""
        if entry.functions is None:
            self._unsupported("its table is filled by expressions")
        return replace(entry, functions=[self.function(index) for index in entry.functions or ()])

    def finish(self) -> None:
        """Check that every address was met: one that was not would be wrong silently."""
        if self._done != len(self._places):
            self._unsupported("relocations name places where no address stands")

    def _is_address(self, start: int, end: int) -> bool:
        """Whether an address stands in the instruction from `start` to `end`."""
        position = bisect_left(self._places, start)
        count = bisect_left(self._places, end) - position
        if count > 1:
            self._unsupported("two addresses are in one instruction")
        self._done += count
        return count == 1
