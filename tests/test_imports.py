"""Whether a module gets what it imports: what is said of each way in which it may not."""

from __future__ import annotations

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.errors import InputError
from bacpack.linker.import_check import Providers, check_imports
from bacpack.wasm.interface import read_interface
from node.harness import assemble

LIBRARY = assemble('(module (func (export "add") (param i32 i32) (result i32) local.get 0))')
CID = str(Cid.of_raw(LIBRARY))
ABSENT = str(Cid.of_raw(b"nowhere"))


def check(imports: str) -> None:
    providers = Providers(lambda ref: LIBRARY if str(ref) == CID else None, {CID: "math"})
    check_imports("app", read_interface(assemble(f"(module {imports})")), providers, ["math", "text"])


@pytest.mark.parametrize(
    ("imported", "code", "hint"),
    [
        (f'"{CID}" "ad" (func)', "missing-export", "did you mean `add`? It exports `add`"),
        (f'"{CID}" "zzz" (func)', "missing-export", "it exports `add`"),
        (f'"{CID}" "add" (func (param i64 i64) (result i64))', "type-mismatch", "built against"),
        (f'"{CID}" "add" (global i32)', "type-mismatch", "built against"),
        ('"maths" "add" (func)', "unlinked-import", "did you mean `math`? Name its provider"),
        ('"far" "add" (func)', "unlinked-import", "name its provider with `bacpack link BLOB --map far=REF`"),
        ('"two words" "add" (func)', "unlinked-import", "--map 'two words'=REF"),
        ('"wasi_snapshot_preview" "fd_close" (func)', "unlinked-import", "did you mean `wasi_snapshot_preview1`?"),
        ('"wasi_snapshot_preview1" "fd_closed" (func)', "missing-export", "did you mean `fd_close`?"),
        (f'"{CID[:-1]}1" "add" (func)', "bad-cid", "copied whole"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_nearest(imported: str, code: str, hint: str) -> None:
    with pytest.raises(InputError, match=r"\(needed by app\)$") as caught:
        check(f"(import {imported})")
    assert caught.value.code == code
    assert hint in str(caught.value.hint)


def test_what_is_there_is_accepted_and_of_what_is_not_at_hand_nothing_is_said() -> None:
    add = "(func (param i32 i32) (result i32))"
    check(f'(import "{CID}" "add" {add}) (import "ipfs://{CID}" "add" {add}) (import "{ABSENT}" "add" (func))')
    check('(import "https://example.org/a.wasm" "f" (func)) (import "wasi_snapshot_preview1" "fd_close" (func))')
