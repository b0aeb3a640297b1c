"""Finding the operands that matter in a function without building objects for the rest.

One regular expression, derived from the opcode table, cuts code into pairs: a run of bytes whose meaning is the same in
any module, and one instruction that is *open*: it names something by index or address, so its bytes depend on
the module around it. Possessive quantifiers keep the run in C, without backtracking.
"""

from __future__ import annotations

import re
from functools import cache

from bacpack.wasm.limits import MAX_BRANCH_TARGETS, MAX_LOCALS
from bacpack.wasm.opcodes import OPCODES, Opcode
from bacpack.wasm.patterns import LEB, repeated
from bacpack.wasm.reader import Reader

#: A LEB of two bytes or more.
_LONG_LEB = rb"[\x80-\xff]++[\x00-\x7f]"

#: Branch tables of up to so many targets are part of the expression; for each one more it takes longer to compile.
_LONGEST_TABLE = 40

# Immediates that mean the same in any module. A constant of one byte is taken as such too: addresses are larger.
# An offset of five bytes is one that a linker padded: an address. That of a load is one from 8192 on; below are fields
# also of large structures, in inner loops as that of a compressor, where a slot in place of the offset costs time.
_CLOSED = {
    "label": LEB,
    "local": LEB,
    "count": LEB,
    "memory": rb"\x00",
    "block": rb"[\x40\x69-\x74\x7b-\x7f]",
    "heap": rb"[\x69-\x74]",
    "types": rb"\x01[\x69-\x74\x7b-\x7f]",
    "memarg": rb"[\x00-\x3f][\x80-\xff]{0,3}+[\x00-\x7f]",
    "load": rb"[\x00-\x3f](?:[\x00-\x7f]|[\x80-\xff][\x00-\x3f])",
    "i32": rb"[\x00-\x7f]",
    "i64": rb"[\x00-\x7f]",
    "f32": rb".{4}",
    "f64": rb".{8}",
    "v128": rb".{16}",
    "lanes": rb".{16}",
    "lane": rb".",
    "zero": rb"\x00",
    "labels": rb"(?:"
    + b"|".join(rb"%b(?:%b){%d}" % (re.escape(bytes([n])), LEB, n + 1) for n in range(_LONGEST_TABLE + 1))
    + rb")",
}

#: Handlers of `try_table` of so many are part of the expression.
_MOST_HANDLERS = 8
_HANDLER = rb"(?:[\x00\x01]%b%b|[\x02\x03]%b)" % (LEB, LEB, LEB)
#: A reference to a type of the module, nullable or not.
_REFERENCE = rb"[\x63\x64]" + LEB

# Immediates that depend on the module, and the forms of the above that do; and those that stand beside them.
_OPEN = {
    **dict.fromkeys(("type", "func", "table", "global", "data", "elem", "tag"), LEB),
    "memory": LEB,
    "field": LEB,
    "count": LEB,
    "i32": _LONG_LEB,
    "i64": _LONG_LEB,
    "memarg": rb"(?:[\x00-\x3f][\x80-\xff]{4}[\x00-\x0f]|[\x40-\x7f]%b%b)" % (LEB, LEB),
    "load": rb"(?:[\x00-\x3f][\x80-\xff]{1,4}+[\x00-\x7f]|[\x40-\x7f]%b%b)" % (LEB, LEB),
    "block": rb"(?:%b|(?![\x63\x64])%b)" % (_REFERENCE, LEB),
    "heap": LEB,
    "types": rb"\x01" + _REFERENCE,
    "cast": rb".",
    "label": LEB,
    "lane": rb".",
    "catches": rb"(?:"
    + b"|".join(rb"%b%b{%d}" % (re.escape(bytes([n])), _HANDLER, n) for n in range(_MOST_HANDLERS + 1))
    + rb")",
}

#: `memory.grow` is open because a memory may have a maximum.
_ALWAYS_OPEN = frozenset(("memory.grow",))

#: Immediates of the most frequent instructions, most frequent first: the expression tries its alternatives in order.
_FREQUENT = (("local",), ("i32",), (), ("load",), ("memarg",), ("block",))

_RARE = len(_FREQUENT)
_LOADS = range(0x28, 0x36)

