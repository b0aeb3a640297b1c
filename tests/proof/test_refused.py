"""One thing changed in a right split: each change is refused, and the message names it."""

from __future__ import annotations

import pytest

from bacpack.errors import CheckFailedError
from bacpack.proof.equivalence.prover import prove
from proof.handmade import Texts
from wasmtools import assemble

# What is changed (where, from what, to what), and what the message must say.
Change = tuple[str, str, str]

STATE: dict[str, tuple[Change, str]] = {
    "a slot's value": (
        ("remainder", "i32.const 1024 i32.const 3000 call $set", "i32.const 1028 i32.const 3000 call $set"),
        r"function 3 `scale` of the blob is not function 1 `scale` of module \S+: "
        r"the constant 1024 became 1028 at byte 11 of its code",
    ),
    "a slot's value that is an address": (
        ("remainder", "i32.const 1024 i32.const 3000 call $set", "i32.const 1024 i32.const 3004 call $set"),
        r"function 3 `scale` .* the address 2000 became 2004 at byte 18 of its code",
    ),
    "two slots in the other order": (
        ("remainder", "i32.const 1024 i32.const 3000 call $set", "i32.const 3000 i32.const 1024 call $set"),
        r"function 3 `scale` .* the constant 1024 became 3000",
    ),
    "slots never set": (
        ("remainder", "i32.const 1024 i32.const 3000 call $set", ""),
        r"function 3 `scale` .* the constant 1024 became 0",
    ),
    "an entry of the private table": (
        ("remainder", "(elem $bound func $tell $odd)", "(elem $bound func $begin $odd)"),
        r"function 2 `tell` of the blob has another type than function \d+ `begin` of the remainder \(used by",
    ),
    "entries of the private table in another order": (
        ("remainder", "(elem $bound func $tell $odd)", "(elem $bound func $odd $tell)"),
        r"function 2 `tell` of the blob is not function \d+ `odd` of the remainder: `global.get` became `local.get`",
    ),
    "an entry of the private table never filled": (
        ("remainder", "i32.const 0 i32.const 0 i32.const 2 table.init $private $bound",
         "i32.const 0 i32.const 0 i32.const 1 table.init $private $bound"),
        r"entry 1 of the private table of module \S+ is called and holds no function",
    ),
    "a byte of data": (
        ("remainder", '(data $hello "hello")', '(data $hello "hellp")'),
        r"memory 0 of the blob holds at address 1028 the byte 0x6f and became 0x70",
    ),
    "data at another address": (
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 2001 i32.const 0 i32.const 4 memory.init $words"),
        r"memory 0 of the blob holds at address 2000 the byte 0x01 and became 0x00",
    ),
    "less data": (
        ("remainder", "i32.const 0 i32.const 5 memory.init $hello", "i32.const 0 i32.const 4 memory.init $hello"),
        r"memory 0 of the blob holds at address 1028 the byte 0x6f and became 0x00",
    ),
    "another number stored": (
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 2000 i32.const 0x04030301 i32.store"),
        r"memory 0 of the blob holds at address 2001 the byte 0x02 and became 0x03",
    ),
    "a number stored elsewhere": (
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 2000 i32.const 0x04030201 i32.store offset=1"),
        r"memory 0 of the blob holds at address 2000 the byte 0x01 and became 0x00",
    ),
    "a number stored with fewer bytes": (
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 2000 i32.const 0x04030201 i32.store16"),
        r"memory 0 of the blob holds at address 2002 the byte 0x03 and became 0x00",
    ),
    "a number stored with more bytes": (
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 2000 i64.const 0x0504030201 i64.store"),
        r"memory 0 of the blob holds at address 2004 the byte 0x00 and became 0x05",
    ),
    "a number stored beyond the memory": (
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 2000 i32.const 0x04030201 i32.store i32.const -1 i32.const 0 i32.store8 offset=1"),
        r"the remainder, unlike the blob, traps when it is instantiated: .* do not fit at address 4294967296",
    ),
    "data beyond its segment": (
        ("remainder", "i32.const 0 i32.const 5 memory.init $hello", "i32.const 0 i32.const 6 memory.init $hello"),
        r"the remainder, unlike the blob, traps when it is instantiated: .*6 that are copied from 0",
    ),
    "data beyond the memory": (
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 131069 i32.const 0 i32.const 4 memory.init $words"),
        r"the remainder, unlike the blob, traps when it is instantiated: 4 bytes of data do not fit at address 131069",
    ),
    "the table in another order": (
        ("remainder", "(elem $own func $pass $tell)", "(elem $own func $tell $pass)"),
        r"function 2 `tell` of the blob became `host.note` of the host \(entry 3 of table 0 of the blob\)",
    ),
    "an entry of the table left empty": (
        ("remainder", "i32.const 2 i32.const 0 i32.const 2 table.init 0 $own",
         "i32.const 2 i32.const 0 i32.const 1 table.init 0 $own"),
        r"entry 3 of table 0 of the blob is function 2 `tell` of the blob and became `ref.null 0`",
    ),
    "an entry of the table too many": (
        ("remainder", "i32.const 1 i32.const 0 i32.const 1 call $place",
         "i32.const 1 i32.const 0 i32.const 1 call $place i32.const 5 i32.const 0 i32.const 1 call $place"),
        r"entry 5 of table 0 of the blob is `ref.null 0` and became function \d+ `scale` of module",
    ),
    "a host function in the table": (
        ("remainder", "(elem $own func $pass $tell)", "(elem $own func $note $tell)"),
        r"entry 2 of table 0 of the blob is `host.note` of the host, which any module could call there",
    ),
    "a host function in the private table": (
        ("remainder", "(elem $bound func $tell $odd)", "(elem $bound func $note $odd)"),
        r"entry 0 of the private table of module \S+ is `host.note` of the host, which any module could call there",
    ),
    "a smaller memory": (
        ("remainder", "i32.const 2 memory.grow", "i32.const 1 memory.grow"),
        r"memory 0 of the blob has 2 pages and became one of 1",
    ),
    "a larger memory": (
        ("remainder", "i32.const 2 memory.grow", "i32.const 3 memory.grow"),
        r"memory 0 of the blob has 2 pages and became one of 3",
    ),
    "another size of table": (
        ("remainder", "ref.null func i32.const 6 table.grow 0", "ref.null func i32.const 7 table.grow 0"),
        r"table 0 of the blob has 6 entries and became one of 7",
    ),
    "growing that may fail unseen": (
        ("remainder", "i32.const 2 memory.grow i32.const -1 i32.eq if unreachable end", "i32.const 2 memory.grow drop"),
        r"the start function runs `memory.grow` in the remainder: its failure is not turned into a trap",
    ),
    "the stack pointer": (
        ("remainder", "i32.const 4096 global.set $sp", "i32.const 4112 global.set $sp"),
        r"global 0 of the blob is `i32 4096` and became `i32 4112`",
    ),
    "another global": (
        ("remainder", "(global $seed (mut i64) (i64.const 7))", "(global $seed (mut i64) (i64.const 8))"),
        r"global 1 of the blob is `i64 7` and became `i64 8`",
    ),
    "the start function never called": (
        ("remainder", "    call $begin))", "))"),
        r"the start function of the remainder does not end by calling that of the blob",
    ),
    "no start function at all": (
        ("remainder", "(start $setup)", ""),
        r"the start function of the blob is never called: the remainder has none",
    ),
    "another start function": (
        ("remainder", "    call $begin))", "    call $fill))"),
        r"function 1 `begin` of the blob is not function \d+ `fill` of the remainder: .* \(the start function\)",
    ),
    "a start function that the blob lacks": (
        ("blob", "(start $begin)", ""),
        r"the start function runs `call` in the remainder: the function called has results, or more locals than",
    ),
    "a start function that calls the host": (
        ("remainder", "i32.const 4096 global.set $sp", "i32.const 4096 global.set $sp i32.const 1 call $note drop"),
        r"the start function runs `call` in the remainder: it calls the host",
    ),
    "a start function with a branch": (
        ("remainder", "i32.const 4096 global.set $sp", "i32.const 4096 global.set $sp block br 0 end"),
        r"the start function runs `block` in the remainder: the start function may only set things up",
    ),
    "a passive segment": (
        ("remainder", '(data $late "passive")', '(data $late "passive ")'),
        r"data 2 of the blob holds other bytes \(used by function 9 of the blob\)",
    ),
}  # fmt: skip

