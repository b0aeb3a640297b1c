"""A load whose address is added to an index: right with the sum checked in the one way that is known, else refused."""

from __future__ import annotations

import pytest

from bacpack.errors import CheckFailedError
from proof.handmade import ENVIRONMENT, Texts

BLOB = """(module
  (memory (export "memory") 1)
  (func $look (param i32) (result i32) (local i64 i32)
    local.get 0 i32.const 3 i32.mul i32.load16_s offset=2000 align=1 local.tee 2
    i32.load8_u offset=3000 local.get 2 i32.add)
  (export "look" (func $look)))"""

#: Its slot holds 1999, which is the first address less one; 2999 is what the second takes.
SHARED = """(module
  (import "{environment}" "load" (func))
  (import "{environment}" "memory" (memory 0))
  (global $slot (mut i32) (i32.const 0))
  (func $look (export "0") (param i32) (result i32) (local i64 i32) (local $b i32) (local $t i32)
    local.get 0 i32.const 3 i32.mul
    local.tee $b global.get $slot i32.add local.tee $t
    i32.const -1 local.get $t local.get $b i32.ge_u select i32.load16_s offset=1 align=1 local.tee 2
    local.tee $b global.get $slot i32.const 1000 i32.add i32.add local.tee $t
    i32.const -1 local.get $t local.get $b i32.ge_u select i32.load8_u offset=1
    local.get 2 i32.add)
  (func (export "S0") (param i32) local.get 0 global.set $slot))"""

REMAINDER = """(module
  (import "{environment}" "load" (func))
  (import "{environment}" "memory" (memory 0))
  (import "{shared}" "0" (func $look (param i32) (result i32)))
  (import "{shared}" "S0" (func $set (param i32)))
  (export "memory" (memory 0)) (export "look" (func $again))
  (start $setup)
  (func $again (param i32) (result i32) local.get 0 call $look)
  (func $setup
    i32.const 1 memory.grow i32.const -1 i32.eq if unreachable end
    i32.const 1999 call $set))"""

RIGHT = Texts(BLOB, ENVIRONMENT, SHARED, REMAINDER)

Change = tuple[str, str, str]

#: More targets than patterns of code take; the index is read after it, and in the same run of code.
_LONG_TABLE = f"(block local.get 0 br_table {'0 ' * 200}) local.get 0 i32.const 3 i32.mul"
_TABLES: list[Change] = [(module, "local.get 0 i32.const 3 i32.mul", _LONG_TABLE) for module in ("blob", "shared")]

_FIRST = "i32.const -1 local.get $t local.get $b i32.ge_u select i32.load16_s offset=1 align=1"
_LOOK = r"function 0 `look` of the blob is not function \d `look` of module \S+: "

ACCEPTED: dict[str, list[Change]] = {
    "as written": [],
    "after a table of very many targets": _TABLES,
    "one load as it is in the blob": [
        ("shared", "local.tee $b global.get $slot i32.const 1000 i32.add i32.add local.tee $t\n    "
                   "i32.const -1 local.get $t local.get $b i32.ge_u select i32.load8_u offset=1",
         "i32.load8_u offset=3000"),
    ],
    "locals declared as one": [
        ("shared", "(local i64 i32) (local $b i32) (local $t i32)", "(local i64 i32) (local $b i32) (local $t i32)"),
        ("blob", "(local i64 i32)", "(local i64) (local i32)"),
    ],
    "a function that grows a memory on the way": [
        ("blob", "local.get 0 i32.const 3 i32.mul", "local.get 0 i32.const 3 i32.mul i32.const 0 memory.grow drop"),
        ("shared", "local.get 0 i32.const 3 i32.mul",
         "local.get 0 i32.const 3 i32.mul i32.const 0 memory.grow drop"),
    ],
}  # fmt: skip

