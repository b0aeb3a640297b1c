"""`bacpack run`: a program cannot tell it from wasmtime, and a person is told what became of it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from cli.running import ECHO_ARGUMENTS, LIBRARY, LIBRARY_CID, LOOP, PROGRAMS, adding, arguments_seen, write
from inprocess import call
from node.harness import Command, assemble, write_release
from waiting import line_of, started

PLAIN_HOST = Path(__file__).with_name("plain_host.py")
#: Writes `y\n` for ever, until that fails.
YES = assemble(r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\08\00\00\00\02\00\00\00y\n")
  (func (export "_start") (loop $more
    (br_if $more (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))))))""")


# The same as wasmtime


@dataclass(frozen=True)
class Case:
    program: str
    arguments: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    stdin: bytes = b""


PICTURE = b"P5 4 2 255\n" + bytes(range(0, 240, 30))
CASES = {
    "stdin": Case("wordcount", stdin=b"one two two\n"),
    "arguments": Case("wordcount", ("--top", "1"), stdin=b"one two two\n"),
    "an argument with a dash and a space": Case("logsearch", ("-i", "t?o th*"), stdin=b"one two three\nTwo Three\n"),
    "a variable": Case("wordcount", options=("--env", "WORDCOUNT_CASE=keep"), stdin=b"A a\n"),
    "a folder under its own path": Case("wordcount", ("in.txt",), ("--dir", ".")),
    "a folder under another path": Case("wordcount", ("/data/in.txt",), ("--dir", ".::/data")),
    "a file that is not given": Case("wordcount", ("in.txt",)),
    "a file that is not there": Case("wordcount", ("none.txt",), ("--dir", ".")),
    "a file that is written": Case("thumbnail", ("--size", "2", "in.pgm", "out.pgm"), ("--dir", ".")),
    "several folders": Case("checksum", ("/a/in.txt", "/b/in.txt"), ("--dir", ".::/a", "--dir", "sub::/b")),
    "a status of 1": Case("logsearch", ("nowhere",), stdin=b"one\n"),
    "a status of 2": Case("csvsum", ("--by",)),
    "bytes that are not text": Case("checksum", stdin=bytes(range(256))),
    "a panic": Case("wordcount", ("--panic",)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_program_behaves_as_under_wasmtime_alone(command: Command, folder: Path, case: Case) -> None:
    program = str(PROGRAMS[case.program])
    outcomes = []
    for name, line in (
        ("plain", [sys.executable, str(PLAIN_HOST), *case.options, program, *case.arguments]),
        ("ours", command.line("run", *case.options, program, *case.arguments)),
    ):
        place = folder / name
        (place / "sub").mkdir(parents=True)
        write(place / "in.txt", b"Some words, some words.\n")
        write(place / "sub" / "in.txt", b"Other words.\n")
        write(place / "in.pgm", PICTURE)
        done = subprocess.run(
            line, input=case.stdin, cwd=place, env=command.environment, capture_output=True, timeout=60, check=False
        )
        files = {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        stderr = done.stderr.partition(b"error[trap]")[0]
        outcomes.append((done.returncode, done.stdout, stderr, files))
    plain, ours = outcomes
    assert ours == plain


def test_a_panic_ends_with_134_and_says_why_it_trapped(command: Command) -> None:
    done = command("run", PROGRAMS["wordcount"], "--panic")
    assert done.returncode == 134
    assert b"panicked at" in done.stderr
    assert done.stderr.endswith(
        b"error[trap]: the program trapped: wasm `unreachable` instruction executed\n"
        b"hint: --report FILE records the calls that led there\n"
    )


def test_a_variable_without_value_is_ours(command: Command) -> None:
    line = ["run", "--env", "WORDCOUNT_CASE", PROGRAMS["wordcount"]]
    ours = command(*line, stdin=b"A a\n", env={"WORDCOUNT_CASE": "keep"})
    assert ours.stdout == command("run", "--env", "WORDCOUNT_CASE=keep", PROGRAMS["wordcount"], stdin=b"A a\n").stdout
    assert command(*line, stdin=b"A a\n").stdout != ours.stdout


def test_our_variables_are_not_the_programs(command: Command) -> None:
    leaked = command("run", PROGRAMS["wordcount"], stdin=b"A a\n", env={"WORDCOUNT_CASE": "keep"})
    assert leaked.stdout == command("run", PROGRAMS["wordcount"], stdin=b"A a\n").stdout


@pytest.mark.parametrize(("code", "status"), [(255, 255), (256, 1), (257, 1), (512, 1), (511, 255), (-1, 255)])
def test_a_failure_is_never_a_success(tmp_path: Path, code: int, status: int) -> None:
    program = write(tmp_path / "exit.wasm", assemble(f"""(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code}))))"""))  # fmt: skip
    assert call(tmp_path / "home", "run", "--report", tmp_path / "report.json", program).status == status
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == code & 0xFFFFFFFF


# Standard streams


def test_stdin_and_stdout_may_be_files(command: Command, folder: Path) -> None:
    source = write(folder / "in.txt", b"one two two\n")
    with source.open("rb") as stdin, (folder / "out.txt").open("wb") as stdout:
        subprocess.run(
            command.line("run", PROGRAMS["wordcount"]),
            stdin=stdin, stdout=stdout, env=command.environment, timeout=60, check=True,
        )  # fmt: skip
    assert (folder / "out.txt").read_bytes().split()[:3] == [b"1", b"3", b"12"]


def test_a_reader_that_leaves_early_ends_the_program(command: Command, folder: Path) -> None:
    line = command.line("run", write(folder / "yes.wasm", YES))
    with started(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=command.environment) as running:
        assert running.stdout is not None and running.stderr is not None
        assert line_of(running.stdout, "the program prints") == b"y\n"
        running.stdout.close()
        assert running.wait(timeout=30) == 0
        assert running.stderr.read() == b""


def test_through_a_pipe_to_head(command: Command, folder: Path) -> None:
    program = write(folder / "yes.wasm", YES)
    line = f"set -o pipefail; {shlex.join(map(str, command.line('run', program)))} | head -n 2"
    done = subprocess.run(["bash", "-c", line], env=command.environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"y\ny\n", b"")


# The command line


def test_a_path_with_spaces(command: Command, folder: Path) -> None:
    path = folder / "my programs" / "word count.wasm"
    path.parent.mkdir()
    shutil.copy(PROGRAMS["wordcount"], path)
    assert command("run", path, stdin=b"one\n").returncode == 0
    assert command("run", "word count.wasm", stdin=b"one\n", cwd=path.parent).returncode == 0


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (["app.wasm"], []),
        (["app.wasm", "a", "b"], ["a", "b"]),
        (["app.wasm", "a", "--dir", "x"], ["a", "--dir", "x"]),
        (["app.wasm", "--unknown", "x"], ["--unknown", "x"]),
        (["app.wasm", "--help"], ["--help"]),
        (["app.wasm", "--json"], ["--json"]),
        (["app.wasm", "--", "--dir", "x"], ["--dir", "x"]),
        (["app.wasm", "--dir", ".", "--timeout=9", "--", "--offline"], ["--offline"]),
        (["--dir", ".", "app.wasm", "--offline", "a", "--offline"], ["a", "--offline"]),
        (["--", "app.wasm", "--dir"], ["--dir"]),
        (["app.wasm", "--", "--", "a"], ["--", "a"]),
        (["app.wasm", "-"], ["-"]),
        (["app.wasm", "", "ä ö"], ["", "ä ö"]),
    ],
)
def test_where_our_options_end_and_the_programs_arguments_begin(
    command: Command, folder: Path, line: list[str], seen: list[str]
) -> None:
    write(folder / "app.wasm", ECHO_ARGUMENTS)
    assert arguments_seen(command, *line, cwd=folder) == ["app.wasm", *seen]


def test_the_program_is_called_by_its_file_name_alone(command: Command, folder: Path) -> None:
    assert arguments_seen(command, write(folder / "app.wasm", ECHO_ARGUMENTS)) == ["app.wasm"]


def test_invoke_prints_what_the_function_returns(command: Command, folder: Path) -> None:
    library = write(folder / "lib.wasm", LIBRARY)
    done = command("run", library, "--invoke", "add", "--", "-7", "0x10")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"9\n", b"")


