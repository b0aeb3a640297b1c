"""Which access takes its address from a constant that nothing else sees."""

from __future__ import annotations

import pytest

import bacpack.proof.code.address_constants
from bacpack.proof.code.address_constants import Bases, accesses
from bacpack.proof.code.module_view import ModuleView, decode
from bacpack.wasm import Module, SectionId, WasmError, writer
from wasmtools import assemble, invalid_because

#: Surroundings of the code under test; `i32.const 77` is the constant that is asked about.
MODULE = """(module (memory 1) (table 1 funcref) (global (mut i32) (i32.const 0)) (data "x")
  (type $pair (func (param i32 i32) (result i32)))
  (func $pair (type $pair) unreachable)
  (func (param i32 i64 f64 v128) {}))"""

LOADS = ["i32.load", "i64.load8_u", "f32.load", "f64.load", "v128.load", "v128.load32_zero", "i32.atomic.load"]

SEEN_BY_ONE = {
    **{name: f"i32.const 77 {name} drop" for name in LOADS},
    "a store": "i32.const 77 local.get 0 i32.store",
    "a store of what is computed": "i32.const 77 local.get 0 i32.const 1 i32.add i32.const 2 i32.mul i32.store",
    "a store of what is loaded": "i32.const 77 local.get 0 i32.load i32.store",
    "a store of what is loaded from a constant": "i32.const 77 i32.const 8 i32.load offset=4 i32.store",
    "a lane": "i32.const 77 local.get 3 v128.load8_lane 0 drop",
    "a lane stored": "i32.const 77 local.get 3 v128.store16_lane 1",
    "after a call": "i32.const 77 local.get 0 i32.const 1 call $pair i32.store",
    "after an indirect call": "i32.const 77 local.get 0 local.get 0 local.get 0 call_indirect (type $pair) i32.store",
    "after a block": "i32.const 77 block (result i32) local.get 0 end i32.store",
    "after a block that takes a value": "i32.const 77 local.get 0 block (param i32) (result i32) i32.eqz end i32.store",
    "after an if": "i32.const 77 local.get 0 if (result i32) i32.const 1 else i32.const 2 end i32.store",
    "after a block that may be left": "block i32.const 77 block (result i32) i32.const 0 br 1 end i32.store end",
    "after a loop": "i32.const 77 loop (result i32) local.get 0 br_if 0 i32.const 4 end i32.store",
    "after a branch that carries another value":
        "block (result i32) i32.const 77 i32.const 5 local.get 0 br_if 0 i32.store i32.const 9 end drop",
    "after a tee": "i32.const 77 local.get 0 local.tee 0 i32.store",
    "after a select": "i32.const 77 i32.const 1 i32.const 2 local.get 0 select i32.store",
    "after statements": "i32.const 77 local.get 0 global.set 0 i32.const 1 i32.const 2 i32.const 3 memory.fill"
                        " i32.const 0 memory.grow drop nop local.get 0 i32.store",
    "after conversions": "i32.const 77 local.get 1 i64.clz i32.wrap_i64 f32.convert_i32_s i32.trunc_f32_u i32.store",
    "in code that never runs": "unreachable i32.const 77 i32.load drop",
}  # fmt: skip

SEEN_BY_OTHERS = {
    "it is the value": "local.get 0 i32.const 77 i32.store",
    "it is dropped": "i32.const 77 drop",
    "it is added to": "i32.const 77 local.get 0 i32.add i32.load drop",
    "it is kept": "i32.const 77 local.tee 0 i32.load drop",
    "it is stored in a local": "i32.const 77 local.set 0",
    "it is the condition": "i32.const 77 if end",
    "it is what a block gives": "block (result i32) i32.const 77 end i32.load drop",
    "it is what one branch gives": "local.get 0 if (result i32) i32.const 77 else i32.const 8 end i32.load drop",
    "it is what a block takes": "i32.const 77 block (param i32) i32.load drop end",
    "it is carried by a branch": "block (result i32) i32.const 77 local.get 0 br_if 0 i32.load end drop",
    "it is carried with another": "block (result i32 i32) i32.const 77 i32.const 4 local.get 0 br_if 0 i32.store"
                                  " i32.const 0 i32.const 0 end drop drop",
    "it is carried to a loop": "i32.const 9 loop (param i32) drop i32.const 77 local.get 0 br_if 0 i32.load drop end",
    "it is left behind": "i32.const 77 return",
    "a branch leaves it behind": "block i32.const 77 br 0 end",
    "it is selected": "i32.const 77 i32.const 2 local.get 0 select i32.load drop",
    "it is an argument": "i32.const 77 local.get 0 call $pair drop",
    "it is an index": "i32.const 77 call_indirect",
    "it is a length": "i32.const 1 i32.const 2 i32.const 77 memory.fill",
    "it is a number of pages": "i32.const 77 memory.grow drop",
    "an atomic operation takes it": "i32.const 77 local.get 0 i32.atomic.rmw.add drop",
    "it is never used": "i32.const 77 unreachable",
    "what follows is not known": "i32.const 77 local.get 3 i8x16.popcnt i32x4.extract_lane 0 i32.store",
}  # fmt: skip


