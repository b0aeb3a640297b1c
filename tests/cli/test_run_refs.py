"""`bacpack run`: where a program and its modules may be, and what a person is told when they are not there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from bacpack.content.cid.cid import Cid
from cli.running import ECHO_ARGUMENTS, LIBRARY, LIBRARY_CID, LOOP, PROGRAMS, adding, arguments_seen, write
from commands import WITHOUT_ROOTS_RIGHTS
from node.harness import Command, assemble, write_release
from node.server import Answer, FileServer

# Modules by CID


def test_a_program_and_its_module_run_from_a_folder(command: Command, folder: Path) -> None:
    done = command("run", write_release(folder / "out", adding(LIBRARY_CID), LIBRARY))
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")


def test_a_missing_module_is_named_with_who_needs_it(command: Command, folder: Path) -> None:
    text = command.fails(3, "module-not-found", "run", write_release(folder / "out", adding(LIBRARY_CID)))
    assert f"{LIBRARY_CID} is not available" in text
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