REFUSED: dict[str, tuple[list[Change], str]] = {
    "another address": ([("remainder", "i32.const 1999", "i32.const 2000")], _LOOK + "the offset 2000 became 2001"),
    "an address as if nothing were added": (
        [("shared", _FIRST, _FIRST.replace("offset=1", "offset=0")), ("remainder", "i32.const 1999", "i32.const 2000")],
        _LOOK + "their locals differ",
    ),
    "an address that only wrapped around could be": (
        [
            ("blob", "offset=2000", "offset=0"),
            ("blob", "offset=3000", "offset=1000"),
            ("remainder", "i32.const 1999", "i32.const -1"),
        ],
        _LOOK + "the offset 0 became 4294967296",
    ),
    "a sum that is not checked": (
        [
            ("shared", "local.tee $b global.get $slot i32.add local.tee $t\n", "global.get $slot i32.add\n"),
            ("shared", _FIRST, "i32.load16_s offset=1 align=1"),
        ],
        _LOOK,
    ),
    **{
        what: ([("shared", _FIRST, _FIRST.replace(old, new))], _LOOK)
        for what, old, new in (
            ("a signed comparison", "i32.ge_u", "i32.ge_s"),
            ("the other comparison", "i32.ge_u", "i32.lt_u"),
            ("a comparison that is never true", "i32.ge_u", "i32.gt_u"),
            ("another number in the place of the sum", "i32.const -1", "i32.const -2"),
            ("the other way to compare", "local.get $t local.get $b", "local.get $b local.get $t"),
            ("the sum compared with itself", "local.get $t local.get $b", "local.get $t local.get $t"),
            ("the sum in both cases", "i32.const -1 local.get $t", "local.get $t local.get $t"),
            ("another alignment", "align=1", "align=2"),
            ("another load", "i32.load16_s", "i32.load16_u"),
            ("another offset", "offset=1", "offset=2"),
        )
    },
    "the sum in a local of the blob": (
        [("shared", "global.get $slot i32.add local.tee $t", "global.get $slot i32.add local.tee 2")],
        _LOOK,
    ),
    "the index in a local of the blob": (
        [("shared", "i32.mul\n    local.tee $b", "i32.mul\n    local.tee 2")], _LOOK,
    ),
    "a difference": ([("shared", "global.get $slot i32.add local", "global.get $slot i32.sub local")], _LOOK),
    "the locals in the other order": (
        [("shared", "(local $b i32) (local $t i32)", "(local $t i32) (local $b i32)")], _LOOK + "their locals differ",
    ),
    "another local after them": ([("shared", "(local $t i32)", "(local $t i32) (local i32)")], _LOOK),
    "a read of the index elsewhere": (
        [("shared", "local.get 2 i32.add)", "local.get $b i32.add)")], _LOOK + "their locals differ",
    ),
    "a read of the index elsewhere, after a table of very many targets": (
        [*_TABLES, ("shared", "local.get 2 i32.add)", "local.get $b i32.add)")], _LOOK + "their locals differ",
    ),
    "a read of the sum elsewhere": (
        [("shared", "local.get 2 i32.add)", "local.get $t i32.add)")], _LOOK + "their locals differ",
    ),
    "the index set elsewhere": (
        [("shared", "local.get 2 i32.add)", "local.get 2 local.tee $b i32.add)")], _LOOK + "their locals differ",
    ),
    "another local too many in the blob": (
        [("blob", "(local i64 i32)", "(local i64 i32 i32)")], _LOOK + "their locals differ",
    ),
    "a store": (
        [
            ("blob", "local.get 2 i32.add)", "local.get 2 i32.add local.get 0 i32.const 5 i32.store offset=2000)"),
            ("shared", "local.get 2 i32.add)", """local.get 2 i32.add local.get 0 i32.const 5
              local.tee $b global.get $slot i32.add local.tee $t
              i32.const -1 local.get $t local.get $b i32.ge_u select i32.store offset=1)"""),
        ],
        _LOOK + "their locals differ",
    ),
}  # fmt: skip


def changed(changes: list[Change]) -> Texts:
    texts = RIGHT
    for change in changes:
        texts = texts.changed(*change)
    return texts


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_a_checked_sum_is_accepted(changes: list[Change]) -> None:
    changed(changes).prove()


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_any_other_is_refused(changes: list[Change], message: str) -> None:
    with pytest.raises(CheckFailedError, match=message):
        changed(changes).prove()
