"""Exceptions, garbage collection, atomics, several memories: shared where that is sound, kept or refused where not."""

from __future__ import annotations

import pytest

from bacpack.errors import InputError
from bacpack.split.input.blob import Input
from bacpack.split.input.validation import check_valid
from bacpack.split.pipeline.admission import admit
from bacpack.split.pipeline.steps import split
from split.harness import Comparer, both, split_all, work
from wasmtools import assemble, padded

FILLER = f'(func (export "filler") (param i32) (result i32) {work("filler")} local.get 0)'


def test_exceptions_pass_through_shared_frames(compare: Comparer) -> None:
    text = f"""{FILLER} (tag $tag (export "tag") (param i32)) (tag $other (param i64))
      (func $throw (param i32) (result i32) local.get 0 i32.eqz if i64.const 1 throw $other end local.get 0 throw $tag)
      (func $between (param i32) (result i32) {work("between")} local.get 0 i32.const {{1000|2000}} i32.add call $throw)
      (func $never (param i32) (result i32) {work("never")} block local.get 0 call $throw return end i32.const 1)
      (func (export "catch") (param i32 i32) (result i32)
        block $caught (result i32)
          try_table (catch $tag $caught) local.get 0 local.get 1 call $again drop end
          i32.const -5
        end)
      (func $again (param i32 i32) (result i32) {work("again")}
        local.get 1 if (result i32) local.get 0 call $between else local.get 1 call $throw end)
      (func (export "catch all") (param i32) (result i32) {work("catch all")}
        block $caught (result exnref)
          try_table (catch_all_ref $caught) local.get 0 call $never drop end
          i32.const 7 return
        end
        drop i32.const 8)
      (func (export "rethrow") (param i32) (result i32) {work("rethrow")}
        block $caught (result exnref) try_table (catch_all_ref $caught) local.get 0 call $never drop end
          i32.const 7 return end
        throw_ref)
      (func (export "uncaught") (param i32) (result i32) {work("uncaught")} local.get 0 call $between)"""
    first, second = compare(
        both(text), ("catch", 5, 1), ("catch", 5, 0), ("catch all", 5), ("rethrow", 0), ("uncaught", 9), ("filler", 1),
        shared=["filler", "between", "never", "again", "uncaught"], kept=[],
    )  # fmt: skip
    assert first.calls[0] != second.calls[0]
    assert "exception" in str(first.calls[1])
    assert first.calls[2] == [8]


def test_legacy_exceptions_come_out_valid_though_no_engine_here_runs_them() -> None:
    text = f"""{FILLER} (tag $tag (param i32))
      (func $throw (param i32) (result i32) local.get 0 throw $tag)
      (func (export "catch") (param i32) (result i32) {work("catch")}
        try (result i32) local.get 0 call $throw catch $tag i32.const {{1000|2000}} i32.add catch_all rethrow 0 end)
      (func (export "all") (param i32) (result i32) {work("all")}
        try (result i32) try (result i32) local.get 0 i32.const {{1000|2000}} i32.add call $throw delegate 0
        catch_all i32.const 4 end)"""
    result = split_all([assemble(blob) for blob in both(text)])
    assert len(result.modules) > 1


