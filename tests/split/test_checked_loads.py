"""Loads with an address in the offset and a computed index: where the address differs, the sum must trap as before."""

from __future__ import annotations

import pytest

from bacpack.split.catalog.shared_module_reader import read_existing
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.wasm import Module
from split.harness import PAGE_BYTES, Comparer, both, split_all, work
from wasmtools import assemble, padded

LOADS = {
    "i32.load": 4, "i64.load": 8, "f32.load": 4, "f64.load": 8, "i32.load8_s": 1, "i32.load8_u": 1, "i32.load16_s": 2,
    "i32.load16_u": 2, "i64.load8_s": 1, "i64.load8_u": 1, "i64.load16_s": 2, "i64.load16_u": 2, "i64.load32_s": 4,
    "i64.load32_u": 4,
}  # fmt: skip
DATA = """(memory (export "memory") 1) (data (i32.const 14000) "0123456789abcdefghijklmnopqrstuvwxyz")
  (data (i32.const {15000|16000}) "ABCDEFGHIJKLMNOPQRSTUVWXYZ")"""


def look(load: str, address: str = "{14000|15000}", more: str = "local.get 0") -> str:
    type_ = load.partition(".")[0]
    return f"""(func (export "look") (param i32 i32) (result {type_}) {work("look")}
      local.get 1 {load} offset={address} {more} drop)"""


@pytest.mark.parametrize("load", LOADS)
def test_every_load_gives_and_traps_as_before(compare: Comparer, load: str) -> None:
    """At both ends of the memory, and where index plus address are around 2**32."""
    edges = [PAGE_BYTES - address - back for address in (14000, 15000) for back in range(LOADS[load] + 2)]
    wraps = [(1 << 32) - address + more for address in (14000, 15000) for more in (-9, -8, -2, -1, 0, 1, 8, 14000)]
    indices = [0, 1, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, *edges, *wraps]
    calls = [("look", 1, index - (1 << 32) if index >> 31 else index) for index in indices]
    first, second = compare(both(f"{DATA} {look(load)}"), *calls, shared=["look"])
    assert first.calls[:2] != second.calls[:2]
    assert first.calls[2:5] == ["MEMORY_OUT_OF_BOUNDS"] * 3
    for behaviour in (first, second):
        assert behaviour.calls.count("MEMORY_OUT_OF_BOUNDS") > 15
        assert sum(isinstance(entry, list) for entry in behaviour.calls) > 4


@pytest.mark.parametrize(
    "address", ["{8192|8193}", "{0x7fffffff|0x80000000}", "{0x80000001|0xffffffff}", "{9000|0xfffffff0}"]
)
def test_any_address(compare: Comparer, address: str) -> None:
    calls = [("look", 1, index) for index in (0, 1, 15, 16, 17, -1, -16, -14000, 1 << 30, -(1 << 31), (1 << 31) - 1)]
    compare(both(f"{DATA} {look('i32.load8_u', address)}"), *calls, shared=["look"])


