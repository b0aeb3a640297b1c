"""The scanner cuts code where decoding every instruction says, and nothing that depends on its module stays closed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

import soak
from bacpack.wasm import Module, WasmError, scanner
from bacpack.wasm.opcodes import Opcode
from bacpack.wasm.reader import Reader
from bacpack.wasm.scanner import code_start, scan
from strategies_wasm import seeds
from wasmtools import ALL_FEATURES, assemble, padded, smith

#: Immediates that mean something else in another module.
MODULE_INDICES = frozenset(("type", "func", "table", "global", "data", "elem", "tag"))
#: Immediates that mean the same in every module, however they are written.
PLAIN = frozenset(("label", "labels", "local", "f32", "f64", "v128", "lanes", "lane", "zero"))


def must_be_open(row: Opcode, values: list[int], code: bytes) -> bool:
    """Whether an instruction names something of its own module, or might hold an address."""
    kinds = set(row.immediates)
    if kinds & MODULE_INDICES or row.name == "memory.grow":
        return True
    if kinds & {"i32", "i64"}:
        return not -64 <= values[0] < 64
    if "memory" in kinds:
        return any(values)
    if "memarg" in kinds:
        return values[1] > 0 or values[2] >= 1 << 28
    if "catches" in kinds:
        return code[2:3] != b"\0" or values[0] >= 0
    if "cast" in kinds:
        return any(value >= 0 for value in values[1:])
    return bool(kinds & {"block", "heap"}) and any(value >= 0 for value in values)


def may_be_open(row: Opcode, values: list[int], code: bytes) -> bool:
    """Whether an instruction has an immediate that is not certain to mean the same everywhere."""
    return must_be_open(row, values, code) or not PLAIN.issuperset(row.immediates)


def instructions(code: bytes) -> Iterator[tuple[int, bytes, Opcode, list[int]]]:
    """Decode one by one: position, bytes, row of the table, numbers."""
    reader = Reader(code)
    while reader.remaining:
        at = reader.position
        row, values = reader.instruction()
        yield at, code[at : reader.position], row, values


def check(code: bytes) -> list[str]:
    """Scan `code`, compare with a plain decoding, and return the names of the instructions that were opened."""
    runs, opened = scan(code, 0, len(code))
    assert len(runs) == len(opened) + 1
    cuts, position = {}, 0
    for run, instruction in zip(runs, opened, strict=False):
        cuts[position + len(run)] = instruction
        position += len(run) + len(instruction)
    assert b"".join(run + instruction for run, instruction in zip(runs, [*opened, b""], strict=True)) == code
    names = []
    for at, data, row, values in instructions(code):
        if at in cuts:
            assert cuts.pop(at) == data, row
            assert may_be_open(row, values, data), row
            names.append(row.name)
        else:
            assert not must_be_open(row, values, data), row
    assert cuts == {}
    return names


def bodies(data: bytes) -> Iterator[bytes]:
    module = Module.parse(data)
    for body in module.bodies:
        yield data[code_start(data, body.start, body.end) : body.end]


def opened(body: str) -> list[str]:
    """What is opened in one function."""
    return check(next(bodies(assemble(f"(module (func {body}))"))))


@settings(max_examples=60 * soak.TIMES)
@given(seeds)
def test_generated_modules(seed: int) -> None:
    for body in bodies(smith(seed, *ALL_FEATURES)):
        check(body)


@settings(max_examples=30 * soak.TIMES)
@given(seeds)
def test_generated_modules_with_padded_numbers(seed: int) -> None:
    for body in bodies(smith(seed, *ALL_FEATURES, "--min-uleb-size=5")):
        check(body)


def test_real_programs(sample: list[bytes]) -> None:
    for data in sample:
        names = {name for body in bodies(data) for name in check(body)}
        assert {"call", "call_indirect", "global.get", "global.set", "i32.const"} < names


def test_a_body_is_scanned_in_place(sample: list[bytes]) -> None:
    body = max(Module.parse(sample[0]).bodies, key=lambda body: body.end - body.start)
    start = code_start(sample[0], body.start, body.end)
    code = sample[0][start : body.end]
    assert scan(sample[0], start, body.end) == scan(code, 0, len(code))


@pytest.mark.parametrize("targets", [0, 1, 126, 127, 128, 129, 300, 20_000])
def test_branch_tables_of_any_length_are_closed(targets: int) -> None:
    labels = " ".join(str(n % 200) for n in range(targets + 1))
    assert opened(f"call 1 i32.const 0 br_table {labels} call 2") == ["call", "call"]


def test_several_long_branch_tables_in_one_function() -> None:
    table = "br_table " + "1 " * 200
    assert opened(f"{table} global.get 1 {table} {table} i32.const 99999") == ["global.get", "i32.const"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("i32.const 63 i32.const -64 i32.const 64 i32.const -65", ["i32.const", "i32.const"]),
        ("i64.const 63 i64.const -64 i64.const 64 i64.const -65", ["i64.const", "i64.const"]),
        ("i64.const 0x7fffffffffffffff f32.const nan f64.const 1 v128.const i64x2 16 16", ["i64.const"]),
        ("local.get 300 local.set 300 local.tee 300 br_if 300", []),
        ("i32.store offset=0xfffffff i64.store8 offset=0x10000000", ["i64.store8"]),
        ("i32.load offset=127 f64.load offset=128 i64.load32_u offset=8191 i32.load8_s offset=8192",
         ["i32.load8_s"]),
        ("v128.load offset=0xfffffff f32.load offset=0x4080 i64.load8_s offset=0xffffffff",
         ["f32.load", "i64.load8_s"]),
        ("i32.load 1 offset=4 memory.size 1 memory.size", ["i32.load", "memory.size"]),
        ("i32.load offset=0x100000000", ["i32.load"]),
        ("memory.grow memory.fill memory.copy memory.copy 0 1", ["memory.grow", "memory.copy"]),
        ("memory.init 1 data.drop 1", ["memory.init", "data.drop"]),
        ("table.get 0 table.size 1 elem.drop 0 table.copy 0 0", ["table.get", "table.size", "elem.drop", "table.copy"]),
        ("i32.atomic.rmw8.add_u offset=8 atomic.fence memory.atomic.notify i64.atomic.load 2", ["i64.atomic.load"]),
        ("i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 i16x8.relaxed_dot_i8x16_i7x16_s", []),
        ("v128.load64_lane offset=4 1 v128.load64_lane offset=0x10000000 1", ["v128.load64_lane"]),
        ("i32x4.relaxed_dot_i8x16_i7x16_add_s i8x16.extract_lane_u 15 i32.trunc_sat_f64_u", []),
        ("block (result funcref) end loop (result i32) end if (result v128) else end", []),
        ("block (type 3) end loop (type 300) end if (type 0) end", ["block", "loop", "if"]),
        ("select (result externref) ref.null func ref.null 16 ref.is_null ref.as_non_null", ["ref.null"]),
        ("struct.new 1 struct.get 1 2 array.new_fixed 1 300 array.len ref.i31 i31.get_s",
         ["struct.new", "struct.get", "array.new_fixed"]),
        ("ref.test (ref any) ref.cast (ref null 16) any.convert_extern", ["ref.cast_null"]),
        ("try throw 1 catch 1 rethrow 0 catch_all end try delegate 0", ["throw", "catch"]),
        ("try_table (catch 1 0) end throw_ref", ["try_table"]),
        ("return_call 1 call_ref 1 return_call_ref 2 ref.func 1", ["return_call", "call_ref", "return_call_ref",
                                                                   "ref.func"]),
        ("call_indirect (type 1) return_call_indirect 1 (type 2)", ["call_indirect", "return_call_indirect"]),
    ],
)  # fmt: skip
def test_what_depends_on_the_module_is_opened(body: str, names: list[str]) -> None:
    assert opened(body) == names


@pytest.mark.parametrize("heap", ["any", "5", "16", "65", "68", "300"])
@pytest.mark.parametrize("kind", ["block", "loop", "if", "try"])
def test_a_block_that_gives_a_reference_is_read_whole(kind: str, heap: str) -> None:
    """The heap type follows the first byte: 16, 65 and 68 are also opcodes, of `call`, `i32.const` and `f64.const`."""
    end = "catch_all end" if kind == "try" else "end"
    names = opened(f"{kind} (result (ref {heap})) i32.const 1 unreachable {end} call 1 (ref.func 2)")
    assert [name for name in names if name != kind] == ["call", "ref.func"]


def test_padded_immediates_are_opened_where_they_may_be_addresses() -> None:
    text = "(module (memory 1) (func i32.const 5 i32.const 0 i32.load offset=8 memory.grow local.get 0 call 0))"
    assert check(next(bodies(padded(assemble(text))))) == ["i32.const", "i32.const", "i32.load", "memory.grow", "call"]


@pytest.mark.parametrize(
    "code", [b"\x10", b"\x41\x80", b"\x0e\x05\x00", b"\x0e", b"\x17\x0b", b"\xfd\xff\x7f", b"\x44\0"]
)
def test_code_that_is_malformed_is_refused(code: bytes) -> None:
    with pytest.raises(WasmError) as caught:
        scan(b"\x41\x00" + code, 0, 2 + len(code))
    assert caught.value.offset >= 2


@pytest.mark.parametrize(
    "code",
    [
        "(local (ref null $box) (ref $box) i32) local.get 0 drop",
        "ref.null $box drop",
        "block (result (ref null $box)) ref.null $box end drop",
        "i32.const 0 if (result (ref null $box)) ref.null $box else ref.null $box end drop",
        "ref.null $box ref.null $box i32.const 1 select (result (ref null $box)) drop",
        "block $l (result anyref) ref.null any br_on_cast $l anyref (ref $box) end drop",
        "ref.null any ref.test (ref $box) drop",
        "ref.null any ref.cast (ref null $box) drop",
        "i32.const 0 i32.load $second drop",
        "i32.const 0 i32.const 0 i32.store $second offset=70000",
        "i32.const 0 v128.const i64x2 0 0 v128.load8_lane $second 3 drop",
        "block $l try_table (catch $tag $l) (catch_all $l) end end",
        "block $l (result exnref) try_table (catch_all_ref $l) end ref.null exn end drop",
    ],
)
def test_an_expression_cuts_what_toolchains_write(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No instruction of these makes the whole function be decoded one by one, which takes ten times as long."""
    data = assemble(f"""(module (type $box (struct (field i32))) (memory 1) (memory $second 1) (tag $tag)
      (func {code}))""")
    body = Module.parse(data).bodies[0]
    monkeypatch.setattr("bacpack.wasm.scanner.Reader", None)
    start = code_start(data, body.start, body.end)
    runs, opened = scan(data, start, body.end)
    cut = b"".join(part for pair in zip(runs, [*opened, b""], strict=True) for part in pair)
    assert cut == data[start : body.end]
    assert b"".join(scanner.instructions(cut)) == cut


def test_only_a_long_branch_table_is_decoded_and_not_what_is_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of large `switch` statements took twice as long to split."""
    data = assemble(f"""(module (memory 1) (func (param i32) {"i32.const 700 drop " * 50} block
      local.get 0 br_table {"0 " * 90} end {"i32.const 700 drop " * 50}))""")
    body = Module.parse(data).bodies[0]
    code = data[code_start(data, body.start, body.end) : body.end]
    one_by_one = []
    reader = Reader(code)
    while reader.remaining:
        at = reader.position
        reader.instruction()
        one_by_one.append(code[at : reader.position])
    decoded = []

    class Counting(Reader):
        def instruction(self) -> tuple[Opcode, list[int]]:
            row, values = super().instruction()
            decoded.append(row.name)
            return row, values

    monkeypatch.setattr("bacpack.wasm.scanner.Reader", Counting)
    assert scanner.instructions(code) == one_by_one
    assert decoded == ["br_table"]
    with pytest.raises(WasmError):
        scanner.instructions(code + b"\xff\0")
