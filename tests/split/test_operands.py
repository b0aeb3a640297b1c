"""What differs between blobs inside equal functions: types, constants, addresses and callees."""

from __future__ import annotations

import random

import pytest

from split.harness import PAGE_BYTES, Comparer, both, work
from wasmtools import assemble, padded


def test_block_types_and_indirect_calls_name_types_by_index(compare: Comparer) -> None:
    text = f"""
      (type $operation (func (param i32 i32) (result i32)))
      (type $pair (func (param i32) (result i32 i32)))
      (table 4 funcref) (elem (i32.const 1) $add $sub)
      (func $add (type $operation) (i32.add (local.get 0) (local.get 1)))
      (func $sub (type $operation) (i32.sub (local.get 0) (local.get 1)))
      (func (export "run") (param i32 i32) (result i32)
        {work("run")}
        local.get 1 i32.const 100 local.get 1
        call_indirect (type $operation)
        block (type $pair) i32.const {{1000|2000}} end
        i32.add
        loop (type $pair) i32.const 9 i32.add i32.const 3 end
        if (type $pair) i32.const 5 else i32.const 6 end
        i32.add)
      (func (export "tail") (param i32 i32) (result i32)
        {work("tail")}
        local.get 1 i32.const {{1000|2000}} local.get 1
        return_call_indirect (type $operation))"""
    first, second = compare(
        both(text),
        *((name, 5, entry) for name in ("run", "tail") for entry in (0, 1, 2, 3, 4)),
        shared=["run", "tail"],
    )
    assert first.calls != second.calls
    assert first.calls[0] == "INDIRECT_CALL_TO_NULL"
    assert first.calls[4] == "TABLE_OUT_OF_BOUNDS"


def test_an_indirect_call_of_another_type_traps_in_both(compare: Comparer) -> None:
    text = f"""(type $wanted (func (param i32) (result i64))) (table 3 funcref) (elem (i32.const 0) $same $other)
      (func $same (param i32) (result i64) i64.const {{5|6}})
      (func $other (param i64) (result i32) i32.const 5)
      (func (export "run") (param i32 i32) (result i64)
        {work("run")} local.get 0 local.get 1 call_indirect (type $wanted))"""
    first, _ = compare(both(text), ("run", 1, 0), ("run", 1, 1), ("run", 1, 2), shared=["run"])
    assert first.calls == [[5], "BAD_SIGNATURE", "INDIRECT_CALL_TO_NULL"]


@pytest.mark.parametrize(
    ("kinds", "shared"),
    [
        (("func", "type", "table", "global", "memarg"), ["run", "callee"]),
        (("alignment", "memarg"), ["run", "callee"]),
        (("func", "type", "table", "global", "memarg", "i32"), ["callee"]),
        (("memory", "local", "label"), ["callee"]),
    ],
)
def test_padded_operands_mean_what_minimal_ones_do(
    compare: Comparer, kinds: tuple[str, ...], shared: list[str]
) -> None:
    text = f"""
      (memory (export "memory") 1) (global $sp (mut i32) (i32.const {{1000|2000}}))
      (type $operation (func (param i32) (result i32))) (table 2 funcref) (elem (i32.const 1) $callee)
      (data (i32.const 3000) "abcdefgh") (data (i32.const 4000) "ijklmnop")
      (func $callee (type $operation) {work("callee")} local.get 0)
      (func (export "run") (param i32) (result i32)
        {work("run")}
        (global.set $sp (i32.sub (global.get $sp) (i32.const 16)))
        (i32.store offset=4 (global.get $sp) (local.get 0))
        (i32.store offset={{5000|6000}} (i32.const 0) (local.get 0))
        (i32.store8 offset=8 (i32.const 0) (i32.const 1))
        (drop (memory.grow (i32.const 1)))
        (i32.add (i32.load offset={{3000|4000}} (i32.const 0)) (memory.size))
        (call_indirect (type $operation) (call $callee (local.get 0)) (i32.const 1))
        i32.add)"""
    blobs = [padded(assemble(blob), kinds) for blob in both(text)]
    first, second = compare(blobs, ("run", 1), ("run", 77), shared=shared)
    assert first.state != second.state


@pytest.mark.parametrize("least", [0, 1000])
@pytest.mark.parametrize(
    "access",
    [
        "i32.const 0 i32.load8_u offset={3001|3004}",
        "i32.const 0 i32.load8_u offset=8 i32.const 0 i32.load8_u offset={3001|3004} i32.add",
        "i32.const 0 local.get 0 i32.store offset=8 i32.const 0 i32.load offset={3001|3004}",
        "i32.const 0 local.get 0 i32.store offset={3001|3004} i32.const 0 i64.load offset={3000|3000} i32.wrap_i64",
        "i32.const 0 local.get $zero i32.eqz br_if 0 i32.load offset={3001|3004}",
        "i32.const 0 local.get $zero br_if 0 i32.load offset={3001|3004}",
        "block (result i32) i32.const 0 local.get $zero i32.eqz br_if 0 i32.load offset={3001|3004} end",
        "i32.const 0 local.tee $zero i32.load offset={3001|3004} local.get $zero i32.add",
        "i32.const 0 i32.const 0 local.get 0 select i32.load offset={3001|3004}",
        "local.get $zero i32.load offset={3001|3004}",
        "i32.const 4 i32.load offset={3001|3004}",
        "i32.const -4 i32.load8_u offset={3001|3004}",
        "i32.const 0 i32.load offset={131068|131064}",
        "i32.const 0 i32.load offset={131069|131064}",
        "i32.const 0 i32.load offset={4294967295|131064}",
        "i32.const 0 i32.load offset={2147483648|3000}",
        "i32.const 0 i32.load8_u 1 offset={3001|3004} i32.const 0 i32.load8_u offset={3001|3004} i32.add",
    ],
)
def test_offsets_of_accesses_can_be_addresses(compare: Comparer, access: str, least: int) -> None:
    """As linkers write them, padded to five bytes: with a constant base, with another, out of bounds."""
    text = f"""(memory (export "memory") 2) (memory (export "other") 1)
      (data (i32.const 0) "0123456789") (data (i32.const 3000) "abcdefghijkl")
      (data (memory 1) (i32.const 3000) "ABCDEFGHIJKL")
      (func (export "run") (param i32) (result i32) (local $zero i32) {work("run")} {access})
      (func (export "filler") (param i32) (result i32) {work("filler")} local.get 0)"""
    compare(
        [padded(assemble(blob), ("memarg",), least) for blob in both(text)],
        ("run", 5),
        ("filler", 5),
        shared=["filler"],
    )


