"""Variants of a module: the same program with other constants and its parts in another order."""

from __future__ import annotations

import random
import re

from wasmtools import assemble, print_text


def variant(module: bytes, seed: int) -> bytes:
    """The module with some constants changed, its functions in another order, and a type and a function added.

    In its text everything has a name, so that every index follows.
    """
    chance = random.Random(seed)
    parts: dict[str, list[str]] = {}
    for kind, part in _parts(print_text(module)):
        parts.setdefault("type" if kind == "rec" else kind, []).append(re.sub(r"\(;\d+;\)", "", part))
    functions = [_other_constants(function, chance) for function in parts.pop("func", [])]
    functions.append("(func (param f32 i64) (result i32) i32.const 99)")
    chance.shuffle(functions)
    types = [f"(type (func (param{' i64' * chance.randrange(3, 9)}) (result f32 f64)))"]
    types += parts.pop("type", [])
    rest = [part for of_kind in parts.values() for part in of_kind]
    return assemble("(module " + "\n".join([*types, *rest, *functions]) + ")")


def _parts(text: str) -> list[tuple[str, str]]:
    """The parts of a module that `wasm-tools print` wrote, with the kind of each, in order."""
    lines = text.splitlines()[1:-1]
    starts = [(number, found[1]) for number, line in enumerate(lines) if (found := re.match(r"  \((\w+)", line))]
    ends = [number for number, _ in starts[1:]] + [len(lines)]
    return [(kind, "\n".join(lines[at:end])) for (at, kind), end in zip(starts, ends, strict=True)]


def _other_constants(function: str, chance: random.Random) -> str:
    def changed(match: re.Match[str]) -> str:
        return f"i32.const {int(match[1]) + 1000}" if chance.random() < 0.3 else match[0]

    return re.sub(r"i32\.const (-?\d{4,9})\b", changed, function)
