"""Memories, tables, globals and segments: what a blob starts with, and what growing and dropping then do."""

from __future__ import annotations

import random

import pytest

from split.harness import Behaviour, Comparer, both, split_all, work
from wasmtools import assemble, padded

#: A function that is shared, so that the blob is split, and one that reads memory from it.
SHARED = f"""(func (export "f") (param i32) (result i32) {work("f")} local.get 0)
  (func (export "at") (param i32 i32) (result i32) {work("at")} local.get 1 i32.load8_u)"""
WITHOUT_MEMORY = f"""(func (export "f") (param i32) (result i32) {work("f")} local.get 0)
  (func (export "g") (param i32) (result i32) {work("g")} local.get 0)"""


def at(*addresses: int) -> list[tuple[str, int, int]]:
    return [("at", 0, address) for address in addresses]


def read(behaviour: Behaviour) -> bytes:
    """What the calls of `at` found, which come first; a trap is an asterisk."""
    return bytes(entry[0] if isinstance(entry, list) else ord("*") for entry in behaviour.calls[:12])


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ('(data (i32.const 100) "0123456789") (data (i32.const 104) "abc")', b"0123abc789\0\0"),
        ('(data (i32.const 104) "abc") (data (i32.const 100) "0123456789")', b"0123456789\0\0"),
        ('(data (i32.const 100) "01") (data (i32.const 102) "23") (data (i32.const 110) "ab")', b"0123\0\0\0\0\0\0ab"),
        (
            '(data (i32.const 110) "ab") (data (i32.const 100) "01") (data (i32.const 104) "23")',
            b"01\0\x0023\0\0\0\0ab",
        ),
        # The third comes shortly after the second, and the first lies between them.
        ('(data (i32.const 104) "abcd") (data (i32.const 100) "01") (data (i32.const 110) "yz")', b"01\0\0abcd\0\0yz"),
        ('(data (i32.const 104) "abcd") (data (i32.const 99) "-0") (data (i32.const 109) "xyz")', b"0\0\0\0abcd\0xyz"),
        (
            '(data (global.get $base) "abcd") (data (i32.const 100) "01") (data (i32.const 110) "yz")',
            b"01\0\0abcd\0\0yz",
        ),
        (
            '(data (i32.const 100) "01") (data (global.get $base) "abcd") (data (i32.const 104) "")',
            b"01\0\0abcd\0\0\0\0",
        ),
        (
            '(data (i32.const 100) "") (data (i32.const 65536) "") (data (i32.const 103) "d")',
            b"\0\0\0d\0\0\0\0\0\0\0\0",
        ),
        ('(data (i32.add (i32.const 50) (i32.mul (i32.const 5) (i32.const 10))) "01")', b"01\0\0\0\0\0\0\0\0\0\0"),
        ('(data (memory $other) (i32.const 100) "x") (data (i32.const 100) "y")', b"y\0\0\0\0\0\0\0\0\0\0\0"),
        ("", bytes(12)),
    ],
)
def test_data_segments_are_copied_in_order(compare: Comparer, segments: str, expected: bytes) -> None:
    imports = '(import "host" "base" (global $host i32))'
    text = f"""(global $base i32 (i32.add (global.get $host) (i32.const 96))) (memory (export "memory") 1)
      (memory $other (export "other") 1) {segments} (data (i32.const {{30000|40000}}) "{"z" * 400}") {SHARED}"""
    for entry in compare(both(text, imports), *at(*range(100, 112)), ("f", 1), shared=["f", "at"]):
        assert read(entry) == expected


def test_a_few_bytes_here_and_there(compare: Comparer) -> None:
    """Pieces of every small size, with high and low bits set, others in each blob, up to the memory's last byte."""

    def scattered(first: int) -> str:
        pieces = {
            64 + 40 * size: bytes((first * size + 37 * n) % 255 + 1 for n in range(size)) for size in range(1, 20)
        }
        pieces |= {2000: bytes([first] * 4), 2040: bytes([255] * 8), 2080: bytes([128] * 2), 65535: bytes([first])}
        escaped = {address: "".join(f"\\{byte:02x}" for byte in content) for address, content in pieces.items()}
        return " ".join(f'(data (i32.const {address}) "{text}")' for address, text in escaped.items())

    blobs = [f'(module (memory (export "memory") 1) {scattered(first)} {SHARED})' for first in (3, 254)]
    first, second = compare(blobs, ("f", 1), *at(65535, 65536), shared=["f", "at"])
    assert (first.calls[1:], second.calls[1:]) == ([[3], "MEMORY_OUT_OF_BOUNDS"], [[254], "MEMORY_OUT_OF_BOUNDS"])


