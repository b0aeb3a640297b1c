"""Names that a file, a program, an argument or a folder may have, and what each command makes of them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

import soak
from cli.running import ECHO_ARGUMENTS, write
from cli.test_corrupted import check
from inprocess import call
from node.harness import assemble

NAMES = [
    *("\udcff", "a\nb", "-o", "\x1b[31m", "a::b", "{}", "bafkqaaa", "x" * 240),
    *("-", "a b", "a\tb", "\u202ea", "a\x85b", "$(touch x)", "`x`", "'", '"', "%s", "{0}", "\\", "*", "?", "[a]", "~"),
    *("#", "a:b", "a=b", "ä", "日本", "🚀", "a\udc80b", "CON", "…", "baf", "Qm", "f01550000", ".hidden", "..a"),
    *("modules", "bacpack.json", "http:", "ipfs:"),
]
#: The first of them in a normal run.
TRIED = NAMES if soak.TIMES > 1 else NAMES[:6]


@pytest.mark.parametrize("name", TRIED, ids=[ascii(name)[:20] for name in TRIED])
def test_a_file_of_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    folder = tmp_path / "in"
    folder.mkdir()
    blob = write(Path(os.fsdecode(os.fsencode(f"{folder}/{name}.wasm"))), ECHO_ARGUMENTS)
    out, car = tmp_path / f"out{name}", tmp_path / f"{name}.car"
    for line in (
        ("split", blob, "-o", out), ("inspect", out), ("inspect", out / f"{name}.wasm"), ("verify", out),
        ("verify", out, "--against", blob), ("publish", out), ("pack", out, "-o", car), ("pack", blob, "-o", car),
        ("inspect", car), ("fetch", car), ("inspect", f"{car}/{name}.wasm"), ("publish", blob), ("publish", folder),
        ("run", blob), ("run", name), ("inspect", name), ("pin", "add", name), ("pin", "rm", name), ("fetch", name),
        ("link", blob, "--map", f"{name}={name}"), ("jobspec", blob), ("split", blob, "-o", out, "--catalog", name),
        ("run", "--invoke", name, blob), ("run", "--dir", name, blob), ("run", "--dir", out, blob),
        ("run", "--env", name, blob, name), (name, name), ("run", "--peer", name, blob),
        ("fetch", "bafkqaaa", "--gateway", name),
        ("publish", blob, "--to", name), ("submit", name, "--engine", "bacalhau", "--scheduler", f"http://{name}"),
    ):  # fmt: skip
        for options in ([], ["--json"]):
            if options and line[0] in ("run", name):
                continue
            done = call(home, *line, *options)
            check(done, line, as_json=bool(options))
            for text in (done.stdout, done.stderr):
                assert all(character == "\n" or character.isprintable() for character in text), (line, text)


@pytest.mark.parametrize(("blob", "home"), [("app.wasm", "\udcff"), ("\udcff.wasm", "home")])
def test_a_job_whose_paths_are_no_utf8_says_so(tmp_path: Path, blob: str, home: str) -> None:
    path = write(tmp_path / blob, ECHO_ARGUMENTS)
    done = call(tmp_path / home, "submit", path, "--json")
    assert done.status != 0 and json.loads(done.stdout)["error"]["code"] == "not-utf8", done


def test_a_folder_that_is_no_utf8_is_named_as_a_shell_takes_it(tmp_path: Path) -> None:
    blob = write(tmp_path / "app.wasm", ECHO_ARGUMENTS)
    for name in ("\udcff", "it's a\x1b\\b\udc80\u202e", "a b"):
        folder = tmp_path / name
        done = call(tmp_path / "home", "split", blob, "-o", folder)
        word = done.stdout.rpartition("bacpack publish ")[2]
        shell = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, timeout=60)
        assert shell.stdout == os.fsencode(folder), word


def test_a_program_without_a_name_is_refused(tmp_path: Path) -> None:
    blob = write(tmp_path / ".wasm", ECHO_ARGUMENTS)
    done = call(tmp_path / "home", "split", blob, "-o", tmp_path / "out")
    assert (done.status, done.stderr.partition("]")[0]) == (2, "error[bad-name")
    assert not (tmp_path / "out").exists()


def test_no_command_writes_a_file_called_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blob = write(tmp_path / "app.wasm", ECHO_ARGUMENTS)
    for line in (("split", blob, "-o", "-"), ("link", blob, "-o", "-"), ("pack", blob, "-o", "-"),
                 ("publish", blob, "--car", "-"), ("run", "--report", "-", blob)):  # fmt: skip
        done = call(tmp_path / "home", *line)
        assert done.status == 2 and "`./-`" in done.stderr, (line, done)
    done = call(tmp_path / "home", "jobspec", blob, "-o", "-")
    assert done == call(tmp_path / "home", "jobspec", blob) and json.loads(done.stdout)
    assert not (tmp_path / "-").exists()


def test_exports_of_any_name(tmp_path: Path) -> None:
    for name in NAMES:
        if not name.isascii():
            continue
        escaped = "".join(f"\\{byte:02x}" for byte in name.encode())
        module = write(tmp_path / "app.wasm", assemble(f'(module (func (export "{escaped}")))'))
        found = json.loads(call(tmp_path / "home", "inspect", module, "--json").stdout)
        assert found["exports"][0]["name"] == name
        check(call(tmp_path / "home", "run", module), ("run",), as_json=False)
