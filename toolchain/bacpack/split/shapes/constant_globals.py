"""Globals that are constants: immutable, and known from the module alone.

Code that was compiled to be in a library and is linked statically reads addresses from such globals. Whether one is
exported makes no difference, since nobody can change it; what the host provides is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from bacpack.wasm import Kind, Module, writer
from bacpack.wasm.reader import Reader

_WRITERS = {"i32": writer.i32_const, "i64": writer.i64_const}
_BITS = {"i32": 32, "i64": 64}
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}

#: A type and a number of this type, with sign.
_Literal = tuple[str, int]


@lru_cache(maxsize=64)
def constant_globals(module: Module) -> dict[int, bytes]:
    """Return the instruction that gives the same as `global.get`, for each global of `module` that is a constant."""
    known: dict[int, _Literal] = {}
    for index, entry in enumerate(module.globals, len(module.imported(Kind.GLOBAL))):
        if not entry.type.mutable and (value := _evaluate(entry.init, known)):
            known[index] = value
    return {index: _WRITERS[type_](value) for index, (type_, value) in known.items()}


def _evaluate(expression: bytes, known: dict[int, _Literal]) -> _Literal | None:
    """The value of a constant expression, if it is an integer that does not depend on the host."""
    stack: list[_Literal] = []
    reader = Reader(expression)
    while reader.remaining > 1:  # `end` comes last
        row, values = reader.instruction()
        type_, _, operation = row.name.partition(".")
        if operation == "const" and type_ in _WRITERS:
            stack.append((type_, values[0]))
        elif row.name == "global.get" and values[0] in known:
            stack.append(known[values[0]])
        elif operation in _ARITHMETIC and type_ in _WRITERS and len(stack) > 1:
            (_, second), (_, first) = stack.pop(), stack.pop()
            stack.append((type_, _wrapped(_ARITHMETIC[operation](first, second), _BITS[type_])))
        else:
            return None
    return stack[0] if len(stack) == 1 else None


def _wrapped(number: int, bits: int) -> int:
    """A number as an integer of so many bits holds it."""
    half = 1 << bits - 1
    return (number + half) % (2 * half) - half
