"""Bytes of a right split changed at random: what is still accepted would not be loaded, or behaves as before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.errors import BacpackError
from bacpack.proof.equivalence.prover import prove
from bacpack.wasm import Module, SectionId
from differential.harness import cid_of
from proof.handmade import Texts
from split.harness import Call, World, engine
from wasmtools import invalid_because

BLOB, REMAINDER, MODULES = Texts().assembled()
SHARED_CID, ENVIRONMENT_CID = sorted(MODULES, key=lambda cid: -len(MODULES[cid]))
WORLD = World(engine())
CALLS: list[Call] = [("run", 3), ("again", 8), ("widen", 2), ("grow", 2), ("grow", 1), ("fill",), ("run", 10)]
#: What a change could go unnoticed in: names and types are found to be in use by the functions that have them.
SECTIONS = (SectionId.FUNCTION, SectionId.TABLE, SectionId.GLOBAL, SectionId.EXPORT, SectionId.START, SectionId.ELEMENT,
            SectionId.CODE, SectionId.DATA)  # fmt: skip


#: The modules of the split, and where each may be changed unseen: globals that are set before they are read.
PARTS = {"remainder": (), "shared": (SectionId.GLOBAL,), "environment": (SectionId.GLOBAL,)}


def bytes_of(part: str) -> bytes:
    return {"remainder": REMAINDER, "shared": MODULES[SHARED_CID], "environment": MODULES[ENVIRONMENT_CID]}[part]


def split_with(part: str, changed: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The split with another of its modules, under the name that it then has."""
    if part == "remainder":
        return changed, dict(MODULES)
    environment, shared, remainder = MODULES[ENVIRONMENT_CID], MODULES[SHARED_CID], REMAINDER
    if part == "environment":
        new = cid_of(changed).encode()
        environment = changed
        shared, remainder = (data.replace(ENVIRONMENT_CID.encode(), new) for data in (shared, remainder))
    else:
        shared = changed
    names = cid_of(environment), cid_of(shared)
    return remainder.replace(SHARED_CID.encode(), names[1].encode()), dict(
        zip(names, (environment, shared), strict=True)
    )


def places(module: bytes, *sections: SectionId) -> list[int]:
    """The positions of the bytes in some sections."""
    found = [section for section in Module.parse(module).sections if section.id in sections]
    return [position for section in found for position in range(section.content, section.end)]


def is_accepted(remainder: bytes, modules: dict[str, bytes]) -> bool:
    try:
        prove(BLOB, remainder, modules)
    except BacpackError:
        return False
    return True


def behaves(remainder: bytes, modules: dict[str, bytes]) -> bool:
    WORLD.forget()
    return WORLD.run(remainder, modules, CALLS) == WORLD.run(BLOB, {}, CALLS)


def test_the_split_behaves_as_its_blob() -> None:
    outcome = WORLD.run(BLOB, {}, CALLS)
    assert not any(isinstance(calls, str) for calls in outcome.calls)
    assert outcome.host
    for part in PARTS:
        assert behaves(*split_with(part, bytes_of(part)))


@pytest.mark.parametrize("bit", [0, 3, 6])
@pytest.mark.parametrize("part", PARTS)
def test_no_byte_can_be_changed(part: str, bit: int) -> None:
    original, accepted = bytes_of(part), []
    for position in places(original, *SECTIONS):
        changed = bytearray(original)
        changed[position] ^= 1 << bit
        split = split_with(part, bytes(changed))
        if is_accepted(*split) and not invalid_because(bytes(changed)):
            accepted.append(position)
            assert behaves(*split)
    assert set(accepted) <= set(places(original, *PARTS[part]))


@pytest.mark.parametrize("part", PARTS)
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_what_is_accepted_behaves_as_before(part: str, changes: list[tuple[int, int]]) -> None:
    changed = bytearray(bytes_of(part))
    code = places(bytes_of(part), SectionId.CODE)
    for position, value in changes:
        changed[code[position % len(code)]] = value
    split = split_with(part, bytes(changed))
    if is_accepted(*split) and not invalid_because(bytes(changed)):
        assert behaves(*split)
