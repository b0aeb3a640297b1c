"""Programs made by chance, and variants of them: the same with other constants and their parts in another order.

The functions that `wasm-tools smith` makes leave what they work out in globals, and drop segments, of their own module:
they could not be shared. Here most of them give it to the host instead, where it can be seen as well.
"""

from __future__ import annotations

import random
import re
import zlib

from wasmtools import assemble, print_text

_SINKS = {
    kind: f'(import "host" "see {kind}" (func $see_{kind} (param {kind})))' for kind in ("i32", "i64", "f32", "f64")
}

_VALUES = {kind: f"{kind}.const 5" for kind in _SINKS} | {
    "v128": "v128.const i64x2 5 5", "funcref": "ref.null func", "externref": "ref.null extern",
}  # fmt: skip

#: A memory that starts empty: before its sizes, a size of zero, and its maximum, if it is not zero.
_EMPTY = re.compile(r"^( *\(memory(?: \$\S+)?(?: i64)?)(?: +0)(?: 0)?((?: +\d+)?)")

_GLOBAL = re.compile(r" *\(global (\S+) +(?:\(mut )?(\w+)")


def variant(module: bytes, seed: int) -> bytes:
    """The module with some constants changed, its functions in another order, and a type and a function added.

    In its text everything has a name, so that every index follows.
    """
    chance = random.Random(seed)
    parts: dict[str, list[str]] = {}
    for kind, part in _parts(print_text(module)):
        parts.setdefault("type" if kind == "rec" else kind, []).append(re.sub(r"\(;\d+;\)", "", part))
    if zlib.crc32(module) % 8:  # programs whose memory starts empty share nothing
        parts["memory"] = [_EMPTY.sub(r"\1 1\2", part) for part in parts.get("memory", [])]
    globals_ = parts.pop("global", [])
    # The last global counts what is left to run. Put first, it takes the place of a stack pointer.
    globals_ = [*globals_[-1:], *globals_[:-1]]
    kinds = {found[1]: found[2] for part in globals_ if (found := _GLOBAL.match(part))}
    counter = next(iter(kinds), None)
    functions = [_other_constants(_with_sinks(function, kinds, counter), chance) for function in parts.pop("func", [])]
    functions.append("(func (param f32 i64) (result i32) i32.const 99)")
    chance.shuffle(functions)
    types = [f"(type (func (param{' i64' * chance.randrange(3, 9)}) (result f32 f64)))", *parts.pop("type", [])]
    imports = parts.pop("import", []) + list(_SINKS.values())
    rest = [part for of_kind in parts.values() for part in of_kind]
    return assemble("(module " + "\n".join([*types, *imports, *globals_, *rest, *functions]) + ")")


def _parts(text: str) -> list[tuple[str, str]]:
    """The parts of a module that `wasm-tools print` wrote, with the kind of each, in order."""
    lines = text.splitlines()[1:-1]
    starts = [(number, found[1]) for number, line in enumerate(lines) if (found := re.match(r"  \((\w+)", line))]
    ends = [number for number, _ in starts[1:]] + [len(lines)]
    return [(kind, "\n".join(lines[at:end])) for (at, kind), end in zip(starts, ends, strict=True)]


def _with_sinks(function: str, kinds: dict[str, str], counter: str | None) -> str:
    """Most functions, the same ones in each variant, with calls of the host instead of their use of globals."""
    if zlib.crc32(function.split()[1].encode()) % 5 == 0:
        return function

    def changed(match: re.Match[str]) -> str:
        kind = kinds.get(match[2])
        if kind not in _VALUES or match[2] == counter:
            return match[0]
        return _VALUES[kind] if match[1] == "get" else f"call $see_{kind}" if kind in _SINKS else "drop"

    function = re.sub(r"\bglobal\.(get|set) (\S+)", changed, function)
    return re.sub(r"\btable\.size \S+", "i32.const 5", re.sub(r"\b(data|elem)\.drop \S+", "nop", function))


def _other_constants(function: str, chance: random.Random) -> str:
    def changed(match: re.Match[str]) -> str:
        return f"i32.const {int(match[1]) + 1000}" if chance.random() < 0.3 else match[0]

    return re.sub(r"i32\.const (-?\d{4,9})\b", changed, function)
