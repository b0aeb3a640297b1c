"""Pairs of small programs of several toolchains, whole and split; `tests/data/toolchains/README.md` says how built."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import wasmtime

from differential.conftest import Comparison, split_once
from differential.harness import Case, Host, Outcome, call
from packages import NODE
from wanting import needed, npm, skip

DATA = Path(__file__).parents[1] / "data" / "toolchains"
NUMBERS = b"12 7 7 0 12 99 7"


@dataclass(frozen=True)
class Calls:
    """Give a text to a library byte by byte, then call its `run` with each number."""

    text: bytes
    numbers: Sequence[int]

    def __call__(self, store: wasmtime.Store, instance: wasmtime.Instance) -> object:
        for byte in self.text:
            call(store, instance, "give", byte)
        return [call(store, instance, "run", number) for number in self.numbers]


def drive(text: bytes, *numbers: int) -> Case:
    return Case(drive=Calls(text, numbers))


@dataclass(frozen=True)
class Pair:
    """Two programs, what they are given, and how much of their size a split may keep at most."""

    folder: str
    cases: dict[str, list[Case]]
    at_most: float


C = Pair(
    "c",
    {
        "words": [Case(["2"], b"a b A c"), Case(stdin=b""), Case(["0"], b"a"), Case(stdin=b"word " * 3000)],
        "sums": [Case(stdin=b"x 5\ny 0x10\nx -2\n"), Case(stdin=b"x"), Case(), Case(["--abort"], b"x 1")],
    },
    0.65,
)
CPP = Pair(
    "cpp",
    {
        "shapes": [Case(stdin=b"circle 2\nbox 2 3\nbox 9 9\n"), Case(stdin=b"circle\n"), Case()],
        "graph": [Case(stdin=b"a b c\nb c\nc d e f\n"), Case(stdin=b"a a\n"), Case()],
    },
    0.70,
)
RUST_CASES = {
    "one": [drive(NUMBERS, 3, 5, 0), drive("grün ÄÖ grün".encode(), 9), drive(b"", 1)],
    "two": [drive(NUMBERS, 3, 5, 0), drive(b"12 a", 1), drive(b"99999999999999999999", 1), drive(b"", 7)],
}
ASSEMBLYSCRIPT = Pair(
    "assemblyscript",
    {"count": [drive(b"", 1, 200, 12), drive(b"", 13)], "sums": [drive(b"", 1, 100, 0)]},
    0.90,
)
PAIRS = [C, CPP, Pair("rust", RUST_CASES, 0.70), Pair("rust/lto", RUST_CASES, 0.90), ASSEMBLYSCRIPT]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.folder)
def test_a_pair_is_split_and_behaves_as_before(host: Host, shared_folder: Path, pair: Pair) -> None:
    blobs = {name: DATA / pair.folder / f"{name}.wasm" for name in pair.cases}
    split = split_once(blobs.values(), shared_folder / f"toolchain-{pair.folder.replace('/', '-')}")
    totals = split.report["totals"]
    assert totals["split_bytes"] <= pair.at_most * totals["blob_bytes"]
    comparison = Comparison(host, blobs, split)
    outcomes: list[Outcome] = []
    for name, cases in pair.cases.items():
        outcomes += (comparison.run(name, case) for case in cases)
    ends = {(outcome.exit_code, outcome.trap is None) for outcome in outcomes}
    assert len(ends) > 1, "two runs that all end alike prove little"
    given = [(outcome.stdout, outcome.returned) for outcome in outcomes if outcome.exit_code == 0]
    assert any(stdout or returned for stdout, returned in given)


#: What zig's clang uses; an older wasm-opt wants to be told, and writes an older form of the newest.
_FEATURES = [
    f"--enable-{feature}"
    for feature in ("bulk-memory", "sign-ext", "nontrapping-float-to-int", "mutable-globals", "multivalue",
                    "reference-types")
]  # fmt: skip


def _tool(name: str) -> list[str | Path]:
    """The command line of a compiler: npm's wasm-opt, or what the machine has."""
    if name == "wasm-opt":
        return [NODE, npm("npm") / "node_modules" / "binaryen" / "bin" / name]
    if name == "emcc":
        return [needed(name, "apt-get install emscripten")]
    return [_clang() or skip("clang for WASI", "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32")]


def _clang() -> str | None:
    """A clang that has the C library of WASI."""
    for name in ("clang", *(f"clang-{version}" for version in range(24, 13, -1))):
        if shutil.which(name):
            probe = [name, "--target=wasm32-wasi", "-x", "c", "-", "-o", os.devnull]
            text = b"int main(void){return 0;}"
            if subprocess.run(probe, input=text, capture_output=True, check=False).returncode == 0:
                return name
    return None


@pytest.mark.parametrize("way", ["clang -Os", "clang -O2 -flto", "emcc", "wasm-opt"])
def test_compilers_of_this_machine(host: Host, tmp_path: Path, way: str) -> None:
    name, *options = way.split()
    blobs = {program: tmp_path / f"{program}.wasm" for program in C.cases}
    for program, path in blobs.items():
        sources = [DATA / "c" / "lib.c", DATA / "c" / f"{program}.c"]
        given: dict[str, list[str | Path]] = {
            "clang": ["--target=wasm32-wasi", "-Wl,-s", *options, *sources],
            "emcc": ["-Os", "-sSTANDALONE_WASM", *sources],
            "wasm-opt": [*_FEATURES, "-O3", DATA / "c" / path.name],
        }
        subprocess.run([*_tool(name), *given[name], "-o", path], check=True)
    split = split_once(blobs.values(), tmp_path / "split")
    assert split.report["totals"]["split_bytes"] <= 0.95 * split.report["totals"]["blob_bytes"]
    comparison = Comparison(host, blobs, split)
    for program, cases in C.cases.items():
        ends = {comparison.run(program, case).exit_code for case in cases}
        assert len(ends) > 1