def test_an_option_can_be_set_by_a_variable(command: Command, folder: Path) -> None:
    program = write(folder / "loop.wasm", LOOP)
    assert command("run", program, env={"BACPACK_RUN_TIMEOUT": "0.1"}).returncode == 124


@pytest.mark.parametrize(
    "wanted",
    [
        "run [OPTIONS] REF [--] [ARGS]...", "Examples:", "Exit status:", "--dir HOST[::GUEST]", "BACPACK_RUN_DIR",
        "BACPACK_RUN_ENV", "BACPACK_RUN_PEER", "BACPACK_RUN_TIMEOUT", "BACPACK_RUN_MAX_MEMORY", "BACPACK_RUN_REPORT",
    ],
)  # fmt: skip
def test_help_says_it(help_text: str, wanted: str) -> None:
    assert wanted in help_text


@pytest.fixture(scope="module")
def help_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return Command(tmp_path_factory.mktemp("home"))("run", "--help").stdout.decode()


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["--nonsense", "app.wasm"],
        ["app.wasm", "--dir", "nowhere"],
        ["app.wasm", "--env", "=x"],
        ["app.wasm", "--timeout", "0"],
        ["app.wasm", "--timeout", "nan"],
        ["app.wasm", "--max-memory", "much"],
        ["app.wasm", "--max-memory", "9999999999GiB"],
        ["app.wasm", "--peer", "example.org"],
    ],
)
def test_wrong_usage_is_refused(command: Command, folder: Path, line: list[str]) -> None:
    write(folder / "app.wasm", ECHO_ARGUMENTS)
    command.fails(2, "usage", "run", *line, cwd=folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only there can an argument be any bytes")
def test_an_argument_that_is_not_utf8_is_refused(command: Command, folder: Path) -> None:
    program = write(folder / "app.wasm", ECHO_ARGUMENTS)
    line = [*(part.encode() for part in command.line("run", program)), b"\xff"]
    done = subprocess.run(line, env=command.environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error[not-utf8]: ")


@pytest.mark.parametrize("value", ["5s", "soon", "0"])
def test_a_time_that_is_no_number_of_seconds(command: Command, folder: Path, value: str) -> None:
    write(folder / "app.wasm", ECHO_ARGUMENTS)
    text = command.fails(2, "usage", "run", "app.wasm", "--timeout", value, cwd=folder)
    assert f"`{value}` is no number of seconds above 0: give one such as 5 or 0.5" in text


# The report


def test_the_report_names_every_module_and_where_it_came_from(command: Command, folder: Path) -> None:
    program = write_release(folder / "out", adding(LIBRARY_CID), LIBRARY)
    report = folder / "run.json"
    command("run", program, "--report", report)
    content = json.loads(report.read_text())
    assert (content["schema"], content["ref"], content["exit_code"], content["trap"]) == (1, str(program), 7, None)
    assert content["load_ms"] > 0 and content["run_ms"] > 0
    library, app = content["modules"]
    for module in (library, app):
        assert module.pop("fetch_ms") >= 0 and module.pop("compile_ms") > 0
    assert library == {
        "cid": LIBRARY_CID,
        "name": LIBRARY_CID,
        "bytes": len(LIBRARY),
        "source": "file",
        "fetched_from": str(program.parent / "modules" / f"{LIBRARY_CID}.wasm"),
        "verified": True,
        "compiled_cached": False,
    }
    assert app["name"] == "app.wasm" and app["cid"] == str(Cid.of_raw(program.read_bytes()))


def test_the_report_of_a_trap_has_the_calls_that_led_there(command: Command, folder: Path) -> None:
    program = write(
        folder / "app.wasm", assemble('(module (func $deep unreachable) (func (export "_start") call $deep))')
    )
    report = folder / "run.json"
    assert command("run", program, "--report", report).returncode == 134
    content = json.loads(report.read_text())
    assert content["exit_code"] == 134
    assert content["trap"]["reason"] == "wasm `unreachable` instruction executed"
    assert len(content["trap"]["backtrace"]) == 2 and "deep" in content["trap"]["backtrace"][0]


def test_the_report_of_a_run_that_was_stopped(command: Command, folder: Path) -> None:
    report = folder / "run.json"
    command.fails(124, "time-limit", "run", write(folder / "loop.wasm", LOOP), "--timeout", "0.1", "--report", report)
    assert json.loads(report.read_text())["exit_code"] == 124


def test_a_report_that_cannot_be_written_is_refused_before_the_program_runs(command: Command, folder: Path) -> None:
    write(folder / "file", b"")
    program = write(folder / "app.wasm", ECHO_ARGUMENTS)
    command.fails(2, "not-a-folder", "run", program, "--report", folder / "file" / "run.json")


def test_a_program_that_cannot_be_loaded_leaves_no_report(command: Command, folder: Path) -> None:
    command.fails(3, "module-not-found", "run", LIBRARY_CID, "--report", folder / "run.json")
    assert list(folder.iterdir()) == []


def test_a_second_run_finds_the_compiled_code(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "app.wasm"
    path.write_bytes(assemble('(module (func (export "_start")))'))
    reports = []
    for name in ("first", "second"):
        assert command("run", path, "--report", tmp_path / name).returncode == 0
        reports.append(json.loads((tmp_path / name).read_text()))
    assert [report["modules"][0]["compiled_cached"] for report in reports] == [False, True]
