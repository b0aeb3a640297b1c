"""Which access takes its address from which `i32.const 0`: paired only where nothing else can see the constant."""

from __future__ import annotations

import time

import pytest

from bacpack.wasm import Module, operand_stack
from bacpack.wasm.operand_stack import ZERO, constant_bases
from bacpack.wasm.reader import Reader
from bacpack.wasm.scanner import code_start
from wasmtools import assemble, invalid_because, padded

MODULE = """(module (memory 1) (memory 1) (table 1 funcref) (global $g (mut i32) (i32.const 0))
  (type $pair (func (param i32) (result i32 i32))) (type $none (func (param i32)))
  (func $take (param i32)) (func $give (param i32 i64) (result i32) unreachable)
  (func $tested (param $p i32) (param $q i64) {result} (local $x i32)
    {body}))"""


def pairs(body: str, result: str = "", *, valid: bool = True) -> list[int]:
    """The offsets of the accesses in `body` that are paired with a constant; all that is claimed of them is checked."""
    data = assemble(MODULE.replace("{body}", body).replace("{result}", result))
    assert bool(invalid_because(data)) != valid
    module = Module.parse(data)
    last = module.bodies[-1]
    code = data[code_start(data, last.start, last.end) : last.end]
    found = constant_bases(module, code)
    for access, (base, offset) in found.items():
        row, values = Reader(code, access).instruction()
        assert row.immediates == ("memarg",)
        assert values[1:] == [0, offset]
        assert code[base : base + 2] == ZERO
        assert base < access
    assert len({base for base, _ in found.values()}) == len(found)
    return sorted(offset for _, offset in found.values())


@pytest.mark.parametrize(
    "body",
    [
        "i32.const 0 i32.load offset=7 drop",
        "i32.const 0 local.get $p i32.store offset=7",
        "i32.const 0 i32.const 5 i32.store offset=7",
        "i32.const 0 local.get $p i32.const 3 i32.mul i32.const 1 i32.add i32.store offset=7",
        "i32.const 0 i64.const 1 i64.store offset=7",
        "i32.const 0 f64.const 1 f64.neg f64.store offset=7",
        "i32.const 0 local.get $p local.get $q call $give i32.store offset=7",
        "i32.const 0 i32.const 1 i32.const 2 local.get $p select i32.store offset=7",
        "i32.const 0 local.get $p if (result i32) i32.const 1 else i32.const 2 end i32.store offset=7",
        "i32.const 0 block (result i32) local.get $p local.get $p br_if 0 end i32.store offset=7",
        "i32.const 0 block i32.const 1 br_if 0 end local.get $p i32.store offset=7",
        "i32.const 0 local.get $p block (type $pair) i32.const 1 end i32.add i32.store offset=7",
        "i32.const 0 block br 0 i32.add drop end i32.load offset=7 drop",
        "i32.const 0 loop local.get $p br_if 0 end local.get $p i32.store offset=7",
        "i32.const 0 loop i32.const 1 br_if 1 i32.const 1 br_if 0 end i32.load8_u offset=7 drop",
        "block i32.const 0 i32.load offset=7 br_if 0 end",
        "local.get $p if i32.const 0 i32.load offset=7 drop else nop end",
        "i32.const 0 memory.size memory.grow i32.store offset=7",
        "i32.const 0 i32.const 1 local.get $p local.get $p memory.fill i32.load offset=7 drop",
        "i32.const 0 global.get $g local.tee $x global.set $g i64.load32_s offset=7 drop",
        "i32.const 0 f32.const 1 i32.trunc_sat_f32_u i32.store16 offset=7",
        "i32.const 0 local.get $p local.get $p call_indirect (type $none) i32.load offset=7 drop",
    ],
)
def test_a_base_reaches_its_access_through_plain_code(body: str) -> None:
    assert pairs(body) == [7]


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("i32.const 0 local.get $p br_if 0 i32.load offset=7", "(result i32)"),
        ("i32.const 0 i32.const 0 local.get $p br_if 0 i32.store offset=7 i32.const 1 i32.const 2", "(result i32 i32)"),
        ("block (result i32) i32.const 0 local.get $p br_if 0 i32.load offset=7 end drop", ""),
        ("block (result i32) i32.const 0 local.get $p br_if 1 i32.load offset=7 end", "(result i32)"),
        ("block (result i32) i32.const 0 br 0 end i32.load offset=7 drop", ""),
        ("block (result i32) i32.const 0 end i32.load offset=7 drop", ""),
        ("local.get $p if (result i32) i32.const 0 else i32.const 1 end i32.load offset=7 drop", ""),
        ("local.get $p if (result i32) i32.const 1 else i32.const 0 end i32.load offset=7 drop", ""),
        ("i32.const 0 loop (param i32) i32.load offset=7 drop end", ""),
        ("i32.const 0 loop (param i32) (result i32) local.get $p br_if 0 end i32.load offset=7 drop", ""),
        ("i32.const 0 block (param i32) i32.load offset=7 drop end", ""),
        ("i32.const 0 block (param i32) (result i32) end i32.load offset=7 drop", ""),
        ("i32.const 0 local.get $p if (param i32) (result i32) else end i32.load offset=7 drop", ""),
        ("i32.const 0 block (type $pair) i32.const 1 end drop i32.load offset=7 drop", ""),
        ("i32.const 0 local.tee $x i32.load offset=7 drop", ""),
        ("i32.const 0 i32.const 0 local.get $p select i32.load offset=7 drop", ""),
        ("i32.const 0 local.set $x local.get $x i32.load offset=7 drop", ""),
        ("i32.const 0 i32.eqz i32.load offset=7 drop", ""),
        ("i32.const 0 i32.const 4 i32.add i32.load offset=7 drop", ""),
        ("i32.const 0 memory.grow i32.load offset=7 drop", ""),
        ("i32.const 0 local.get $q call $give i32.load offset=7 drop", ""),
        ("i32.const 0 br_table 0 i32.load offset=7 drop", ""),
        ("i32.const 4 i32.load offset=7 drop", ""),
        ("local.get $p i32.const 0 i32.store offset=7", ""),
        ("i32.const 0 i32.load 1 offset=7 drop", ""),
        ("i32.const 0 return i32.load offset=7 drop", "(result i32)"),
        ("i32.const 0 return_call $take i32.load offset=7 drop", ""),
        ("i32.const 0 unreachable i32.load offset=7 drop", ""),
        ("i32.const 0 drop local.get $p i32.load offset=7 drop", ""),
        ("i32.const 0 ref.null func drop i32.load offset=7 drop", ""),
    ],
)
def test_a_constant_that_others_see_is_no_base(body: str, result: str) -> None:
    assert pairs(body, result) == []


