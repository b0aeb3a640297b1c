"""Blobs linked with relocations: one alone is split, code and data, and the next one uses what there is."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bacpack.proof.equivalence.prover import Prover
from bacpack.split.catalog.catalog import Catalog, catalog_files
from bacpack.split.data.image import Image, image
from bacpack.split.data.own_pieces import own_data
from bacpack.split.input.blob import Input
from bacpack.split.input.custom_sections import stripped_size
from bacpack.split.model.records import Split
from bacpack.split.pipeline.steps import split
from bacpack.split.shapes.fingerprint import Blob, fingerprint
from bacpack.split.shapes.relocation_hints import NUMBER, PLACE, UNKNOWN, HintReader, RelocationHints
from bacpack.wasm import Module, writer
from bacpack.wasm.relocations import LINKING_SECTION, RELOCATION_PREFIX
from corpus import PREBUILT
from differential.harness import Case, Host, differences
from linked import PROGRAM, RUNS, Toolchain
from node.harness import Command
from wanting import RUST, cargo, skip

#: Another program with the same library: some of what the first one uses, and more.
NEXT = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

static const char *const names[] = {"one", "two", "three", "four"};
static double values[40];
static int compare(const void *a, const void *b) { return *(double *)a < *(double *)b ? 1 : -1; }

int main(int count, char **arguments) {
    for (int i = 1; i < count && i < 40; i++) values[i] = strtod(arguments[i], 0);
    qsort(values, 40, sizeof *values, compare);
    for (int i = 0; i < count && i < 40; i++) printf("%s %g %.3f\n", names[i & 3], values[i], sqrt(values[i]));
    fprintf(stderr, "%s\n", strerror(count));
    return count;
}
"""


