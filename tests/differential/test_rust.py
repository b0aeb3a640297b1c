"""Our Rust programs, whole and split: arguments, streams, files, environment, exit codes and panics."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from corpus import NAMED_PROGRAM, rust_programs
from differential.conftest import Comparison
from differential.harness import Case

TEXT = b"One blob, two blobs:\nwhat one holds\nthe other may hold.\n\nKeep it once.\n"
LOG = b"09:01 INFO start\n09:02 ERROR disk full\n09:03 info retry\n09:04 error: timeout after 30s\n\xff\xfe no text\n"
SALES = b'city,item,price\nOslo,"lamp, small",12.50\nBergen,chair,80\nOslo,"a ""good"" desk",240.25\r\nBergen,lamp,9\n'
RUN = '{"jobs": [{"name": "grün", "ok": true, "took": 1.5e1}, {"name": "b\\u0041", "ok": null}], "n": -0.25}'.encode()
GREY = b"P2\n# made by hand\n6 4\n15\n" + b" ".join(b"%d" % (place % 16) for place in range(24)) + b"\n"
COLOUR = b"P6 20 10 255\n" + bytes(place * 7 % 256 for place in range(600))
NESTED = b"[" * 300 + b"]" * 300


@dataclass(frozen=True)
class Run:
    """One run of a program and what it is known to do: two runs that fail alike prove nothing."""

    program: str
    case: Case
    exit_code: int | None
    #: What stdout holds; stderr when nothing is on stdout.
    says: bytes = b""
    #: A file it writes and how that begins.
    writes: tuple[str, bytes] | None = None


def panics(program: str, case: Case, says: bytes) -> Run:
    """A run that ends in a trap."""
    return Run(program, case, None, says)


RUNS = [
    Run(
        "wordcount",
        Case(["--top", "3", "text"], files={"text": TEXT}),
        0,
        b"       5       14       71 text",
    ),
    Run("wordcount", Case(stdin=TEXT), 0, b"       2 one\n"),
    Run(
        "wordcount", Case(["-", "a", "b"], stdin=b"A a", files={"a": b"", "b": "Ünïcode ünïcode\n".encode()}), 0, b"2 a"
    ),
    Run("wordcount", Case(stdin=b"A a B", env={"WORDCOUNT_CASE": "keep"}), 0, b"       1 A\n"),
    Run("wordcount", Case(stdin=b"a", env={"WORDCOUNT_CASE": "loud"}), 2, b"not `loud`"),
    Run("wordcount", Case(["--top", "many"]), 2, b"--top does not take `many`"),
    Run("wordcount", Case(["absent.txt"]), 2, b"absent.txt: "),
    Run("wordcount", Case(stdin=bytes(range(256)) * 2000), 0, b"512000 -"),
    Run("logsearch", Case(["ERROR", "app.log"], files={"app.log": LOG}), 0, b"app.log:2: 09:02 ERROR disk full\n"),
    Run("logsearch", Case(["-i", "error*out"], stdin=LOG), 0, b"-:4: "),
    Run("logsearch", Case(["-v", "-c", "09:0?"], stdin=LOG), 0, b"-: 1\n"),
    Run("logsearch", Case(["nothing like it"], stdin=LOG), 1),
    Run("logsearch", Case(), 2, b"no pattern is given"),
    Run("logsearch", Case(["*a" * 30], stdin=b"a" * 3000), 0, b"-:1: aaa"),
    Run("checksum", Case(stdin=b"abc"), 0, b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n"),
    Run("checksum", Case(["--crc32", "a", "b"], files={"a": b"123456789", "b": b""}), 0, b"cbf43926  a\n00000000  b\n"),
    Run("checksum", Case(["big"], files={"big": bytes(range(251)) * 1000}), 0, b"  big\n"),
    Run("checksum", Case(["--crc32", "--check", "l"], files={"a": b"123456789", "l": b"CBF43926  a\n"}), 0, b"a: ok\n"),
    Run(
        "checksum",
        Case(["--check", "l"], files={"a": b"x", "l": b"00  a\n00  gone\n"}),
        1,
        b"a: DIFFERS\ngone: DIFFERS",
    ),
    Run("checksum", Case(["--check", "l"], files={"l": b"00 a\n"}), 2, b"line 1, column 4: expected two spaces"),
    Run("csvsum", Case(["--by", "city", "--sum", "price"], stdin=SALES), 0, b"Oslo,2,252.75,126.375,12.5,240.25\n"),
    Run(
        "csvsum",
        Case(["--by", "item", "--sum", "price", "-o", "out.csv", "in.csv"], files={"in.csv": SALES}),
        0,
        writes=("out.csv", b'item,count,sum,mean,min,max\n"a ""good"" desk",1,240.25,'),
    ),
    Run("csvsum", Case(["--by", "city", "--sum", "cost"], stdin=SALES), 2, b"there are: city, item, price"),
    Run("csvsum", Case(["--by", "city"], stdin=SALES), 2, b"--sum is missing"),
    Run("csvsum", Case(["--by", "a", "--sum", "a"], stdin=b'a\n"1'), 2, b"line 2, column 3: expected a closing quote"),
    Run("csvsum", Case(["--by", "a", "--sum", "a"], stdin=b"a\n1e308\n1e308\nnan\n-inf\n"), 0, b"inf"),
    panics("csvsum", Case(["--by", "a", "--sum", "b"], stdin=b"a,b\nx\n"), b"index out of bounds"),
    panics("csvsum", Case(["--by", "a", "--sum", "b"], stdin=b"a,b\nx,many\n"), b"every value is a number"),
    Run("jsonfmt", Case(stdin=RUN), 0, '      "name": "grün",\n'.encode()),
    Run("jsonfmt", Case(["--indent", "0"], stdin=RUN), 0, b'"took":15}'),
    Run("jsonfmt", Case(["--get", "jobs.1.name", "run.json"], files={"run.json": RUN}), 0, b"bA\n"),
    Run("jsonfmt", Case(["--get", "jobs.7"], stdin=RUN), 1, b"nothing at jobs.7"),
    Run(
        "jsonfmt",
        Case(["--in-place", "--indent", "1", "d/run.json"], files={"d/run.json": b'{"a":[1]}'}),
        0,
        writes=("d/run.json", b'{\n "a": [\n  1\n ]\n}\n'),
    ),
    Run("jsonfmt", Case(stdin=b'{"a":\n tru}'), 2, b"line 2, column 5: expected a value"),
    Run("jsonfmt", Case(stdin=NESTED), 2, b"nested more than 256 deep"),
    Run("jsonfmt", Case(["--indent", "0"], stdin=b"[1e-320, 123456789012345678, 5e-7, -0.0]"), 0, b"12345678901234"),
    Run("thumbnail", Case(["--size", "3", "-", "-"], stdin=GREY), 0, b"P5\n3 2\n255\n"),
    Run(
        "thumbnail",
        Case(["in.ppm", "out.ppm"], files={"in.ppm": COLOUR}),
        0,
        b"20x10 -> 20x10",
        ("out.ppm", b"P6\n20 10\n"),
    ),
    Run("thumbnail", Case(["--size", "7", "i", "o"], files={"i": COLOUR}), 0, b"-> 7x3", ("o", b"P6\n7 3\n255\n")),
    Run("thumbnail", Case(["i", "no/such/folder"], files={"i": COLOUR}), 2, b"no/such/folder: "),
    Run("thumbnail", Case(["i", "o"], files={"i": b"P4 1 1 "}), 2, b"expected P2, P3, P5 or P6"),
    Run("thumbnail", Case(["--size", "0", "i", "o"]), 2, b"at least 1"),
    panics("thumbnail", Case(["i", "o"], files={"i": COLOUR[:-1]}), b"range end index 600"),
    *(Run(program, Case(["--help"]), 0, b"usage: " + program.encode()) for program in rust_programs()),
    *(panics(program, Case(["--panic"]), b"was asked to panic") for program in rust_programs()),
    *(Run(program, Case(["--nonsense", "-x"]), 2, b"unknown option") for program in ("wordcount", "logsearch")),
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.program}-{' '.join(run.case.args)[:30]}")
def test_runs(rust: Comparison, run: Run) -> None:
    check(rust, run.program, run)


@pytest.mark.parametrize("run", [run for run in RUNS if run.program == "jsonfmt"], ids=lambda run: run.says.decode())
def test_runs_of_one_program_split_along_its_names(named: Comparison, run: Run) -> None:
    check(named, NAMED_PROGRAM.stem, run)


def check(pair: Comparison, program: str, run: Run) -> None:
    outcome = pair.run(program, run.case)
    assert (outcome.exit_code, outcome.trap is None) == (run.exit_code, run.exit_code is not None), outcome.stderr
    assert run.says in (outcome.stdout or outcome.stderr)
    if run.exit_code is None:
        assert outcome.trap is not None
        assert outcome.trap.startswith("UNREACHABLE")
    if run.writes is not None:
        path, start = run.writes
        assert outcome.files[path].startswith(start)
