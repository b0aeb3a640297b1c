"""Globals that several functions use, and 64-bit constants: what Go programs are made of."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from bacpack.split.abi.environment import REGISTERS, environment
from bacpack.wasm import Kind, Module
from bacpack.wasm.types import I32, I64
from split.harness import SHIFT, Behaviour, Comparer, both, split_all, work
from wasmtools import assemble, padded

#: As Go declares them: the stack pointer, the context, the goroutine, results, and whether it pauses.
GO = """(global $sp (mut i32) (i32.const {4096|8192})) (global $context (mut i64) (i64.const {70000|80000}))
  (global $g (mut i64) (i64.const -1)) (global $result (mut i64) (i64.const 0))
  (global $pause (mut i32) (i32.const 0))"""

#: Makes sharing pay where there is little code.
MORE = f"(func (param i32) {work('more', 1500)})"


def globals_of_environment(program: bytes) -> list[str]:
    """The registers that a module imports."""
    return sorted(entry.name for entry in Module.parse(program).imported(Kind.GLOBAL))


def imported(blobs: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
    """The registers that each remainder and each shared module imports."""
    result = split_all([assemble(blob) for blob in blobs])
    shared = [module for module in result.modules.values() if module.kind == "shared"]
    assert shared
    return (
        [globals_of_environment(app.data) for app in result.apps],
        [globals_of_environment(module.data) for module in shared],
    )


def test_several_globals_of_both_types(compare: Comparer) -> None:
    text = f"""{GO} (export "sp" (global $sp)) (export "result" (global $result)) (export "pause" (global $pause))
      (func $callee (export "callee") (param i32) (result i32) {work("callee")}
        (global.set $result (i64.add (global.get $result) (i64.add (global.get $context) (global.get $g))))
        (global.set $context (i64.const {{1000000|2000000}}))
        (global.set $pause (i32.add (global.get $pause) (i32.const 1)))
        global.get $sp)
      (func (export "caller") (param i32) (result i64) {work("caller")}
        (global.set $sp (i32.sub (global.get $sp) (i32.const 8)))
        (drop (call $callee (local.get 0)))
        (global.set $sp (i32.add (global.get $sp) (i32.const 8)))
        (i64.add (global.get $result) (i64.extend_i32_s (global.get $pause))))
      (func (export "own") (result i64) (global.set $g (i64.mul (global.get $g) (i64.const {{3|5}}))) global.get $g)"""
    first, second = compare(
        both(text), ("caller", 5), ("own",), ("callee", 1), ("caller", 2), shared=["callee", "caller"]
    )
    assert first.calls != second.calls
    assert first.state["sp"] == 4096


def test_the_order_of_declarations_counts_within_a_type_alone(compare: Comparer) -> None:
    body = f"""(func (export "run") (param i32) (result i64) {work("run")}
      (global.set $x (i32.add (global.get $x) (local.get 0))) (global.set $y (i32.mul (global.get $y) (global.get $x)))
      (global.set $z (i64.add (global.get $z) (i64.extend_i32_u (global.get $y)))) global.get $z)"""
    x, y, z = (
        "(global $x (mut i32) (i32.const 3))",
        "(global $y (mut i32) (i32.const 7))",
        "(global $z (mut i64) (i64.const 9))",
    )
    between = "(global i32 (i32.const 4)) (global (mut f64) (f64.const 2)) (global i64 (i64.const 4))"
    compare(
        [f"(module {x} {y} {z} {body})", f"(module {SHIFT} {z} {between} {x} {between} {y} {body})"],
        ("run", 5), ("run", -3), shared=["run"],
    )  # fmt: skip


@pytest.mark.parametrize("type_", ["i32", "i64"])
def test_the_globals_of_libraries_are_found_among_those_of_a_program(compare: Comparer, type_: str) -> None:
    """As AssemblyScript declares them: variables of the program anywhere, the stack pointer last."""
    most = sum(register.type.value == {"i32": I32, "i64": I64}[type_] for register in REGISTERS)
    own = [f"(global $own{n} (mut {type_}) ({type_}.const {n}000))" for n in range(most + 2)]
    state, sp = (
        f"(global ${name} (mut {type_}) ({type_}.const {value}))" for name, value in (("state", 0), ("sp", 36000))
    )
    step = f"(global.set $sp ({type_}.sub (global.get $sp) ({type_}.const 8)))"
    library = f"""(func (export "one") (param i32) (result {type_}) {work("one")} {step}
        (global.set $state ({type_}.add (global.get $state) ({type_}.const {{1000|2000}}))) global.get $sp)
      (func (export "two") (param i32) (result {type_}) {work("two")} {step}
        (global.set $state ({type_}.mul (global.get $state) ({type_}.const {{300|400}}))) global.get $state)
      (func (export "three") (param i32) (result {type_}) {work("three")} {step} global.get $sp)
      (func (export "own") (result {type_}) (global.set $own0 ({type_}.sub (global.get $own0) ({type_}.const 1)))
        (global.set $own1 ({type_}.add (global.get $own1) (global.get $own0))) global.get $own1)"""
    one, two = both(library)
    blobs = [
        one.replace("(module ", f"(module {''.join(own)} {state} {sp} "),
        two.replace("(module ", f"(module {own[1]} {state} {own[0]} {sp} "),
    ]
    calls = [("one", 1), ("two", 2), ("own",), ("three", 3), ("one", 4), ("two", 5), ("own",)]
    first, second = compare(blobs, *calls, shared=["one", "two", "three"])
    assert first.calls == [[35992], [300_000], [999], [35976], [35968], [90_300_000], [997]]
    assert second.calls == [[35992], [800_000], [999], [35976], [35968], [320_800_000], [997]]


def test_globals_in_another_order_are_not_mixed_up(compare: Comparer) -> None:
    """Both programs have one function, but for the register that it takes for each of its globals."""

    def blob(first: str, second: str) -> str:
        return f"""(module (global ${first} (mut i32) (i32.const 100)) (global ${second} (mut i32) (i32.const 100))
          (func (export "run") (param i32) (result i32) {work("run")}
            (global.set $x (i32.mul (global.get $x) (i32.const 3)))
            (global.set $y (i32.sub (global.get $y) (global.get $x))) global.get $y)
          (func (export "filler") (param i32) (result i32) {work("filler")} local.get 0))"""

    compare([blob("x", "y"), blob("y", "x")], ("run", 5), ("run", 6), shared=["filler"], kept=["run"])


@pytest.mark.parametrize("type_", ["i32", "i64"])
def test_globals_beyond_the_registers_stay(compare: Comparer, type_: str) -> None:
    most = sum(register.type.value == {"i32": I32, "i64": I64}[type_] for register in REGISTERS)
    globals_ = "".join(f"(global $g{n} (mut {type_}) ({type_}.const {n + 1}))" for n in range(most + 1))
    functions = "".join(
        f"""(func (export "f{n}") (param i32) (result {type_}) {work(f"f{n}")}
          (global.set $g{n} ({type_}.mul (global.get $g{n}) ({type_}.const 5))) global.get $g{n})"""
        for n in range(most + 1)
    )
    calls = [(f"f{n}", 1) for n in (*range(most + 1), *range(most + 1))]
    first, _ = compare(
        both(globals_ + functions), *calls, shared=[f"f{n}" for n in range(most)], kept=[f"f{most}"]
    )  # fmt: skip
    assert first.calls[-1] == [25 * (most + 1)]


@pytest.mark.parametrize("type_", ["f32", "f64", "v128", "funcref", "externref"])
def test_globals_of_other_types_stay(compare: Comparer, type_: str) -> None:
    value = {"v128": "v128.const i64x2 1 2", "funcref": "ref.null func", "externref": "ref.null extern"}
    constant = value.get(type_, f"{type_}.const 2")
    text = f"""(global $g (mut {type_}) ({constant}))
      (func (export "run") (param i32) (result i32) {work("run")} (global.set $g ({constant})) local.get 0)
      (func (export "filler") (param i32) (result i32) {work("filler")} local.get 0)"""
    compare(both(text), ("run", 5), shared=["filler"], kept=["run"])


def test_globals_of_the_host_are_no_registers(compare: Comparer) -> None:
    imports = '(import "host" "a" (global $a (mut i64))) (import "host" "b" (global $b i64))'
    text = f"""(global $c (mut i64) (global.get $b)) (export "c" (global $c))
      (func (export "host") (param i32) (result i64) {work("host")}
        (global.set $a (i64.add (global.get $a) (i64.const {{1000|2000}}))) global.get $a)
      (func (export "own") (param i32) (result i64) {work("own")}
        (global.set $c (i64.add (global.get $c) (i64.const {{1000|2000}}))) global.get $c)"""
    first, _ = compare(both(text, imports), ("host", 1), ("own", 1), ("host", 2), shared=["own"], kept=["host"])
    assert first.calls == [[1008], [1008], [2008]]
    assert first.state["c"] == 1008


def test_exported_registers_are_those_that_code_uses(compare: Comparer) -> None:
    """Where one function is shared and another is not, both change one global; what is exported twice is one too."""
    text = f"""{GO} (export "a" (global $context)) (export "b" (global $context)) (export "g" (global $g))
      (func (export "shared") (param i32) (result i64) {work("shared")}
        (global.set $context (i64.add (global.get $context) (i64.const {{1000|2000}}))) global.get $context)
      (func (export "kept") (result i64)
        (global.set $context (i64.mul (global.get $context) (i64.const 3))) global.get $context)"""
    first, _ = compare(both(text), ("shared", 1), ("kept",), ("shared", 1), shared=["shared"])
    assert first.calls == [[71000], [213000], [214000]]
    assert (first.state["a"], first.state["b"], first.state["g"]) == (214000, 214000, -1)


def test_modules_import_the_registers_that_they_use() -> None:
    uses = f'(func (export "f") (param i32) (result i32) {work("f")} (global.set $sp (local.get 0)) global.get $sp)'
    assert imported(both(f"{GO} {uses}")) == ([["stack_pointer"], ["stack_pointer"]], [["stack_pointer"]])
    more = "(func global.get $sp drop global.get $context drop {nop|nop nop})" * 2
    uses = f'(func (export "f") (param i32) (result i64) {work("f")} (global.set $pause (local.get 0)) global.get $g)'
    uses += more
    assert imported(both(f"{GO} {uses}")) == ([["i1", "l1"], ["i1", "l1"]], [["i1", "l1"]])
    nothing = f'(func (export "f") (param i32) (result i32) {work("f")} local.get 0)'
    assert imported(both(f"{GO} {nothing}")) == ([[], []], [[]])


def test_a_register_of_another_program_s_function_is_left_alone() -> None:
    """Three programs, one module, and one global that only two of them use in shared functions."""
    common = f'(func (export "f") (param i32) (result i32) {work("f")} (global.set $sp (local.get 0)) global.get $sp)'
    more = f"""(global $l (mut i64) (i64.const 5))
      (func (export "g") (param i32) (result i64) {work("g", 20)}
        (global.set $l (i64.const {{1000|2000}})) global.get $l)"""
    sp = "(global $sp (mut i32) (i32.const 8))"
    remainders, _ = imported([f"(module {sp} {common})", *both(f"{sp} {more} {common}")])
    assert remainders[0] == ["stack_pointer"]


def test_the_environment_offers_all_registers() -> None:
    exports = {entry.name: entry for entry in Module.parse(environment()).exports if entry.kind == Kind.GLOBAL}
    globals_ = Module.parse(environment()).globals
    assert len({register.name for register in REGISTERS}) == len(REGISTERS) == len(globals_) == len(exports)
    for register in REGISTERS:
        assert globals_[exports[register.name].index].type == register.type
    assert REGISTERS[0].name == "stack_pointer"


VALUES = [
    (1 << 40, 1 << 41), (-(1 << 63), (1 << 63) - 1), ((1 << 63) - 1, -(1 << 63)), (-1000, 1 << 62), (64, -65),
    (0x1_0000_1000, 0x1_0000_2000), (0xFFFF_FFFF, 0x1_0000_0FFF), (-(1 << 31), 1 << 31), (1000, 5000), (1001, 5001),
]  # fmt: skip


def long_constants() -> str:
    """Code that gives an i64 of many constants, some of which move together."""
    return "i64.const 1 " + "".join(
        f"i64.const {{{one}|{two}}} i64.{('add', 'xor', 'mul')[n % 3]} i64.const 7 i64.rotl "
        for n, (one, two) in enumerate(VALUES * 2)
    )


@pytest.mark.parametrize("size", [None, 10])
def test_long_constants_that_differ(compare: Comparer, size: int | None) -> None:
    text = f'(func (export "run") (param i32) (result i64) {work("run")} {long_constants()}) {MORE}'
    blobs: list[bytes] = [assemble(blob) for blob in both(text)]
    if size:
        blobs = [padded(blob, ("i64", "i32")) for blob in blobs]
    first, second = compare(blobs, ("run", 1), shared=["run"])
    assert first.calls != second.calls


def test_a_global_plus_a_long_constant(compare: Comparer) -> None:
    """A sum of a register and a slot, and one of a register, a slot and what is added to that."""
    sums = "".join(
        f"(global.set $l (i64.add (global.get $l) (i64.const {{{1000 + n}|{9000 + n}}}))) global.get $l i64.add "
        f"global.get $l i64.const {5 + n} i64.add i64.const {{{1003 + n}|{9003 + n}}} i64.add i64.add "
        for n in (0, 0, 0, 1, 70)
    )
    text = f"""(global $l (mut i64) (i64.const {{3|4}}))
      (func (export "run") (param i32) (result i64) {work("run")} i64.const 0 {sums})"""
    compare(both(text), ("run", 1), ("run", 2), shared=["run"])


def test_constants_of_two_sizes_are_told_apart(compare: Comparer) -> None:
    def blob(one: str, two: str) -> str:
        return f"""(module (func (export "run") (param i32) (result i32) {work("run")}
          {one} drop {two} drop local.get 0)
          (func (export "filler") (param i32) (result i32) {work("filler")} local.get 0))"""

    short, long, third = "i32.const 100000", "i64.const 100000", "i64.const 200000"
    compare([blob(short, long), blob(long, short)], ("run", 1), shared=["filler"], kept=["run"])
    compare([blob(short, long), blob(short, third)], ("run", 1), shared=["filler", "run"])


def test_a_long_constant_of_one_byte_and_a_longer_one_are_not_mixed_up(compare: Comparer) -> None:
    """With the constant left out, `i64.const 100000; drop` must not look like one of which `drop` is the value."""

    def blob(code: str) -> str:
        return f'(module (func (export "run") (param i32) (result i64) (local $x i64) {work("run")} {code}))'

    codes = [
        "i64.const 100000 local.set $x i64.const 1 local.set $x local.get $x",
        "i64.const 1 local.set $x i64.const 200000 local.set $x local.get $x",
        "i64.const 300000 local.set $x i64.const 1 local.set $x local.get $x",
        "i32.const 100000 nop local.set 0 i64.const 1 local.set $x local.get $x",
        "i64.const 100000 nop local.set $x i64.const 1 local.set $x local.get $x",
    ]
    behaviours: list[Behaviour] = compare([blob(code) for code in codes], ("run", 1))
    assert [entry.calls for entry in behaviours] == [[[1]], [[200000]], [[1]], [[1]], [[1]]]


def test_more_slots_of_both_types_than_one_call_can_set(compare: Comparer) -> None:
    chance = random.Random(6)
    constants = ""
    for number in range(1500):
        one, two = (chance.randrange(1 << 14, 1 << 31) for _ in range(2))
        constants += (
            f"i64.const {{{one << 20}|{two << 30}}} i64.xor "
            if number % 3
            else (f"i32.const {{{one}|{two}}} i64.extend_i32_u i64.xor ")
        )
    text = f"""(func (export "run") (param i32) (result i64) {work("run")} local.get 0 i64.extend_i32_u {constants})
      (func (param i32) {work("more", 5000)})"""
    first, second = compare(both(text), ("run", 1), shared=["run"])
    assert first.calls != second.calls


def test_long_addresses_in_memory(compare: Comparer) -> None:
    """Code as Go's compiler makes it: return addresses of 64 bits on its own stack, addresses wrapped to 32."""
    text = f"""{GO} (memory (export "memory") 2) (data (i32.const {{66000|67000}}) "hello") (table 3 funcref)
      (elem (i32.const 1) $callee)
      (func $callee (param i32) (result i32) {work("callee")}
        (local.set 0 (i32.and (local.get 0) (i32.const 1)))
        (i64.store offset=8 (global.get $sp)
          (i64.load8_u (i32.wrap_i64 (i64.add (i64.const {{66001|67001}}) (i64.extend_i32_u (local.get 0))))))
        (global.set $sp (i32.add (global.get $sp) (i32.const 8))) i32.const 0)
      (func (export "run") (param i32) (result i64) {work("run")}
        (local.set 0 (i32.and (local.get 0) (i32.const 1)))
        (global.set $sp (i32.sub (global.get $sp) (i32.const 24)))
        (i64.store (global.get $sp) (i64.const {{{5 << 16}|{9 << 16}}}))
        (global.set $sp (i32.sub (global.get $sp) (i32.const 8)))
        (i64.store (global.get $sp) (i64.const {{{(5 << 16) + 1}|{(9 << 16) + 1}}}))
        (drop (call_indirect (param i32) (result i32) (local.get 0) (i32.const 1)))
        (i64.add (i64.load offset=8 (global.get $sp)) (i64.load (global.get $sp)))
        (global.set $sp (i32.add (global.get $sp) (i32.const 24))))"""
    first, second = compare(both(text), ("run", 0), ("run", 1), shared=["run", "callee"])
    assert first.calls == second.calls == [[101], [108]]
    assert first.state != second.state