@pytest.fixture(scope="module")
def zig(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    return Toolchain(tmp_path_factory.mktemp("zig"))


@pytest.fixture(scope="module")
def blob(zig: Toolchain) -> bytes:
    return zig.link([zig.compile(PROGRAM)], "--emit-relocs", "--strip-debug")


@pytest.fixture(scope="module")
def next_blob(zig: Toolchain) -> bytes:
    return zig.link([zig.compile(NEXT, name="next")], "--emit-relocs", "--strip-debug")


def without(data: bytes, *names: str) -> bytes:
    """The blob without custom sections of these names, and without relocations."""
    kept = [
        section
        for section in Module.parse(data).sections
        if section.name is None or not (section.name in names or section.name.startswith(RELOCATION_PREFIX))
    ]
    return writer.rewrite(Module(data, kept), {})


def plain(data: bytes) -> bytes:
    return without(data, LINKING_SECTION, "name", "producers", "target_features")


def proved(inputs: list[bytes], catalogs: list[Catalog] | None = None) -> Split:
    """Split blobs, and prove each equal to its split."""
    result = split([Input(f"app{n}", data, f"app{n}.wasm") for n, data in enumerate(inputs)], catalogs=catalogs or [])
    prover = Prover({cid: module.data for cid, module in result.modules.items()})
    for app in result.apps:
        prover.prove(app.blob, app.data)
    return result


def catalog_of(result: Split) -> Catalog:
    files = catalog_files(result) | {f"modules/{cid}.wasm": module.data for cid, module in result.modules.items()}
    return Catalog.open("earlier", files.get)


def kinds(result: Split, *, reused: bool = False) -> set[str]:
    return {module.kind for module in result.modules.values() if module.reused == reused}


def added(result: Split) -> int:
    """What a split adds to what there was."""
    remainders = sum(len(app.data) for app in result.apps)
    return remainders + sum(len(module.data) for module in result.modules.values() if not module.reused)


def known(data: bytes) -> tuple[Blob, RelocationHints]:
    found = fingerprint(Module.parse(data))
    assert found.hints is not None
    return found, found.hints


def test_relocations_change_no_shape(blob: bytes) -> None:
    found, _ = known(blob)
    stripped = fingerprint(Module.parse(plain(blob)))
    assert stripped.hints is None
    assert [function.shape for function in found.functions] == [function.shape for function in stripped.functions]
    assert set(stripped.meanings(0)) <= {UNKNOWN}


def test_every_operand_that_the_linker_filled_in_is_known(blob: bytes) -> None:
    found, facts = known(blob)
    meanings = [
        (value, meaning)
        for function, known_ in zip(found.functions, facts.operands, strict=True)
        for value, meaning in zip(function.operands, known_, strict=True)
    ]
    starts = {start for start, _ in facts.objects}
    addresses = [(value, meaning) for value, meaning in meanings if meaning >= 0]
    assert len(addresses) > 50
    # Most are the address of an object, or lie within it.
    assert sum(meaning in starts for _, meaning in addresses) > 0.8 * len(addresses)
    assert sum(0 <= value - meaning < 4096 for value, meaning in addresses) > 0.9 * len(addresses)
    places = [value for value, meaning in meanings if meaning == PLACE]
    assert places
    assert all(0 < value < found.module.tables[0].type.limits.minimum for value in places)
    assert any(value > 1024 for value, meaning in meanings if meaning == NUMBER)


def test_one_program_alone_is_split_code_and_data(blob: bytes, tmp_path: Path) -> None:
    command = Command(tmp_path / "home")
    app = tmp_path / "app.wasm"
    app.write_bytes(blob)
    done = command("split", app, "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    assert {module["kind"] for module in result["modules"]} == {"environment", "shared", "data"}
    entry = result["apps"][0]
    assert entry["bytes"] < entry["blob_bytes"] / 2
    assert entry["blob_bytes"] == stripped_size(Module.parse(blob))
    done = command("verify", tmp_path / "out", "--against", app)
    assert done.returncode == 0, done.stderr.decode()
    host = Host()
    for arguments, said, _ in RUNS:
        before = host.run(app, Case(arguments))
        assert said in before.stdout
        after = host.run(tmp_path / "out" / "app.wasm", Case(arguments), modules=tmp_path / "out" / "modules")
        assert differences(before, after) == []


def test_it_is_split_along_the_names_that_the_linker_knew(blob: bytes) -> None:
    sections = Module.parse(blob).sections
    assert {"name", LINKING_SECTION} <= {section.name for section in sections}
    nameless = writer.rewrite(Module(blob, [section for section in sections if section.name != "name"]), {})
    with_names, by_symbols = proved([blob]), proved([nameless])
    assert with_names.modules.keys() == by_symbols.modules.keys()
    assert {module.kind for module in by_symbols.modules.values()} == {"data", "environment", "shared"}


def test_without_relocations_or_names_a_program_alone_stays_whole(blob: bytes) -> None:
    assert not proved([plain(blob)]).modules


def test_the_next_program_uses_the_code_and_data_of_the_first(blob: bytes, next_blob: bytes) -> None:
    first = catalog_of(proved([blob]))
    following = proved([next_blob], [first])
    assert {"shared", "data"} <= kinds(following, reused=True)
    alone = proved([next_blob])
    assert added(following) < 0.8 * added(alone)
    # Without relocations it uses them just as well.
    assert {"shared", "data"} <= kinds(proved([plain(next_blob)], [first]), reused=True)


def test_of_several_programs_each_puts_its_own_data_into_a_module(blob: bytes, next_blob: bytes) -> None:
    both = proved([blob, next_blob])
    mixed = proved([blob, plain(next_blob)])
    assert kinds(both) == {"environment", "shared", "data"}
    assert kinds(mixed) == {"environment", "shared", "data"}


def own_pieces(blob: Blob) -> list[tuple[int, int]]:
    plans = own_data([image(blob)], [blob.hints], [])
    return [(piece.addresses[0], piece.addresses[0] + len(piece.content)) for plan in plans for piece in plan.pieces]


def test_pieces_go_through_no_object(blob: bytes) -> None:
    found, facts = known(blob)
    pieces = own_pieces(found)
    assert len(pieces) > 2
    for start, end in facts.objects:
        assert all(first <= start and end <= last for first, last in pieces if first < end and start < last)


def test_words_of_a_class_point_into_one_piece(blob: bytes) -> None:
    found, facts = known(blob)
    pieces = own_pieces(found)
    targets: dict[tuple[int, int], set[tuple[str, int]]] = {}
    for number, plan in enumerate(own_data([image(found)], [facts], [])):
        for piece, words in zip(plan.pieces, plan.words, strict=True):
            for at, class_ in words.items():
                value = int.from_bytes(piece.content[at : at + 4], "little")
                target = facts.words[piece.addresses[0] + at]
                where = [("piece", first) for first, last in pieces if first <= target < last]
                said = ("place", value) if target == PLACE else [*where, ("object", target)][0]
                targets.setdefault((number, class_), set()).add(said)
    assert {kind for said in targets.values() for kind, _ in said} == {"piece", "object", "place"}
    assert all(len(said) == 1 for said in targets.values())
    assert len(set.union(*targets.values())) == len(targets)


def test_a_data_module_has_no_more_parameters_than_engines_take() -> None:
    """One object with more places of functions than that, and more objects that all point elsewhere."""
    words = range(1, 5001)
    content = b"".join(word.to_bytes(4, "little") for word in words) + bytes(range(1, 201)) * 600
    objects = [(1024, 1024 + 20_000), *((at, at + 200) for at in range(21_024, 141_024, 200))]
    places = {1024 + 4 * at: PLACE for at in range(5000)} | {at: 1 << 20 | at for at in range(21_024, 141_024, 200)}
    facts = RelocationHints([], objects, places, {})
    plans = own_data([Image(1024, content, 3 << 16)], [facts], [])
    assert len(plans) > 1
    assert max(len(plan.pieces) + len(plan.classes) for plan in plans) <= 1000
    memory = bytearray(len(content))
    for plan in plans:
        for address, written in plan.written(0):
            memory[address - 1024 : address - 1024 + len(written)] = written
    assert memory == content


@pytest.mark.parametrize("seed", range(6))
def test_wrong_relocations_do_no_harm(blob: bytes, next_blob: bytes, seed: int) -> None:
    """Whatever is said of operands, objects and words: the split is the program, and so is the next one's."""
    chance = random.Random(seed)
    right = HintReader.hints

    def wrong(self: HintReader) -> RelocationHints | None:
        facts = right(self)
        if facts is None:
            return None
        for meanings in facts.operands:
            for place in range(len(meanings)):
                if chance.random() < 0.2:
                    meanings[place] = chance.choice((NUMBER, PLACE, chance.randrange(1 << 20)))
        ends = [end for _, end in facts.objects]
        cuts = sorted({chance.randrange(1024, max(ends)) for _ in range(60)})
        objects = list(pairwise(cuts)) if chance.random() < 0.5 else facts.objects
        words = {address + chance.choice((0, 0, 4, 1)): target for address, target in facts.words.items()}
        words |= {chance.randrange(max(ends)): chance.choice((PLACE, chance.randrange(1 << 20))) for _ in range(100)}
        return replace(facts, objects=objects, words=words)

    with patch.object(HintReader, "hints", wrong):
        first = proved([blob])
        proved([next_blob], [catalog_of(first)])
        proved([blob, next_blob])


def test_relocations_that_cannot_be_read_are_as_good_as_none(blob: bytes) -> None:
    broken = plain(blob) + writer.custom_section(LINKING_SECTION, b"\x63nothing of this kind")
    assert not proved([broken]).modules


@pytest.fixture(scope="module")
def relocated_rust() -> Callable[[str], bytes]:
    """Builds one of our Rust programs with relocations, as a reader of the guide would."""
    target = PREBUILT.parent / "target" / "relocations"
    command = [cargo(), "rustc", "--locked", "--offline", "--release", "--target", "wasm32-wasip1"]

    def build(name: str) -> bytes:
        built = subprocess.run(
            [*command, "--package", name, "--", "-C", "link-arg=--emit-relocs"],
            cwd=PREBUILT.parent,
            env={**os.environ, "CARGO_TARGET_DIR": str(target)},
            capture_output=True,
            text=True,
            check=False,
        )
        if "target may not be installed" in built.stderr:
            skip(RUST, "rustup target add wasm32-wasip1")
        assert built.returncode == 0, built.stderr
        return (target / "wasm32-wasip1" / "release" / f"{name}.wasm").read_bytes()

    return build


@pytest.mark.long
def test_the_next_rust_program_adds_at_most_a_fifth(relocated_rust: Callable[[str], bytes]) -> None:
    programs = [relocated_rust(name) for name in ("checksum", "csvsum", "jsonfmt", "logsearch", "thumbnail")]
    shares = []
    for number, program in enumerate(programs):
        others = programs[:number] + programs[number + 1 :]
        following = proved([program], [catalog_of(proved(others))])
        shares.append(added(following) / following.apps[0].blob_bytes)
    assert statistics.median(shares) < 0.2, shares