@pytest.mark.parametrize(
    ("text", "is_instantiated"),
    [
        ('(memory (export "memory") 1) (data (i32.const 65530) "123456")', True),
        ('(memory (export "memory") 1) (data (i32.const 65531) "123456")', False),
        ('(memory (export "memory") 1) (data (i32.const 65536) "")', True),
        ('(memory (export "memory") 1) (data (i32.const 65537) "")', False),
        ('(memory (export "memory") 1) (data (i32.const -1) "")', False),
        ('(memory (export "memory") 1) (data (i32.const -8) "1234567812345678")', False),
        ('(memory (export "memory") 1) (data (i32.const 0) "1") (data (i32.const 65529) "12345678")',
         False),
        ('(memory (export "memory") 1) (memory 1) (data (memory 1) (i32.const 65536) "1")', False),
        ('(table (export "table") 2 funcref) (elem (i32.const 1) $own)', True),
        ('(table (export "table") 2 funcref) (elem (i32.const 2) $own)', False),
        ('(table (export "table") 2 funcref) (elem (i32.const 1) $own $shared)', False),
        ('(table (export "table") 2 funcref) (elem (i32.const 2))', True),
        ('(table (export "table") 2 funcref) (elem (i32.const 3))', False),
        ('(table (export "table") 0 funcref) (elem (i32.const 0))', True),
        ('(table (export "table") 0 funcref) (elem (i32.const 0) $shared)', False),
        ('(table (export "table") 2 funcref) (elem (i32.const -1) $shared)', False),
        ('(table (export "table") 3 funcref) (elem (i32.const 1) $shared) (elem (i32.const 2) $shared $own)', False),
        ('(table 1 funcref) (table $other 1 funcref) (elem (table $other) (i32.const 1) func $own)', False),
        ("(func $trap unreachable) (start $trap)", False),
        ("(func $nothing) (start $nothing)", True),
    ],
)  # fmt: skip
def test_a_blob_that_traps_on_instantiation_still_does(compare: Comparer, text: str, is_instantiated: bool) -> None:
    text = f"""{text} (func $own (param i32) (result i32) i32.const {{1|2}})
      (func $shared (export "s") (param i32) (result i32) {work("shared")} local.get 0) {WITHOUT_MEMORY}"""
    calls = [("f", 1)] if is_instantiated else []
    for entry in compare(both(text), *calls, shared=["f", "shared"]):
        assert str(entry.calls[:1]).startswith("['not instantiated") != is_instantiated


#: How much to grow by: a little, and more than any maximum allows.
LITTLE, TOO_MUCH = (0, 1, 2, 1, 1), (70_000, -1, 2**31 - 1, 0)


@pytest.mark.parametrize("limits", ["1", "2", "2 2", "2 5", "1 1", "1 65536"])
def test_memory_grows_as_far_as_it_did(compare: Comparer, limits: str) -> None:
    text = f"""(memory (export "memory") {limits}) {SHARED}
      (func (export "own") (param i32) (result i32) local.get 0 memory.grow)
      (func (export "shared") (param i32) (result i32) {work("shared")}
        i32.const {{1000|2000}} drop i32.const 1 memory.grow)
      (func (export "size") (result i32) memory.size)"""
    grow = [("own", pages) for pages in LITTLE + TOO_MUCH]
    first, _ = compare(both(text), ("size",), ("shared", 0), *grow, ("shared", 0), ("size",), shared=["f"])
    assert [-1] in first.calls


@pytest.mark.parametrize("limits", ["0", "0 0", "0 5"])
def test_a_program_whose_memory_starts_empty_stays_as_it_is(limits: str) -> None:
    """What sets modules up lies in memory."""
    blobs = [assemble(blob) for blob in both(f'(memory (export "memory") {limits}) {SHARED}')]
    result = split_all([*blobs, *map(assemble, both(f'(memory (export "memory") 1) {SHARED}'))])
    assert [app.data for app in result.apps[:2]] == blobs
    assert all(app.data != app.blob for app in result.apps[2:])


