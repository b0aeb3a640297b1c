"""Modules of earlier splits: read back as they were written, and used only as what they are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import soak
from bacpack.errors import BacpackError, CheckFailedError
from bacpack.proof.equivalence.prover import Prover
from bacpack.split.abi.environment import environment, environment_cid
from bacpack.split.catalog import catalog, code_fitting, data_module_reader
from bacpack.split.catalog.catalog import Catalog, data_features, index, shape_features
from bacpack.split.catalog.data_module_reader import read_existing_data
from bacpack.split.catalog.reuse import take
from bacpack.split.catalog.shared_module_reader import read_existing
from bacpack.split.data.image import image
from bacpack.split.data.pieces import share_data
from bacpack.split.emit.data_module import write_data_module
from bacpack.split.input.blob import Input
from bacpack.split.input.validation import check_valid
from bacpack.split.model.records import Split
from bacpack.split.pipeline.proof import prove_split
from bacpack.split.pipeline.steps import Linked, link, split
from bacpack.split.plan.matching import match
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.wasm import Kind, Module, SectionId, writer
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.types import Element
from corpus import image_blobs, rust_programs
from differential.harness import cid_of
from proof.edits import Code, code_of, with_code, with_elements, with_export, with_functions
from split.harness import Call, World, engine, holds, work
from split.test_generated import COMMON, ENGINE, HOST, RECENT, SIZES, calls_for, grouped_by_chance, paired_by_chance
from split.variants import variant
from strategies_wasm import seeds
from wasmtools import assemble, invalid_because, smith

RUST = rust_programs()
CONTENT = random.Random(7).randbytes(4000)


def program(number: int) -> bytes:
    """One of several programs that share code and data, at other addresses and indices; each has something of its own.

    It has addresses to which it adds itself, late-bound and direct calls, functions in its table, and data that holds
    addresses.
    """
    base = 1024 + 4096 * number
    data = "".join(f"\\{byte:02x}" for byte in CONTENT)
    words = "".join(f"\\{byte:02x}" for word in range(40) for byte in (base + 8 * word).to_bytes(4, "little"))
    return assemble(f"""(module
      (import "host" "see" (func $see (param i32))) {"(type (func (param f64)))" * number}
      (memory (export "memory") 2) (table 8 funcref) (global $stack (mut i32) (i32.const {70000 + number}))
      {"(func (param i32) unreachable)" * number}
      (func $leaf (param i32) (result i32) {work("leaf")} global.get $stack i32.const 16 i32.sub global.set $stack
        local.get 0)
      (func $own (param i32) (result i32) {work(f"own {number}", 30)} local.get 0)
      (func $user (param i32) (result i32) {work("user")} local.get 0 call $leaf call $own
        i32.const {base} i32.const 8 i32.add i32.load8_u i32.add)
      (func $tell (param i32) {work("tell")} local.get 0 call $see
        i32.const {base + 64} local.get 0 i32.const 63 i32.and i32.add i32.load8_u call $see)
      (func $pointer (param i32) (result i32) {work("pointer")} i32.const {base + len(CONTENT)}
        local.get 0 i32.const 31 i32.and i32.const 2 i32.shl i32.add i32.load i32.load8_u)
      (func (export "run") (param i32) (result i32) local.get 0 call $tell
        local.get 0 call $user local.get 0 call $pointer i32.add
        local.get 0 local.get 0 i32.const 1 i32.and i32.const {1 + number} i32.add
        call_indirect (param i32) (result i32) i32.xor)
      (elem (i32.const {1 + number}) $leaf $pointer $own)
      (data (i32.const {base}) "{data}{words}"))""")


BLOBS = [program(number) for number in range(3)]
CALLS: list[Call] = [("run", 0), ("run", 1), ("run", 12345)]
WORLD = World(engine())


def inputs(blobs: Sequence[bytes]) -> list[Input]:
    return [Input(f"app{number}", blob, f"app{number}.wasm") for number, blob in enumerate(blobs)]


def split_with(blobs: Sequence[bytes], catalogs: Sequence[Catalog]) -> Split:
    """Split as the command does, with everything checked before it would be written."""
    result = split(inputs(blobs), catalogs=catalogs)
    modules = {cid: module.data for cid, module in result.modules.items()}
    reused = {cid: data for cid, data in modules.items() if result.modules[cid].reused}
    outputs = {app.name: app.data for app in result.apps} | modules
    check_valid({}, {name: data for name, data in outputs.items() if name not in reused}, lambda _: None, reused)
    prove_split(result, lambda _: None, [opened.name for opened in catalogs])
    return result


def catalog_of(features: Mapping[str, list[bytes]], modules: Mapping[str, bytes]) -> Catalog:
    files = index(features) | {f"modules/{cid}.wasm": data for cid, data in modules.items()}
    return Catalog.open("earlier", files.get)


@dataclass(frozen=True)
class Earlier:
    """The split of two programs, by which the third is split."""

    features: dict[str, list[bytes]]
    modules: dict[str, bytes]
    shared: str
    data: str

    def catalog(self, changes: Mapping[str, bytes] | None = None) -> Catalog:
        """The catalog, with the bytes of some modules changed: they have other CIDs then, but the same features."""
        changes = changes or {}
        names = {cid: cid_of(data) for cid, data in changes.items()}
        modules = {names.get(cid, cid): changes.get(cid, data) for cid, data in self.modules.items()}
        features = {names.get(cid, cid): found for cid, found in self.features.items()}
        return catalog_of(features, modules)


@pytest.fixture(scope="module")
def earlier() -> Earlier:
    return earlier_split()


def earlier_split() -> Earlier:
    result = split_with(BLOBS[:2], [])
    kinds = {module.kind: cid for cid, module in result.modules.items()}
    assert sorted(kinds) == ["data", "environment", "shared"]
    modules = {cid: module.data for cid, module in result.modules.items()}
    return Earlier(result.features, modules, kinds["shared"], kinds["data"])


EARLIER = earlier_split()


def behaves(result: Split, blob: bytes) -> bool:
    modules = {cid: module.data for cid, module in result.modules.items()}
    WORLD.forget()
    return WORLD.run(result.apps[0].data, modules, CALLS) == WORLD.run(blob, {}, CALLS)


def test_the_third_program_uses_all_of_both_modules(earlier: Earlier) -> None:
    result = split_with(BLOBS[2:], [earlier.catalog()])
    assert {cid for cid, module in result.modules.items() if module.reused} == {earlier.shared, earlier.data}
    assert len(result.apps[0].data) < 0.2 * len(BLOBS[2])
    assert behaves(result, BLOBS[2])


def hub_program(number: int, distance: int, callers: int) -> bytes:
    """A program in which many functions call one that reads two addresses, `distance` bytes apart."""
    address = 4096 + 512 * number
    calls = "".join(
        f"""(func (export "call{caller}") (param i32) (result i32) {work(f"caller {caller}", 30)}
          local.get 0 call $hub)"""
        for caller in range(callers)
    )
    return assemble(f"""(module {"(type (func (param f64)))" * number} (memory (export "memory") 1)
      {'(func (export "f") (param i32) unreachable)' * (number > 0)}
      (func $hub (param i32) (result i32) {work("hub")}
        i32.const {address} local.get 0 i32.store i32.const {address + distance} i32.load i32.const {address} i32.load
        i32.add) {calls}
      (data (i32.const {address}) "{chr(65 + number) * 64}"))""")


def test_an_address_in_a_hub_that_all_programs_had_alike_may_differ_in_the_next() -> None:
    """The second of the two is 4616 in both programs, where the first is 4096 in one and 4608 in the other."""
    earlier = split_with([hub_program(0, 520, 12), hub_program(1, 8, 12)], [])
    modules = {cid: module.data for cid, module in earlier.modules.items()}
    result = split_with([hub_program(2, 16, 12)], [catalog_of(earlier.features, modules)])
    assert not any(holds(result.apps[0].data, mark) for mark in ("hub", "caller 0", "caller 11"))


def test_what_calls_a_hub_is_found_though_two_of_its_addresses_moved_apart() -> None:
    earlier = split_with([hub_program(0, 8, 12), hub_program(1, 8, 12)], [])
    modules = {cid: module.data for cid, module in earlier.modules.items()}
    blob = hub_program(2, 24, 12)
    result = split_with([blob], [catalog_of(earlier.features, modules)])
    assert any(module.reused and module.kind == "shared" for module in result.modules.values())
    assert not any(holds(result.apps[0].data, mark) for mark in ("hub", "caller 0", "caller 11"))
    by_cid = {cid: module.data for cid, module in result.modules.items()}
    WORLD.forget()
    calls: list[Call] = [("call0", 3), ("call11", 99)]
    assert WORLD.run(result.apps[0].data, by_cid, calls) == WORLD.run(blob, {}, calls)


# Reading back ------------------------------------------------------------------------------------------------------


def check_read_back(modules: Mapping[str, bytes], features: Mapping[str, list[bytes]]) -> None:
    """What is read from each module is what the catalog was told when it was written."""
    for cid, data in modules.items():
        if (plan := read_existing_data(data)) is not None:
            assert read_existing(cid, data) is None
            # How the words differed is not kept, but which do is.
            pieces = [
                replace(piece, words={at: {} for at in words})
                for piece, words in zip(plan.pieces, plan.words, strict=True)
            ]
            assert write_data_module(replace(plan, pieces=pieces), environment_cid()) == data
            assert data_features(piece.content for piece in plan.pieces) == features[cid]
        else:
            found = read_existing(cid, data)
            assert found is not None
            assert shape_features(function.shape for function in found.functions) == features[cid]


def test_modules_are_read_back_as_they_were_written(earlier: Earlier) -> None:
    check_read_back({cid: earlier.modules[cid] for cid in earlier.features}, earlier.features)


@pytest.mark.parametrize("names", [list(RUST), list(image_blobs())[:3]], ids=["rust", "images"])
def test_modules_of_real_programs_are_read_back_as_they_were_written(names: list[str]) -> None:
    blobs = [(RUST | image_blobs())[name].read_bytes() for name in names]
    result = split(inputs(blobs))
    new = {cid: module.data for cid, module in result.modules.items() if module.kind != "environment"}
    assert {module.kind for module in result.modules.values()} == {"environment", "shared", "data"}
    check_read_back(new, result.features)


def test_the_environment_is_no_module_to_be_fitted() -> None:
    assert read_existing(environment_cid(), environment()) is None
    assert read_existing_data(environment()) is None


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("host") / "imports.wasm"
    path.write_bytes(assemble(HOST))
    return path


def modules_of(linked: Linked) -> dict[str, bytes]:
    return {cid_of(data): data for data in (*linked.modules, *linked.data)}


def compare(seed: int, host: Path, options: tuple[str, ...]) -> int:
    """Split two variants of a module, and two others with the modules of these; how many functions were found again."""
    chance = random.Random(seed)
    module = smith(seed, *SIZES, *options, "--export-everything=true", f"--available-imports={host}")
    programs = [variant(module, number) for number in range(4)]
    blobs = [fingerprint(Module.parse(program)) for program in programs]
    images = [image(blob) for blob in blobs]
    shared = match(blobs[:2]) if chance.random() < 0.5 else paired_by_chance(blobs[:2], chance)
    first = link(blobs[:2], grouped_by_chance(shared, chance), images[:2], share_data(images[:2]))
    modules = modules_of(first)
    check_read_back(modules, {cid: first.features[cid] for cid in modules})

    known = catalog_of(first.features, modules)
    # Whatever fits is to be used.
    with ExitStack() as stack:
        for part, name in (
            (code_fitting, "IMPORT_COST"),
            (data_module_reader, "IMPORT_COST"),
            (catalog, "IMPORT_COST"),
        ):
            stack.enter_context(patch.object(part, name, -1))
        for part in (code_fitting, data_module_reader):
            stack.enter_context(patch.object(part, "FETCH_WEIGHT", 0))
        reuse = take([known], blobs[2:], images[2:])
    shared = match(blobs[2:], [fit.places for fit in reuse.fits])
    second = link(blobs[2:], grouped_by_chance(shared, chance), reuse.images, share_data(reuse.images), reuse)
    by_cid = modules | modules_of(second) | {environment_cid(): environment()}
    prover = Prover(by_cid)
    whole, parts = World(ENGINE, fuel=100_000), World(ENGINE, fuel=10_000_000)
    for program, remainder in zip(programs[2:], second.remainders, strict=True):
        assert not (reason := invalid_because(remainder)), reason
        prover.prove(program, remainder)
        calls = calls_for(program, random.Random(seed))
        expected = whole.run(program, {}, calls)
        if not any("OUT_OF_FUEL" in outcome for outcome in expected.calls):
            assert parts.run(remainder, by_cid, calls) == expected
    return sum(len(fit.places) for fit in reuse.fits)


@settings(max_examples=10 * soak.TIMES)
@given(seeds)
def test_programs_made_by_chance_behave_as_before(host: Path, seed: int) -> None:
    compare(seed, host, COMMON)


@settings(max_examples=5 * soak.TIMES)
@given(seeds)
def test_programs_of_recent_features_behave_as_before(host: Path, seed: int) -> None:
    compare(seed, host, RECENT)


def test_programs_made_by_chance_find_functions_again(host: Path) -> None:
    assert sum(compare(seed, host, COMMON) for seed in range(5)) > 20


def test_features_of_data_fall_into_all_shards_alike() -> None:
    features = data_features(random.Random(number).randbytes(30_000) for number in range(10))
    counts = Counter(feature.hex()[0] for feature in features)
    assert len(features) > 500
    assert len(counts) == 16
    assert max(counts.values()) < 2 * len(features) / 16


def test_a_look_up_reads_one_small_shard_for_a_feature() -> None:
    chance = random.Random(3)
    features = {cid_of(chance.randbytes(8)): [chance.randbytes(8) for _ in range(500)] for _ in range(100)}
    files = index(features)
    read: dict[str, int] = {}

    def reader(path: str) -> bytes | None:
        read[path] = len(files[path])
        return files[path]

    opened = Catalog.open("large", reader)
    before = len(read)
    for cid, (first, *_) in list(features.items())[:5]:
        assert opened.modules_with([first]) == {cid: {first}}
    assert opened.modules_with([bytes(8)]) == {}
    assert len(read) - before <= 6
    assert max(size for path, size in read.items() if path != "catalog/modules") < 6_000


# Modules that lie --------------------------------------------------------------------------------------------------


def outcome(changes: Mapping[str, bytes]) -> str:
    """How the split of the third program ends with a catalog of changed modules. It must never be wrong."""
    changed = {cid_of(data) for data in changes.values()}
    try:
        result = split_with(BLOBS[2:], [EARLIER.catalog(changes)])
    except CheckFailedError as error:
        assert error.hint and "`earlier`" in error.hint
        return "refused by the proof"
    except BacpackError as error:
        assert error.code == "no-catalog", error
        return "refused"
    assert behaves(result, BLOBS[2])
    return "used" if changed & result.modules.keys() else "passed over"


def with_section(module: bytes, section_id: SectionId, content: bytes) -> bytes:
    """The module with a section put in where it belongs."""
    at = next(section.start for section in Module.parse(module).sections if section.id > section_id)
    return module[:at] + writer.section(section_id, content) + module[at:]


def helper(module: bytes, name: str) -> int:
    """The position of an exported function among those that the module defines."""
    parsed = Module.parse(module)
    (found,) = [entry.index for entry in parsed.exports if (entry.kind, entry.name) == (Kind.FUNCTION, name)]
    return found - len(parsed.imported(Kind.FUNCTION))


def edited(module: bytes, position: int, old: bytes, new: bytes) -> bytes:
    """The module with one instruction of a function changed."""
    code = code_of(module, position)
    assert old in code
    at = code.index(old)
    return with_code(module, position, [*code[:at], new, *code[at + 1 :]])


def wrong_setter(module: bytes) -> bytes:
    """The module with slots that are one more than the program sets."""
    position = helper(module, "S0")
    read, *rest = code_of(module, position)
    return with_code(module, position, [read, b"\x41\x01", b"\x6a", *rest])


def exchanged_functions(module: bytes) -> bytes:
    """The module with two functions at the place of the other in its table of functions."""

    def exchange(elements: list[Element]) -> list[Element]:
        first, *rest = elements
        functions = [*(first.functions or ())]
        return [with_functions(first, [functions[1], functions[0], *functions[2:]]), *rest]

    return with_elements(module, exchange)


def other_constant(module: bytes) -> bytes:
    for position in range(len(Module.parse(module).bodies)):
        code = code_of(module, position)
        at = next((number for number, part in enumerate(code) if part[0] == 0x41 and len(part) == 6), None)
        if at is not None:
            return with_code(module, position, [*code[:at], b"\x41\x07", *code[at + 1 :]])
    raise AssertionError("there is no constant")


def writing(code: Code) -> Code:
    """The code with a store to some address of the program put before it."""
    return [b"\x41\x80\x08", b"\x41\x2a", b"\x36\x02\x00", *code]


def first_code(module: bytes, edit: str) -> bytes:
    position = helper(module, "D") if edit == "data" else 0
    return with_code(module, position, writing(code_of(module, position)))


def starting(module: bytes) -> bytes:
    return with_section(module, SectionId.START, encode_unsigned(1))


def reversed_places(module: bytes) -> bytes:
    def reverse(elements: list[Element]) -> list[Element]:
        functions, placed = elements
        return [functions, with_functions(placed, [*(placed.functions or ())][::-1])]

    return with_elements(module, reverse)


def longer_copy(module: bytes) -> bytes:
    code = code_of(module, 1)
    return with_code(module, 1, [b"\x41\xff\xff\x7f" if part[0] == 0x41 and len(part) > 2 else part for part in code])


PASSED_OVER, USED = "passed over", "used"
#: What is changed, and what then becomes of the module: one that is used does what it seems to.
CODE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda module: module + writer.custom_section("x", b""), USED),
    "a constant of one function": (other_constant, USED),
    "one function stores more": (lambda module: first_code(module, "code"), USED),
    "functions are in each other's place": (exchanged_functions, PASSED_OVER),
    "the table is in another order": (reversed_places, USED),
    "slots are set wrongly": (wrong_setter, PASSED_OVER),
    "slots are not set": (lambda module: with_code(module, helper(module, "S0"), [b"\x0b"]), PASSED_OVER),
    "the setter is another function": (lambda module: with_export(module, "S0", 1), PASSED_OVER),
    "nothing is placed": (lambda module: with_code(module, helper(module, "P0"), [b"\x0b"]), PASSED_OVER),
    "it starts by itself": (starting, PASSED_OVER),
    "it has a memory": (lambda module: with_section(module, SectionId.MEMORY, b"\x01\x00\x01"), PASSED_OVER),
    "another environment": (
        lambda module: module.replace(environment_cid().encode(), cid_of(b"").encode()), PASSED_OVER),
    "another name": (lambda module: module.replace(b"\x04load\x00", b"\x04lead\x00"), PASSED_OVER),
}  # fmt: skip
DATA: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda module: module + writer.custom_section("x", b""), USED),
    "other content": (lambda module: module[:-2000] + bytes([module[-2000] ^ 1]) + module[-1999:], USED),
    "it stores more": (lambda module: first_code(module, "data"), PASSED_OVER),
    "distances are taken away": (lambda module: edited(module, 0, b"\x6a", b"\x6b"), PASSED_OVER),
    "it copies from elsewhere": (lambda module: edited(module, 1, b"\x41\x00", b"\x41\x01"), PASSED_OVER),
    "it copies more than it has": (longer_copy, PASSED_OVER),
    "it starts by itself": (starting, PASSED_OVER),
}


@pytest.mark.parametrize("name", CODE)
def test_a_shared_module_that_is_not_what_it_seems_makes_no_wrong_program(name: str) -> None:
    edit, expected = CODE[name]
    changed = edit(EARLIER.modules[EARLIER.shared])
    assert changed != EARLIER.modules[EARLIER.shared]
    assert outcome({EARLIER.shared: changed}) == expected


@pytest.mark.parametrize("name", DATA)
def test_a_data_module_that_is_not_what_it_seems_makes_no_wrong_program(name: str) -> None:
    edit, expected = DATA[name]
    changed = edit(EARLIER.modules[EARLIER.data])
    assert changed != EARLIER.modules[EARLIER.data]
    assert outcome({EARLIER.data: changed}) == expected


@pytest.mark.long
@settings(max_examples=80 * soak.TIMES)
@given(st.data())
def test_any_byte_changed_makes_no_wrong_program(data: st.DataObject) -> None:
    cid = data.draw(st.sampled_from([EARLIER.shared, EARLIER.data]))
    module = bytearray(EARLIER.modules[cid])
    # A section first, since those that are not code are small.
    sections = Module.parse(bytes(module)).sections
    for _ in range(data.draw(st.integers(1, 2))):
        section = data.draw(st.sampled_from(sections))
        module[data.draw(st.integers(section.start, section.end - 1))] = data.draw(st.integers(0, 255))
    outcome({cid: bytes(module)})


REAL = split(inputs([path.read_bytes() for path in RUST.values()]))
REAL_MODULES = [module.data for module in REAL.modules.values() if module.kind != "environment"]


@settings(max_examples=300 * soak.TIMES)
@given(st.data())
def test_readers_give_a_plan_or_nothing_for_any_bytes(data: st.DataObject) -> None:
    module = bytearray(data.draw(st.sampled_from(REAL_MODULES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(module) - 1))
        change = data.draw(st.sampled_from(["byte", "cut", "repeat", "end"]))
        if change == "byte":
            module[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del module[at : at + data.draw(st.integers(1, 8))]
        elif change == "repeat":
            module[at:at] = module[at : at + data.draw(st.integers(1, 8))]
        else:
            del module[at:]
            break
    found, plan = read_existing("", bytes(module)), read_existing_data(bytes(module))
    assert found is None or plan is None
    if plan is not None:
        assert sum(len(piece.content) for piece in plan.pieces) <= len(module)
        for piece, words in zip(plan.pieces, plan.words, strict=True):
            assert all(0 <= at <= len(piece.content) - 4 for at in words)
            assert all(0 <= class_ < len(plan.classes) for class_ in words.values())
    if found is not None:
        assert found.late <= len(module)
