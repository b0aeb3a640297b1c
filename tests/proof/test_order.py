"""The order in which modules are instantiated is stated once: the proof and those who run programs keep the same."""

from __future__ import annotations

import pytest

from bacnode.fetch.fetched import Fetched
from bacnode.fetch.limits import LoadLimits
from bacnode.programs.resolver import resolve
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef, UrlRef
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import CheckFailedError
from bacpack.order import ImportCircleError, instantiation_order
from bacpack.proof.code.function_code import Codes
from bacpack.proof.code.module_view import ModuleView
from bacpack.proof.equivalence.prover import prove
from bacpack.proof.program.linked_program import in_order
from wasmtools import assemble

NEEDS = {"a": "", "b": "", "c": "ba", "d": "ac", "root": "dbca"}


def test_proof_and_resolver_instantiate_in_one_order() -> None:
    modules: dict[str, bytes] = {}
    cids: dict[str, Cid] = {}
    for name, needed in NEEDS.items():
        imports = "".join(f'(import "{cids[other]}" "f" (func))' for other in needed)
        modules[name] = assemble(f'(module {imports} (func (export "f")) (func (export "{name}")))')
        cids[name] = cid_of_bytes(modules[name])
    by_cid = {cid: modules[name] for name, cid in cids.items()}

    def fetched(cid: Cid) -> Fetched:
        return Fetched(data=by_cid[cid], name=str(cid), cid=cid, source="store", fetched_from="", fetch_ms=0)

    def fetch(ref: CidRef | UrlRef, most: int) -> Fetched:
        assert isinstance(ref, CidRef)
        return fetched(ref.cid)

    graph = resolve(fetched(cids["root"]), fetch, LoadLimits())
    names = {str(cid): name for name, cid in cids.items()}
    found = [names[node.fetched.identity] for node in graph.nodes]
    units = {str(cid): Codes(ModuleView.of_shared(data, str(cid))) for cid, data in by_cid.items()}
    proved = in_order(units[str(cids["root"])].view, units.__getitem__)
    assert found == [*(names[cid] for cid, _ in proved), "root"] == ["a", "b", "c", "d", "root"]


def test_each_is_asked_once_and_a_circle_is_found() -> None:
    asked: list[int] = []

    def needed(number: int) -> range:
        asked.append(number)
        return range(number + 1, 40)

    assert instantiation_order(0, needed) == list(range(39, -1, -1))
    assert sorted(asked) == list(range(40))
    with pytest.raises(ImportCircleError):
        instantiation_order(0, lambda number: [(number + 1) % 5])


@pytest.mark.parametrize(("deep", "is_too_deep"), [(62, False), (63, False), (64, True)])
def test_modules_that_stand_too_deep_for_hosts_are_refused(deep: int, is_too_deep: bool) -> None:
    """`bacpack run` loads 64 modules one upon the other, the program among them."""
    modules: dict[str, bytes] = {}
    below = ""
    for number in range(deep):
        data = module_on(below, number)
        below = str(cid_of_bytes(data))
        modules[below] = data
    blob = assemble('(module (func (export "g")))')
    split = assemble(f'(module (import "{below}" "f" (func)) (func (export "g")))')
    if is_too_deep:
        with pytest.raises(CheckFailedError, match="65 modules, up to 65 one upon the other"):
            prove(blob, split, modules)
    else:
        prove(blob, split, modules)


def module_on(below: str, number: int) -> bytes:
    load = f'(import "{below}" "f" (func))' if below else ""
    return assemble(f'(module {load} (func (export "f") i32.const {number} drop))')
