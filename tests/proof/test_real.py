"""Splits of real programs are proved; with one thing changed, they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bacpack.errors import CheckFailedError
from bacpack.proof.equivalence.prover import Prover, prove
from bacpack.split.input.blob import Input
from bacpack.split.pipeline.steps import split
from bacpack.split.plan import partition
from bacpack.wasm import Kind, Module, writer
from bacpack.wasm.leb128 import decode_signed, decode_unsigned
from corpus import image_blobs, rust_programs
from proof import edits


@dataclass
class Release:
    """A split of several programs."""

    blobs: list[tuple[str, bytes]]
    remainders: dict[str, bytes]
    modules: dict[str, bytes]
    prover: Prover = field(init=False)

    def __post_init__(self) -> None:
        self.prover = Prover(self.modules)

    def refused(self, name: str, remainder: bytes) -> str:
        """The message with which a remainder is refused."""
        with pytest.raises(CheckFailedError) as caught:
            self.prover.prove(dict(self.blobs)[name], remainder)
        assert caught.value.code == "not-equivalent"
        return caught.value.message

    def is_refused_with(self, name: str, cid: str, changed: bytes) -> bool:
        """Whether a program is refused when a shared module is another."""
        remainder, modules = edits.renamed(self.remainders[name], self.modules, cid, changed)
        try:
            prove(dict(self.blobs)[name], remainder, modules)
        except CheckFailedError:
            return True
        return False


def release(paths: Sequence[Path]) -> Release:
    blobs = [(path.stem, path.read_bytes()) for path in paths]
    result = split([Input(name, blob, name) for name, blob in blobs])
    modules = {cid: module.data for cid, module in result.modules.items()}
    return Release(blobs, {app.name: app.data for app in result.apps}, modules)


@pytest.fixture(scope="module")
def rust() -> Release:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "LEAST_OWN_BYTES", 1 << 40)  # what is changed below is in the remainders
        return release(list(rust_programs().values()))


@pytest.fixture(scope="module")
def png() -> Release:
    return release([path for name, path in image_blobs().items() if name.startswith("png-")])


NAME = "wordcount"


def prove_all(release: Release) -> None:
    prover = Prover(release.modules)
    for name, blob in release.blobs:
        prover.prove(blob, release.remainders[name])


def test_rust_programs_are_proved(rust: Release) -> None:
    assert len(rust.blobs) >= 5
    assert all(rust.remainders[name] != blob for name, blob in rust.blobs)
    prove_all(rust)


def test_image_programs_are_proved(png: Release) -> None:
    assert len(png.blobs) == 2
    prove_all(png)


def test_a_remainder_is_not_that_of_another_program(rust: Release) -> None:
    assert rust.refused(NAME, rust.remainders["checksum"])


def copies(remainder: bytes, *, of_words: bool) -> dict[int, range]:
    """By place in the start function, what it copies from a data segment: words for a call, or else data."""
    code = edits.code_of(remainder, edits.start_position(remainder))
    return {
        place: range(source := decode_signed(code[place - 2], 1)[0], source + decode_signed(code[place - 1], 1)[0])
        for place, instruction in enumerate(code)
        if instruction.startswith(b"\xfc\x08") and (code[place + 2][0] == CALL) == of_words
    }


def test_no_slot_can_have_another_value(rust: Release) -> None:
    remainder = rust.remainders[NAME]
    code = edits.code_of(remainder, edits.start_position(remainder))
    setters = [edits.call(index) for index in edits.imported(remainder, "S")]
    words = next(found for place, found in copies(remainder, of_words=True).items() if code[place + 2] in setters)
    module = Module.parse(remainder)
    first = module.data_segments[0].start
    used = [offset for offset in words if remainder[first + offset]]  # slots that other programs have are zero here
    assert len(used) > 40
    for offset in used[:: len(used) // 10]:
        message = rust.refused(NAME, edits.with_data_byte(remainder, 0, offset))
        assert "became" in message
        assert "function" in message


def test_no_words_can_be_left_in_memory(rust: Release) -> None:
    def without(code: edits.Code) -> edits.Code:
        fills = [place for place, instruction in enumerate(code) if instruction.startswith(b"\xfc\x0b")]
        assert len(fills) == 2  # after what sets up modules, and after what loads data
        return [part for place, part in enumerate(code) if place not in range(fills[0] - 3, fills[0] + 1)]

    message = rust.refused(NAME, edits.with_start(rust.remainders[NAME], without))
    assert message.startswith("memory 0 of the blob holds at address ")


def test_late_bound_functions_cannot_be_swapped(rust: Release) -> None:
    remainder = rust.remainders[NAME]
    module = Module.parse(remainder)
    late = len(module.elements) - 1
    functions = module.elements[late].functions
    assert functions is not None
    types = [module.function_types[index] for index in functions]
    first, second = next((a, b) for b in range(len(types)) for a in range(b) if types[a] == types[b])
    swapped = [*functions]
    swapped[first], swapped[second] = swapped[second], swapped[first]
    message = rust.refused(
        NAME,
        edits.with_elements(remainder, lambda found: [*found[:late], edits.with_functions(found[late], swapped)]),
    )
    assert " is not " in message or " became " in message


def test_entries_of_the_table_cannot_be_swapped(rust: Release) -> None:
    remainder = rust.remainders[NAME]
    functions = Module.parse(remainder).elements[0].functions
    assert functions is not None
    for other in (1, len(functions) // 2, len(functions) - 1):
        swapped = [*functions]
        swapped[0], swapped[other] = swapped[other], swapped[0]
        changed = edits.with_elements(
            remainder, lambda found, new=swapped: [edits.with_functions(found[0], new), *found[1:]]
        )
        assert rust.refused(NAME, changed)


def test_no_byte_of_data_can_be_changed(rust: Release) -> None:
    remainder = rust.remainders[NAME]
    (segment,) = Module.parse(remainder).data_segments
    start, end = max(words.stop for words in copies(remainder, of_words=True).values()), segment.end - segment.start
    assert end > start
    for offset in {start, (start + end) // 2, end - 1}:
        message = rust.refused(NAME, edits.with_data_byte(remainder, 0, offset))
        assert message.startswith("memory 0 of the blob holds at address ")


def test_no_data_can_be_cut_short(rust: Release) -> None:
    remainder = rust.remainders[NAME]
    position = edits.start_position(remainder)
    code = edits.code_of(remainder, position)
    places = list(copies(remainder, of_words=False))
    assert places
    for place in places:
        size, _ = decode_signed(code[place - 1], 1)
        longer = [*code]
        longer[place - 1] = writer.i32_const(size + 1)
        refused = rust.refused(NAME, edits.with_code(remainder, position, longer))
        # What is copied beyond one content is the next one's, and after the last nothing.
        assert ("traps when it is instantiated" if place == places[-1] else "memory 0 of the blob holds") in refused
        moved = [*code]
        moved[place - 3] = writer.i32_const(decode_signed(code[place - 3], 1)[0] + 1)
        assert "holds at address" in rust.refused(NAME, edits.with_code(remainder, position, moved))


def test_the_stack_pointer_cannot_start_elsewhere(rust: Release) -> None:
    def moved(code: edits.Code) -> edits.Code:
        place = next(place for place, instruction in enumerate(code) if instruction[0] == 0x24)
        return [*code[: place - 1], writer.i32_const(decode_signed(code[place - 1], 1)[0] - 16), *code[place:]]

    message = rust.refused(NAME, edits.with_start(rust.remainders[NAME], moved))
    assert message.startswith("global 0 of the blob is `i32 ")


def test_an_export_cannot_be_another_function(rust: Release) -> None:
    remainder = rust.remainders[NAME]
    module = Module.parse(remainder)
    (start,) = [entry for entry in module.exports if entry.name == "_start"]
    for index in range(len(module.imported(Kind.FUNCTION)), len(module.function_types)):
        if index != start.index and module.function_types[index] == module.function_types[start.index]:
            message = rust.refused(NAME, edits.with_export(remainder, "_start", index))
            assert "(exported as `_start`)" in message
            return
    raise AssertionError("no other function has this type")


CALL = 0x10
SWAPS = {b"\x6a": b"\x6b", b"\x6b": b"\x6a", b"\x48": b"\x49", b"\x2d": b"\x2c", b"\x71": b"\x72"}


def _swapped(module: bytes, position: int) -> bytes | None:
    code = edits.code_of(module, position)
    for place, instruction in enumerate(code):
        if instruction[:1] in SWAPS:
            swapped = SWAPS[instruction[:1]] + instruction[1:]
            return edits.with_code(module, position, [*code[:place], swapped, *code[place + 1 :]])
    return None


def test_no_operator_of_a_remainder_can_be_swapped(rust: Release) -> None:
    remainder = rust.remainders[NAME]
    positions = set(range(len(Module.parse(remainder).bodies))) - {edits.start_position(remainder)}
    swapped = [changed for position in sorted(positions) if (changed := _swapped(remainder, position))]
    assert len(swapped) > 20
    for changed in swapped[:: len(swapped) // 12]:
        assert " became `i32." in rust.refused(NAME, changed)


def _with_other_constant(module: bytes, position: int) -> bytes | None:
    code = edits.code_of(module, position)
    for place, instruction in enumerate(code[:-1]):
        # Not the number of an entry of the private table: whether that matters depends on what is there.
        if instruction[0] == 0x41 and code[place + 1][0] not in (0x11, 0x13):
            other = writer.i32_const(decode_signed(instruction, 1)[0] ^ 1)
            return edits.with_code(module, position, [*code[:place], other, *code[place + 1 :]])
    return None


def _with_other_callee(module: bytes, position: int) -> bytes | None:
    parsed = Module.parse(module)
    types, first = parsed.function_types, len(parsed.imported(Kind.FUNCTION))
    code = edits.code_of(module, position)

    def size(index: int) -> int:
        body = parsed.bodies[index - first]
        return body.end - body.start

    for place, instruction in enumerate(code):
        if instruction[0] == 0x10 and decode_unsigned(instruction, 1)[0] >= first:
            callee, _ = decode_unsigned(instruction, 1)
            for other in range(first, len(types)):
                # One that is like it but for its operands may do the same, and a small one may only pass on to it.
                if (
                    types[other] == types[callee]
                    and size(other) != size(callee)
                    and min(size(other), size(callee)) > 32
                ):
                    return edits.with_code(module, position, [*code[:place], edits.call(other), *code[place + 1 :]])
    return None


@pytest.mark.parametrize("edit", [_swapped, _with_other_constant, _with_other_callee])
def test_no_function_of_a_shared_module_can_be_changed(
    rust: Release, edit: Callable[[bytes, int], bytes | None]
) -> None:
    cid, shared = max(rust.modules.items(), key=lambda item: len(item[1]))
    # Small functions are copied: a shared one may be there that no program calls any more.
    changes = [changed for position in edits.larger_than(shared, 16) if (changed := edit(shared, position))]
    assert len(changes) > 30
    for changed in changes[:: len(changes) // 4]:
        refused = [name for name, _ in rust.blobs if rust.is_refused_with(name, cid, changed)]
        assert refused