def test_types_of_garbage_collection_stay_with_their_module(compare: Comparer) -> None:
    text = f"""(rec (type $node (sub (struct (field $value (mut i32)) (field $next (ref null $node)))))
        (type $leaf (sub $node (struct (field (mut i32)) (field (ref null $node)) (field i64)))))
      (type $array (array (mut i16))) (type $visit (func (param (ref null $node)) (result i32)))
      (type $plain (func (param i32) (result i32))) {FILLER} (data $bytes "abcdefgh") (elem declare func $sum $apply)
      (global $count (mut i32) (i32.const 0)) (global $list (mut (ref null $node)) (ref.null $node))
      (func $cons (param i32 (ref null $node)) (result (ref $node)) {work("cons")}
        local.get 0 local.get 1 i64.const {{5|6}} struct.new $leaf)
      (func $sum (param (ref null $node)) (result i32) (local $total i32)
        loop $more
          block (result (ref null $node)) local.get 0 br_on_null 0 drop
            local.get $total local.get 0 struct.get $node $value i32.add local.set $total
            local.get 0 struct.get $node $next local.set 0 br $more
          end drop
        end local.get $total)
      (func $apply (param (ref $visit)) (result i32) global.get $list local.get 0 call_ref $visit)
      (func (export "push") (param i32) (result i32) {work("push")}
        local.get 0 global.get $list call $cons global.set $list
        ref.func $sum call $apply)
      (func (export "array") (param i32) (result i32) (local $a (ref null $array)) {work("array")}
        i32.const 1 i32.const {{6|5}} array.new_data $array $bytes drop
        local.get 0 i32.const 7 i32.and i32.const 4 array.new $array local.set $a
        local.get $a array.len local.get $a i32.const 3 array.get_u $array i32.add)
      (func (export "i31") (param i32) (result i32) {work("i31")}
        i32.const {{1000|2000}} ref.i31 local.get 0 ref.i31 i31.get_s drop i31.get_u)
      (func (export "cast") (param i32) (result i32) {work("cast")}
        global.get $list ref.test (ref $leaf) global.get $list ref.cast (ref $leaf) struct.get $leaf 2 i32.wrap_i64
        i32.add)"""
    text = text.replace(
        "block (result (ref null $node)) local.get 0 br_on_null 0 drop", "block local.get 0 br_on_null 0 drop"
    ).replace("br $more\n          end drop", "br $more\n          end")
    compare(
        both(text), ("cast", 0), ("push", 5), ("push", 9), ("array", 5), ("i31", 9), ("cast", 1), ("filler", 1),
        shared=["filler", "i31"], kept=["cons", "push", "array", "cast"],
    )  # fmt: skip


SAME = "(func (param i32) (result i32))"


@pytest.mark.parametrize(
    ("types", "is_same"),
    [
        (f"(type $called {SAME}) (type $wanted {SAME})", True),
        (f"(rec (type $called {SAME})) (type $wanted {SAME})", True),
        (f"(type $called (sub final {SAME})) (type $wanted {SAME})", True),
        (f"(type $called (sub {SAME})) (type $wanted {SAME})", False),
        (f"(rec (type $called {SAME}) (type (struct))) (type $wanted {SAME})", False),
        (f"(rec (type (struct)) (type $wanted {SAME})) (type $called {SAME})", False),
        (f"(type $wanted (sub {SAME})) (type $called (sub $wanted {SAME}))", True),
        (f"(type $called (sub {SAME})) (type $wanted (sub $called {SAME}))", False),
    ],
)
def test_function_types_that_look_equal_are_told_apart_as_before(compare: Comparer, types: str, is_same: bool) -> None:
    text = f"""{types} (table 2 funcref) (elem (i32.const 1) $callee)
      (func $callee (type $called) {work("callee")} i32.const 5)
      (func (export "run") (param i32) (result i32) {work("run")}
        i32.const 0 i32.const 1 call_indirect (type $wanted))
      (func (export "direct") (param i32) (result i32) {work("direct")} i32.const {{1000|2000}} call $callee)
      (func (export "filler") (param i32 i64) (result i32) {work("filler")} local.get 0)"""
    first, _ = compare(both(text), ("run", 1), ("direct", 1), ("filler", 1, 1), shared=["filler"])
    assert first.calls[0] == ([5] if is_same else "BAD_SIGNATURE")


