"""Reading back a data module: what `emit/data_module` wrote, as a plan that other images can be fitted to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from bacpack.split.abi.data_module import FIX_UP, FIX_UP_TYPE, LOAD_DATA, LOAD_DATA_INDEX, write_fix_up
from bacpack.split.abi.environment import LOAD, MEMORY, environment_cid
from bacpack.split.abi.shared_module import UnknownFormError
from bacpack.split.abi.words import MOST_WORDS, ONE_LOCAL, WORDS_TYPE
from bacpack.split.data.copies import Sources
from bacpack.split.data.image import Image
from bacpack.split.data.pieces import HIGHEST_ADDRESS, WORD_BYTES, DataPlan, Piece
from bacpack.split.data.remaining import difference
from bacpack.split.model.costs import FETCH_WEIGHT, IMPORT_COST
from bacpack.wasm import Export, Kind, Module, WasmError
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Body, Mode

#: What another copy takes in a remainder, in bytes.
_COPY_COST = 13
_WORD = 0xFFFF_FFFF
_ADDRESS: tuple[str, list[int]] = ("local.get", [1])


def read_existing_data(data: bytes) -> DataPlan | None:
    """Read a data module as a plan that no blob uses yet, or return None for bytes that are none of this form."""
    try:
        return _read(Module.parse(data))
    except (WasmError, UnknownFormError, IndexError):
        return None


def _read(module: Module) -> DataPlan:
    _check_form(module)
    segment = module.data_segments[0]
    content = module.data[segment.start : segment.end]
    value_bits = _value_bits(module, module.bodies[0])
    loads = list(_loads(module, module.bodies[1]))
    # Classes follow pieces, and each is of some word.
    count = max((word for _, _, heads in loads for _, word in heads), default=len(loads) - 1) + 1 - len(loads)
    pieces: list[Piece] = []
    words: list[dict[int, int]] = []
    end = 0
    for start, size, heads in loads:
        # Pieces lie one behind the other, so together they are no larger than the module.
        if start != end or size <= 0 or start + size > len(content):
            raise UnknownFormError
        end += size
        piece, classes = bytearray(content[start:end]), dict[int, int]()
        for at, word in heads:
            if not len(loads) <= word < MOST_WORDS:
                raise UnknownFormError
            for place in _unchained(piece, at, value_bits):
                if place in classes:
                    raise UnknownFormError
                classes[place] = word - len(loads)
        pieces.append(Piece(bytes(piece), {}, {}))
        words.append(dict(sorted(classes.items())))
    return DataPlan(pieces, [{} for _ in range(count)], words)


def _check_form(module: Module) -> None:
    """Check all of a module that is the same in every data module but for its size."""
    if len(module.imports) != 2:
        raise UnknownFormError
    load, memory = module.imports
    if (
        (load.module, load.name, load.kind) != (environment_cid(), LOAD, Kind.FUNCTION)
        or (memory.module, memory.name, memory.kind) != (environment_cid(), MEMORY, Kind.MEMORY)
        or module.exports != [Export(LOAD_DATA, Kind.FUNCTION, LOAD_DATA_INDEX)]
        or len(module.bodies) != 2
        or module.function_type(module.functions[0]) != FIX_UP_TYPE
        or module.function_type(module.functions[1]) != WORDS_TYPE
        or [segment.mode for segment in module.data_segments] != [Mode.PASSIVE]
        or module.start is not None
        or module.memories
        or module.tables
        or module.tags
        or module.globals
        or module.elements
    ):
        raise UnknownFormError


def _value_bits(module: Module, body: Body) -> int:
    code = module.data[body.start : body.end]
    for bits in range(32):
        if code == write_fix_up(bits):
            return bits
    raise UnknownFormError


def _unchained(content: bytearray, at: int, value_bits: int) -> Iterator[int]:
    """Take the marks of a chain out of its words; the place of each."""
    while True:
        if not 0 <= at <= len(content) - WORD_BYTES:
            raise UnknownFormError
        word = int.from_bytes(content[at : at + WORD_BYTES], "little")
        content[at : at + WORD_BYTES] = (word & (1 << value_bits) - 1).to_bytes(WORD_BYTES, "little")
        yield at
        if not word >> value_bits:
            return
        at += (word >> value_bits) * WORD_BYTES


def _word(offset: int) -> list[tuple[str, list[int] | None]]:
    return [("local.get", [0]), ("i32.load", [2, 0, offset])]


def _piece(number: int) -> list[tuple[str, list[int] | None]]:
    """How the code that loads a piece begins."""
    tee: list[tuple[str, list[int] | None]] = [("local.tee", [1]), ("if", [-64]), _ADDRESS]
    return [*_word(number * WORD_BYTES), *tee, ("i32.const", None), ("i32.const", None), ("memory.init", [0, 0])]


def _expect(
    instructions: Sequence[tuple[str, list[int]]], position: int, wanted: Sequence[tuple[str, list[int] | None]]
) -> list[int]:
    """The numbers in instructions, where any number will do; raises when other instructions stand there."""
    found = instructions[position : position + len(wanted)]
    if [name for name, _ in found] != [name for name, _ in wanted]:
        raise UnknownFormError
    numbers: list[int] = []
    for (_, values), (_, want) in zip(found, wanted, strict=True):
        if want is None:
            numbers += values
        elif values != want:
            raise UnknownFormError
    return numbers


def _loads(module: Module, body: Body) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """For each piece: where it starts in the segment, its size, and the start and word of each of its chains."""
    instructions: list[tuple[str, list[int]]] = []
    code = module.data[body.start : body.end]
    if not code.startswith(ONE_LOCAL):
        raise UnknownFormError
    reader = Reader(code, len(ONE_LOCAL))
    while reader.remaining:
        row, values = reader.instruction()
        instructions.append((row.name, values))
    position = 0
    number = 0
    while instructions[position] != ("end", []):
        piece = _piece(number)
        start, size = _expect(instructions, position, piece)
        position += len(piece)
        heads: list[tuple[int, int]] = []
        while instructions[position] == _ADDRESS:
            at = 0
            if instructions[position + 1][0] == "i32.const":
                at = instructions[position + 1][1][0]
                position += 2
            offset = instructions[position + 2][1][-1]
            _expect(instructions, position + 1, [*_word(offset), ("call", [FIX_UP])])
            if offset % WORD_BYTES:
                raise UnknownFormError
            heads.append((at, offset // WORD_BYTES))
            position += 4
        if instructions[position] != ("end", []):
            raise UnknownFormError
        position += 1
        number += 1
        yield start, size, heads


def fit_data(image: Image, blob: int, plans: dict[str, DataPlan], sizes: dict[str, int]) -> bytes:
    """Fit an image to those of `plans` that are worth it, and enter `blob` in them; return what they do not write.

    The result is the image's content with zeros where a module writes what belongs there. `sizes` are those of modules.
    """
    sources = Sources()
    owners: list[tuple[str, int]] = []
    for cid, plan in sorted(plans.items()):
        for number, piece in enumerate(plan.pieces):
            sources.add(piece.content, HIGHEST_ADDRESS, [(0, len(piece.content))])
            owners.append((cid, number))
    votes: dict[tuple[str, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    distances: dict[tuple[str, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for run in sources.find(image.content, min(image.size, HIGHEST_ADDRESS)):
        cid, number = owners[run.source]
        votes[cid, number][image.start + run.at - run.origin] += run.size
        classes = plans[cid].words[number]
        for word in run.words:
            if (class_ := classes.get(run.origin + word.at)) is not None:
                distances[cid, class_][word.delta & _WORD] += 1
    left = bytearray(image.content)
    for cid, plan in sorted(plans.items()):
        addresses = {
            number: max(found, key=lambda address: (found[address], -address))
            for (owner, number), found in votes.items()
            if owner == cid
        }
        chosen = {
            class_: max(found, key=lambda delta: (found[delta], -delta))
            for (owner, class_), found in distances.items()
            if owner == cid
        }
        _enter(plan, blob, image, addresses, chosen)
        gain = _keep_worthy(plan, blob, image)
        if gain <= IMPORT_COST + FETCH_WEIGHT * sizes[cid] + 2 * (len(plan.pieces) + len(plan.classes)):
            plan.leave(blob)
            continue
        for address, content in plan.written(blob):
            start = address - image.start
            for at in range(max(0, -start), min(len(content), len(left) - start)):
                if left[start + at] == content[at]:
                    left[start + at] = 0
    return bytes(left)


def _enter(plan: DataPlan, blob: int, image: Image, addresses: dict[int, int], distances: dict[int, int]) -> None:
    for number, piece in enumerate(plan.pieces):
        address = addresses.get(number, 0)
        if 0 < address <= image.size - len(piece.content):
            piece.addresses[blob] = address
    for class_, distance in distances.items():
        plan.classes[class_][blob] = distance


def _keep_worthy(plan: DataPlan, blob: int, image: Image) -> int:
    """Leave out pieces that are mostly wrong; return how many bytes the rest saves."""
    gain = 0
    wanted = memoryview(image.content)
    numbers = [number for number, piece in enumerate(plan.pieces) if blob in piece.addresses]
    for number, (address, content) in zip(numbers, list(plan.written(blob)), strict=True):
        start = address - image.start
        there = bytes(wanted[max(0, start) : max(0, start + len(content))])
        there = bytes(max(0, -start)) + there
        there += bytes(len(content) - len(there))
        changed = difference(there, content)
        wrong = len(changed) - changed.count(0)
        copies = len([part for part in changed.split(b"\0\0\0\0\0\0\0\0") if part.strip(b"\0")])
        saved = len(content) - wrong - content.count(0) - wrong - copies * _COPY_COST
        if saved <= 0:
            del plan.pieces[number].addresses[blob]
        else:
            gain += saved
    return gain
