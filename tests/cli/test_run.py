"""`bacpack run`: a program cannot tell it from wasmtime, and a person is told what is wrong."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from bacpack.content.cid import Cid
from corpus import rust_programs
from node.harness import Command, assemble, write_release
from node.server import Answer, FileServer

PLAIN_HOST = Path(__file__).with_name("plain_host.py")
PROGRAMS = rust_programs()

LIBRARY = assemble('(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
LIBRARY_CID = str(Cid.of_raw(LIBRARY))


def adding(namespace: str) -> bytes:
    """A program that ends with the status 3 + 4, computed by another module."""
    return assemble(f"""(module (import "{namespace}" "add" (func $add (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (call $exit (call $add (i32.const 3) (i32.const 4)))))""")


LOOP = assemble('(module (memory (export "memory") 1) (func (export "_start") (loop $l br $l)))')
#: Reads from stdin once.
READER = assemble(r"""(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\10\00\00\00")
  (func (export "_start") (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))""")
#: Writes `y\n` for ever, until that fails.
YES = assemble(r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\08\00\00\00\02\00\00\00y\n")
  (func (export "_start") (loop $more
    (br_if $more (i32.eqz (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))))))""")
#: Ends with 0 once memory can grow no more, having written to each new page.
BOMB = assemble("""(module (memory (export "memory") 1) (func (export "_start") (local $page i32)
  (loop $more
    (local.set $page (memory.grow (i32.const 1)))
    (if (i32.ne (local.get $page) (i32.const -1))
      (then (i32.store (i32.mul (local.get $page) (i32.const 65536)) (i32.const 1)) (br $more))))))""")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a test's own."""
    made = tmp_path / "work"
    made.mkdir()
    return made


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


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
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=command.environment) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline() == b"y\n"
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


ECHO_ARGUMENTS = assemble(r"""(module
  (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 12)))
    (drop (call $get (i32.const 1024) (i32.const 4096)))
    (i32.store (i32.const 8) (i32.const 4096))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))""")


def arguments_seen(command: Command, *line: object, cwd: Path | None = None) -> list[str]:
    done = command("run", *line, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().split("\0")[:-1]


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


# Limits


def test_a_time_limit_stops_an_endless_loop_promptly(command: Command, folder: Path) -> None:
    program = write(folder / "loop.wasm", LOOP)
    started = time.monotonic()
    text = command.fails(124, "time-limit", "run", program, "--timeout", "0.3")
    assert "it ran longer than 0.3 s" in text
    assert time.monotonic() - started < 10


def test_a_time_limit_stops_a_program_that_waits_for_input(command: Command, folder: Path) -> None:
    program = write(folder / "reader.wasm", READER)
    line = command.line("run", program, "--timeout", "0.3")
    with subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=command.environment) as running:
        assert running.stderr is not None
        assert running.wait(timeout=10) == 124
        assert running.stderr.read().startswith(b"error[time-limit]")


def test_a_program_that_is_done_in_time_is_not_stopped(command: Command) -> None:
    assert command("run", "--timeout", "30", PROGRAMS["wordcount"], stdin=b"one\n").returncode == 0


@pytest.mark.parametrize(("name", "module"), [("loop.wasm", LOOP), ("reader.wasm", READER)])
def test_an_interrupt_ends_the_program(command: Command, folder: Path, name: str, module: bytes) -> None:
    report = folder / "run.json"
    line = command.line("run", write(folder / name, module), "--report", report)
    with subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=command.environment) as running:
        wait_for_a_temporary_report(folder)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        assert running.wait(timeout=10) == 130
        assert running.stderr.read().split() == [b"interrupted"]
    assert [path.name for path in folder.iterdir()] == [name]