def test_the_last_byte_of_the_largest_memory(compare: Comparer, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a load of one byte from the largest address does not trap: one from the address after it does."""
    monkeypatch.setattr("split.harness.MOST_BYTES", 1 << 32)
    text = f"(memory 65536) {look('i32.load8_u')}"
    calls = [("look", 1, -address - back) for address in (14000, 15000) for back in (-1, 0, 1)]
    first, second = compare(both(text), *calls, ("look", 1, -1), shared=["look"])
    trap = "MEMORY_OUT_OF_BOUNDS"
    assert first.calls == [trap, trap, [0], [0], [0], [0], trap]
    assert second.calls == [trap, trap, trap, trap, trap, [0], trap]


def test_addresses_in_loads_in_constants_and_in_one_function(compare: Comparer) -> None:
    """They move together, so they share a slot; one load has its index from another."""
    text = f"""{DATA} (func (export "run") (param i32) (result i32) (local i64 f32 i32) {work("run")}
      local.get 0 i32.const 7 i32.and i32.load8_u offset={{15001|16001}} i32.const 48 i32.sub
      i32.load8_u offset={{15001|16001}} local.set 3
      i32.const {{15002|16002}} local.get 0 i32.const 7 i32.and i32.add i32.load8_u local.get 3 i32.add
      loop (result i32) local.get 3 i32.const 1 i32.sub local.tee 3 br_if 0
        local.get 0 i32.const 3 i32.and i32.load16_u offset={{15002|16002}} end i32.add
      local.get 0 i32.const 3 i32.and i32.load offset={{14000|17000}} i32.xor)"""
    first, second = compare(both(text), *(("run", number) for number in range(9)), shared=["run"])
    assert first.calls != second.calls


@pytest.mark.parametrize("locals_", ["", "(local i32)", "(local i64) (local i32) (local i32) (local f64)",
                                     " ".join(["(local i32)", "(local f32)"] * 70)])  # fmt: skip
def test_functions_of_few_and_many_locals(compare: Comparer, locals_: str) -> None:
    text = f"""{DATA} (func (export "run") (param i32) (result i32) {locals_} {work("run")}
      local.get 0 i32.const 7 i32.and i32.load8_u offset={{14001|15001}})"""
    compare(both(text), ("run", 1), ("run", 2), shared=["run"])


def test_where_all_programs_have_one_address_it_stays_in_the_offset(compare: Comparer) -> None:
    """As for a member of a large structure: there is nothing to check then."""
    blobs = [assemble(blob) for blob in both(f"{DATA} {look('i32.load', '15000')}")]
    compare(blobs, ("look", 1, 5), ("look", 1, -1), ("look", 1, -15000), shared=["look"])
    (module,) = [module for module in split_all(blobs).modules.values() if module.kind == "shared"]
    assert b"\x20\x01\x28\x02" + b"\x98\x75" in module.data


def test_padded_offsets(compare: Comparer) -> None:
    plain: list[bytes] = [assemble(blob) for blob in both(f"{DATA} {look('i32.load')}")]
    for blobs in ([padded(plain[0], ("memarg",)), plain[1]], [padded(blob, ("memarg",)) for blob in plain]):
        compare(blobs, ("look", 1, 5), ("look", 1, -1), ("look", 1, -15000), shared=["look"])


@pytest.mark.parametrize(
    ("access", "memory"),
    [
        ("local.get 1 i32.store offset={14000|15000} i32.const 0", ""),
        ("v128.load offset={14000|15000} i32x4.extract_lane 1", ""),
        ("i32.atomic.load offset={14000|15000}", ""),
        ("i32.load 1 offset={14000|15000}", "(memory 1)"),
    ],
    ids=["store", "vector", "atomic", "another memory"],
)
def test_other_accesses_stay(compare: Comparer, access: str, memory: str) -> None:
    text = f"""{DATA} {memory} (func (export "run") (param i32 i32) (result i32) {work("run")} local.get 1 {access})
      (func (export "filler") (param i32) (result i32) {work("filler")} local.get 0)"""
    compare(both(text), ("run", 1, 8), ("run", 1, -1), ("run", 1, -8), shared=["filler"], kept=["run"])


def test_they_are_read_back_from_a_shared_module() -> None:
    """A program that is split later finds them, whatever its address is."""
    text = f"""{DATA} {look("i32.load8_u")} (func (export "same") (param i32) (result i32) (local i64) {work("same")}
      local.get 0 i32.load offset=14000 local.get 0 i32.load16_u offset={{14000|15000}} i32.add
      local.get 0 i64.load offset={{0x80000000|0xffffffff}} i32.wrap_i64 i32.add
      local.get 0 f32.load offset={{14100|15100}} i32.trunc_f32_s i32.add)"""
    blobs = [assemble(blob) for blob in both(text)]
    (found,) = [
        existing
        for cid, module in split_all(blobs).modules.items()
        if module.kind == "shared" and (existing := read_existing(cid, module.data))
    ]
    shapes = [
        {function.shape: function.kinds for function in fingerprint(Module.parse(blob)).functions} for blob in blobs
    ]
    assert len(found.functions) == 2
    for function in found.functions:
        assert [blob.get(function.shape) for blob in shapes] == [function.kinds] * 2
