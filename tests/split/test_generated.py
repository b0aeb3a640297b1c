"""Modules made by chance: three variants of each are split together, and each behaves as before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings

import soak
from bacpack.proof.equivalence.prover import Prover
from bacpack.split.abi.environment import environment
from bacpack.split.data.image import image
from bacpack.split.data.pieces import share_data
from bacpack.split.model.grouping import Group
from bacpack.split.pipeline.steps import link
from bacpack.split.plan.matching import SharedFunction, match
from bacpack.split.shapes.fingerprint import Blob, fingerprint
from bacpack.wasm import Kind, Module
from differential.harness import cid_of
from split.harness import NUMBERS, Call, World, engine
from split.variants import variant
from strategies_wasm import seeds
from wasmtools import assemble, invalid_because, padded, smith

#: What generated modules may import.
HOST = """(module
  (import "host" "a" (func)) (import "host" "b" (func (param i32) (result i32)))
  (import "host" "c" (func (param i64 f64) (result f32 i64))) (import "host" "d" (func (param i32 i32) (result i32)))
  (import "host" "e" (global i32)) (import "host" "f" (global (mut i64))))"""

SIZES = (
    *("--min-funcs=8", "--max-funcs=20", "--max-instructions=300", "--min-types=4", "--max-types=8", "--max-imports=3"),
    *("--max-globals=2", "--max-tags=3", "--max-elements=8", "--max-element-segments=6", "--max-data-segments=6"),
    *("--max-memory32-bytes=131072", "--max-table-elements=50", "--ensure-termination", "--fuel=300"),
    *("--canonicalize-nans=true", "--memory64-enabled=false", "--threads-enabled=false"),
)
#: What compilers write today; with exceptions and several memories and tables; and with garbage collection.
COMMON = ("--gc-enabled=false", "--exceptions-enabled=false", "--min-memories=1", "--min-tables=1")
RECENT = ("--gc-enabled=false", "--max-memories=3", "--max-tables=3")
EVERYTHING = ("--max-memories=3", "--max-tables=3")
CHOICES = (
    ("--export-everything=true",), ("--min-exports=3",), ("--disallow-traps=true", "--min-exports=4"),
    ("--export-everything=true", "--disallow-traps=true"),
)  # fmt: skip

ENGINE = engine()
ARGUMENTS = {
    "i32": (0, 7, -1, 70_000, -(2**31)),
    "i64": (0, -1, 2**40),
    "f32": (0.0, -1.5),
    "f64": (1e300, float("nan")),
}


def calls_for(program: bytes, chance: random.Random) -> list[Call]:
    """Two calls of each exported function that takes and gives numbers, in some order."""
    module = Module.parse(program)
    calls: list[Call] = []
    for export in module.exports:
        if export.kind == Kind.FUNCTION:
            type_ = module.function_type(module.function_types[export.index])
            if NUMBERS.keys() >= {*type_.params, *type_.results}:
                kinds = [NUMBERS[kind] for kind in type_.params]
                calls += [(export.name, *(chance.choice(ARGUMENTS[kind]) for kind in kinds)) for _ in range(2)]
    chance.shuffle(calls)
    return calls


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("host") / "imports.wasm"
    path.write_bytes(assemble(HOST))
    return path


def paired_by_chance(blobs: Sequence[Blob], chance: random.Random) -> list[SharedFunction]:
    """Any functions of one shape, at most one of each blob, may become one shared function."""
    shapes: dict[bytes, dict[int, list[int]]] = {}
    for position, blob in enumerate(blobs):
        for index, function in enumerate(blob.functions):
            if function.shape is not None:
                shapes.setdefault(function.shape, {}).setdefault(position, []).append(index)
    shared = []
    for members in shapes.values():
        for indices in members.values():
            chance.shuffle(indices)
        for number in range(max(map(len, members.values()))):
            chosen = {blob: indices[number] for blob, indices in members.items() if number < len(indices)}
            shared.append(SharedFunction({blob: index for blob, index in chosen.items() if chance.random() < 0.9}))
    return [function for function in shared if function.members]


def grouped_by_chance(functions: Sequence[SharedFunction], chance: random.Random) -> list[Group[SharedFunction]]:
    """Shared functions may go to any modules, or stay where they are."""
    groups: list[Group[SharedFunction]] = [Group(0) for _ in range(chance.randint(1, 4))]
    for function in functions:
        if chance.random() < 0.9:
            group = chance.choice(groups)
            group.items.append(function)
            group.users |= function.users
    return [group for group in groups if group.items]


def compare(seed: int, host: Path, options: tuple[str, ...]) -> None:
    """Split variants of one module by chance, and compare what they do before and after."""
    chance = random.Random(seed)
    module = smith(seed, *SIZES, *options, *chance.choice(CHOICES), f"--available-imports={host}")
    programs = [*(variant(module, number) for number in range(3)), padded(variant(module, 3))]
    assert not any(map(invalid_because, programs))
    blobs = [fingerprint(Module.parse(program)) for program in programs]
    shared = match(blobs) if chance.random() < 0.5 else paired_by_chance(blobs, chance)
    images = [image(blob) for blob in blobs]
    linked = link(blobs, grouped_by_chance(shared, chance), images, share_data(images))
    modules, remainders = [*linked.modules, *linked.data], linked.remainders
    for output in (*modules, *remainders):
        assert not (reason := invalid_because(output)), reason
    by_cid = {cid_of(output): output for output in (environment(), *modules)}
    prover = Prover(by_cid)
    whole, split = World(ENGINE, fuel=100_000), World(ENGINE, fuel=10_000_000)
    for program, remainder in zip(programs, remainders, strict=True):
        prover.prove(program, remainder)
        calls = calls_for(program, random.Random(seed))
        expected = whole.run(program, {}, calls)
        if not any("OUT_OF_FUEL" in outcome for outcome in expected.calls):
            assert split.run(remainder, by_cid, calls) == expected


@pytest.mark.long
@settings(max_examples=10 * soak.TIMES)
@given(seeds)
def test_programs_of_common_features_behave_as_before(host: Path, seed: int) -> None:
    compare(seed, host, COMMON)


@pytest.mark.long
@settings(max_examples=10 * soak.TIMES)
@given(seeds)
def test_programs_of_recent_features_behave_as_before(host: Path, seed: int) -> None:
    compare(seed, host, RECENT)


@settings(max_examples=5 * soak.TIMES)
@given(seeds)
def test_programs_of_all_features_behave_as_before(host: Path, seed: int) -> None:
    compare(seed, host, EVERYTHING)