def wait_for_a_temporary_report(folder: Path) -> None:
    """The report is opened just before the program runs."""
    deadline = time.monotonic() + 30
    while not list(folder.glob(".bacpack-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_memory_bomb_is_stopped(command: Command, folder: Path) -> None:
    program = write(folder / "bomb.wasm", BOMB)
    line = command.line("run", program, "--max-memory", "32MiB")
    with subprocess.Popen(line, env=command.environment) as running:
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0
    assert usage.ru_maxrss < 400 * 1024


def test_a_memory_that_starts_beyond_the_limit_ends_the_program(command: Command, folder: Path) -> None:
    command.fails(134, "memory-limit", "run", write(folder / "bomb.wasm", BOMB), "--max-memory", "1KiB")


def test_a_program_and_its_split_say_alike_that_they_need_more_memory(command: Command, folder: Path) -> None:
    split = folder / "out"
    blobs = [PROGRAMS["wordcount"], PROGRAMS["checksum"]]
    assert command("split", *blobs, "-o", split).returncode == 0
    for limit in ("10", "1MiB"):
        texts = {command.fails(134, "memory-limit", "run", "--max-memory", limit, path)
                 for path in (PROGRAMS["wordcount"], split / "wordcount.wasm")}  # fmt: skip
        assert texts == {
            "error[memory-limit]: the program needs more memory than --max-memory allows to start\n"
            "hint: give it more memory with --max-memory\n"
        }


# Modules by CID


def test_a_program_and_its_module_run_from_a_folder(command: Command, folder: Path) -> None:
    done = command("run", write_release(folder / "out", adding(LIBRARY_CID), LIBRARY))
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")


def test_a_missing_module_is_named_with_who_needs_it(command: Command, folder: Path) -> None:
    text = command.fails(3, "module-not-found", "run", write_release(folder / "out", adding(LIBRARY_CID)))
    assert f"{LIBRARY_CID} is not to be had" in text
    assert "(needed by app.wasm)" in text


def test_a_module_that_is_not_what_its_cid_says_is_refused(command: Command, folder: Path) -> None:
    program = write_release(folder / "out", adding(LIBRARY_CID), LIBRARY)
    changed = LIBRARY.replace(b"\x6a\x0b", b"\x6b\x0b")
    assert changed != LIBRARY
    write(program.parent / "modules" / f"{LIBRARY_CID}.wasm", changed)
    text = command.fails(1, "block-mismatch", "run", program)
    assert f"expected {LIBRARY_CID}, got {Cid.of_raw(changed)}" in text


def test_a_module_from_a_peer(command: Command, folder: Path, server: FileServer) -> None:
    program = write_release(folder / "out", adding(LIBRARY_CID))
    server.put_block(LIBRARY_CID, LIBRARY)
    report = folder / "run.json"
    assert command("run", program, "--peer", server.url, "--report", report).returncode == 7
    (library, _) = json.loads(report.read_text())["modules"]
    assert (library["source"], library["fetched_from"], library["verified"]) == ("peer", server.url, True)


def test_a_whole_program_from_a_peer(command: Command, server: FileServer) -> None:
    program = adding(LIBRARY_CID)
    server.put_block(str(Cid.of_raw(program)), program)
    server.put_block(LIBRARY_CID, LIBRARY)
    assert command("run", Cid.of_raw(program), "--peer", server.url).returncode == 7


def test_a_peer_that_lies_is_refused(command: Command, folder: Path, server: FileServer) -> None:
    program = write_release(folder / "out", adding(LIBRARY_CID))
    server.put_block(LIBRARY_CID, b"another module")
    assert server.url in command.fails(1, "block-mismatch", "run", program, "--peer", server.url)


def test_the_next_peer_is_asked_when_one_lies_or_fails(command: Command, folder: Path, server: FileServer) -> None:
    program = write_release(folder / "out", adding(LIBRARY_CID))
    server.answers[f"/lying/ipfs/{LIBRARY_CID}?format=raw"] = Answer(b"another module")
    server.answers[f"/broken/ipfs/{LIBRARY_CID}?format=raw"] = Answer(status=500)
    server.put_block(LIBRARY_CID, LIBRARY)
    peers = [part for name in ("/lying", "/broken", "") for part in ("--peer", server.url + name)]
    assert command("run", program, *peers).returncode == 7


def test_offline_asks_no_peer_and_fetches_no_url(command: Command, folder: Path, server: FileServer) -> None:
    server.put_block(LIBRARY_CID, LIBRARY)
    url = server.put("/lib.wasm", LIBRARY)
    by_cid = write_release(folder / "cid", adding(LIBRARY_CID))
    command.fails(3, "module-not-found", "run", by_cid, "--peer", server.url, "--offline")
    by_url = write_release(folder / "url", adding(url))
    command.fails(3, "offline", "run", by_url, "--allow-private", "--offline")
    command.fails(3, "offline", "run", "--offline", url)
    assert server.requests == []


# URLs


def test_a_url_namespace_is_fetched_where_that_is_allowed(command: Command, folder: Path, server: FileServer) -> None:
    url = server.put("/lib.wasm", LIBRARY)
    program = write_release(folder / "out", adding(url))
    report = folder / "run.json"
    assert command("run", program, "--allow-private", "--report", report).returncode == 7
    (library, _) = json.loads(report.read_text())["modules"]
    assert library["url"] == url and "cid" not in library
    assert (library["name"], library["source"], library["verified"]) == ("lib.wasm", "url", False)


def test_a_url_namespace_at_a_private_address_is_refused(command: Command, folder: Path, server: FileServer) -> None:
    program = write_release(folder / "out", adding(server.put("/lib.wasm", LIBRARY)))
    assert "(needed by app.wasm)" in command.fails(3, "url-private", "run", program)
    assert server.requests == []


def test_a_program_at_a_url(command: Command, server: FileServer) -> None:
    url = server.put("/bin/app.wasm", ECHO_ARGUMENTS)
    assert arguments_seen(command, url, "a") == ["app.wasm", "a"]


def test_a_circle_of_urls_is_refused(command: Command, folder: Path, server: FileServer) -> None:
    a, b = (f"{server.url}/{name}.wasm" for name in "ab")
    text = '(module (import "{}" "f" (func)) (func (export "f")))'
    server.put("/a.wasm", assemble(text.format(b)))
    server.put("/b.wasm", assemble(text.format(a)))
    program = write(folder / "app.wasm", assemble(text.format(a)))
    error = command.fails(2, "import-cycle", "run", program, "--allow-private")
    assert "a.wasm -> b.wasm -> a.wasm" in error
    assert "(needed by app.wasm -> a.wasm -> b.wasm)" in error


# Bad input


def test_a_file_that_is_not_there(command: Command, folder: Path) -> None:
    command.fails(2, "not-found", "run", folder / "none.wasm")


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"(module)", b"\0as"])
def test_a_file_that_is_not_wasm(command: Command, folder: Path, content: bytes) -> None:
    for name in ("run", "inspect"):
        text = command.fails(2, "not-wasm", name, write(folder / "app.wasm", content))
        assert "`app.wasm`: this is no WebAssembly module" in text


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut(command: Command, folder: Path, keep: float) -> None:
    whole = PROGRAMS["wordcount"].read_bytes()
    command.fails(2, "wasm-cut-short", "run", write(folder / "app.wasm", whole[: int(len(whole) * keep)]))