CODE: dict[str, tuple[Change, str]] = {
    "an instruction": (
        ("shared", "local.get 2 i32.const 0 call_indirect $private (type $unary)\n    local.get 1 i32.const 16 i32.add",
         "local.get 2 i32.const 0 call_indirect $private (type $unary)\n    local.get 1 i32.const 16 i32.sub"),
        r"function 3 `scale` of the blob is not function 1 `scale` of module \S+: "
        r"`i32.add` became `i32.sub` at byte 43 of its code",
    ),
    "an instruction of the remainder": (
        ("remainder", "local.get 0 call $even i32.add", "local.get 0 call $even i32.sub"),
        r"function 6 of the blob is not function \d+ `run` of the remainder: `i32.add` became `i32.sub` at byte 8",
    ),
    "a constant": (
        ("shared", "$sp i32.const 16 i32.sub local.tee 1", "$sp i32.const 32 i32.sub local.tee 1"),
        r"function 3 `scale` .* the constant 16 became 32 at byte 2",
    ),
    "a long constant": (
        ("remainder", "global.get $seed i64.const 3 i64.mul", "global.get $seed i64.const 300 i64.mul"),
        r"function 2 `tell` .* the constant 3 became 300",
    ),
    "a local": (
        ("shared", "1 i32.const 16 i32.add global.set $sp)", "2 i32.const 16 i32.add global.set $sp)"),
        r"function 3 `scale` .* `local.get` has other operands at byte 39",
    ),
    "the locals": (
        ("shared", "(func $scale (export \"0\") (type $unary) (local i32 i32 i64)",
         "(func $scale (export \"0\") (type $unary) (local i32 i32 f64)"),
        r"function 3 `scale` .* their locals differ",
    ),
    "what is added to a slot": (
        ("shared", "global.get $second i32.const -1000 i32.add", "global.get $second i32.const -999 i32.add"),
        r"function 3 `scale` .* the address 2000 became 2001",
    ),
    "an offset": (
        ("shared", "global.get $second local.get 2 i32.store", "global.get $second local.get 2 i32.store offset=4"),
        r"function 3 `scale` .* the address 3000 became 3004",
    ),
    "an offset of an access at no constant": (
        ("shared", "i32.add i32.load8_u", "i32.add i32.load8_u offset=1"),
        r"function 3 `scale` .* the offset 0 became 1",
    ),
    "an address that is moved where others see it": (
        ("shared", "local.get 0 global.get $first i32.add i32.load8_u",
         "local.get 0 i32.const 0 i32.add i32.load8_u offset=1024"),
        r"function 3 `scale` .* the constant 1024 became 0",
    ),
    "the width of an access": (
        ("shared", "global.get $first i32.add i32.load8_u", "global.get $first i32.add i32.load8_s"),
        r"function 3 `scale` .* `i32.load8_u` became `i32.load8_s`",
    ),
    "the alignment of an access": (
        ("shared", "global.get $second local.get 2 i32.store", "global.get $second local.get 2 i32.store align=1"),
        r"function 3 `scale` .* `i32.store` has other operands",
    ),
    "a callee": (
        ("remainder", "local.get 0 call $even i32.add", "local.get 0 call $odd i32.add"),
        r"function 4 `even` of the blob is not function \d+ `odd` of the remainder",
    ),
    "a late-bound callee": (
        ("shared", "i32.sub i32.const 1 call_indirect $private", "i32.sub i32.const 0 call_indirect $private"),
        r"function 5 `odd` of the blob is not function \d+ `tell` of the remainder: .* \(used by function 4 `even`",
    ),
    "a call through another table": (
        ("remainder", "i32.const 3 call_indirect (type $unary)", "i32.const 3 call_indirect $private (type $unary)"),
        r"function 6 of the blob is not function 9 `run` of the remainder: `i32.const` has other operands",
    ),
    "a call that leaves no frame": (
        ("remainder", "return_call $even end)", "call $even end)"),
        r"function 5 `odd` .* `return_call` became `call`",
    ),
    "code that sets a slot": (
        ("shared", "local.get 2 i32.const 0 call_indirect $private (type $unary)\n",
         "local.get 2 i32.const 0 call_indirect $private (type $unary)\n local.get 1 global.set $first\n"),
        r"function 3 `scale` .* `i32.const` became `global.set` at byte 41",
    ),
    "a wider bound on growing": (
        ("remainder", "i64.add i64.const 4 i64.gt_u", "i64.add i64.const 5 i64.gt_u"),
        r"function 7 of the blob is not function \d+ `grow_memory` of the remainder",
    ),
    "a bound that is compared with sign": (
        ("remainder", "i64.add i64.const 4 i64.gt_u", "i64.add i64.const 4 i64.gt_s"),
        r"function 7 of the blob is not function \d+ `grow\S*` of the remainder",
    ),
    "growing without a bound": (
        ("remainder", "(func $grow (type $unary) local.get 0 call $grow_memory)",
         "(func $grow (type $unary) local.get 0 memory.grow)"),
        r"function 7 of the blob is not function \d+ `grow` of the remainder: `memory.grow` has other operands",
    ),
    "a table that grows without a bound": (
        ("remainder", "ref.null func local.get 0 call $grow_table", "ref.null func local.get 0 table.grow 0"),
        r"function 8 of the blob is not function \d+ `widen` of the remainder: `table.grow` has other operands",
    ),
    "a bound on another table": (
        ("remainder", "i64.const 8 i64.gt_u", "i64.const 9 i64.gt_u"),
        r"function 8 of the blob is not function \d+ `widen` of the remainder: `table.grow` became `call`",
    ),
    "an export that is another function": (
        ("remainder", '(export "run" (func $run))', '(export "run" (func $odd))'),
        r"function 6 of the blob is not function \d+ `odd` of the remainder: .* \(exported as `run`\)",
    ),
    "an export that is missing": (
        ("remainder", '(export "again" (func $again))', ""),
        r"the export `again` is missing, was added, or is of another kind",
    ),
    "an export too many": (
        ("remainder", '(export "again" (func $again))', '(export "again" (func $again)) (export "more" (func $odd))'),
        r"the export `more` is missing, was added, or is of another kind",
    ),
    "another segment": (
        ("remainder", "i32.const 7 memory.init $late", "i32.const 7 memory.init $hello"),
        r"data 2 of the blob stands for two different ones \(used by function 9 of the blob\)",
    ),
    "a forwarder that changes a parameter": (
        ("remainder", "(func $again (type $unary) local.get 0 call $scale)",
         "(func $again (type $unary) i32.const 0 call $scale)"),
        r"function 3 `scale` of the blob is not function \d+ `again` of the remainder: their locals differ",
    ),
}  # fmt: skip