@pytest.mark.parametrize("base", [0, 1, 60_000, PAGE_BYTES, 2**31, 2**32 - 3000, 2**32 - 1])
def test_a_variable_base_and_an_offset_do_not_wrap_around(compare: Comparer, base: int) -> None:
    text = f"""(memory (export "memory") 1) (data (i32.const 0) "0123456789") (data (i32.const 3000) "abcdefghijkl")
      (func (export "run") (param i32 i32) (result i32) {work("run")} local.get 1 i32.load8_u offset={{3000|3004}})
      (func (export "store") (param i32 i32) {work("store")} local.get 1 local.get 0 i32.store offset={{3000|3004}})
      (func (export "filler") (param i32) (result i32) {work("filler")} local.get 0)"""
    signed = base - 2**32 if base >= 2**31 else base
    first, _ = compare(
        [padded(assemble(blob), ("memarg",)) for blob in both(text)],
        ("run", 0, signed), ("store", 9, signed), ("run", 0, signed), ("filler", 1),
        shared=["filler"],
    )  # fmt: skip
    assert (first.calls[0] == "MEMORY_OUT_OF_BOUNDS") == (base + 3000 >= PAGE_BYTES)


def test_two_functions_of_one_blob_with_one_shape_keep_their_own_constants(compare: Comparer) -> None:
    def blob(values: list[int]) -> str:
        functions = "".join(
            f'(func (export "f{number}") (param i32) (result i32) {work("same")} i32.const {value})'
            for number, value in enumerate(values)
        )
        return f"(module {functions})"

    blobs = [blob([1000, 2000, 3000]), blob([3000, 4000]), blob([5000, 1000, 6000, 1000])]
    names = [(f"f{number}", 0) for number in range(2)]
    behaviours = compare(blobs, *names, shared=["same"])
    assert [entry.calls for entry in behaviours] == [[[1000], [2000]], [[3000], [4000]], [[5000], [1000]]]


def test_a_constant_of_one_byte_and_a_longer_one_are_not_mixed_up(compare: Comparer) -> None:
    """`i32.const 100000; nop` and `i32.const 1`: with the constant left out, what is left of both is `41 01`."""
    first = f"""(module (func (export "run") (param i32) (result i32) (local $x i32) {work("run")}
      i32.const 100000 nop local.set 0 i32.const 1 local.set $x local.get $x))"""
    second = f"""(module (func (export "run") (param i32) (result i32) (local $x i32) {work("run")}
      i32.const 1 local.set 0 i32.const 200000 nop local.set $x local.get $x))"""
    third = f"""(module (func (export "run") (param i32) (result i32) (local $x i32) {work("run")}
      i32.const 1 local.set 0 i32.const 1 local.set $x local.get $x))"""
    behaviours = compare([first, second, third, first.replace("100000", "300000")], ("run", 1))
    assert [entry.calls for entry in behaviours] == [[[1]], [[200000]], [[1]], [[1]]]


def test_constants_that_move_together_and_wrap_around(compare: Comparer) -> None:
    values = [(2147483647, -2147483648), (-1000, 1000), (0x7FFF0000, -0x7FFF0000), (64, -65), (64, 1 << 20)]
    constants = "".join(f"i32.const {{{one}|{two}}} i32.add i32.const 3 i32.mul " for one, two in values)
    more = "".join(
        f"i32.const {{{1000 + n}|{5000 + n}}} i32.xor i32.const {{{n - 2**31}|{n - 2**31 + 4000}}} i32.add "
        for n in range(9)
    )
    text = f'(func (export "run") (param i32) (result i32) {work("run")} local.get 0 {constants} {more})'
    first, second = compare(both(text), ("run", 1), ("run", -1), shared=["run"])
    assert first.calls != second.calls


def test_more_slots_than_one_call_can_set(compare: Comparer) -> None:
    chance = random.Random(5)
    values = [(chance.randrange(1 << 14, 1 << 31), chance.randrange(1 << 14, 1 << 31)) for _ in range(2101)]
    constants = "".join(f"i32.const {{{one}|{two}}} i32.xor " for one, two in values)
    text = f"""(func (export "run") (param i32) (result i32) {work("run")} local.get 0 {constants})
      (func (param i32) {work("filler", 5000)})"""
    first, second = compare(both(text), ("run", 1), shared=["run"])
    assert first.calls != second.calls
