"""A program and its split, both written by hand: what a split may look like, whatever code makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bacpack.proof.equivalence.prover import prove
from differential.harness import cid_of
from wasmtools import assemble, invalid_because

BLOB = """(module
  (type $unary (func (param i32) (result i32)))
  (import "host" "note" (func $note (type $unary)))
  (memory (export "memory") 2 4)
  (table 6 8 funcref)
  (global $sp (mut i32) (i32.const 4096))
  (global $seed (mut i64) (i64.const 7))
  (data (i32.const 1024) "hello")
  (data (i32.const 2000) "\\01\\02\\03\\04")
  (data $late "passive")
  (elem (i32.const 1) $scale $note $tell)
  (start $begin)
  (func $begin (call $tell (i32.const 1)) drop)
  (func $tell (type $unary)
    global.get $seed i64.const 3 i64.mul global.set $seed
    local.get 0 call $note)
  (func $scale (type $unary) (local i32 i32 i64)
    global.get $sp i32.const 16 i32.sub local.tee 1 global.set $sp
    local.get 0 i32.const 1024 i32.add i32.load8_u
    i32.const 0 i32.load offset=2000
    i32.add local.set 2
    i32.const 0 local.get 2 i32.store offset=3000
    local.get 2 call $tell
    local.get 1 i32.const 16 i32.add global.set $sp)
  (func $even (type $unary)
    local.get 0 i32.eqz if (result i32) i32.const 1 else local.get 0 i32.const 1 i32.sub call $odd end)
  (func $odd (type $unary)
    local.get 0 i32.eqz if (result i32) i32.const 0 else local.get 0 i32.const 1 i32.sub return_call $even end)
  (func (export "run") (type $unary)
    local.get 0 call $scale
    local.get 0 call $even i32.add
    i32.const 3 call_indirect (type $unary))
  (func (export "grow") (type $unary) local.get 0 memory.grow)
  (func (export "widen") (type $unary) ref.null func local.get 0 table.grow 0)
  (func (export "fill")
    i32.const 100 i32.const 0 i32.const 7 memory.init $late data.drop $late)
  (export "again" (func $scale)))"""

ENVIRONMENT = """(module
  (func (export "load"))
  (memory (export "memory") 0)
  (table (export "table") 0 funcref)
  (global (export "stack_pointer") (mut i32) (i32.const 0)))"""

#: Its two slots hold the addresses 1024 and 3000; the second is also read for 2000. `$tell` and `$odd` are late-bound.
SHARED = """(module
  (type $unary (func (param i32) (result i32)))
  (import "{environment}" "load" (func))
  (import "{environment}" "memory" (memory 0))
  (import "{environment}" "table" (table 0 funcref))
  (import "{environment}" "stack_pointer" (global $sp (mut i32)))
  (table $private (export "T") 2 2 funcref)
  (global $first (mut i32) (i32.const 0))
  (global $second (mut i32) (i32.const 0))
  (elem $placed func $scale)
  (func $scale (export "0") (type $unary) (local i32 i32 i64)
    global.get $sp i32.const 16 i32.sub local.tee 1 global.set $sp
    local.get 0 global.get $first i32.add i32.load8_u
    global.get $second i32.const -1000 i32.add i32.load
    i32.add local.set 2
    global.get $second local.get 2 i32.store
    local.get 2 i32.const 0 call_indirect $private (type $unary)
    local.get 1 i32.const 16 i32.add global.set $sp)
  (func $even (export "1") (type $unary)
    local.get 0 i32.eqz if (result i32) i32.const 1
    else local.get 0 i32.const 1 i32.sub i32.const 1 call_indirect $private (type $unary) end)
  (func (export "S0") (param i32 i32)
    local.get 0 global.set $first local.get 1 global.set $second)
  (func (export "P") (param i32 i32 i32)
    local.get 0 local.get 1 local.get 2 table.init 0 $placed))"""

REMAINDER = """(module
  (type $unary (func (param i32) (result i32)))
  (import "host" "note" (func $note (type $unary)))
  (import "{environment}" "load" (func))
  (import "{environment}" "memory" (memory 0))
  (import "{environment}" "table" (table 0 funcref))
  (import "{environment}" "stack_pointer" (global $sp (mut i32)))
  (import "{shared}" "0" (func $scale (type $unary)))
  (import "{shared}" "1" (func $even (type $unary)))
  (import "{shared}" "S0" (func $set (param i32 i32)))
  (import "{shared}" "P" (func $place (param i32 i32 i32)))
  (import "{shared}" "T" (table $private 2 2 funcref))
  (global $seed (mut i64) (i64.const 7))
  (data $hello "hello") (data $words "\\01\\02\\03\\04") (data $late "passive")
  (elem $own func $pass $tell)
  (elem $bound func $tell $odd)
  (export "memory" (memory 0)) (export "run" (func $run)) (export "grow" (func $grow))
  (export "widen" (func $widen)) (export "fill" (func $fill)) (export "again" (func $again))
  (start $setup)
  (func $begin (call $tell (i32.const 1)) drop)
  (func $tell (type $unary)
    global.get $seed i64.const 3 i64.mul global.set $seed
    local.get 0 call $note)
  (func $odd (type $unary)
    local.get 0 i32.eqz if (result i32) i32.const 0 else local.get 0 i32.const 1 i32.sub return_call $even end)
  (func $run (type $unary)
    local.get 0 call $scale
    local.get 0 call $even i32.add
    i32.const 3 call_indirect (type $unary))
  (func $grow (type $unary) local.get 0 call $grow_memory)
  (func $widen (type $unary) ref.null func local.get 0 call $grow_table)
  (func $fill
    i32.const 100 i32.const 0 i32.const 7 memory.init $late data.drop $late)
  (func $pass (type $unary) local.get 0 call $note)
  (func $again (type $unary) local.get 0 call $scale)
  (func $grow_memory (type $unary)
    memory.size i64.extend_i32_u local.get 0 i64.extend_i32_u i64.add i64.const 4 i64.gt_u
    if (result i32) i32.const -1 else local.get 0 memory.grow end)
  (func $grow_table (param funcref i32) (result i32)
    table.size 0 i64.extend_i32_u local.get 1 i64.extend_i32_u i64.add i64.const 8 i64.gt_u
    if (result i32) i32.const -1 else local.get 0 local.get 1 table.grow 0 end)
  (func $setup
    i32.const 2 memory.grow i32.const -1 i32.eq if unreachable end
    ref.null func i32.const 6 table.grow 0 i32.const -1 i32.eq if unreachable end
    i32.const 4096 global.set $sp
    i32.const 1024 i32.const 3000 call $set
    i32.const 0 i32.const 0 i32.const 2 table.init $private $bound
    i32.const 2 i32.const 0 i32.const 2 table.init 0 $own
    i32.const 1 i32.const 0 i32.const 1 call $place
    i32.const 1024 i32.const 0 i32.const 5 memory.init $hello
    i32.const 2000 i32.const 0 i32.const 4 memory.init $words
    call $begin))"""


@dataclass(frozen=True)
class Texts:
    """A blob and its split as text; `{environment}` and `{shared}` stand for the CIDs of the other two."""

    blob: str = BLOB
    environment: str = ENVIRONMENT
    shared: str = SHARED
    remainder: str = REMAINDER

    def changed(self, where: str, old: str, new: str) -> Texts:
        """The same with one piece of one text replaced, which must be there exactly once."""
        text: str = getattr(self, where)
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the {where}"
        return replace(self, **{where: text.replace(old, new)})

    def assembled(self) -> tuple[bytes, bytes, Mapping[str, bytes]]:
        """The blob, the remainder, and the modules by CID; all are valid."""
        environment = assemble(self.environment)
        names = {"environment": cid_of(environment)}
        shared = assemble(_filled(self.shared, names))
        names["shared"] = cid_of(shared)
        remainder, blob = assemble(_filled(self.remainder, names)), assemble(self.blob)
        for module in (blob, environment, shared, remainder):
            assert not invalid_because(module), invalid_because(module)
        return blob, remainder, {names["environment"]: environment, names["shared"]: shared}

    def prove(self) -> None:
        """Prove that the split is its blob."""
        prove(*self.assembled())


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, cid in names.items():
        text = text.replace("{" + name + "}", cid)
    return text
