"""Functions that call, are called, exported, referenced and placed in tables, on either side of a split."""

from __future__ import annotations

import pytest

from split.harness import Comparer, World, both, engine, work

#: Calls enough for a stack to overflow where each leaves a frame behind.
MANY = 200_000


def factorial(name: str, callee: str) -> str:
    """A function that calls another with one less, or itself."""
    return f"""(func ${name} (export "{name}") (param i32 i32) (result i32)
      {work(name)}
      local.get 1 i32.eqz if (result i32) local.get 0 else
        local.get 0 local.get 1 i32.const 1 i32.sub call ${callee} local.get 1 i32.add
      end)"""


def countdown(name: str, jump: str) -> str:
    """A function that counts local 1 down by tail calls."""
    return f"""(func ${name} (param i32 i32) (result i32)
      {work(name)}
      local.get 1 i32.eqz if (result i32) local.get 0 else
        local.get 0 local.get 1 i32.const 1 i32.sub {jump}
      end)"""


def test_recursion_in_shared_functions(compare: Comparer) -> None:
    compare(both(factorial("f", "f")), ("f", 3, 0), ("f", 3, 50), shared=["f"])
    compare(both(factorial("f", "g") + factorial("g", "f")), ("f", 3, 0), ("f", 3, 50), ("g", 1, 7), shared=["f", "g"])


def test_endless_recursion_ends_in_both(compare: Comparer) -> None:
    text = f'(func $f (export "f") (param i32) (result i32) {work("f")} local.get 0 call $f i32.const 1 i32.add)'
    first, _ = compare(both(text), ("f", 1), shared=["f"])
    assert first.calls == ["STACK_OVERFLOW"]


def test_mutual_recursion_across_shared_and_own_functions(compare: Comparer) -> None:
    def blob(own: str) -> str:
        return f"(module {factorial('f', 'g')} {factorial('g', 'f').replace('i32.add', own)})"

    compare([blob("i32.add"), blob("i32.xor")], ("f", 3, 50), ("g", 3, 51), ("g", 3, 0), shared=["f"])


def test_a_callee_that_differs_in_each_blob(compare: Comparer) -> None:
    def blob(own: str, front: str = "") -> str:
        return f"""(module {front} (func $f (export "f") (param i32) (result i32) {work("f")} local.get 0 call $own)
          (func $own (param i32) (result i32) {own}) (func (export "own") (param i32) (result i32) local.get 0
          call $own))"""

    blobs = [
        blob("local.get 0 i32.const 1 i32.add"),
        blob("local.get 0 i32.const 9 i32.mul", "(func)"),
        blob("local.get 0 i32.popcnt i32.const 1000 i32.div_u i32.const 1 i32.sub", "(func) (func)"),
        blob("unreachable"),
    ]
    behaviours = compare(blobs, ("f", 5), ("own", 5), ("f", 0), shared=["f"])
    assert len({str(entry.calls) for entry in behaviours}) == 4


def test_a_callee_that_is_another_shared_function_in_each_blob(compare: Comparer) -> None:
    text = f"""(func $f (export "f") (param i32) (result i32) {work("f")} local.get 0 call {{$x|$y}} call {{$z|$x}})
      (func $x (param i32) (result i32) {work("x")} local.get 0 i32.const 3 i32.add)
      (func $y (export "y") (param i32) (result i32) {work("y")} local.get 0 i32.const 5 i32.mul)
      (func $z (export "z") (param i32) (result i32) {work("z")} local.get 0 i32.const 7 i32.rotl)"""
    first, second = compare(both(text), ("f", 1), shared=["f", "x", "y", "z"])
    assert first.calls != second.calls


def test_a_callee_that_is_shared_by_some_blobs_only(compare: Comparer) -> None:
    """The lower module holds what all three use; what it calls is in a higher one for two, and the third's own."""

    def blob(own: str) -> str:
        return f"""(module (func $f (export "f") (param i32) (result i32) {work("f")} local.get 0 call $g)
          (func $g (export "g") (param i32) (result i32) {own}))"""

    two = f"{work('g')} local.get 0 i32.const 1000 i32.add"
    one = "local.get 0 i32.const 3 i32.shl"
    for order in ([two, two.replace("1000", "2000"), one], [one, two, two.replace("1000", "2000")]):
        compare([blob(own) for own in order], ("f", 5), ("g", 5), shared=["f", "g"])


def test_a_function_that_only_one_blob_of_a_merged_module_lacks(compare: Comparer) -> None:
    """Small groups join larger ones: a blob then has a function that it never calls, and whose slots are never set."""

    def blob(number: int, *, has_g: bool) -> str:
        g = f"""(func $g (export "g") (param i32) (result i32) {work("g", 20)} local.get 0 call $own i32.const {number}
          i32.add)"""
        return f"""(module {g if has_g else "(func $g)"}
          (func $own (param i32) (result i32) local.get 0 i32.const {number} i32.xor)
          (func $f (export "f") (param i32) (result i32) {work("f")} local.get 0
            i32.const {number} i32.add call $own))"""

    blobs = [blob(1000, has_g=True), blob(2000, has_g=True), blob(3000, has_g=False)]
    compare(blobs, ("f", 1), shared=["f"])
    compare(blobs[:2], ("f", 1), ("g", 1), ("f", 2), shared=["f", "g"])