def test_programs_without_memory_share_what_differs_in_constants(compare: Comparer) -> None:
    text = f"""(func (export "f") (param i32) (result i32 i64) {work("f")}
      i32.const {{70001|90002}} i64.const {{70000000000|90000000000}})"""
    first, second = compare(both(text), ("f", 1), shared=["f"])
    assert (first.calls, second.calls) == ([[70001, 70000000000]], [[90002, 90000000000]])


def test_data_that_leaves_no_room_for_words_stays(compare: Comparer) -> None:
    chance = random.Random(1)
    content = bytes(chance.randrange(1, 256) for _ in range(65_536))
    segment = "".join(f"\\{byte:02x}" for byte in content)
    blobs = [
        f'(module (memory (export "memory") 1) (data (i32.const 0) "{segment}") {own} {SHARED})'
        for own in ("", "(func)")
    ]
    for entry in compare(blobs, *at(0, 40_000, 65_535), shared=["f", "at"]):
        assert entry.calls == [[content[0]], [content[40_000]], [content[65_535]]]
    assert "data" not in {module.kind for module in split_all([assemble(blob) for blob in blobs]).modules.values()}


def test_a_padded_growth_is_bounded_too(compare: Comparer) -> None:
    text = f"""(memory (export "memory") 1 3) {SHARED}
      (func (export "own") (param i32) (result i32) local.get 0 memory.grow)"""
    blobs = [padded(assemble(blob), ("memory",)) for blob in both(text)]
    first, _ = compare(blobs, ("own", 1), ("own", 1), ("own", 1), ("f", 1), shared=["f"])
    assert first.calls[:3] == [[1], [2], [-1]]


@pytest.mark.parametrize("limits", ["0", "2", "2 2", "2 5", "0 0", "1 0xffffffff"])
def test_tables_grow_as_far_as_they_did(compare: Comparer, limits: str) -> None:
    text = f"""(table $table (export "table") {limits} funcref) (table $other (export "other") {limits} funcref)
      {WITHOUT_MEMORY} (type $one (func (param i32) (result i32)))
      (func $own (export "own") (param i32) (result i32) i32.const {{1|2}})
      (func (export "grow") (param i32) (result i32) ref.func $own local.get 0 table.grow $table)
      (func (export "grow other") (param i32) (result i32) ref.func $own local.get 0 table.grow $other)
      (func (export "call") (param i32 i32) (result i32) {work("call")}
        i32.const 0 local.get 1 call_indirect $table (type $one))
      (func (export "call other") (param i32) (result i32) i32.const 0 local.get 0 call_indirect $other (type $one))
      (func (export "size") (result i32 i32) table.size $table table.size $other)"""
    grow = [call for count in LITTLE + TOO_MUCH for call in (("grow", count), ("grow other", count))]
    entries = [call for entry in range(6) for call in (("call", 0, entry), ("call other", entry))]
    first, _ = compare(both(text), ("size",), *grow, ("size",), *entries, shared=["f", "call"])
    assert [-1] in first.calls


def test_a_memory_of_many_pages_that_cannot_be_had(compare: Comparer) -> None:
    """The engine refuses both or none; what is declared is asked for in either case."""
    compare(both(f'(memory (export "memory") 200 300) {SHARED}'), *at(200 * 65536 - 1, 200 * 65536), shared=["at"])


SEGMENTS = """(memory (export "memory") 1) (table (export "table") 8 funcref)
  (data $passive "abcdef") (data $active (i32.const 8) "ghijkl") (data $more (i32.const 15) "mnop") (data $last "qr")
  (elem $e_passive func $one $two) (elem $e_active (i32.const 1) $two $shared) (elem $e_declared declare func $one)
  (elem $e_last func $shared $one)
  (type $int (func (result i32))) (type $int_of (func (param i32) (result i32)))
  (func $one (result i32) i32.const {1|101}) (func $two (result i32) i32.const {2|102})
  (func $shared (param i32) (result i32) {work} local.get 0)"""