def test_a_component(command: Command, folder: Path) -> None:
    command.fails(2, "wasm-component", "run", write(folder / "app.wasm", assemble("(component)")))


def test_a_module_that_is_not_valid(command: Command, folder: Path) -> None:
    module = assemble('(module (func (export "_start") i32.const 7 drop))').replace(b"\x41\x07\x1a", b"\x41\x07\x01")
    command.fails(2, "invalid-module", "run", write(folder / "app.wasm", module))


def test_a_module_that_is_not_linked(command: Command, folder: Path) -> None:
    text = command.fails(2, "unlinked-import", "run", write(folder / "app.wasm", adding("math")))
    assert "bacpack link BLOB --map math=REF" in text


def test_of_a_release_with_several_programs_a_few_are_named(command: Command, folder: Path) -> None:
    for name in "abcd":
        write(folder / f"{name}.wasm", LOOP)
    published = json.loads(command("publish", folder, "--json").stdout)["root"]
    command("pack", folder, "-o", folder.parent / "release.car")
    for ref in (folder, published, folder.parent / "release.car"):
        text = command.fails(2, "which-program", "run", ref)
        assert "hint: name one of them after a slash: a.wasm, b.wasm, c.wasm and 1 more\n" in text


def test_a_program_by_its_name_without_the_suffix(command: Command, folder: Path) -> None:
    write_release(folder / "out", adding(LIBRARY_CID), LIBRARY)
    root = json.loads(command("publish", folder / "out", "--json").stdout)["root"]
    command("pack", folder / "out", "-o", folder / "release.car")
    for ref in (f"{root}/app", f"ipfs://{root}/app", folder / "release.car" / "app"):
        assert command("run", ref).returncode == 7
    for ref in (f"{root}/other", f"{root}/ap", f"{root}/modules/app", f"{root}/none/app"):
        assert ".wasm" not in command.fails(2, "no-such-entry", "run", ref)


def test_a_path_without_the_suffix_is_told_of_the_file_beside_it(command: Command, folder: Path) -> None:
    program = write(folder / "app.wasm", LOOP)
    text = command.fails(2, "not-found", "run", program.with_suffix(""))
    assert f"hint: there is `{program}`\n" in text
    assert "hint: check the path\n" in command.fails(2, "not-found", "run", folder / "other")


def test_a_folder_without_programs(command: Command, folder: Path) -> None:
    command.fails(2, "which-program", "run", folder)


#: Root may read everything, unless it runs without the rights that let it.
WITHOUT_ROOTS_RIGHTS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(
    bool(WITHOUT_ROOTS_RIGHTS) and shutil.which("setpriv") is None, reason="needs setpriv when root runs the tests"
)
@pytest.mark.parametrize(
    ("locked", "ref"), [("out", "out"), ("out", "out/app.wasm"), ("out/modules", "out/app.wasm"), ("out/app.wasm",) * 2]
)
def test_a_folder_or_file_that_may_not_be_read(command: Command, folder: Path, locked: str, ref: str) -> None:
    write_release(folder / "out", adding(LIBRARY_CID), LIBRARY)
    (folder / locked).chmod(0)
    try:
        line = [*WITHOUT_ROOTS_RIGHTS, *command.line("run", folder / ref)]
        done = subprocess.run(line, env=command.environment, capture_output=True, timeout=60, check=False)
    finally:
        (folder / locked).chmod(0o700)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error[no-permission]: ") and b"\nhint: " in done.stderr
    assert str(folder / locked).encode() in done.stderr


def test_a_file_that_the_system_cannot_open(command: Command, folder: Path) -> None:
    (folder / "app.wasm").symlink_to("app.wasm")
    command.fails(2, "io-error", "run", folder / "app.wasm")


def test_a_cid_that_is_none(command: Command) -> None:
    command.fails(2, "bad-cid", "run", LIBRARY_CID[:-1] + "1")


def test_a_cid_that_nobody_has(command: Command) -> None:
    command.fails(3, "module-not-found", "run", LIBRARY_CID)


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