def test_bases_are_told_apart() -> None:
    body = """i32.const 0 i32.const 0 i32.const 0 i32.load offset=1 i32.store offset=2
      i32.load offset=3 i32.const 0 i32.load offset=4 i32.add local.set $x"""
    data = assemble(MODULE.replace("{body}", body).replace("{result}", ""))
    assert not invalid_because(data)
    module = Module.parse(data)
    code = data[code_start(data, module.bodies[-1].start, module.bodies[-1].end) : module.bodies[-1].end]
    in_order = sorted((offset, base) for base, offset in constant_bases(module, code).values())
    assert in_order == [(1, 4), (2, 2), (3, 0), (4, 15)]


def test_code_that_cannot_run_is_no_reason_to_lose_those_that_can() -> None:
    assert pairs("block br 0 i32.load offset=1 i32.add drop end i32.const 0 i32.load offset=2 drop") == [2]
    assert pairs("block unreachable end i32.const 0 i32.load offset=2 drop") == [2]


def test_an_unknown_instruction_ends_the_search() -> None:
    assert pairs("i32.const 0 i32.load offset=1 drop ref.null func drop") == []


@pytest.mark.parametrize("code", ["call 99", "call_indirect (type 9)", "block (type 9) end"])
def test_code_that_is_invalid_gives_nothing(code: str) -> None:
    assert pairs(f"i32.const 0 i32.load offset=7 {code}", valid=False) == []


def test_an_end_too_many_gives_nothing() -> None:
    module = Module.parse(assemble("(module (memory 1))"))
    assert constant_bases(module, b"\x41\0\x28\2\7\x1a\x0b\x0b") == {}


def test_an_offset_beyond_32_bits_is_not_paired() -> None:
    module = Module.parse(assemble("(module (memory i64 1) (func i32.const 0 i32.load offset=0x100000001 drop))"))
    body = module.bodies[0]
    assert constant_bases(module, module.data[body.start + 1 : body.end]) == {}


def test_padded_code_is_walked_alike() -> None:
    text = "(module (memory 1) (func call 0 i32.const 0 i32.load offset=70000 drop))"
    module = Module.parse(padded(assemble(text), ("func", "memarg")))
    body = module.bodies[0]
    found = constant_bases(module, module.data[body.start + 1 : body.end])
    assert found == {8: (6, 70000)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\x41\0", b"\x20\0\x36\2\7"),  # each store takes an address below all that stand in its way
        (b"\x41\0\x02\x7f", b"\x20\0\x0b\x36\2\7"),
        (b"\x02\x40", b"\x41\0\x20\0\x20\0\x0d\0\x36\2\7\x0b"),
    ],
    ids=["addresses", "blocks within values", "branches out of blocks"],
)
def test_code_made_to_be_slow_is_walked_in_linear_time(before: bytes, after: bytes) -> None:
    module = Module.parse(assemble("(module (memory 1))"))

    def seconds(count: int) -> float:
        code = before * count + after * count + b"\x0b"
        started = time.process_time()
        constant_bases(module, code)
        return time.process_time() - started

    seconds(10)
    assert seconds(16_000) < 60 * max(seconds(800), 0.001)  # twenty times as much: in quadratic time 400 times as long


def test_what_is_known_of_other_functions_is_not_gone_through_for_each() -> None:
    module = Module.parse(b"\0asm\1\0\0\0")
    operand_stack._effects(module).update((number.to_bytes(4, "little"), (0, 1)) for number in range(300_000))
    started = time.process_time()
    for _ in range(300):
        assert constant_bases(module, b"\x41\x00\x28\x02\x04\x1a\x0b") == {2: (0, 4)}
    assert time.process_time() - started < 1
