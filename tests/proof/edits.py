"""One thing changed in a module, by its sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bacpack.proof.code.tokenizer import instructions_start
from bacpack.wasm import Kind, Module, SectionId, writer
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Element
from differential.harness import cid_of

Code = list[bytes]


def imported(module: bytes, name: str) -> list[int]:
    """The indices of imported functions whose names start so."""
    functions = Module.parse(module).imported(Kind.FUNCTION)
    return [index for index, entry in enumerate(functions) if entry.name.startswith(name) and len(entry.module) > 50]


def larger_than(module: bytes, size: int) -> list[int]:
    """The positions of the functions of a shared module with more code, less those that set the module up."""
    parsed = Module.parse(module)
    count = len(parsed.elements[0].functions or ())
    return [position for position, body in enumerate(parsed.bodies[:count]) if body.end - body.start > size]


def code_of(module: bytes, position: int) -> Code:
    """The instructions of the function at a position among those that the module defines."""
    body = Module.parse(module).bodies[position]
    reader = Reader(module, instructions_start(module, body), body.end)
    out = []
    while reader.remaining:
        at = reader.position
        reader.instruction()
        out.append(module[at : reader.position])
    return out


def with_code(module: bytes, position: int, code: Code) -> bytes:
    """The module with other instructions in one function."""
    parsed = Module.parse(module)
    bodies = [module[body.start : body.end] for body in parsed.bodies]
    body = parsed.bodies[position]
    bodies[position] = module[body.start : instructions_start(module, body)] + b"".join(code)
    return writer.rewrite(parsed, {SectionId.CODE: writer.vector(map(writer.sized, bodies))})


def start_position(module: bytes) -> int:
    """The position of the start function."""
    parsed = Module.parse(module)
    assert parsed.start is not None
    return parsed.start - len(parsed.imported(Kind.FUNCTION))


def with_start(module: bytes, edit: Callable[[Code], Code]) -> bytes:
    """The module with another start function."""
    position = start_position(module)
    return with_code(module, position, edit(code_of(module, position)))


def with_elements(module: bytes, edit: Callable[[list[Element]], list[Element]]) -> bytes:
    """The module with other element segments."""
    parsed = Module.parse(module)
    return writer.rewrite(parsed, {SectionId.ELEMENT: writer.vector(map(writer.element, edit(parsed.elements)))})


def with_functions(element: Element, functions: list[int]) -> Element:
    return replace(element, functions=functions)


def with_export(module: bytes, name: str, index: int) -> bytes:
    """The module with an export that is something else."""
    parsed = Module.parse(module)
    exports = [replace(entry, index=index) if entry.name == name else entry for entry in parsed.exports]
    return writer.rewrite(parsed, {SectionId.EXPORT: writer.vector(map(writer.export, exports))})


def with_data_byte(module: bytes, segment: int, offset: int) -> bytes:
    """The module with one byte of a data segment changed; it counts from the end if `offset` is negative."""
    found = Module.parse(module).data_segments[segment]
    at = (found.start if offset >= 0 else found.end) + offset
    return module[:at] + bytes([module[at] ^ 1]) + module[at + 1 :]


def renamed(remainder: bytes, modules: Mapping[str, bytes], cid: str, changed: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The split with one module changed: it, and each module that imports it, has a new name everywhere."""
    result = dict(modules)
    pending = [(cid, changed)]
    while pending:
        old, data = pending.pop()
        new = cid_of(data)
        del result[old]
        result[new] = data
        pending += [
            (name, other.replace(old.encode(), new.encode())) for name, other in result.items() if old.encode() in other
        ]
        remainder = remainder.replace(old.encode(), new.encode())
    return remainder, result


def call(index: int) -> bytes:
    return b"\x10" + encode_unsigned(index)
