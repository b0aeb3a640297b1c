"""Programs written for this: each makes a split of another kind. `{a|b}` is one thing in a program and another in its
partner, so that there is something to set up.
"""

from __future__ import annotations

from split.harness import Call, work

_NOTE = '(import "host" "note" (func $note (param i32) (result i32)))'
_FILLER = f'(func (export "filler") (param i32) (result i32) {work("filler")} local.get 0)'

#: By name: imports, the rest, and calls.
PROGRAMS: dict[str, tuple[str, str, list[Call]]] = {
    "calls and data": (
        _NOTE + '(import "host" "tell" (func $tell (param i32) (result i32)))',
        f"""(memory (export "memory") 2 5) (table 6 funcref) {_FILLER}
        (global $sp (mut i32) (i32.const {{4096|8192}})) (global $big (mut i64) (i64.const {{7|9}}))
        (data (i32.const {{1024|1032}}) "a table of words that both programs have, long enough to share: {{one|two}}")
        (elem (i32.const {{1|2}}) $low $high $note)
        (func $low (param i32) (result i32) {work("low")} local.get 0 i32.const {{1024|1032}} i32.add i32.load8_u)
        (func $high (param i32) (result i32) {work("high")}
          global.get $sp i32.const 16 i32.sub global.set $sp
          global.get $big i64.const {{3|5}} i64.add global.set $big
          global.get $sp local.get 0 i32.store offset={{12|12}}
          local.get 0 call $late local.get 0 call $low i32.add
          global.get $sp i32.load offset=12 i32.add
          global.get $sp i32.const 16 i32.add global.set $sp)
        (func $late (param i32) (result i32) local.get 0 i32.const {{17|18}} i32.xor call $note)
        (func (export "run") (param i32) (result i32) {work("run")}
          local.get 0 call $high local.get 0 i32.const {{1|2}} call_indirect (param i32) (result i32) i32.add)
        (func (export "steps") (param i32) (result i32) (local i32) {work("steps")}
          block $done loop $more
            local.get 1 i32.const {{5|6}} i32.add local.tee 1 i32.const 40 i32.gt_s br_if $done
            block $a block $b local.get 1 i32.const 3 i32.and br_table $a $b $more $done end
              local.get 1 call $tell drop end
            br $more
          end end local.get 1)
        (func (export "at") (param i32) (result i32)
          i32.const 5 local.get 0 call_indirect (param i32) (result i32))
        (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
        (func (export "big") (result i64) global.get $big)""",
        [("run", 1), ("big",), ("steps", 1), ("at", 1), ("at", 2), ("at", 3), ("at", 0), ("at", 9), ("grow", 1),
         ("run", 900),         ("grow", 3), ("run", -70000), ("filler", 1)],
    ),
    "a start function": (
        _NOTE,
        f"""(memory (export "memory") 1) (start $begin) {_FILLER}
        (data (i32.const 64) "first") (data $late "second, which is passive")
        (global (export "seen") (mut i32) (i32.const {{1|2}}))
        (func $begin {work("begin").replace("local.get 0", "global.get 0").replace("local.set 0", "global.set 0")}
          global.get 0 call $note drop)
        (func $note2 (param i32) (result i32) {work("note")} local.get 0 i32.const {{300|400}} i32.add call $note)
        (func (export "fill") (param i32) (result i32) {work("fill")}
          i32.const 128 i32.const {{2|3}} i32.const 6 memory.init $late local.get 0 call $note2)
        (func (export "drop") data.drop $late)""",
        [("fill", 4), ("drop",), ("fill", 5), ("filler", 9)],
    ),
    "several memories and tables": (
        "",
        f"""(memory $first (export "memory") 1) (memory $second 1 2) {_FILLER}
        (table $t (export "table") 3 funcref) (table $u 4 9 funcref)
        (data (memory $second) (i32.const 16) "other")
        (elem (table $t) (i32.const 1) func $one) (elem (table $u) (i32.const 2) func $two $one)
        (elem $passive func $two $one)
        (func $one (param i32) (result i32) {work("one")} local.get 0 i32.const {{100|200}} i32.add)
        (func $two (param i32) (result i32) {work("two")} local.get 0 call $one i32.const {{5|6}} i32.mul)
        (func (export "both") (param i32) (result i32) {work("both")}
          local.get 0 call $two i32.const {{18|19}} i32.load8_u $second i32.add
          i32.const 32 local.get 0 i32.store $second i32.const 32 i32.load i32.add
          i32.const 30 i64.load $second offset=2 i32.wrap_i64 i32.add)
        (func (export "u") (param i32) (result i32) i32.const 1 local.get 0 call_indirect $u (param i32) (result i32))
        (func (export "t") (param i32) (result i32) i32.const 1 local.get 0 call_indirect $t (param i32) (result i32))
        (func (export "init") i32.const 0 i32.const 0 i32.const 1 table.init $u $passive elem.drop $passive)
        (func (export "widen") (param i32) (result i32) ref.func $one local.get 0 table.grow $u)
        (func (export "copy") (memory.copy $first $second (i32.const 32) (i32.const 16) (i32.const 5)))""",
        [("both", 3), ("u", 0), ("init",), ("u", 0), ("u", 2), ("u", 3), ("t", 1), ("t", 2), ("widen", 3), ("u", 5),
         ("widen", 9), ("copy",), ("init",), ("filler", 3)],
    ),
    "exceptions and tail calls": (
        "",
        f"""(memory (export "memory") 1) (tag $tag (param i32)) (tag $other (param i64)) {_FILLER}
        (func $throw (param i32) (result i32)
          local.get 0 i32.eqz if i64.const 1 throw $other end local.get 0 throw $tag)
        (func $between (param i32) (result i32) {work("between")}
          local.get 0 i32.const {{1000|2000}} i32.add call $throw)
        (func (export "catch") (param i32) (result i32)
          block $caught (result i32) try_table (catch $tag $caught) local.get 0 call $between drop end i32.const -5 end)
        (func (export "all") (param i32) (result i32)
          block $caught try_table (catch_all $caught) local.get 0 call $between drop end i32.const -5 return end
          i32.const 8)
        (func $down (param i32 i32) (result i32) {work("down")}
          local.get 1 i32.eqz if local.get 0 return end
          local.get 0 i32.const {{1|3}} i32.add local.get 1 i32.const 1 i32.sub return_call $down)
        (func (export "down") (param i32 i32) (result i32) {work("call down")}
          local.get 0 local.get 1 return_call $down)""",
        [("catch", 1), ("catch", -1000), ("all", 0), ("all", 5), ("down", 3, 4), ("down", 0, 100), ("filler", 3)],
    ),
    "references and garbage collection": (
        "",
        f"""(rec (type $node (sub (struct (field (mut i32)) (field (ref null $node)))))
          (type $leaf (sub $node (struct (field (mut i32)) (field (ref null $node)) (field i64)))))
        (type $array (array (mut i16))) (type $plain (func (param i32) (result i32)))
        (memory (export "memory") 1) (data $bytes "abcdefgh") {_FILLER}
        (table $refs 3 (ref null $plain)) (elem (table $refs) (i32.const 1) (ref null $plain) (item ref.func $sum))
        (global $list (mut (ref null $node)) (ref.null $node)) (global $i31 i31ref (ref.i31 (i32.const {{3|4}})))
        (func $sum (type $plain) {work("sum")} local.get 0 i32.const {{7|8}} i32.add)
        (func (export "push") (type $plain) {work("push")}
          local.get 0 global.get $list i64.const {{5|6}} struct.new $leaf global.set $list
          global.get $list struct.get $node 0)
        (func (export "cast") (result i32) global.get $list ref.test (ref $leaf))
        (func (export "array") (type $plain)
          i32.const 1 i32.const {{6|5}} array.new_data $array $bytes local.get 0 array.get_u $array)
        (func (export "ref") (type $plain) {work("ref")} local.get 0 i32.const 1 table.get $refs call_ref $plain)
        (func (export "i31") (result i32) global.get $i31 i31.get_s)""",
        [("cast",), ("push", 5), ("cast",), ("array", 2), ("array", 9), ("ref", 4), ("i31",), ("filler", 7)],
    ),
    "what depends on the host": (
        f'{_NOTE} (import "host" "base" (global $base i32)) (import "host" "table" (table $t 8 funcref))',
        f"""(memory (export "memory") 1) {_FILLER}
        (data (global.get $base) "where the host says") (elem (table $t) (global.get $base) func)
        (elem (table $t) (i32.const 1) func $one $note)
        (func $one (param i32) (result i32) {work("one")} local.get 0 i32.const {{10|20}} i32.add call $note)
        (func (export "go") (param i32) (result i32) {work("go")} local.get 0 call $one)
        (func (export "t") (param i32) (result i32)
          i32.const 1 local.get 0 call_indirect $t (param i32) (result i32))""",
        [("go", 1), ("t", 1), ("t", 2), ("t", 0), ("filler", 2)],
    ),
}  # fmt: skip
