"""Following code through the bytes of a blob says the same as comparing it instruction by instruction."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.errors import BacpackError
from bacpack.proof.code.byte_matcher import SlotConstants, match_pattern
from bacpack.proof.code.comparison import Side, find_difference
from bacpack.proof.code.function_code import Codes
from bacpack.proof.code.module_view import ModuleView
from bacpack.proof.equivalence import relation
from bacpack.proof.equivalence.prover import prove
from bacpack.wasm import Module, SectionId, WasmError, writer
from proof.handmade import Texts
from proof.test_real import Release, png, rust
from wasmtools import LINKED, assemble, padded

__all__ = ["png", "rust"]  # fixtures

BLOB, REMAINDER, MODULES = Texts().assembled()

#: A function with every kind of token that a track can have, in a module of its own and in a shared one.
BLOB_CODE = """(module (memory 1) (table 1 funcref) (global $g (mut i32) (i32.const 0)) (type $v (func))
  (type $swap (func (param i32 i32) (result i32 i32)))
  (func $callee) (func (local i32 i64)
  i32.const 5 i32.const 5000 i32.add local.set 0 i32.const 70000 drop i64.const 123456789012 local.set 1
  call $callee global.get $g i32.const 16 i32.add global.set $g local.get 0 call_indirect (type $v)
  local.get 0 local.get 0 block (type $swap) end drop local.get 0 i32.load offset=300 call_indirect (type $v)
  i64.const 99999 drop drop
  i32.const 70000 i32.load drop i32.const 0 i32.load offset=70000 drop i32.const 0 f64.load offset=70004 align=4 drop
  local.get 0 i32.load8_u offset=70001 drop local.get 0 i64.load offset=70017 drop return_call $callee))"""
SHARED_CODE = """(module (import "env" "memory" (memory 1)) (import "env" "table" (table 1 funcref))
  (import "env" "g" (global $g (mut i32))) (type (func (param f64))) (type $v (func))
  (type $swap (func (param i32 i32) (result i32 i32))) (table $private 2 funcref)
  (global $one (mut i32) (i32.const 0)) (global $two (mut i64) (i64.const 0))
  (func (param f64)) (func $callee) (func (local i32 i64) (local $b i32) (local $t i32)
  i32.const 5 i32.const 5000 i32.add local.set 0 global.get $one drop global.get $two local.set 1
  call $callee global.get $g i32.const 16 i32.add global.set $g local.get 0 call_indirect (type $v)
  local.get 0 local.get 0 block (type $swap) end drop local.get 0 i32.load offset=300 call_indirect (type $v)
  global.get $two i64.const -123456689013 i64.add drop drop
  global.get $one i32.load drop global.get $one i32.load drop
  global.get $one i32.const 4 i32.add f64.load align=4 drop
  local.get 0 local.tee $b global.get $one i32.add local.tee $t
  i32.const -1 local.get $t local.get $b i32.ge_u select i32.load8_u offset=1 drop
  local.get 0 local.tee $b global.get $one i32.const 16 i32.add i32.add local.tee $t
  i32.const -1 local.get $t local.get $b i32.ge_u select i64.load offset=1 drop
  i32.const 1 return_call_indirect $private (type $v)))"""
SLOTS = {1: 70000, 2: 123456789012}
SHARED = Codes(ModuleView.of_shared(assemble(SHARED_CODE), "shared"))


def verdicts(blob: bytes, slots: dict[int, int] | None = None) -> tuple[list[object] | None, str | None]:
    """What following finds in function 1 of a blob, and what differs by instructions."""
    values = SLOTS if slots is None else slots
    view = ModuleView.of_blob(blob)
    codes = Codes(view)
    pattern = SHARED.pattern(2)
    assert pattern
    found = match_pattern(pattern, blob, view.span(1), SlotConstants(values.__getitem__), codes.token_reader)
    sides = Side(view, 1, codes.code(1)), Side(SHARED.view, 2, SHARED.code(2))
    difference = find_difference(*sides, values.__getitem__)
    return None if found is None else list(found), difference and difference.what


BYTES = assemble(BLOB_CODE)
OPERANDS = [0, ("global", 0), ("global", 0), ("table", 0), ("table", 0), 0]


def test_every_token_is_followed() -> None:
    assert verdicts(BYTES) == (OPERANDS, None)
    pattern = SHARED.pattern(2)
    assert pattern
    assert pattern.operands == [1, ("global", 0), ("global", 0), ("table", 0), ("table", 0), ("late", 1, 1)]


@pytest.mark.parametrize("kind", sorted(LINKED - {"memarg"}))
def test_padded_numbers_are_followed(kind: str) -> None:
    wide = padded(BYTES, {kind}, least=64)
    assert verdicts(wide) == (OPERANDS, None)


@pytest.mark.parametrize("slots", [{**SLOTS, 1: 70001}, {**SLOTS, 2: 5}, {1: 70000 + 2**32 - 1, 2: SLOTS[2]}])
@pytest.mark.parametrize("blob", [BYTES, padded(BYTES)], ids=["minimal", "padded"])
def test_a_slot_of_another_value_is_seen(blob: bytes, slots: dict[int, int]) -> None:
    found, difference = verdicts(blob, slots)
    assert found is None
    assert difference
    assert "the constant" in difference


@pytest.mark.parametrize(
    ("load", "other", "says"),
    [
        ("i32.const 0 i32.load offset=70000", "i32.const 0 i32.load offset=70001", "the address 70001 became 70000"),
        ("i32.const 0 i32.load offset=70000", "i32.const 1 i32.load offset=70000", "the address 70001 became 70000"),
        ("i32.const 0 i32.load offset=70000", "i32.const 0 f32.load offset=70000", "`f32.load` became `i32.load`"),
        ("offset=70004 align=4", "offset=70004 align=2", "`f64.load` has other operands"),
        ("i32.const 70000 i32.load", "i32.const 70000 i32.load offset=1", "the offset 1 became 0"),
        ("i32.load8_u offset=70001", "i32.load8_u offset=70000", "the offset 70000 became 70001"),
        ("i32.load8_u offset=70001", "i32.load8_s offset=70001", "`i32.load8_s` became `local.tee`"),
        ("(local i32 i64)", "(local i64 i32)", "their locals differ"),
        ("(local i32 i64)", "(local i32 i64 i32 i32)", "their locals differ"),
    ],
)
def test_a_load_of_another_address_is_not_followed(load: str, other: str, says: str) -> None:
    assert BLOB_CODE.count(load) == 1
    text = BLOB_CODE.replace(load, other)
    if other == "(local i64 i32)":
        text = re.sub(r"local.(get|set) ([01])", lambda found: f"local.{found[1]} {1 - int(found[2])}", text)
    assert verdicts(assemble(text)) == (None, says)


def _with_last_body(code: bytes) -> bytes:
    """The blob with other code in its last function, which ends the module."""
    module = Module.parse(BYTES)
    first = BYTES[module.bodies[0].start : module.bodies[0].end]
    return writer.rewrite(module, {SectionId.CODE: writer.vector([writer.sized(first), writer.sized(code)])})


BODY = BYTES[Module.parse(BYTES).bodies[1].start : Module.parse(BYTES).bodies[1].end]


@pytest.mark.parametrize("size", range(6, len(BODY) - 1))
def test_code_that_ends_early_is_not_followed(size: int) -> None:
    try:
        found, difference = verdicts(_with_last_body(BODY[:size] + b"\x0b"))
    except WasmError:
        return  # the cut goes through an instruction: following must not have failed in another way
    assert found is None
    assert difference


@given(changes=st.lists(st.tuples(st.integers(5, len(BODY) - 2), st.integers(0, 255)), min_size=1, max_size=3))
def test_what_is_followed_has_no_difference(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(BODY)
    for position, value in changes:
        changed[position] = value
    try:
        found, difference = verdicts(_with_last_body(bytes(changed)))
    except WasmError:
        return
    if found is not None:
        assert difference is None


def test_rare_tokens_are_left_to_the_comparison() -> None:
    text = "(module (memory 1) (func i32.const 1 memory.grow drop) (func i32.const 0 i32.load offset=268435456 drop))"
    codes = Codes(ModuleView.of_shared(assemble(text), "shared"))
    assert codes.pattern(0) is None
    assert codes.pattern(1) is None


@pytest.mark.parametrize("kinds", [LINKED, {"memarg"}, {"i32"}, {"func"}, {"alignment"}])
def test_a_padded_blob_equals_its_split(kinds: set[str]) -> None:
    prove(padded(BLOB, kinds), REMAINDER, MODULES)


def test_both_ways_prove_real_programs(rust: Release, png: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[bool] = []

    def never(*arguments: object) -> None:
        followed.append(match_pattern(*arguments) is not None)  # type: ignore[arg-type]

    monkeypatch.setattr(relation, "match_pattern", never)
    for release in (rust, png):
        name, blob = release.blobs[0]
        followed.clear()
        prove(blob, release.remainders[name], release.modules)
        assert sum(followed) > 0.8 * len(followed) > 100


def test_a_difference_is_found_by_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = Texts().changed("shared", "global.get $first i32.add", "i32.const 1025 i32.add").assembled()
    messages = []
    for _ in range(2):
        with pytest.raises(BacpackError) as caught:
            prove(*changed)
        messages.append(caught.value.message)
        monkeypatch.setattr(relation, "match_pattern", lambda *arguments: None)
    assert messages[0] == messages[1]


@pytest.mark.parametrize("type_", ["funcref", "(ref func)", "(ref null func)", "(ref $f)", "(ref null $f)"])
@pytest.mark.parametrize("opening", ["block", "loop", "i32.const 1 if"])
def test_a_block_may_leave_a_reference_of_any_type(opening: str, type_: str) -> None:
    way = "else ref.func 0 end" if opening.endswith("if") else "end"
    text = f"""(module (type $f (func)) (func $g) (elem declare func $g)
      (func (export "x") (result i32) {opening} (result {type_}) ref.func 0 {way} ref.is_null)"""
    prove(assemble(f"{text})"), assemble(f"{text} (func))"), {})