@pytest.mark.parametrize("kind", ["passive", "active", "more", "last"])
def test_data_segments_that_code_names(compare: Comparer, kind: str) -> None:
    text = f"""{SEGMENTS.replace("{work}", work("shared"))} {SHARED}
      (func (export "init") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.init ${kind})
      (func (export "drop") data.drop ${kind})"""
    compare(
        both(text),
        ("init", 100, 0, 0), ("init", 100, 0, 2), ("init", 100, 1, 5), ("init", 65536, 0, 0), ("init", 65537, 0, 0),
        *at(8, 15, 100, 101), ("drop",), ("drop",), ("init", 200, 0, 0), ("init", 200, 0, 1), *at(200), ("f", 1),
        shared=["f", "at", "shared"],
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["e_passive", "e_active", "e_declared", "e_last"])
def test_element_segments_that_code_names(compare: Comparer, kind: str) -> None:
    text = f"""{SEGMENTS.replace("{work}", work("shared"))} {SHARED}
      (func (export "init") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 table.init ${kind})
      (func (export "drop") elem.drop ${kind})
      (func (export "call") (param i32) (result i32) local.get 0 call_indirect (type $int))
      (func (export "call of") (param i32 i32) (result i32) {work("call of")}
        local.get 0 local.get 1 call_indirect (type $int_of))"""
    calls = [call for entry in range(1, 7) for call in (("call", entry), ("call of", 5, entry))]
    compare(
        both(text),
        ("init", 4, 0, 0), ("init", 4, 0, 1), ("init", 4, 0, 2), ("init", 4, 0, 3), ("init", 8, 0, 0),
        ("init", 9, 0, 0), *calls,
        ("drop",), ("drop",), ("init", 4, 0, 0), ("init", 4, 0, 1), ("f", 1),
        shared=["f", "at", "shared", "call of"],
    )  # fmt: skip


def test_segments_whose_numbers_change_nothing_when_no_code_names_them(compare: Comparer) -> None:
    text = f"{SEGMENTS.replace('{work}', work('shared'))} {SHARED}"
    compare(both(text), *at(8, 14, 15, 18, 19, 100), shared=["f", "at", "shared"])


NAMES = ("zero", "middle", "last")
CALL_ENTRY = """(func (export "call NAME") (param i32) (result i32)
  i32.const 7 local.get 0 call_indirect $NAME (type $one))"""


@pytest.mark.parametrize(
    "instructions",
    [
        "i32.const 0 ref.func $own table.set {t}",
        "i32.const 0 table.get {t} ref.is_null drop",
        "table.size {t} drop",
        "ref.func $own i32.const 3 table.grow {t} drop",
        "i32.const 1 ref.func $own i32.const 2 table.fill {t}",
        "i32.const 1 i32.const 0 i32.const 2 table.copy {t} {o}",
        "i32.const 1 i32.const 0 i32.const 2 table.copy {o} {t}",
        "i32.const 1 i32.const 0 i32.const 2 table.init {t} $segment",
        "i32.const 5 i32.const 1 call_indirect {t} (type $one) drop",
        "i32.const 5 i32.const 1 return_call_indirect {t} (type $one)",
    ],
)  # fmt: skip
def test_several_tables_keep_their_entries(compare: Comparer, instructions: str) -> None:
    """Tables that the blob defines come after one that it imports, or after none."""
    for imported in (True, False):
        imports = '(import "host" "table" (table $zero 6 funcref))' if imported else ""
        zero = "" if imported else '(table $zero (export "zero") 6 funcref)'
        for table, other in (("$zero", "$last"), ("$middle", "$zero"), ("$last", "$middle")):
            text = f"""{zero} (table $middle (export "middle") 6 8 funcref)
              (table $last (export "last") 6 funcref) (type $one (func (param i32) (result i32)))
              (elem $segment func $f $own)
              (elem (table $zero) (i32.const 1) func $f $own) (elem (table $last) (i32.const 1) func $own $f)
              (func $own (export "own") (param i32) (result i32) i32.const {{1|2}})
              (func $f (export "f") (param i32) (result i32) {work("f")} local.get 0 call $g)
              (func $g (param i32) (result i32) {work("g")} local.get 0 call $own)
              (func (export "run") (param i32) (result i32) {instructions.format(t=table, o=other)} i32.const 0)
              {"".join(CALL_ENTRY.replace("NAME", name) for name in NAMES)}"""
            calls = [(f"call {name}", entry) for name in NAMES for entry in range(4)]
            compare(both(text, imports), ("run", 1), *calls, ("f", 1), shared=["f", "g"])