MODULES: dict[str, tuple[Change, str]] = {
    "a host function in a shared module": (
        ("shared", '(import "{environment}" "load" (func))', '(import "host" "note" (func (type $unary)))'),
        r"module \S+ imports `host` from the host",
    ),
    "a host function too many": (
        ("remainder", '(import "host" "note" (func $note (type $unary)))',
         '(import "host" "note" (func $note (type $unary))) (import "host" "more" (func))'),
        r"the remainder imports `host.more` from the host, unlike the blob",
    ),
    "a host function of another type": (
        ("blob", '(import "host" "note" (func $note (type $unary)))',
         '(import "host" "other" (func $note (type $unary)))'),
        r"the remainder imports `host.note` from the host, unlike the blob",
    ),
    "a module that runs code of its own": (
        ("shared", "(elem $placed func $scale)", "(elem $placed func $scale) (start $begin) (func $begin)"),
        r"module \S+ runs code of its own",
    ),
    "a memory that is there from the start": (
        ("environment", '(memory (export "memory") 0)', '(memory (export "memory") 1)'),
        r"memory 0 of the blob has 2 pages and became one of 3",
    ),
    "a memory with a maximum": (
        ("environment", '(memory (export "memory") 0)', '(memory (export "memory") 0 3)'),
        r"memory 0 of the blob has other limits",
    ),
    "a table that is there from the start": (
        ("environment", '(table (export "table") 0 funcref)', '(table (export "table") 1 funcref)'),
        r"grows a table that is the host's or not empty",
    ),
    "what a module does not export": (
        ("shared", '(func $even (export "1")', '(func $even (export "one")'),
        r"the remainder imports a function `1` that module \S+ does not export",
    ),
    "what a module exports with another type": (
        ("shared", '(func (export "S0") (param i32 i32)', '(func (export "S0") (param i32 i32 i32)'),
        r"the remainder imports `S0` with another type than module \S+ exports it",
    ),
}  # fmt: skip

REFUSED = STATE | CODE | MODULES


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_change_is_refused_by_name(change: Change, message: str) -> None:
    with pytest.raises(CheckFailedError, match=message) as caught:
        Texts().changed(*change).prove()
    assert caught.value.code == "not-equivalent"


def test_what_the_host_provides_is_named_as_the_host_names_it() -> None:
    imports = '(import "h" "a" (global i32)) (import "h" "b" (global i32))'
    blob = assemble(f'(module {imports} (export "a" (global 0)) (export "b" (global 1)))')
    split = assemble(f'(module {imports} (export "a" (global 1)) (export "b" (global 0)))')
    with pytest.raises(CheckFailedError, match=r"global `h\.[ab]` of the host is the host's in one"):
        prove(blob, split, {})