def test_blocks_that_give_references_of_their_module(compare: Comparer) -> None:
    filler_types = " ".join(f"(type (func (param i32) (result {'i32 ' * n})))" for n in range(31))
    text = f"""{filler_types} (type $struct (struct (field i32))) {FILLER}
      (func $callee (param i32) (result i32) {work("callee")} local.get 0 i32.const {{1000|2000}} i32.add)
      (func (export "run") (param i32) (result i32) {work("run")}
        block (result (ref null $struct)) local.get 0 call $callee struct.new $struct end
        struct.get $struct 0
        block (result (ref null 16)) ref.null 16 end ref.is_null i32.add
        loop (result (ref null $struct)) ref.null $struct end ref.is_null i32.add
        i32.const 1 if (result (ref $struct)) i32.const {{7|8}} struct.new $struct else unreachable end
        struct.get $struct 0 i32.add call $callee)"""
    compare(both(text), ("run", 1), shared=["filler", "callee"])


def test_memories_beside_the_first_stay_with_their_module(compare: Comparer) -> None:
    text = f"""(memory (export "memory") 1) (memory $second (export "second") 1 3) (memory $third (export "third") 1)
      (data (i32.const 3000) "abcd") (data (memory $second) (i32.const 3000) "ABCD") (data $passive "xyz")
      (func (export "first") (param i32) (result i32) {work("first")}
        (i32.load offset={{3000|3001}} (i32.const 0)))
      (func (export "second") (param i32) (result i32) {work("second")}
        (i32.store $third offset={{3000|3001}} (i32.const 0) (local.get 0))
        (memory.copy $third $second (i32.const 10) (i32.const 3000) (i32.const 4))
        (memory.copy $third 0 (i32.const 20) (i32.const 3000) (i32.const 4))
        (memory.init $second $passive (i32.const 5) (i32.const 0) (i32.const 3))
        (memory.fill $third (i32.const 30) (i32.const 7) (i32.const 9))
        (i32.add (i32.load $second offset={{3000|3001}} (i32.const 0)) (i32.load offset={{3000|3001}} (i32.const 0))))
      (func (export "grow") (param i32) (result i32 i32 i32 i32) {work("grow")}
        (memory.grow 0 (i32.const 1)) (memory.grow $second (i32.const 2)) (memory.grow $second (i32.const 1))
        (memory.size $second))"""
    text = text.replace('(export "second") (param', '(export "run") (param')
    blobs = [padded(assemble(blob), ("memarg",), 1000) for blob in both(text)]
    compare(blobs, ("first", 1), ("run", 1), ("grow", 1), ("first", 2), shared=["first"], kept=["second", "grow"])


def test_atomics_on_a_memory_that_is_not_shared(compare: Comparer) -> None:
    text = f"""(memory (export "memory") 1)
      (func (export "run") (param i32) (result i32) {work("run")}
        (drop (i32.atomic.rmw.add offset=8 (i32.const 0) (i32.const {{1000|2000}}))) (atomic.fence)
        (i32.atomic.rmw8.cmpxchg_u (i32.const 8) (i32.const 5) (i32.const 6))
        (drop (memory.atomic.notify (i32.const 8) (i32.const 1))) (i32.add (i32.atomic.load (i32.const 8))))
      (func (export "misaligned") (param i32) (result i32) {work("misaligned")}
        (i32.atomic.load offset=1 (i32.const 0)))
      (func (export "wait") (param i32) (result i32) {work("wait")}
        (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const 0)))"""
    first, _ = compare(both(text), ("run", 1), ("misaligned", 1), ("wait", 1), ("run", 2), shared=["run", "wait"])
    assert first.calls[1:3] == ["HEAP_MISALIGNED", "ATOMIC_WAIT_NON_SHARED_MEMORY"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("(module (memory 1 2 shared))", "cannot-split"),
        ("(module (memory i64 1))", "cannot-split"),
        ('(module (import "host" "memory" (memory 1)))', "cannot-split"),
        ('(module (import "host" "memory" (memory 1)) (memory 1))', "cannot-split"),
        ('(module (@custom "dylink.0" (before first) ""))', "cannot-split"),
        ("(component)", "wasm-component"),
        ("(module (memory 1 (pagesize 1)))", "wasm-unsupported"),
        ("(module (func call 7))", "wasm-malformed"),
        ('(module (export "f" (func 7)))', "wasm-malformed"),
    ],
)
def test_what_cannot_be_split_is_refused_by_name_and_reason(text: str, code: str) -> None:
    other = assemble(f"(module {FILLER})")
    for blobs in ([assemble(text)], [assemble(text), other], [other, assemble(text)]):
        inputs = [Input(f"app{number}", data, f"path/{number}.wasm") for number, data in enumerate(blobs)]
        programs, [refused] = admit(inputs, lambda state: None)
        assert len(programs) == len(blobs) - 1
        assert refused.error.code == code
        assert f"path/{blobs.index(assemble(text))}.wasm" in refused.error.message
        assert refused.error.hint


