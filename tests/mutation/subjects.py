"""Finished splits to change, each with what its program is given."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bacpack.split.abi.environment import environment
from bacpack.split.data.image import image
from bacpack.split.data.pieces import share_data
from bacpack.split.input.blob import Input
from bacpack.split.pipeline.release_folder import make_manifest, write_split
from bacpack.split.pipeline.steps import link, split
from bacpack.split.plan.matching import match
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.wasm import Module
from corpus import image_blobs, rust_programs
from differential.harness import Case, cid_of
from differential.test_go import PROGRAMS as GO_PROGRAMS
from differential.test_go import SOURCES as GO_SOURCES
from differential.test_rust import RUNS as RUST_RUNS
from differential.test_toolchains import DATA, PAIRS
from golang import build_go
from linked import PROGRAM, Toolchain
from linked import RUNS as LINKED_RUNS
from mutation.oracles.behaviour import Calls, Inputs, Runs
from mutation.oracles.explain import Explainer
from mutation.programs import PROGRAMS
from mutation.release import Release
from packages import program as find_program
from proof.handmade import Texts
from split.harness import both
from split.test_generated import (
    CHOICES,
    COMMON,
    EVERYTHING,
    HOST,
    RECENT,
    SIZES,
    calls_for,
    grouped_by_chance,
    paired_by_chance,
)  # fmt: skip
from split.variants import variant
from wasmtools import assemble, smith


@dataclass(frozen=True)
class Subject:
    """A program and its split, and how it is run."""

    name: str
    release: Release
    inputs: Inputs
    #: The files of the folder that it was written to, by path, where these are to be changed.
    files: Mapping[str, bytes] | None = None

    @cached_property
    def expected(self) -> object:
        """What the blob does."""
        return self.inputs.observe(self.release.blob, {}, backwards=False)

    @cached_property
    def explainer(self) -> Explainer:
        """What explains changes of it."""
        return Explainer(self.release)

    @cached_property
    def blob_explainer(self) -> Explainer:
        """What explains changes of the blob."""
        return Explainer(Release(self.release.blob, self.release.blob), is_split=False)


Made = list[Subject]


def handmade() -> Made:
    """A split that was written by hand."""
    blob, remainder, modules = Texts().assembled()
    calls = [
        ("run", 1),
        ("grow", 1),
        ("run", 7),
        ("grow", 2),
        ("widen", 2),
        ("widen", 9),
        ("fill",),
        ("again", 200),
        ("fill",),
    ]
    return [Subject("handmade", Release(blob, remainder, modules), Calls(calls))]


def written() -> Made:
    """Programs for each group of features, in pairs that share code."""
    subjects = []
    for name, (imports, text, calls) in PROGRAMS.items():
        blobs = [assemble(blob) for blob in both(text, imports)]
        subjects += _split(name, blobs, lambda _blob, calls=calls: Calls(calls))
    return subjects


def generated(seeds: Sequence[int]) -> Made:
    """Modules made by chance, whose functions were shared by chance."""
    subjects = []
    with tempfile.TemporaryDirectory() as folder:
        host = Path(folder, "host.wasm")
        host.write_bytes(assemble(HOST))
        for seed in seeds:
            options = (COMMON, RECENT, EVERYTHING)[seed % 3]
            chance = random.Random(seed)
            module = smith(seed, *SIZES, *options, *chance.choice(CHOICES), f"--available-imports={host}")
            subjects += _forced(f"generated {seed}", [variant(module, number) for number in range(2)], chance)
    return subjects


def _forced(name: str, programs: list[bytes], chance: random.Random) -> Iterator[Subject]:
    """Programs split in a way that no plan would choose, where anything is shared at all."""
    blobs = [fingerprint(Module.parse(program)) for program in programs]
    shared = match(blobs) if chance.random() < 0.5 else paired_by_chance(blobs, chance)
    images = [image(blob) for blob in blobs]
    linked = link(blobs, grouped_by_chance(shared, chance), images, share_data(images))
    modules = {cid_of(data): data for data in (environment(), *linked.modules, *linked.data)}
    for number, (program, remainder) in enumerate(zip(programs, linked.remainders, strict=True)):
        if linked.shares[number]:
            yield Subject(f"{name}.{number}", Release(program, remainder, modules), Calls(calls_for(program, chance)))


def folders() -> Made:
    """A folder as `bacpack split` writes it, of which files are changed."""
    imports, text, calls = PROGRAMS["calls and data"]
    blobs = [assemble(blob) for blob in both(text, imports)]
    result = split([Input(f"app{number}", blob, f"app{number}") for number, blob in enumerate(blobs)])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_split(folder, result, make_manifest(result, {app.name: f"{app.name}.wasm" for app in result.apps}))
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    modules = {cid: module.data for cid, module in result.modules.items()}
    return [
        Subject(f"folder.{app.name}", Release(app.blob, app.data, modules), Calls(calls), files) for app in result.apps
    ]


def rust() -> Made:
    """Our six Rust programs."""
    programs = rust_programs()
    cases = {name: [run.case for run in RUST_RUNS if run.program == name][:7] for name in programs}
    blobs = {path.read_bytes(): name for name, path in programs.items()}
    return _split("rust", list(blobs), lambda blob: Runs(cases[blobs[blob]]))


def toolchains() -> Made:
    """Pairs of small programs in C, C++, Rust and AssemblyScript."""
    subjects = []
    for pair in PAIRS:
        blobs = {(DATA / pair.folder / f"{name}.wasm").read_bytes(): cases for name, cases in pair.cases.items()}
        subjects += _split(pair.folder, list(blobs), lambda blob, blobs=blobs: Runs(blobs[blob]))
    return subjects


def images() -> Made:
    """Programs that read and write one image format."""
    blobs = [path.read_bytes() for name, path in image_blobs().items() if name.startswith("wasm-")]
    return _split("image", blobs, lambda _blob: Runs([Case(), Case(["absent.png", "out"])]))


def relocated() -> Made:
    """A C program that was linked with relocations, alone."""
    with tempfile.TemporaryDirectory() as folder:
        tools = Toolchain(Path(folder))
        blob = tools.link([tools.compile(PROGRAM)], "--emit-relocs", "--strip-debug")
    return _split("relocated", [blob], lambda _blob: Runs([Case(arguments) for arguments, _, _ in LINKED_RUNS]))


def go() -> Made:
    """A program in Go and its partner, where there is Go."""
    if find_program("go") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        blobs = []
        for name in GO_PROGRAMS:
            build_go(f"./{name}", Path(folder, name), "-ldflags=-s", cwd=GO_SOURCES)
            blobs.append(Path(folder, name).read_bytes())
    return _split("go", blobs, lambda _blob: Runs([Case(["goroutines"]), Case(["n"], stdin=b'[{"n": 1}]')]))


def _split(name: str, blobs: list[bytes], inputs: Callable[[bytes], Inputs]) -> Made:
    result = split([Input(f"{name}.{number}", blob, f"{name}.{number}") for number, blob in enumerate(blobs)])
    subjects = []
    for app in result.apps:
        needed = {cid: result.modules[cid].data for cid in result.closure(app)}
        assert needed, f"{app.name} shares nothing"
        subjects.append(Subject(app.name, Release(app.blob, app.data, needed), inputs(app.blob)))
    return subjects


#: What makes subjects, and how many of a hundred changes go to them.
GROUPS: dict[str, tuple[Callable[[], Made], int]] = {
    "handmade": (handmade, 12),
    "written": (written, 24),
    "folders": (folders, 4),
    "generated": (lambda: generated(range(24)), 26),
    "toolchains": (toolchains, 14),
    "rust": (rust, 14),
    "relocated": (relocated, 3),
    "image": (images, 2),
    "go": (go, 1),
}
#: Those that are made in a moment.
QUICK = ("handmade", "written", "folders")
