"""Programs that Go compiles, whole and split: they use several globals and 64-bit addresses."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from differential.conftest import Comparison, Split, split_once
from differential.harness import Case, Host
from golang import build_go

SOURCES = Path(__file__).parent / "go"
PROGRAMS = ("hello", "jsonsort")
MANY = b"[" + b",".join(b'{"n": %d, "s": "%x"}' % (n * 7919 % 1000, n) for n in range(3000)) + b"]"


@pytest.fixture(scope="session")
def programs(shared_folder: Path) -> dict[str, Path]:
    """The programs, compiled once."""
    folder = shared_folder / "go"
    with FileLock(folder.with_suffix(".lock")):
        for name in PROGRAMS:
            if not (folder / f"{name}.wasm").exists():
                build_go(f"./{name}", folder / f"{name}.wasm", "-ldflags=-s", cwd=SOURCES)
    return {name: folder / f"{name}.wasm" for name in PROGRAMS}


@pytest.fixture(scope="session")
def split_go(programs: dict[str, Path], shared_folder: Path) -> Split:
    """The programs, split together and proved."""
    return split_once(programs.values(), shared_folder / "split-go")


@pytest.fixture(scope="session")
def pair(host: Host, programs: dict[str, Path], split_go: Split) -> Comparison:
    """The programs against their split."""
    return Comparison(host, programs, split_go)


@pytest.mark.long
def test_most_code_is_shared_and_proved(split_go: Split) -> None:
    assert all(app["verified"] for app in split_go.report["apps"])
    totals = split_go.report["totals"]
    assert totals["split_bytes"] < 0.9 * totals["blob_bytes"]
    shared = sum(module["bytes"] for module in split_go.report["modules"] if module["kind"] == "shared")
    assert shared > 1_000_000


@pytest.mark.parametrize(
    ("program", "case", "exit_code", "says"),
    [
        ("hello", Case(), 0, b"hello\n"),
        ("hello", Case(["a", "b"], env={"MARK": "!"}), 0, b"hello, A AND B !\n"),
        ("hello", Case(["goroutines"]), 0, b"total 285\n"),
        ("hello", Case(["exit", "x", "y"]), 4, b""),
        ("hello", Case(["panic"]), 2, b"panic: was asked to panic"),
        ("jsonsort", Case(["n"], stdin=b'[{"n": "b"}, {"n": "a", "m": [1.5, null]}]'), 0, b'[\n {\n  "m": [\n   1.5,'),
        ("jsonsort", Case(["s", "in"], files={"in": MANY}), 0, b'[\n {\n  "n": 0,\n  "s": "0"\n },'),
        ("jsonsort", Case(["s", "absent"]), 1, b"absent: No such file"),
        ("jsonsort", Case(["s"], stdin=b"[{]"), 2, b"invalid character ']'"),
        ("jsonsort", Case(), 2, b"panic: runtime error: index out of range [1] with length 1"),
    ],
)
def test_runs(pair: Comparison, program: str, case: Case, exit_code: int, says: bytes) -> None:
    outcome = pair.run(program, case)
    assert (outcome.exit_code, outcome.trap) == (exit_code, None), outcome.stderr
    assert says in (outcome.stdout or outcome.stderr)