#: Declarations of locals in up to so many groups are found by an expression, if each is of less than 128.
_MOST_GROUPS = 64

BR_TABLE = 0x0E
CALL, CALL_INDIRECT, RETURN_CALL, RETURN_CALL_INDIRECT = 0x10, 0x11, 0x12, 0x13
GLOBAL_GET, GLOBAL_SET, REF_FUNC, MEMORY_GROW = 0x23, 0x24, 0xD2, 0x40
I32_CONST, I64_CONST = 0x41, 0x42


def _immediates(row: Opcode) -> tuple[str, ...]:
    """The kinds of an instruction's immediates; the offset of a load is one of its own."""
    return ("load",) if row.prefix is None and row.number in _LOADS else row.immediates


def _alternatives(patterns: dict[tuple[str, ...], bytes], rows: list[Opcode]) -> list[bytes]:
    """Patterns for instructions of one-byte opcodes, those with equal immediates as one character class."""
    classes: dict[bytes, bytearray] = {}
    for row in rows:
        classes.setdefault(patterns[_immediates(row)], bytearray()).append(row.number)
    return [b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(set_)) + b"]" + tail for tail, set_ in classes.items()]


def _prefixed(rows: list[Opcode], patterns: dict[tuple[str, ...], bytes]) -> list[bytes]:
    """Patterns for instructions of two numbers: by prefix, then by immediates, the numbers as alternatives."""
    out = []
    for prefix in sorted({row.prefix for row in rows if row.prefix is not None}):
        by_tail: dict[bytes, list[bytes]] = {}
        for row in rows:
            if row.prefix == prefix:
                by_tail.setdefault(patterns[row.immediates], []).append(row.encoding[1:])
        forms = [_numbers(numbers) + tail for tail, numbers in by_tail.items()]
        out.append(b"\\x%02x(?:" % prefix + b"|".join(forms) + b")")
    return out


def _numbers(encodings: list[bytes]) -> bytes:
    """One pattern that matches any of these opcodes' numbers, each of one or two bytes."""
    by_rest: dict[bytes, list[bytes]] = {}
    for encoding in encodings:
        by_rest.setdefault(encoding[1:], []).append(encoding[:1])
    parts = [
        b"[" + b"".join(b"\\x%02x" % first[0] for first in sorted(firsts)) + b"]" + re.escape(rest)
        for rest, firsts in sorted(by_rest.items())
    ]
    return b"(?:" + b"|".join(parts) + b")"


@cache
def _patterns() -> tuple[bytes, bytes]:
    """What matches one closed instruction, and one open one."""
    closed_rows, open_rows = [], []
    for row in OPCODES:
        if row.name not in _ALWAYS_OPEN and all(kind in _CLOSED for kind in row.immediates):
            closed_rows.append(row)
        if row.immediates and all(kind in _OPEN for kind in row.immediates):
            open_rows.append(row)
    closed_tails = {_immediates(row): b"".join(_CLOSED[kind] for kind in _immediates(row)) for row in closed_rows}
    open_tails = {_immediates(row): b"".join(_OPEN[kind] for kind in _immediates(row)) for row in open_rows}

    def patterns(rows: list[Opcode], tails: dict[tuple[str, ...], bytes]) -> bytes:
        plain = _alternatives(tails, [row for row in rows if row.prefix is None])
        return b"|".join(plain + _prefixed(rows, tails))

    closed_rows.sort(key=lambda row: _FREQUENT.index(kinds) if (kinds := _immediates(row)) in _FREQUENT else _RARE)
    return patterns(closed_rows, closed_tails), patterns(open_rows, open_tails)


@cache
def _pattern() -> re.Pattern[bytes]:
    # The last alternative takes one byte of whatever is not understood: `scan` then decodes the function plainly.
    closed, open_ = _patterns()
    return re.compile(rb"(%b)(%b|.|\Z)" % (repeated(closed), open_), re.DOTALL)


@cache
def _closed_instruction() -> re.Pattern[bytes]:
    return re.compile(_patterns()[0], re.DOTALL)


