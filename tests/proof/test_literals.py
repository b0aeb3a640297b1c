"""A read of a global that never changes is the constant that it holds; any other read of a global is not."""

from __future__ import annotations

import pytest

from bacpack.errors import CheckFailedError
from proof.handmade import Texts

Change = tuple[str, str, str]

_SEED = "  (global $seed (mut i64) (i64.const 7))\n"
_ADDRESS = "i32.const 1024 i32.add i32.load8_u"


def reading(declared: str, code: str = "global.get $where") -> list[Change]:
    """The blob reads a global in the place of the constant 1024, which is a slot in the shared module."""
    return [("blob", _SEED, f"{_SEED}  {declared}\n"), ("blob", _ADDRESS, f"{code} i32.add i32.load8_u")]


ACCEPTED: dict[str, list[Change]] = {
    "a constant": reading("(global $where i32 (i32.const 1024))"),
    "arithmetic": reading("(global $where i32 (i32.add (i32.const -1) (i32.mul (i32.const 25) (i32.const 41))))"),
    "arithmetic that wraps around": reading("(global $where i32 (i32.mul (i32.const 0x40000100) (i32.const 4)))"),
    "another global": reading(
        "(global $base i32 (i32.const 1000)) (global $where i32 (i32.add (global.get $base) (i32.const 24)))"
    ),
    "a global plus a constant": reading(
        "(global $where i32 (i32.const 1000))", "global.get $where i32.const 24 i32.add"
    ),
    "an exported global": [
        *reading('(global $where (export "where") i32 (i32.const 1024))'),
        ("remainder", '(export "memory"', '(global (export "where") i32 (i32.const 1024)) (export "memory"'),
    ],
    "the zero that an address is added to": [
        ("blob", _SEED, f"{_SEED}  (global $zero i32 (i32.const 0))\n"),
        ("blob", "i32.const 0 i32.load offset=2000", "global.get $zero i32.load offset=2000"),
    ],
    "the number of an entry": [
        ("blob", _SEED, f"{_SEED}  (global $three i32 (i32.const 3))\n"),
        ("blob", "i32.const 3 call_indirect", "global.get $three call_indirect"),
    ],
    "a global of the remainder": [
        ("remainder", "(global $seed (mut i64) (i64.const 7))",
         "(global $seed (mut i64) (i64.const 7)) (global $three i64 (i64.const 3))"),
        ("remainder", "global.get $seed i64.const 3", "global.get $seed global.get $three"),
    ],
    "a global of blob and remainder": [
        ("blob", _SEED, f"{_SEED}  (global i64 (i64.const 9)) (global $three i64 (i64.const 3))\n"),
        ("blob", "global.get $seed i64.const 3", "global.get $seed global.get $three"),
        ("remainder", "(global $seed (mut i64) (i64.const 7))",
         "(global $seed (mut i64) (i64.const 7)) (global $three i64 (i64.const 3))"),
        ("remainder", "global.get $seed i64.const 3", "global.get $seed global.get $three"),
    ],
}  # fmt: skip

_IMPORT = ("blob", "(memory (export", '(import "host" "where" (global $where i32)) (memory (export')
_SCALE = r"function 3 `scale` of the blob is not function 1 `scale` of module \S+: "
REFUSED: dict[str, tuple[list[Change], str]] = {
    "another number": (
        reading("(global $where i32 (i32.const 1028))"),
        _SCALE + r"the constant 1028 became 1024 at byte 11",
    ),
    "another sum": (
        reading("(global $where i32 (i32.const 1024))", "global.get $where i32.const 24 i32.add"),
        _SCALE + r"the constant 1048 became 1024 at byte 11",
    ),
    "a mutable global": (
        reading("(global $where (mut i32) (i32.const 1024))"),
        _SCALE + r"`global.get` has other operands at byte 11",
    ),
    "a global of the host": ([_IMPORT, reading("")[1]], _SCALE + r"`global.get` has other operands at byte 11"),
    "a global that holds one of the host": (
        [
            ("blob", "(memory (export", '(import "host" "base" (global $base i32)) (memory (export'),
            *reading("(global $where i32 (global.get $base))"),
        ],
        _SCALE + r"`global.get` has other operands at byte 11",
    ),
    "another address": (
        [
            ("blob", _SEED, f"{_SEED}  (global $four i32 (i32.const 4))\n"),
            ("blob", "i32.const 0 i32.load offset=2000", "global.get $four i32.load offset=2000"),
        ],
        _SCALE + r"the address 2004 became 2000",
    ),
    "another number in the remainder": (
        [
            ("remainder", "(global $seed (mut i64) (i64.const 7))",
             "(global $seed (mut i64) (i64.const 7)) (global $three i64 (i64.const 4))"),
            ("remainder", "global.get $seed i64.const 3", "global.get $seed global.get $three"),
        ],
        r"function 2 `tell` .* the constant 3 became 4",
    ),
    "a mutable global in the remainder": (
        [
            ("remainder", "(global $seed (mut i64) (i64.const 7))",
             "(global $seed (mut i64) (i64.const 7)) (global $three (mut i64) (i64.const 3))"),
            ("remainder", "global.get $seed i64.const 3", "global.get $seed global.get $three"),
        ],
        r"function 2 `tell` .* `i64.const` became `global.get`",
    ),
    "an exported global that the remainder says otherwise": (
        [
            *reading('(global $where (export "where") i32 (i32.const 1024))'),
            ("remainder", '(export "memory"', '(global (export "where") i32 (i32.const 1028)) (export "memory"'),
        ],
        r"global 2 of the blob is `i32 1024` and became `i32 1028`",
    ),
}  # fmt: skip


def changed(changes: list[Change]) -> Texts:
    texts = Texts()
    for change in changes:
        texts = texts.changed(*change)
    return texts


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_a_global_that_is_a_constant_is_accepted(changes: list[Change]) -> None:
    changed(changes).prove()


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_a_global_that_is_none_or_another_is_refused(changes: list[Change], message: str) -> None:
    with pytest.raises(CheckFailedError, match=message):
        changed(changes).prove()
