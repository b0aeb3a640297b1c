"""Rows of the table in `docs/reference/webassembly.md` that no other test is about: shared or kept, and as before."""

from __future__ import annotations

import pytest

from split.harness import Comparer, both, work

FILLER = f'(func (export "filler") (param i32) (result i32) {work("filler")} {work("and more")} local.get 0)'
#: What each function does after its work: the constant differs in the two programs.
SHARED = {
    "sign extension": "local.get 0 i32.extend8_s i32.const {1000|2000} i32.add",
    "saturating conversion": "f64.const 1e300 i32.trunc_sat_f64_s i32.const {1000|2000} i32.xor",
    "multiple values": "local.get 0 i32.const {1000|2000} call $two i32.add",
    "SIMD": "local.get 0 i32x4.splat v128.const i32x4 1 2 3 4 i32x4.mul i32x4.extract_lane 2"
    " i32.const {1000|2000} i32.add",
    "relaxed SIMD": "local.get 0 f32.convert_i32_s f32x4.splat v128.const f32x4 2 2 2 2 v128.const f32x4 1 1 1 1"
    " f32x4.relaxed_madd f32x4.extract_lane 1 i32.trunc_sat_f32_s i32.const {1000|2000} i32.add",
    "bulk memory": "i32.const {1000|2000} local.get 0 i32.const 9 memory.fill"
    " i32.const 40 i32.const {1000|2000} i32.const 4 memory.copy i32.const 40 i32.load",
    "tail call": "local.get 0 i32.const {1000|2000} i32.add return_call $one",
    "typed select": "ref.null func ref.null func local.get 0 select (result funcref) ref.is_null"
    " i32.const {1000|2000} i32.add",
    "null reference": "ref.null extern ref.is_null i32.const {1000|2000} i32.add",
    "small integer references": "local.get 0 ref.i31 i31.get_s i32.const {1000|2000} i32.add",
}
KEPT = {
    "memory.init": "i32.const 40 i32.const 0 i32.const 4 memory.init $bytes i32.const 40 i32.load",
    "ref.func": "i32.const 1 ref.func $one table.set $functions local.get 0 i32.const 1 call_indirect $functions"
    " (param i32) (result i32)",
    "another table": "i32.const 0 table.get $others ref.is_null",
    "a table with 64-bit indices": "local.get 0 i64.const 0 call_indirect $wide (param i32) (result i32)",
    "another memory": "i32.const {1000|2000} local.get 0 i32.store $second i32.const {1000|2000} i32.load $second",
    "another memory, of 64-bit addresses": "i64.const {1000|2000} local.get 0 i32.store $large"
    " i64.const {1000|2000} i32.load $large",
    "structs": "local.get 0 struct.new $box struct.get $box 0",
    "typed function reference": "local.get 0 ref.func $one call_ref $kind",
    "catching": "block $out try_table (catch_all $out) throw $tag end end i32.const {1000|2000}",
}
PROGRAM = f"""(type $kind (func (param i32) (result i32))) (type $box (struct (field i32)))
  (memory (export "memory") 1) (memory $second 1) (memory $large i64 1) (data $bytes "abcd")
  (table 1 funcref) (table $functions 2 funcref) (table $others 1 externref) (table $wide i64 1 funcref)
  (elem (table $wide) (i64.const 0) func $one) (elem declare func $one) (tag $tag) {FILLER}
  (func $one (type $kind) local.get 0 i32.const 3 i32.mul)
  (func $two (param i32 i32) (result i32 i32) local.get 1 local.get 0)"""


@pytest.mark.parametrize("feature", [*SHARED, *KEPT])
def test_a_feature_is_shared_or_kept_as_the_table_says(compare: Comparer, feature: str) -> None:
    code = SHARED.get(feature) or KEPT[feature]
    text = f'{PROGRAM} (func (export "run") (param i32) (result i32) {work(feature)} {code})'
    first, _ = compare(
        both(text), ("run", 5), ("run", -200), ("filler", 1),
        shared=["filler", *([feature] if feature in SHARED else [])], kept=[] if feature in SHARED else [feature],
    )  # fmt: skip
    assert all(isinstance(results, list) for results in first.calls), first.calls
