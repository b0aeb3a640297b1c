"""What the relocations of a blob say, in terms of the split: which operands move together, and where data can be cut.

It is a hint and nothing else: which constants become slots and which bytes become pieces. What a split means follows
from the bytes of the blob alone, and is proved.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bacpack.split.abi.checked_load import LOADS
from bacpack.split.shapes.relocated_operands import Code, Meaning, Operand, RelocatedOperands, read_relocated_operands
from bacpack.split.shapes.table_entries import constant_offset
from bacpack.wasm import Module, WasmError
from bacpack.wasm import scanner as scan
from bacpack.wasm.leb128 import decode_unsigned
from bacpack.wasm.relocations import SymbolFlags, SymbolKind

#: Of an operand: just a number, or the place of a function in the table. Anything else is the address of an object.
NUMBER, PLACE = -1, -2
#: What an operand is in a blob without relocations.
UNKNOWN = -3
#: An `i32.const` of this size is one that a linker filled in.
_PADDED_CONSTANT = 6
_U32 = 0xFFFF_FFFF


@dataclass(slots=True)
class RelocationHints:
    """What is known of a blob with relocations."""

    #: For each function that the blob defines, what each of its operands is.
    operands: list[array[int]]
    #: Where the objects in its data begin and end, in order; those that overlap are one.
    objects: list[tuple[int, int]]
    #: By the address of each word of data that is one: the address of the object it points to, or `PLACE`.
    words: dict[int, int]
    #: Names of functions, by index.
    names: dict[int, str]


class HintReader:
    """Gathers what is known while a blob is read, function by function; nothing for a blob without relocations."""

    def __init__(self, module: Module) -> None:
        self._relocated = _relocated(module)
        self._module = module
        self._operands: list[array[int]] = []

    def note(self, opened: Sequence[bytes], operands: Iterable[tuple[str, int]]) -> None:
        """Take the next function into account: its open instructions, and the kind and value of each, if it has one."""
        if self._relocated is None:
            return
        code = self._relocated.functions[len(self._operands)]
        self._operands.append(self._of_function(code, opened, operands))

    def _of_function(self, code: Code, opened: Sequence[bytes], operands: Iterable[tuple[str, int]]) -> array[int]:
        constants: dict[int, deque[int]] = defaultdict(deque)
        offsets: dict[int, int] = {}
        for operand in code.operands:
            value, base = self._meaning(operand)
            if self._module.data[operand.position - 1] == scan.I32_CONST:
                constants[value].append(base)
            else:
                offsets[value] = base
        found = array("q")
        for instruction, (kind, value) in zip(opened, operands, strict=True):
            base = NUMBER
            if instruction[0] in LOADS and kind:
                base = offsets.get(value + 1 & _U32, NUMBER)
            elif instruction[0] == scan.I32_CONST:
                bases = constants.get(value & _U32) if len(instruction) == _PADDED_CONSTANT else None
                # What is not padded may come from the offset of a load or store: see `open_instructions`.
                base = offsets.get(value & _U32, NUMBER) if bases is None else bases[0]
                if bases is not None and len(bases) > 1:
                    bases.popleft()
            if kind:
                found.append(base)
        return found

    def _meaning(self, operand: Operand) -> tuple[int, int]:
        """The value of an operand, without sign, and what it is."""
        assert self._relocated is not None
        if operand.meaning == Meaning.TABLE_INDEX:
            return decode_unsigned(self._module.data, operand.position)[0] & _U32, PLACE
        base = self._relocated.addresses[operand.symbol] or 0
        return base + operand.addend & _U32, base

    def hints(self) -> RelocationHints | None:
        """All that is known, once every function was taken into account."""
        found = self._relocated
        if found is None:
            return None
        symbols = zip(found.linking.symbols, found.addresses, strict=True)
        spans = sorted(
            (address, address + symbol.size)
            for symbol, address in symbols
            if address is not None and symbol.size and not symbol.flags & SymbolFlags.ABSOLUTE
        )
        objects: list[tuple[int, int]] = []
        for start, end in spans:
            if objects and start < objects[-1][1]:
                objects[-1] = objects[-1][0], max(end, objects[-1][1])
            else:
                objects.append((start, end))
        names = {
            symbol.index: symbol.name
            for symbol in reversed(found.linking.symbols)  # of several names, the first
            if symbol.kind == SymbolKind.FUNCTION and symbol.index is not None and symbol.name
        }
        return RelocationHints(self._operands, objects, dict(self._words(found)), names)

    def _words(self, found: RelocatedOperands) -> Iterator[tuple[int, int]]:
        """The words of data that relocations name, by address, and what each of them is."""
        segments = iter(self._module.data_segments)
        segment = next(segments, None)
        for word in found.data:
            while segment is not None and word.position >= segment.end:
                segment = next(segments, None)
            assert segment is not None
            address = (constant_offset(segment.offset) or 0) + word.position - segment.start
            is_place = word.meaning == Meaning.TABLE_INDEX
            yield address, PLACE if is_place else found.addresses[word.symbol] or 0


def _relocated(module: Module) -> RelocatedOperands | None:
    """What the relocations say, or None. What cannot be read is not relied on, and has no say in the blob's meaning."""
    try:
        found = read_relocated_operands(module)
    except WasmError:
        return None
    return found if isinstance(found, RelocatedOperands) else None
