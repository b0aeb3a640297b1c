"""Fifth stage, second part: a data module. It copies pieces of data to the addresses that it is given.

It exports one function, which takes words (see `abi/words`): the address of each piece, zero for one that the program
lacks, and the distance of each class. The words of a class in a piece form a *chain*, as in Apple's chained fixups
(https://github.com/apple-oss-distributions/dyld/blob/main/doc/chained-fixups.md): in the module each holds its value
and, in the bits above, how many words further the next one lies, so that words to change take no bytes of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from bacpack.split.abi.data_module import CHAIN_BYTES, FIX_UP, FIX_UP_TYPE, LOAD_DATA, LOAD_DATA_INDEX, write_fix_up
from bacpack.split.abi.environment import import_load, import_memory
from bacpack.split.abi.words import ONE_LOCAL, WORD_BYTES, WORDS_TYPE, read_word
from bacpack.split.data.pieces import DataPlan, Piece
from bacpack.wasm import Export, FuncType, Kind, SectionId, writer
from bacpack.wasm.instructions import VOID, op
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.types import I32, Data, Mode

_NOTHING = FuncType((), ())


def write_data_module(plan: DataPlan, environment: str) -> bytes:
    """Return the bytes of a data module; `environment` is a namespace."""
    value_bits = max((_value(piece, at).bit_length() for piece in plan.pieces for at in piece.words), default=0)
    contents: list[bytes] = []
    code: list[bytes] = []
    start = 0
    for number, (piece, classes) in enumerate(zip(plan.pieces, plan.words, strict=True)):
        content, heads = _chained(piece, classes, value_bits)
        code += _load_piece(number, start, len(content), [(at, len(plan.pieces) + class_) for at, class_ in heads])
        contents.append(content)
        start += len(content)
    types = [_NOTHING, FIX_UP_TYPE, WORDS_TYPE]
    imports = [import_load(environment, 0), import_memory(environment)]
    codes = [write_fix_up(value_bits), ONE_LOCAL + b"".join(code) + op("end")]
    segment = writer.data_segment(Data(Mode.PASSIVE, 0, None, 0, 0), b"".join(contents))
    return writer.module(
        [
            writer.section(SectionId.TYPE, writer.vector(map(writer.func_type, types))),
            writer.section(SectionId.IMPORT, writer.vector(map(writer.import_, imports))),
            writer.section(SectionId.FUNCTION, writer.vector([encode_unsigned(1), encode_unsigned(2)])),
            writer.section(
                SectionId.EXPORT, writer.vector([writer.export(Export(LOAD_DATA, Kind.FUNCTION, LOAD_DATA_INDEX))])
            ),
            writer.section(SectionId.DATA_COUNT, encode_unsigned(1)),
            writer.section(SectionId.CODE, writer.vector(map(writer.sized, codes))),
            writer.section(SectionId.DATA, writer.vector([segment])),
        ]
    )


def _value(piece: Piece, at: int) -> int:
    return int.from_bytes(piece.content[at : at + CHAIN_BYTES], "little")


def _chained(piece: Piece, classes: dict[int, int], value_bits: int) -> tuple[bytes, list[tuple[int, int]]]:
    """The content of a piece with its words chained, and where each chain starts, with its class."""
    content = bytearray(piece.content)
    places: dict[int, list[int]] = defaultdict(list)
    for at, class_ in classes.items():
        places[class_].append(at)
    farthest = ((1 << 32 - value_bits) - 1) * CHAIN_BYTES
    heads = []
    for class_, chain in places.items():
        head = True
        for at, following in zip(chain, [*chain[1:], None], strict=True):
            if head:
                heads.append((at, class_))
            head = following is None or following - at > farthest
            further = 0 if head or following is None else (following - at) // CHAIN_BYTES
            word = further << value_bits | _value(piece, at)
            content[at : at + CHAIN_BYTES] = word.to_bytes(CHAIN_BYTES, "little")
    return bytes(content), heads


def _load_piece(word: int, start: int, size: int, heads: list[tuple[int, int]]) -> Iterator[bytes]:
    """If the piece has an address, copy it there and fix it up; `heads`: place and number of the word of each chain."""
    get = op("local.get", 1)
    yield read_word(WORD_BYTES[I32] * word) + op("local.tee", 1) + op("if", VOID)
    yield get + op("i32.const", start) + op("i32.const", size) + op("memory.init", 0, 0)
    for at, class_ in heads:
        yield get + (op("i32.const", at) + op("i32.add") if at else b"")
        yield read_word(WORD_BYTES[I32] * class_) + op("call", FIX_UP)
    yield op("end")
