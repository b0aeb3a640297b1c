"""A program with several globals and 64-bit slots, and its split: right as it stands, and refused with one change."""

from __future__ import annotations

import pytest

from bacpack.errors import CheckFailedError
from proof.handmade import Texts

BLOB = """(module
  (memory (export "memory") 1)
  (global $sp (mut i32) (i32.const 4096))
  (global $context (mut i64) (i64.const 70000))
  (global $result (mut i64) (i64.const 0))
  (global $pause (mut i32) (i32.const 0))
  (global $own (mut i64) (i64.const 3))
  (func $step (param i32) (result i32)
    global.get $sp i32.const 16 i32.sub global.set $sp
    global.get $sp i64.const 327680 i64.store
    global.get $context i64.const 1099511627776 i64.add global.set $context
    global.get $result i64.const 327681 i64.add global.set $result
    i64.const -9223372036854775808 global.set $result
    i32.const 2000 global.set $pause
    global.get $sp)
  (func (export "run") (param i32) (result i32)
    global.get $own i64.const 5000000000 i64.mul global.set $own
    local.get 0 call $step)
  (export "result" (global $result)))"""

ENVIRONMENT = """(module
  (func (export "load"))
  (memory (export "memory") 0)
  (table (export "table") 0 funcref)
  (global (export "stack_pointer") (mut i32) (i32.const 0))
  (global (export "i1") (mut i32) (i32.const 0))
  (global (export "l0") (mut i64) (i64.const 0))
  (global (export "l1") (mut i64) (i64.const 0)))"""

#: Its slots hold 2000, 327680 (also read for 327681), 2**40 and -2**63.
SHARED = """(module
  (import "{environment}" "load" (func))
  (import "{environment}" "memory" (memory 0))
  (import "{environment}" "stack_pointer" (global $sp (mut i32)))
  (import "{environment}" "i1" (global $pause (mut i32)))
  (import "{environment}" "l0" (global $context (mut i64)))
  (import "{environment}" "l1" (global $result (mut i64)))
  (global $a (mut i32) (i32.const 0))
  (global $b (mut i64) (i64.const 0))
  (global $c (mut i64) (i64.const 0))
  (global $d (mut i64) (i64.const 0))
  (func $step (export "0") (param i32) (result i32)
    global.get $sp i32.const 16 i32.sub global.set $sp
    global.get $sp global.get $b i64.store
    global.get $context global.get $c i64.add global.set $context
    global.get $result global.get $b i64.const 1 i64.add i64.add global.set $result
    global.get $d global.set $result
    global.get $a global.set $pause
    global.get $sp)
  (func (export "S0") (param i32 i64 i64 i64)
    local.get 0 global.set $a local.get 1 global.set $b local.get 2 global.set $c local.get 3 global.set $d))"""

REMAINDER = """(module
  (import "{environment}" "load" (func))
  (import "{environment}" "memory" (memory 0))
  (import "{environment}" "stack_pointer" (global $sp (mut i32)))
  (import "{environment}" "i1" (global $pause (mut i32)))
  (import "{environment}" "l0" (global $context (mut i64)))
  (import "{environment}" "l1" (global $result (mut i64)))
  (import "{shared}" "0" (func $step (param i32) (result i32)))
  (import "{shared}" "S0" (func $set (param i32 i64 i64 i64)))
  (global $own (mut i64) (i64.const 3))
  (export "memory" (memory 0)) (export "run" (func $run)) (export "result" (global $result))
  (start $setup)
  (func $run (param i32) (result i32)
    global.get $own i64.const 5000000000 i64.mul global.set $own
    local.get 0 call $step)
  (func $setup
    i32.const 1 memory.grow i32.const -1 i32.eq if unreachable end
    i32.const 4096 global.set $sp
    i64.const 70000 global.set $context
    i64.const 0 global.set $result
    i32.const 0 global.set $pause
    i32.const 2000 i64.const 327680 i64.const 1099511627776 i64.const -9223372036854775808 call $set))"""

RIGHT = Texts(BLOB, ENVIRONMENT, SHARED, REMAINDER)

Change = tuple[str, str, str]


def swapped(where: str, one: str, two: str) -> list[Change]:
    """One module imports two registers each in the place of the other."""
    aside = (where, f'"{one}" (global', '"aside" (global')
    return [aside, (where, f'"{two}" (global', f'"{one}" (global'), (where, aside[2], f'"{two}" (global')]


ACCEPTED: dict[str, Change] = {
    "registers in another order": (
        "environment",
        """(global (export "l0") (mut i64) (i64.const 0))
  (global (export "l1") (mut i64) (i64.const 0))""",
        """(global (export "l1") (mut i64) (i64.const 0))
  (global (export "l0") (mut i64) (i64.const 0))""",
    ),
    "a register that nobody uses": (
        "remainder",
        '(import "{shared}" "0"',
        '(import "{environment}" "stack_pointer" (global (mut i32))) (import "{shared}" "0"',
    ),
    "a computed slot": (
        "remainder", "i64.const 1099511627776", "i64.const 1048576 i64.const 1048576 i64.mul",
    ),
    "a slot that wraps around": (
        "remainder", "i64.const -9223372036854775808 call", "i64.const 9223372036854775807 i64.const 1 i64.add call",
    ),
}  # fmt: skip

