"""Tokenizing a function's code: into what reads the same in any module and what does not.

A *run* is a sequence of instructions whose bytes alone say what they do. A *token* is one instruction, or a few that
are read as one, that names something by index or holds a number that a split may move elsewhere. Code is tokenized at
one of two depths: `COARSE` leaves short numbers in the runs, which is fast and enough for most functions; `FINE` makes
a token of every constant and every access to memory, so that two functions line up whatever the sizes of their numbers.

One expression a depth, derived from the opcode table, matches whole instructions only: a run ends where one does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from enum import IntEnum
from functools import cache

from bacpack.wasm.leb128 import decode_unsigned
from bacpack.wasm.opcodes import OPCODES, Opcode
from bacpack.wasm.patterns import LEB, repeated
from bacpack.wasm.reader import Reader
from bacpack.wasm.types import Body


class Depth(IntEnum):
    """How finely code is tokenized."""

    COARSE = 0
    FINE = 1


#: Runs, and the tokens between them: one run more than tokens.
Tokens = tuple[list[bytes], list[bytes]]

_ONE_BYTE = rb"[\x00-\x7f]"
_TARGETS = rb"(?:" + b"|".join(rb"\x%02x(?:%b){%d}" % (n, LEB, n + 1) for n in range(128)) + rb")"

#: Immediates that read the same in any module, at any depth.
_SAME = {
    "local": LEB,
    "label": LEB,
    "memory": rb"\x00",
    "block": rb"[\x40\x69-\x74\x7b-\x7f]",
    "heap": rb"[\x69-\x74]",
    "types": rb"\x01[\x69-\x74\x7b-\x7f]",
    "labels": _TARGETS,
    "f32": rb".{4}",
    "f64": rb".{8}",
    "v128": rb".{16}",
    "lanes": rb".{16}",
    "lane": rb".",
    "zero": rb"\x00",
}
# At the coarse depth also short constants, but for one that selects an entry of a table, and offsets in shortest form.
_SAME_COARSE = _SAME | {
    "i32": _ONE_BYTE + rb"(?![\x11\x13])",
    "i64": _ONE_BYTE,
    "memarg": rb"[\x00-\x3f](?:[\x00-\x7f]|[\x80-\xff]{1,3}+[\x01-\x7f])",
}
#: Immediates of tokens. Those that are missing are so rare that their instructions are decoded.
_ANY = {
    **dict.fromkeys(("type", "func", "table", "global", "memory", "data", "elem", "tag"), LEB),
    **dict.fromkeys(("local", "label", "field", "count", "i32", "i64"), LEB),
    "block": rb"[\x63\x64]?+" + LEB,
    "heap": LEB,
    "memarg": rb"(?:[\x00-\x3f]|[\x40-\x7f]%b)%b" % (LEB, LEB),
    "lane": rb".",
}
#: Pairs and triples that are read as one: a call through an entry of a table, a global plus a constant.
_JOINED_COARSE = (
    rb"\x41%b[\x11\x13]%b%b" % (LEB, LEB, LEB),
    rb"\x23%b(?:\x41%b\x6a|\x42%b\x7c)" % (LEB, LEB, LEB),
)
#: How a memory grows depends on what the module declares of it.
_NEVER_SAME = "memory.grow"
#: `local.get`, `local.set` and `local.tee`.
_LOCAL_OPCODES = range(0x20, 0x23)
#: So many instructions of a function are decoded one by one; with more of them, all that follow are tokenized so.
_MOST_DECODED = 32
#: The group of the expression for one instruction that matches those of runs.
_IS_SAME = 1
#: The expression tries its alternatives in order: immediates of the most frequent instructions come first.
_FREQUENT: list[tuple[str, ...]] = [("local",), (), ("memarg",), ("i32",), ("label",), ("block",)]


def instructions_start(data: bytes, body: Body) -> int:
    """Where the instructions of `body` begin, after the declarations of its locals."""
    if data[body.start] == 0:
        return body.start + 1
    reader = Reader(data, body.start, body.end)
    for _ in range(reader.u32("the number of local declarations")):
        reader.u32("a number of locals")
        reader.value_type()
    return reader.position


def tokenize(data: bytes, start: int, end: int, depth: Depth) -> Tokens:
    """Tokenize the instructions of `data` from `start` to `end`; raises `WasmError` when they are malformed."""
    runs, tokens, rest = _tokenize_ahead(data, start, end, depth)
    decoded = 0
    while rest:
        # What the expression cannot match is decoded: tables of very many targets, and rare instructions.
        position = end - len(rest)
        if decoded == _MOST_DECODED:  # each time, all that is left is copied
            _tokenize_slowly(data, position, end, depth, runs, tokens)
            break
        decoded += 1
        name, position = _decode(data, position, end)
        instruction = rest[: len(rest) - (end - position)]
        following, more, rest = _tokenize_ahead(data, position, end, depth)
        if name == "br_table":
            runs[-1] += instruction + following.pop(0)
        else:
            tokens.append(instruction)
        runs += following
        tokens += more
    return runs, tokens


def locals_named(runs: list[bytes]) -> set[int]:
    """The locals that the instructions in some runs name."""
    code = b"".join(runs)
    named = set(_local_expression().findall(code)) - {b""}
    if all(instruction[0] in _LOCAL_OPCODES for instruction in named):
        return {decode_unsigned(instruction, 1)[0] for instruction in named}
    reader = Reader(code)  # the expression does not match tables of very many targets
    found: set[int] = set()
    while reader.remaining:
        row, values = reader.instruction()
        if row.immediates == ("local",):
            found.add(values[0])
    return found


def ends_with(run: bytes, instruction: bytes) -> bool:
    """Whether an instruction is the last of a run."""
    if not run.endswith(instruction):
        return False
    before = len(run) - len(instruction)
    if _run().fullmatch(run, 0, before):
        return True
    reader = Reader(run)
    while reader.position < before:
        reader.instruction()
    return reader.position == before


def _decode(data: bytes, position: int, end: int) -> tuple[str, int]:
    """The name of the instruction at a position, and where it ends."""
    reader = Reader(data, position, end)
    row, _ = reader.instruction()
    return row.name, reader.position


def _tokenize_slowly(
    data: bytes, position: int, end: int, depth: Depth, runs: list[bytes], tokens: list[bytes]
) -> None:
    """Tokenize what is left instruction by instruction, and add it."""
    match = _instruction(depth).match
    start = position  # of a run
    while position < end:
        found = match(data, position, end)
        name, after = ("", found.end()) if found else _decode(data, position, end)
        if name != "br_table" and not (found and found.lastindex == _IS_SAME):
            runs[-1] += data[start:position]
            tokens.append(data[position:after])
            runs.append(b"")
            start = after
        position = after
    runs[-1] += data[start:position]


def _tokenize_ahead(data: bytes, start: int, end: int, depth: Depth) -> tuple[list[bytes], list[bytes], bytes]:
    """Tokenize as far as the expression matches; also return what is left from there."""
    pairs = _expression(depth).findall(data, start, end)
    runs, tokens = map(list, zip(*pairs, strict=True))
    if len(tokens) > 1:
        # The last match but one goes to the end, the last one is empty.
        runs.pop()
        tokens.pop()
    return runs, tokens, tokens.pop()


@cache
def _run() -> re.Pattern[bytes]:
    return re.compile(repeated(_same(Depth.COARSE)), re.DOTALL)


@cache
def _local_expression() -> re.Pattern[bytes]:
    # The last alternative takes all that is left: nothing at the end of code that was understood.
    others = _alternatives({kind: _SAME_COARSE[kind] for kind in _SAME_COARSE if kind != "local"}, _NEVER_SAME)
    return re.compile(rb"%b([\x20-\x22]%b|.*+)" % (repeated(others), LEB), re.DOTALL)


@cache
def _instruction(depth: Depth) -> re.Pattern[bytes]:
    """One instruction of a run, or a token."""
    return re.compile(rb"(%b)|%b" % (_same(depth), _tokens(depth)), re.DOTALL)


@cache
def _expression(depth: Depth) -> re.Pattern[bytes]:
    # The last alternative takes all that is left: nothing at the end of code that was understood.
    return re.compile(rb"(%b)(%b|.*+)" % (repeated(_same(depth)), _tokens(depth)), re.DOTALL)


def _tokens(depth: Depth) -> bytes:
    return b"|".join([*(_JOINED_COARSE if depth == Depth.COARSE else ()), _alternatives(_ANY)])


def _same(depth: Depth) -> bytes:
    return _alternatives(_SAME_COARSE if depth == Depth.COARSE else _SAME, without=_NEVER_SAME)


def _alternatives(immediates: dict[str, bytes], without: str | None = None) -> bytes:
    """One alternative for each list of immediates that can be written in `immediates`, each with all its opcodes."""
    rows: dict[tuple[str, ...], list[Opcode]] = defaultdict(list)
    for row in OPCODES:
        if row.name != without and all(kind in immediates for kind in row.immediates):
            rows[row.immediates].append(row)
    if immediates is _ANY:
        rows.pop((), None)
    order = sorted(rows, key=lambda kinds: _FREQUENT.index(kinds) if kinds in _FREQUENT else len(_FREQUENT))
    plain: list[bytes] = []
    prefixed: list[bytes] = []
    for kinds in order:
        tail = b"".join(immediates[kind] for kind in kinds)
        for prefix in sorted({row.prefix or 0 for row in rows[kinds]}):
            opcodes = [row.encoding for row in rows[kinds] if (row.prefix or 0) == prefix]
            (prefixed if prefix else plain).append(_opcodes(opcodes) + tail)
    return b"|".join(plain + prefixed)


def _opcodes(encodings: list[bytes]) -> bytes:
    """What matches any of these opcodes, which have the same prefix, if any."""
    by_tail: dict[bytes, list[bytes]] = defaultdict(list)
    for encoding in encodings:
        by_tail[encoding[:-1]].append(encoding[-1:])
    parts = [
        re.escape(head) + b"[" + b"".join(map(_hexadecimal, sorted(lasts))) + b"]" for head, lasts in by_tail.items()
    ]
    return b"(?:" + b"|".join(parts) + b")" if len(parts) > 1 else parts[0]


def _hexadecimal(byte: bytes) -> bytes:
    return rb"\x%02x" % byte[0]
