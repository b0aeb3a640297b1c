"""Streams that are closed, full or read by nobody; and names from files, which do nothing to a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

import soak
from bacpack.content.car.writer import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.content.unixfs.writer import build_directory, build_file
from cli.running import LOOP, write
from inprocess import call
from node.harness import Command, assemble

#: ESC, BEL, a line break, and an override that writes what follows from right to left.
HOSTILE = "a\x1b[31m\x07\nerror[forged]: \r\x85\u202eb"

PRINTS = assemble(r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\08\00\00\00\03\00\00\00hi\0a")
  (func (export "_start") (call $exit (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20))))
  (func (export "for_ever") (loop $l (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))
    (br $l))))""")


def shell(command: Command, redirection: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a shell does, with such a redirection."""
    line = ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "-", *command.line(*arguments)]
    done = subprocess.run(line, env=command.environment, cwd=cwd, capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr, done.stderr.decode()
    return done


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", "<&-"])
def test_a_stream_that_is_closed_keeps_nothing_from_being_done(
    command: Command, folder: Path, redirection: str
) -> None:
    write(folder / "app.wasm", PRINTS)
    write(folder / "loop.wasm", LOOP)
    for status, line in (
        (0, ("run", "app.wasm")),
        (124, ("run", "--timeout", "0.1", "loop.wasm")),
        (0, ("split", "app.wasm", "-o", "out")),
        (2, ("split", "nothing.wasm", "-o", "nothing")),
    ):
        assert shell(command, redirection, *line, cwd=folder).returncode == status, line
    assert (folder / "out" / "app.wasm").is_file()


def test_a_result_that_cannot_be_written_is_an_error(command: Command, folder: Path) -> None:
    write(folder / "app.wasm", PRINTS)
    for line in (("split", "app.wasm", "-o", "out", "--json"), ("publish", "out"), ("--help",)):
        done = shell(command, "> /dev/full", *line, cwd=folder)
        assert done.returncode == 2
        assert b"\nerror[disk-full]: cannot write the result to stdout: No space" in b"\n" + done.stderr, done.stderr
    assert (folder / "out" / "app.wasm").is_file()
    done = shell(command, "> /dev/full", "split", "nothing.wasm", "-o", "nothing", "--json", cwd=folder)
    assert done.returncode == 2 and done.stderr.startswith(b"error[not-found]: "), done.stderr
    assert shell(command, "| true", "pin", "ls", cwd=folder).returncode in (0, 1)


@pytest.fixture
def files(folder: Path) -> Path:
    write(folder / "app.wasm", PRINTS)
    (folder / "full").symlink_to("/dev/full")
    (folder / "link.car").symlink_to("target.car")
    return folder


def test_a_device_is_written_to_and_never_replaced(command: Command, files: Path) -> None:
    for line in (
        ("pack", "app.wasm", "-o", "full"), ("jobspec", "app.wasm", "-o", "full"),
        ("run", "--report", "full", "app.wasm"), ("publish", "app.wasm", "--car", "full"),
    ):  # fmt: skip
        done = command(*line, cwd=files)
        assert done.returncode == 2 and b"error[disk-full]" in done.stderr, (line, done.stderr)
        assert (files / "full").is_char_device() and (files / "full").readlink() == Path("/dev/full")
    assert sorted(path.name for path in files.iterdir()) == ["app.wasm", "full", "link.car"]


def test_a_pipe_is_written_to(command: Command, files: Path) -> None:
    assert shell(command, "", "pack", "app.wasm", "-o", "plain.car", cwd=files).returncode == 0
    done = shell(command, ">/dev/null 3> >(cat > got); sleep 0.3", "pack", "app.wasm", "-o", "/dev/fd/3", cwd=files)
    assert done.returncode == 0, done.stderr
    assert (files / "got").read_bytes() == (files / "plain.car").read_bytes()


def test_what_a_link_leads_to_is_written(files: Path) -> None:
    assert call(files.parent / "home", "pack", files / "app.wasm", "-o", files / "link.car").status == 0
    assert (files / "link.car").readlink() == Path("target.car")
    assert call(files.parent / "home", "verify", files / "target.car").status == 0


def test_what_never_ends_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bacpack.files._MAX_STREAM_BYTES", 1 << 20)
    for line in (("run",), ("inspect",), ("split", "-o", tmp_path / "out"), ("link", "--map", "x=y")):
        done = call(tmp_path / "home", line[0], "/dev/zero", *line[1:])
        assert done.status == 2 and done.stderr.startswith("error[too-large]: `/dev/zero` gives more"), done.stderr


@pytest.mark.parametrize("options", [[], ["--timeout", "50", "--report", "report.json"]])
def test_a_program_whose_output_nobody_reads_is_ended(command: Command, folder: Path, options: list[str]) -> None:
    write(folder / "app.wasm", PRINTS)
    done = shell(command, "| head -1", "run", *options, "--invoke", "for_ever", "app.wasm", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (141, b"hi\n", b"")
    assert [path.name for path in folder.iterdir()] == ["app.wasm"]


def hostile_module() -> bytes:
    escaped = "".join(f"\\{byte:02x}" for byte in HOSTILE.encode())
    return assemble(f"""(module (import "{escaped}" "{escaped}" (func)) (memory (export "{escaped}") 1)
      (func (export "_start")))""")


def hostile_car() -> bytes:
    """A directory of an entry with such a name."""
    blocks: dict[Cid, bytes] = {}
    file = build_file(io.BytesIO(hostile_module()), blocks.__setitem__)
    root = build_directory({f"{HOSTILE}.wasm": file}, blocks.__setitem__).cid
    return b"".join(car_chunks([root], blocks.items()))


def test_names_from_files_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    module = write(tmp_path / "module.wasm", hostile_module())
    named = write(tmp_path / f"{HOSTILE}.wasm".replace("\n", ""), hostile_module())
    car = write(tmp_path / "release.car", hostile_car())
    out = tmp_path / "out"
    for line in (
        ("inspect", module), ("inspect", car), ("inspect", f"{car}/x"), ("run", module), ("run", car),
        ("run", module, "--invoke", HOSTILE), ("split", module, named, "-o", out), ("inspect", out), ("publish", out),
        ("link", module, "--map", f"{HOSTILE}=x"), ("link", named, "--map", "x=y"), ("fetch", car), (HOSTILE,),
        ("pin", "add", HOSTILE), ("verify", out, "--against", module, named), ("submit", "--map", HOSTILE, module),
    ):  # fmt: skip
        done = call(tmp_path / "home", *line)
        for text in (done.stdout, done.stderr):
            assert all(character == "\n" or character.isprintable() for character in text), (line, text)
            assert not any(begun.startswith("error[forged]") for begun in text.splitlines()), (line, text)
            assert sum(begun.startswith("hint: ") for begun in text.splitlines()) < 2


def test_names_in_json_are_what_they_are(tmp_path: Path) -> None:
    module = write(tmp_path / "module.wasm", hostile_module())
    view = json.loads(call(tmp_path / "home", "inspect", module, "--json").stdout)
    assert [entry["name"] for entry in view["exports"] if entry["kind"] == "memory"] == [HOSTILE]


def test_nor_do_they_on_a_real_terminal(command: Command, folder: Path) -> None:
    module = write(folder / "module.wasm", hostile_module())
    ours, theirs = pty.openpty()
    done = subprocess.run(
        command.line("inspect", module), env=command.environment, stdout=theirs, stderr=theirs, timeout=60, check=False
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode().replace("\r\n", "\n")
    os.close(ours)
    assert done.returncode == 0 and "a\N{REPLACEMENT CHARACTER}[31m" in shown
    assert all(character == "\n" or character.isprintable() for character in shown), shown


LINES = (
    """
    pin ls; publish out; inspect nothing; --help; --version; gc; pack out -o out.car; inspect out; verify out
    fetch out.car; doctor; split app.wasm -o next; link app.wasm --map x=y; jobspec out/app.wasm; run nothing
    build; ci; submit app.wasm --engine dask --scheduler x
""".replace("\n", ";")
    .strip(" ;")
    .split(";")
)
#: What takes the place of stdout and stderr, and what the status may then be besides what it would have been.
REDIRECTIONS = {
    "> /dev/full": {2}, ">&-": set(), "2>&-": set(), "2> /dev/full": set(), ">&- 2>&-": set(), "| true": {1},
    "> /dev/full 2> /dev/full": {2}, "1< /dev/null": {2},
}  # fmt: skip


@pytest.mark.parametrize("redirection", REDIRECTIONS if soak.TIMES > 1 else ["> /dev/full"])
def test_no_command_minds_its_streams(command: Command, folder: Path, redirection: str) -> None:
    write(folder / "app.wasm", PRINTS)
    assert shell(command, "", "split", "app.wasm", "-o", "out", cwd=folder).returncode == 0
    for line in LINES if soak.TIMES > 1 else LINES[:3]:
        for options in ((), ("--json",)):
            plain = shell(command, "", *line.split(), *options, cwd=folder).returncode
            status = shell(command, redirection, *line.split(), *options, cwd=folder).returncode
            assert status in {plain, *REDIRECTIONS[redirection]}, (line, options, plain, status)