def test_globals_of_every_kind(compare: Comparer) -> None:
    imports = '(import "host" "base" (global $base i32)) (import "host" "count" (global $count (mut i64)))'
    text = f"""(global $first i32 (i32.const {{5000|6000}}))
      (global $float (export "float") (mut f64) (f64.const {{1|2}}))
      (global $sp (export "sp") (mut i32) (i32.add (global.get $base) (global.get $first)))
      (global $second (export "second") (mut i32) (i32.const {{7000|8000}})) (global $copy i32 (global.get $base))
      (global $vector (mut v128) (v128.const i64x2 1 2)) (global $null (export "null") externref (ref.null extern))
      (memory (export "memory") 1) (data (global.get $first) "abc") (data (global.get $copy) "xyz")
      (func (export "f") (param i32) (result i32) {work("f")}
        (global.set $sp (i32.sub (global.get $sp) (i32.const 16))) (i32.store (global.get $sp) (local.get 0))
        (i32.add (global.get $sp) (i32.load (global.get $sp))))
      (func (export "own") (result i32 f64 i32 i64)
        (global.set $second (i32.add (global.get $second) (global.get $copy)))
        (global.set $float (f64.add (global.get $float) (f64.const 1)))
        (global.set $count (i64.add (global.get $count) (i64.const 1)))
        (global.get $sp) (global.get $float) (global.get $second) (global.get $count))"""
    first, second = compare(both(text, imports), ("f", 1), ("own",), ("f", 2), ("own",), shared=["f"])
    assert first.state["sp"] == 5008 - 32
    assert second.state["sp"] == 6008 - 32


@pytest.mark.parametrize(
    "globals_",
    [
        "(global $sp (mut i32) (i32.const {1000|2000}))",
        "(global i64 (i64.const 1)) (global $sp (mut i32) (i32.const {1000|2000})) (global (mut i32) (i32.const 4))",
        "(global (mut i64) (i64.const 1)) (global i32 (i32.const 5)) (global $sp (mut i32) (i32.const {1000|2000}))",
    ],
)
def test_a_stack_pointer_anywhere(compare: Comparer, globals_: str) -> None:
    text = f"""{globals_} (export "sp" (global $sp))
      (func (export "f") (param i32) (result i32) {work("f")} (global.set $sp (i32.sub (global.get $sp) (local.get 0)))
        global.get $sp)
      (func (export "own") (result i32) (global.set $sp (i32.const {{64|65}})) global.get $sp)"""
    compare(both(text), ("f", 16), ("own",), ("f", 32), shared=["f"])


def test_a_start_function_runs_last_and_once(compare: Comparer) -> None:
    for start in ("own", "shared", "host"):
        text = f"""(memory (export "memory") 1) (data (i32.const 100) "A") (table (export "table") 3 funcref)
          (elem (i32.const 1) $own $shared) (global $sp (export "sp") (mut i32) (i32.const {{1000|2000}}))
          (func $own (global.set $sp (i32.add (global.get $sp) (i32.load8_u (i32.const 100))))
            (drop (call $peek (i32.const 100)))
            (i32.store8 (i32.const 100) (i32.const {{66|67}})))
          (func $shared (local i32) {work("shared")} (i32.store (i32.const 104) (local.get 0))
            (i32.store8 (i32.const 101) (i32.load8_u (i32.const 100))) (call_indirect (i32.const 1)))
          {SHARED} (start ${start})"""
        imports = """(import "host" "host" (func $host)) (import "host" "peek" (func $peek (param i32) (result i32)))"""
        first, _ = compare(both(text, imports), *at(100, 101, 104), shared=["f", "at", "shared"])
        assert len(first.host) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        '(memory (export "memory") 1)',
        "(memory 1) (data (i32.const 5) \"abc\")",
        "(table 1 funcref)",
        "(global i32 (i32.const 1))",
        "(table 0 externref)",
        "(table 1 (ref null func)) (elem declare func 0)",
        "(elem func) (data \"\")",
        "(type (func (param i32)))",
    ],
)  # fmt: skip
def test_blobs_that_lack_parts(compare: Comparer, text: str) -> None:
    compare(both(f"{WITHOUT_MEMORY} {text}"), ("f", 1), ("g", 1), shared=["f", "g"])


def test_blobs_that_lack_parts_beside_those_that_have_them(compare: Comparer) -> None:
    whole = f'(memory (export "memory") 1) (table 4 funcref) (global $sp (mut i32) (i32.const 5)) {WITHOUT_MEMORY}'
    compare([f"(module {WITHOUT_MEMORY})", f"(module {whole})", "(module)", f"(module {WITHOUT_MEMORY} (func))"])


def test_empty_modules_are_left_as_they_are(compare: Comparer) -> None:
    compare(["(module)", "(module (memory 1))", '(module (export "f" (func $f)) (func $f))'])
