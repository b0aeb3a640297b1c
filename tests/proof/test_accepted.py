"""Splits that are right in whatever way they are written."""

from __future__ import annotations

import pytest

from proof.handmade import Texts

Change = tuple[str, str, str]

ACCEPTED: dict[str, list[Change]] = {
    "as written": [],
    "a slot read plus nothing": [
        ("shared", "global.get $first i32.add", "global.get $first i32.const 0 i32.add i32.add"),
    ],
    "a constant in place of a slot": [("shared", "global.get $first i32.add", "i32.const 1024 i32.add")],
    "an address left in the offset": [("shared", "global.get $second i32.const -1000 i32.add i32.load",
                                       "i32.const 0 i32.load offset=2000")],
    "an address shared by constant and offset": [
        ("shared", "global.get $second local.get 2 i32.store", "i32.const 2000 local.get 2 i32.store offset=1000"),
    ],
    "a slot and an offset": [
        ("shared", "global.get $second i32.const -1000 i32.add i32.load",
         "global.get $second i32.const -3000 i32.add i32.load offset=2000"),
    ],
    "a sum of constants in the blob": [("blob", "i32.const 1024 i32.add i32.load8_u",
                                        "i32.const 1000 i32.const 24 i32.add i32.add i32.load8_u")],
    "a sum that wraps around": [("blob", "i32.const 1024 i32.add i32.load8_u",
                                 "i32.const -2 i32.const 1026 i32.add i32.add i32.load8_u")],
    "the segments in one": [
        ("remainder", '(data $hello "hello") (data $words "\\01\\02\\03\\04")',
         '(data $hello "lohello") (data $words "\\00\\01\\02\\03\\04\\00")'),
        ("remainder", "i32.const 1024 i32.const 0 i32.const 5 memory.init $hello",
         "i32.const 1024 i32.const 2 i32.const 5 memory.init $hello"),
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 1999 i32.const 0 i32.const 6 memory.init $words"),
    ],
    "data stored as numbers": [
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 2000 i32.const 0x04030201 i32.store"),
    ],
    "data stored in parts, at offsets, over other bytes": [
        ("remainder", "i32.const 1024 i32.const 0 i32.const 5 memory.init $hello",
         "i32.const 1000 i32.const 0x6f i32.store8 offset=28 i32.const 1020 i64.const 0x6c6c656800000000 i64.store"),
        ("remainder", "i32.const 2000 i32.const 0 i32.const 4 memory.init $words",
         "i32.const 2000 i32.const -1 i32.store i32.const 2002 i32.const 0xff0403 i32.store16 align=1 "
         "i32.const 2000 i32.const 0x0201 i32.store16"),
    ],
    "the table filled one by one": [
        ("remainder", "i32.const 2 i32.const 0 i32.const 2 table.init 0 $own",
         "i32.const 3 i32.const 1 i32.const 1 table.init 0 $own i32.const 2 i32.const 0 i32.const 1 table.init 0 $own"),
    ],
    "a slot set twice": [("remainder", "i32.const 1024 i32.const 3000 call $set",
                          "i32.const 1 i32.const 2 call $set i32.const 1024 i32.const 3000 call $set")],
    "a computed stack pointer": [("remainder", "i32.const 4096 global.set $sp",
                                  "i32.const 4000 i32.const 96 i32.add global.set $sp")],
    "a forwarder to a forwarder": [("remainder", "(func $again (type $unary) local.get 0 call $scale)",
                                    """(func $again (type $unary) local.get 0 call $further)
                                    (func $further (type $unary) local.get 0 call $scale)""")],
    "a forwarder in the blob": [("blob", '(export "again" (func $scale))',
                                 '(export "again" (func $other)) (func $other (type $unary) local.get 0 call $scale)')],
    "a late-bound forwarder": [
        ("shared", '(func (export "S0")', """(func (export "2") (type $unary)
            local.get 0 i32.const 0 call_indirect $private (type $unary)) (func (export "S0")"""),
        ("remainder", '(import "{shared}" "S0"', '(import "{shared}" "2" (func $tell2 (type $unary)))'
                      ' (import "{shared}" "S0"'),
        ("remainder", "(func $begin (call $tell (i32", "(func $begin (call $tell2 (i32"),
    ],
    "a copy of a function": [("remainder", "local.get 0 call $scale\n", "local.get 0 call $copy\n"),
                             ("remainder", "(func $pass", """(func $copy (type $unary) (local i32 i32 i64)
    global.get $sp i32.const 16 i32.sub local.tee 1 global.set $sp
    local.get 0 i32.const 1024 i32.add i32.load8_u i32.const 2000 i32.load
    i32.add local.set 2 i32.const 3000 local.get 2 i32.store local.get 2 call $tell
    local.get 1 i32.const 16 i32.add global.set $sp) (func $pass""")],
    "locals declared one by one": [("blob", "(local i32 i32 i64)\n", "(local i32) (local i32) (local i64)\n")],
    "the same function twice in the blob": [
        ("blob", "(start $begin)", "(start $begin) (func $tell2 (type $unary) global.get $seed i64.const 3 i64.mul "
                                   "global.set $seed local.get 0 call $note)"),
        ("blob", "local.get 2 call $tell\n", "local.get 2 call $tell2\n"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_what_behaves_alike_is_accepted(changes: list[Change]) -> None:
    texts = Texts()
    for change in changes:
        texts = texts.changed(*change)
    texts.prove()