def taken_by(code: str) -> str | None:
    """The name of the access that takes the constant."""
    module = assemble(MODULE.format(code))
    assert not invalid_because(module), invalid_because(module)
    view = ModuleView.of_blob(module)
    _, start, end = view.span(1)
    position = 0
    for row, values, content in decode(module, start, end):
        position += len(content)
        if row.name == "i32.const" and values == [77]:
            found = accesses(view, 1)[position]
            assert Bases(view, 1).access(position) == found
            return None if not found else decode(module, start + found, end)[0][0].name
    raise AssertionError("the constant is missing")


@pytest.mark.parametrize("code", SEEN_BY_ONE.values(), ids=SEEN_BY_ONE)
def test_the_access_is_found(code: str) -> None:
    name = taken_by(code)
    assert name is not None
    assert ".load" in name or ".store" in name


def test_the_access_is_the_one_that_takes_it() -> None:
    assert taken_by("i32.const 77 local.get 0 i32.load8_s i32.store16") == "i32.store16"
    assert taken_by("local.get 0 i32.const 77 i32.load8_s i32.store16") == "i32.load8_s"


@pytest.mark.parametrize("code", SEEN_BY_OTHERS.values(), ids=SEEN_BY_OTHERS)
def test_a_constant_that_others_see_has_no_access(code: str) -> None:
    assert taken_by(code) is None


def test_a_near_access_is_found_without_reading_the_whole_function(monkeypatch: pytest.MonkeyPatch) -> None:
    view = ModuleView.of_blob(
        assemble(MODULE.format("i32.const 77 i32.const 5 local.get 0 i32.add i32.store" + " nop" * 100))
    )
    monkeypatch.setattr(bacpack.proof.code.address_constants, "accesses", None)
    assert Bases(view, 1).access(3) == 8


@pytest.mark.parametrize("between", [5, 60, 61, 62, 63, 64, 65, 1000])
def test_an_access_is_found_however_far_it_is(between: int) -> None:
    code = "i32.const 77 " + "nop " * between + "local.get 0 i32.store"
    assert taken_by(code) == "i32.store"


LEGACY = {
    "try; delegate 0; end": (b"\x06\x40\x18\x00\x0b", True),
    "try; catch_all; end; end": (b"\x06\x40\x19\x0b\x0b", True),
    "try; catch_all; i32.const 4; i32.load; drop; end; end": (b"\x06\x40\x19\x41\x04\x28\x02\x00\x1a\x0b\x0b", True),
    "try; rethrow 0; end; br 0; end": (b"\x06\x40\x09\x00\x0b\x0c\x00\x0b", True),
    "drop": (b"\x0b\x1a\x41\x05", False),
}


@pytest.mark.parametrize("code", LEGACY)
def test_legacy_exceptions_leave_alone_what_lies_below(code: str) -> None:
    # i32.const 77; block; …; i32.load; drop; end
    within, is_found = LEGACY[code]
    body = b"\x41\xcd\x00\x02\x40" + within + b"\x28\x02\x00\x1a\x0b"
    module = Module.parse(assemble("(module (memory 1) (func))"))
    view = ModuleView.of_blob(writer.rewrite(module, {SectionId.CODE: writer.vector([writer.sized(b"\0" + body)])}))
    assert accesses(view, 0)[3] == Bases(view, 0).access(3) == (5 + len(within) if is_found else 0)


def test_many_results_are_not_counted() -> None:
    many = " ".join(["i32"] * 1000)
    view = ModuleView.of_blob(
        assemble(f"""(module (memory 1) (type $many (func (result {many})))
      (func i32.const 77 {"block (type $many) unreachable end " * 3000} i32.load unreachable))""")
    )
    assert not any(accesses(view, 0))
    assert not Bases(view, 0).access(3)


def test_code_that_is_cut_short_is_an_error() -> None:
    view = ModuleView.of_blob(assemble("(module (memory 1) (func i32.const 77 i32.load drop))"))
    with pytest.raises(WasmError, match="function body 3 does not exist"):
        accesses(view, 3)