@cache
def _locals(groups: int) -> re.Pattern[bytes]:
    return re.compile(rb".(?:[\x00-\x7f](?:[\x69-\x74\x7b-\x7f]|%b)){%d}" % (_REFERENCE, groups), re.DOTALL)


@cache
def _instruction() -> re.Pattern[bytes]:
    return re.compile(b"|".join(_patterns()), re.DOTALL)


@cache
def _stretch() -> re.Pattern[bytes]:
    return re.compile(repeated(b"|".join(_patterns())), re.DOTALL)


def instructions(code: bytes) -> list[bytes]:
    """Cut code into instructions; raises `WasmError` when it is malformed."""
    found = _instruction().findall(code)
    if sum(map(len, found)) == len(code):  # nothing was passed over
        return found
    found = []
    reader = Reader(code)  # for the few instructions that the expression cannot follow, such as long branch tables
    while reader.remaining:
        known = _stretch().match(code, reader.position)
        assert known is not None  # it matches the empty stretch as well
        found += _instruction().findall(code, known.start(), known.end())
        reader.position = known.end()
        if reader.remaining:
            reader.instruction()
            found.append(code[known.end() : reader.position])
    return found


def code_start(data: bytes, start: int, end: int) -> int:
    """Return where the instructions of the body at `start` begin, after the declarations of locals."""
    groups = data[start]
    if groups <= _MOST_GROUPS and (found := _locals(groups).match(data, start, end - 1)):
        return found.end()
    reader = Reader(data, start, end)
    locals_ = 0
    for _ in range(reader.count("local declarations", end - start, item_bytes=2)):
        locals_ += reader.u32("a number of locals")
        reader.value_type()
    if locals_ > MAX_LOCALS:
        raise reader.fail(f"{locals_} locals, more than the limit of {MAX_LOCALS}", "wasm-too-large")
    if not reader.remaining:
        raise reader.fail("a function has no code")
    return reader.position


def scan(data: bytes, start: int, end: int) -> tuple[list[bytes], list[bytes]]:
    """Cut the instructions from `start` to `end` into closed runs and the open instructions between them.

    There is one run more than open instructions; joined in turn they give the code back. Raises `WasmError` when the
    code is malformed.
    """
    pairs = _pattern().findall(data, start, end)
    pairs.pop()  # the empty match at the very end
    runs, opened = map(list, zip(*pairs, strict=True))
    if not opened.pop() and 1 not in map(len, opened):
        return runs, opened
    return _scan_in_parts(data, start, end)  # no open instruction takes one byte: something was not understood


def _scan_in_parts(data: bytes, start: int, end: int) -> tuple[list[bytes], list[bytes]]:
    """Do the same around branch tables that are too long for the expression."""
    runs, opened = [b""], []
    position = start
    while True:
        for found in _pattern().finditer(data, position, end):
            run, instruction = found.groups()
            runs[-1] += run
            if len(instruction) < 2:
                break
            opened.append(instruction)
            runs.append(b"")
        if not instruction:
            return runs, opened
        table = found.end() - 1
        after = _after_table(data, table, end)
        if after is None:
            return _scan_plainly(data, start, end)
        runs[-1] += data[table:after]
        position = after


def _after_table(data: bytes, at: int, end: int) -> int | None:
    """Return where a `br_table` at `at` ends, or None when it is none or cut short."""
    if data[at] != BR_TABLE:
        return None
    reader = Reader(data, at + 1, end)
    count = reader.count("branch targets", MAX_BRANCH_TARGETS)
    found = re.compile(rb"(?:%b){%d}" % (LEB, count + 1)).match(data, reader.position, end)
    return found.end() if found else None


def _scan_plainly(data: bytes, start: int, end: int) -> tuple[list[bytes], list[bytes]]:
    """Do the same by decoding every instruction: for the few that the expression cannot follow."""
    closed = _closed_instruction()
    reader = Reader(data, start, end)
    runs, opened = [], []
    run = start
    while reader.remaining:
        at = reader.position
        row, _ = reader.instruction()
        if row.immediates == ("labels",) or closed.fullmatch(data, at, reader.position):
            continue
        runs.append(data[run:at])
        opened.append(data[at : reader.position])
        run = reader.position
    runs.append(data[run:end])
    return runs, opened