REFUSED: dict[str, tuple[list[Change], str]] = {
    "a wrong 64-bit slot value": (
        [("remainder", "i64.const 1099511627776", "i64.const 1099511627777")],
        r"function 0 `step` .* the constant 1099511627776 became 1099511627777",
    ),
    "a slot whose upper half is wrong": (
        [("remainder", "i64.const 1099511627776", "i64.const 0")],
        r"the constant 1099511627776 became 0",
    ),
    "a slot with another sign": (
        [("remainder", "i64.const -9223372036854775808 call", "i64.const 9223372036854775807 call")],
        r"the constant 9223372036854775808 became 9223372036854775807",
    ),
    "two 64-bit slots in the other order": (
        [("remainder", "i64.const 327680 i64.const 1099511627776", "i64.const 1099511627776 i64.const 327680")],
        r"the constant 327680 became 1099511627776",
    ),
    "a wrong 32-bit slot value beside": (
        [("remainder", "i32.const 2000 i64.const 327680", "i32.const 2001 i64.const 327680")],
        r"the constant 2000 became 2001",
    ),
    "what is added to a 64-bit slot": (
        [("shared", "global.get $b i64.const 1 i64.add", "global.get $b i64.const 2 i64.add")],
        r"the constant 327681 became 327682",
    ),
    "a slot that is subtracted from": (
        [("shared", "global.get $b i64.const 1 i64.add", "global.get $b i64.const 1 i64.sub")],
        r"function 0 `step` of the blob is not function 1 `step`",
    ),
    "a setter that sets another slot": (
        [("shared", "local.get 3 global.set $d", "local.get 3 global.set $c")],
        r"the constant 1099511627776 became 9223372036854775808",
    ),
    "a slot that is a register": (
        [("shared", "global.get $d global.set $result\n", "global.get $context global.set $result\n")],
        r"function 0 `step` of the blob is not function 1 `step` of module \S+: `i64.const` became `global.get`",
    ),
    "a register that is a slot": (
        [("shared", "global.get $context global.get $c", "global.get $d global.get $c")],
        r"function 0 `step` of the blob is not function 1 `step`",
    ),
    "a wrong register": (
        [("shared", "global.get $context global.get $c", "global.get $result global.get $c")],
        r"global [12] of the blob stands for two different ones",
    ),
    "a wrong register that is set": (
        [("shared", "global.get $d global.set $result\n", "global.get $d global.set $context\n")],
        r"stands for two different ones",
    ),
    "swapped registers in the shared module": (
        swapped("shared", "l0", "l1"),
        r"global [12] of the blob (is `i64 \d+` and became|stands for two different ones)",
    ),
    "registers swapped between shared module and remainder": (
        swapped("remainder", "l0", "l1"),
        r"global [12] of the blob (is `i64 \d+` and became|stands for two different ones)",
    ),
    "swapped 32-bit registers": (
        swapped("shared", "stack_pointer", "i1"),
        r"global [03] of the blob is `i32 \d+` and became `i32 \d+`",
    ),
    "one register for two globals": (
        [("shared", '"l1" (global', '"l0" (global'), ("remainder", '"l1" (global', '"l0" (global'),
         ("remainder", "i64.const 0 global.set $result", ""),
         ("blob", "$result (mut i64) (i64.const 0)", "$result (mut i64) (i64.const 70000)")],
        r"global [12] of the blob stands for two different ones",
    ),
    "a register that starts with another value": (
        [("remainder", "i64.const 70000 global.set $context", "i64.const 70001 global.set $context")],
        r"global 1 of the blob is `i64 70000` and became `i64 70001`",
    ),
    "a register that is never set": (
        [("remainder", "i64.const 70000 global.set $context", "")],
        r"global 1 of the blob is `i64 70000` and became `i64 0`",
    ),
    "an export that is another register": (
        [("remainder", '(export "result" (global $result))', '(export "result" (global $context))')],
        r"global 2 of the blob (is `i64 0` and became `i64 70000`|stands for two different ones)",
    ),
    "an export that is a copy of the register": (
        [("remainder", '(export "result" (global $result))',
          '(global $copy (mut i64) (i64.const 0)) (export "result" (global $copy))')],
        r"global 2 of the blob stands for two different ones",
    ),
    "a global of its own in a register's place": (
        [("remainder", "global.get $own i64.const 5000000000 i64.mul global.set $own",
          "global.get $own i64.const 5000000000 i64.mul global.set $result")],
        r"global [24] of the blob (has|is|stands for)",
    ),
    "a 64-bit constant of the remainder": (
        [("remainder", "i64.const 5000000000", "i64.const 5000000001")],
        r"the constant 5000000000 became 5000000001",
    ),
}  # fmt: skip


def changed(*changes: Change) -> Texts:
    texts = RIGHT
    for change in changes:
        texts = texts.changed(*change)
    return texts


def test_it_is_right_as_it_stands() -> None:
    RIGHT.prove()


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_means_the_same_is_accepted(name: str) -> None:
    changed(ACCEPTED[name]).prove()


@pytest.mark.parametrize("name", REFUSED)
def test_each_change_is_refused(name: str) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(CheckFailedError, match=message) as caught:
        changed(*changes).prove()
    assert caught.value.code == "not-equivalent"