HOST = """(import "host" "first" (func $first (param i32) (result i32)))
  (import "host" "peek" (func $peek (param i32) (result i32)))
  (import "host" "last" (func $last (param i64)))"""


@pytest.mark.parametrize("jump", ["call", "return_call"])
def test_a_host_function_is_called_late(compare: Comparer, jump: str) -> None:
    """Its caller must have a memory: hosts read strings from there."""
    text = f"""(memory (export "memory") 1) (data (i32.const {{2000|3000}}) "A")
      (func $f (export "f") (param i32) (result i32) {work("f")} i32.const {{2000|3000}} {jump} $peek)"""
    first, second = compare(both(text, HOST), ("f", 5), shared=["f"])
    assert first.calls == [[65]]
    assert [(name, sees) for name, _, sees in first.host] == [("peek", True)]
    assert first.host != second.host


def test_a_host_function_in_one_blob_is_a_plain_one_in_another(compare: Comparer) -> None:
    f = f"""(func (export "f") (param i32) (result i32) {work("f")} local.get 0 call $callee)"""
    blobs = [
        f'(module (import "host" "first" (func $callee (param i32) (result i32))) {f})',
        f"(module {f} (func $callee (param i32) (result i32) local.get 0 i32.ctz))",
        f'(module (import "host" "last" (func)) (import "host" "second" (func $callee (param i32) (result i32))) {f})',
    ]
    behaviours = compare(blobs, ("f", 5), shared=["f"])
    assert [[name for name, *_ in entry.host] for entry in behaviours] == [["first"], [], ["second"]]


BASE = '(import "host" "base" (global $base i32))'

#: Ways to bring a host function, an own one and a shared one into table 0 as its entries 1, 2 and 3.
TABLES = {
    "segment": '(table (export "table") 4 4 funcref) (elem (i32.const 1) $peek $own $f)',
    "segment of expressions": """(table (export "table") 4 funcref)
      (elem (table 0) (i32.const 1) funcref (ref.func $peek) (ref.func $own) (ref.func $f))""",
    "segment at an imported address": f"""{BASE} (table 12 funcref)
      (elem (global.get $base) $peek $own $f) (elem (i32.const 1) $peek $own $f)""",
    "passive segment": """(table 4 funcref) (elem $passive func $peek $own $f)
      (func $fill (table.init $passive (i32.const 1) (i32.const 0) (i32.const 3))) (start $fill)""",
    "references that a segment declares": """(table 4 funcref) (elem declare func $peek $own $f) (func $fill
        (table.set (i32.const 1) (ref.func $peek)) (table.set (i32.const 2) (ref.func $own))
        (table.set (i32.const 3) (ref.func $f))) (start $fill)""",
    "references that exports declare": """(table 4 funcref) (export "peek" (func $peek)) (export "own" (func $own))
      (func $fill (table.set (i32.const 1) (ref.func $peek)) (table.set (i32.const 2) (ref.func $own))
        (table.set (i32.const 3) (ref.func $f))) (start $fill)""",
    "globals": """(table 4 4 funcref) (global $host funcref (ref.func $peek)) (global $mine funcref (ref.func $own))
      (global $other (export "other") (mut funcref) (ref.func $f)) (func $fill
        (table.set (i32.const 1) (global.get $host)) (table.set (i32.const 2) (global.get $mine))
        (table.set (i32.const 3) (global.get $other))) (start $fill)""",
    "what the table starts with": "(table 4 funcref (ref.func $peek)) (elem (i32.const 2) $own $f)",
    "another table": """(table $table 3 funcref) (table $other 1 funcref) (elem (table $other) (i32.const 0) func $peek)
      (elem (table $table) (i32.const 1) func $own $f) (func $fill
        (drop (table.grow $table (table.get $other (i32.const 0)) (i32.const 1)))
        (table.copy $table $table (i32.const 2) (i32.const 1) (i32.const 2))
        (table.copy $table $other (i32.const 1) (i32.const 0) (i32.const 1))) (start $fill)""",
}


