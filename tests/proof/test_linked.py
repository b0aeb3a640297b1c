"""Programs that import modules of their own: by a name that `bacpack build` replaced by a CID, or by CID."""

from __future__ import annotations

import pytest

from bacpack.errors import CheckFailedError
from bacpack.proof.equivalence.prover import Prover
from node.harness import assemble
from proof.handmade import cid_of

OWN, OTHER = cid_of(b"a module of the project"), cid_of(b"another module")


def program(namespace: str, name: str = "f", other: str = "") -> bytes:
    return assemble(f"""(module (import "{namespace}" "{name}" (func $f)) {other}
      (memory (export "memory") 1) (func (export "_start") (call $f)))""")


def test_a_name_and_what_it_stands_for_are_the_same_module() -> None:
    Prover({}, {"own": OWN, "unused": OTHER}).prove(program("own"), program(OWN))


def test_a_module_that_the_blob_imports_by_cid_is_the_same_in_both() -> None:
    # Its type section differs, so both are looked at.
    Prover({}, {}).prove(program(OWN), program(OWN, other="(type (func (param i64)))"))


@pytest.mark.parametrize(
    ("remainder", "says"),
    [
        (program(OTHER), "is missing"),
        (program("own"), "`own.f` from the host, unlike the blob"),
        (program(OWN, "g"), "`.*g` from the host, unlike the blob"),
    ],
    ids=["another module", "not linked", "another function"],
)
def test_anything_else_is_refused(remainder: bytes, says: str) -> None:
    with pytest.raises(CheckFailedError, match=says):
        Prover({}, {"own": OWN}).prove(program("own", other="(type (func (param i64)))"), remainder)


def test_a_name_that_stands_for_nothing_is_refused() -> None:
    with pytest.raises(CheckFailedError, match="is missing"):
        Prover({}, {}).prove(program("own"), program(OWN))


def test_what_was_split_off_may_not_call_it() -> None:
    # The module has one instance: code of the split that uses it as well is not what the blob has.
    shared = assemble(f'(module (import "{OWN}" "f" (func $f)) (func (export "g") (call $f)))')
    remainder = program(OWN, other=f'(import "{cid_of(shared)}" "g" (func))')
    with pytest.raises(CheckFailedError, match=f"imports `{OWN}` from the host"):
        Prover({cid_of(shared): shared}, {"own": OWN}).prove(program("own"), remainder)


def test_a_table_of_such_a_module_is_the_hosts() -> None:
    def calls(namespace: str, entry: int, more: str = "") -> bytes:
        return assemble(f"""(module (import "{namespace}" "t" (table 4 4 funcref)) {more}
          (func (export "f") i32.const {entry} call_indirect))""")

    Prover({}, {"own": OWN}).prove(calls("own", 3), calls(OWN, 3))
    Prover({}, {}).prove(calls(OWN, 3), calls(OWN, 3, "(func)"))
    with pytest.raises(CheckFailedError, match="the constant 3 became 2"):
        Prover({}, {"own": OWN}).prove(calls("own", 3), calls(OWN, 2))


def test_the_split_keeps_no_state_where_such_a_module_can_change_it() -> None:
    state = assemble('(module (global (export "n") (mut i32) (i32.const 5)) (memory (export "m") 1))')
    low = cid_of(state)
    adder = assemble(f"""(module (import "{low}" "n" (global (mut i32)))
      (func (export "add") global.get 0 i32.const 1 i32.add global.set 0))""")
    linked = cid_of(adder)
    calls = '(func (export "get") (result i32) call 0 global.get 0)'

    def blob(namespace: str) -> bytes:
        return assemble(f"""(module (import "{namespace}" "add" (func)) (memory 1)
          (global (mut i32) (i32.const 5)) {calls})""")

    memories = "(memory 1)", f'(import "{low}" "m" (memory 1))'
    splits = [assemble(f"""(module (import "{linked}" "add" (func)) (import "{low}" "n" (global (mut i32)))
      {memory} {calls})""") for memory in memories]  # fmt: skip
    prover = Prover({low: state, linked: adder}, {"own": linked})
    with pytest.raises(CheckFailedError, match=f"module {low} of the split is used by a module that the blob imports"):
        prover.prove(blob("own"), splits[0])
    prover.prove(blob("own"), splits[1])  # that is what modules on the memory of their users are