@pytest.mark.parametrize(
    "text",
    [
        "(func (result i32))", "(func local.get 5 drop)", "(func br 7)", "(func i32.const 1 i64.eqz drop)",
        "(func (type 99))", "(func call_indirect (type 99))", "(func block (type 99) end)", "(func global.get 9 drop)",
        "(func table.get 9 drop)", "(func memory.init 3)", "(start 9)",
        "(global i32 (global.get 8))", '(export "m" (memory 3))', '(export "t" (table 3))',
        '(export "g" (global 3))', "(elem (table 3) (i32.const 0) func)", "(func return_call_indirect 5 (type 0))",
        '(export "a" (func 0)) (export "a" (func 0))', "(table 1 funcref (ref.func 88))", "(elem (ref null 77))",
        "(func throw 5)", "(type (func (param (ref 90))))", "(func (param (ref 90)))", "(tag (type 44))",
        "(memory 1) (data (i64.const 5) \"\")", "(func memory.grow drop)",
    ],
)  # fmt: skip
def test_an_invalid_blob_is_refused_and_never_a_crash(text: str) -> None:
    blobs = {f"app{n}.wasm": assemble(f"(module {FILLER} {extra} {text})") for n, extra in enumerate(("", "(func)"))}
    with pytest.raises(InputError) as caught:
        result = split([Input(name, data, name) for name, data in blobs.items()])
        outputs = {app.name: app.data for app in result.apps}
        outputs |= {cid: module.data for cid, module in result.modules.items()}
        check_valid(blobs, outputs, lambda state: None)
    assert "app" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("count", [98, 99, 100, 101])
def test_a_function_is_shared_however_many_locals_it_has(compare: Comparer, count: int) -> None:
    """In declarations, 99 and 100 are the bytes of reference types as well."""
    text = f"""(func (export "run") (param i32) (result i32) (local {"i64 " * count}) {work("run")}
      i32.const {{1000|2000}} local.get 0 i32.add) {FILLER}"""
    compare(both(text), ("run", 1), shared=["run"])


def test_functions_named_within_longer_constant_expressions(compare: Comparer) -> None:
    text = f"""(type $box (struct (field funcref))) (type $one (func (param i32) (result i32)))
      (import "host" "first" (func $first (param i32) (result i32)))
      (func $f (param i32) (result i32) {work("f")} local.get 0)
      (func $own (param i32) (result i32) i32.const {{1|2}})
      (global $shared (ref $box) (struct.new $box (ref.func $f)))
      (global $host (ref $box) (struct.new $box (ref.func $first)))
      (global $mine (ref $box) (struct.new $box (ref.func $own)))
      (table $boxes 1 (ref $box) (struct.new $box (ref.func $own)))
      (elem $segment (ref $box) (item (struct.new $box (ref.func $f))))
      (func (export "call") (param i32) (result i32) {work("call")}
        i32.const 5 global.get $shared struct.get $box 0 ref.cast (ref $one) call_ref $one
        global.get $host struct.get $box 0 ref.cast (ref $one) call_ref $one
        global.get $mine struct.get $box 0 ref.cast (ref $one) call_ref $one)
      (func (export "filler") (param i32) (result i32) {work("filler")} local.get 0)"""
    imports = '(import "host" "first" (func $first (param i32) (result i32)))'
    compare(both(text.replace(imports, ""), imports), ("call", 1), ("filler", 1), shared=["f", "filler"])