@pytest.mark.parametrize("way", TABLES)
def test_functions_in_the_table_are_called_from_both_sides(compare: Comparer, way: str) -> None:
    imports, table = (HOST + BASE, TABLES[way].replace(BASE, "")) if BASE in TABLES[way] else (HOST, TABLES[way])
    text = f"""{table} (memory (export "memory") 1) (data (i32.const {{2000|3000}}) "A")
      (type $one (func (param i32) (result i32)))
      (func $own (param i32) (result i32) i64.const {{1|2}} call $last local.get 0 i32.const 3 i32.mul)
      (func $f (export "f") (param i32) (result i32) {work("f")} local.get 0)
      (func (export "shared") (param i32) (result i32) {work("shared")}
        i32.const {{2000|3000}} i32.const 1 call_indirect (type $one)
        i32.const 2 call_indirect (type $one) i32.const 3 call_indirect (type $one))
      (func (export "kept") (param i32) (result i32) {work("kept {a|b}")}
        i32.const {{2000|3000}} i32.const 1 call_indirect (type $one)
        i32.const 2 call_indirect (type $one) i32.const 3 call_indirect (type $one))
      (func (export "at") (param i32 i32) (result i32) local.get 0 local.get 1 call_indirect (type $one))"""
    at = [("at", 2000, entry) for entry in range(5)]
    first, second = compare(both(text, imports), ("shared", 1), ("kept", 1), *at, shared=["f", "shared"])
    assert first.calls[:2] == second.calls[:2]
    assert all(sees for _, _, sees in first.host)
    assert {name for name, *_ in first.host} == {"peek", "last"}


def test_exported_functions_are_shared_and_called_through_each_other(compare: Comparer) -> None:
    text = f"""(func $f (export "f") (export "again") (param i32) (result i32) {work("f")} local.get 0 call $g)
      (func $g (export "g") (param i32) (result i32) {work("g")} local.get 0 i32.const {{1000|2000}} i32.add)"""
    compare(both(text), ("f", 1), ("again", 1), ("g", 2), shared=["f", "g"])


def test_an_exported_host_function(compare: Comparer) -> None:
    text = f"""(export "host" (func $first)) (memory (export "memory") 1)
      (func $f (export "f") (param i32) (result i32) {work("f")} local.get 0 call $first)"""
    first, _ = compare(both(text, HOST), ("host", 3), ("f", 1), shared=["f"])
    assert [name for name, *_ in first.host] == ["first", "first"]


def test_tail_calls_between_modules_need_no_stack(compare: Comparer) -> None:
    """Two functions in two modules and one in the remainder; late calls, direct ones, and through the table."""

    def blob(number: int, *, exported: bool) -> str:
        k = countdown("k", "return_call $f")
        if number == 3:
            k = k.replace(work("k"), "i64.const 5 drop")
        exports = '(export "k" (func $k)) (export "t" (func $t))' if exported else ""
        return f"""(module (table 4 funcref) (elem (i32.const 1) $f $k $t) (type $t (func (param i32 i32) (result i32)))
          (export "f" (func $f)) {exports}
          {countdown("f", "return_call $k")} {k}
          {countdown("t", "i32.const 3 return_call_indirect (type $t)")}
          (func (export "number") (result i32) i32.const {number})
          (func (export "start t") (param i32 i32) (result i32) local.get 0 local.get 1 return_call $t))"""

    for exported in (True, False):
        blobs = [blob(number, exported=exported) for number in (1, 2, 3)]
        first, *_ = compare(blobs, ("f", 5, 10), ("f", 5, MANY), ("start t", 5, MANY), shared=["f", "k", "t"])
        assert "STACK_OVERFLOW" not in first.calls


def test_functions_that_are_never_called(compare: Comparer) -> None:
    text = f"""(func $named (param i32) {work("named")}) (func (param i64)) (func $alone call $alone)
      (func $used (export "f") (param i32) {work("f")}) (table 1 funcref) (elem (i32.const 0) $named)"""
    compare(both(text), ("f", 1), shared=["f", "named"])


@pytest.mark.parametrize("result", [0, 3])
def test_calls_in_code_that_cannot_run(compare: Comparer, result: int) -> None:
    text = f"""(func $own (param i32 i64) (result i32) unreachable)
      (func (export "f") (param i32) (result i32) {work("f")}
        block (result i32) i32.const {result} br 0 call $own i32.const {{1000|2000}} call $f end
        i32.const {{1000|2000}} i32.add)
      (func $f (param i32 i32) (result i32) unreachable i32.const {{1000|2000}})"""
    compare(both(text), ("f", 1), shared=["f"])


def test_wide_signatures(compare: Comparer) -> None:
    kinds = "i32 i64 f32 f64 v128 funcref externref"
    gets = " ".join(f"local.get {number}" for number in range(1, 8))
    text = f"""(func $callee (param i32 {kinds}) (result {kinds}) {work("callee")} {gets})
      (func (export "f") (param i32) (result i32 i64 f32 f64) {work("f")}
        local.get 0 i32.const {{1000|2000}} i64.const 2 f32.const 3 f64.const nan v128.const i64x2 5 6 ref.null func
        ref.null extern call $callee drop drop drop)"""
    first, second = compare(both(text), ("f", 1), shared=["f", "callee"])
    assert first.calls[0][0] == 1000
    assert second.calls[0][0] == 2000


@pytest.mark.parametrize("answer", [0, 100_000])
def test_what_the_host_returns_reaches_shared_code(answer: int) -> None:
    text = f"""(func (export "f") (param i32) (result i32) {work("f")} local.get 0 call $first local.get 0 i32.sub)"""
    first, _ = Comparer(World(engine(), {"first": answer}))(both(text, HOST), ("f", 1), ("f", 2), shared=["f"])
    assert first.host[0][0] == "first"
