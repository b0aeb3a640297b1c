"""What is said where cargo cannot build: what is missing, and what fixes it. Cargo is a script here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.harness import Command

WORKSPACE = '[workspace]\nmembers = ["job"]\n'
METADATA = """{"packages": [{"name": "job", "manifest_path": "FOLDER/job/Cargo.toml",
 "targets": [{"kind": ["bin"], "name": "job"}]}]}"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Cargo.toml").write_text(WORKSPACE)
    (folder / "bacpack.toml").write_text("")
    return folder


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def cargo_that_says(folder: Path, verb: str, said: str) -> Path:
    (folder / "said").write_text(said)
    (folder / "metadata").write_text(METADATA.replace("\n", "").replace("FOLDER", str(folder)))
    return script(
        folder / "cargo",
        f"""case "$1" in {verb}) cat "{folder}/said" >&2; exit 101;; metadata) cat "{folder}/metadata";; esac""",
    )


OF_TARGET = """error: failed to run `rustc` to learn about target-specific information

Caused by:
  --- stderr
  error: Error loading target specification: Could not find specification for target "wasm32-wasip1".
"""
OF_EDITION = """error: failed to load manifest for workspace member `job`

Caused by:
  this version of Cargo is older than the `2024` edition, and only supports `2015`, `2018`, and `2021` editions.
"""
OF_VERSION = "error: package `job v0.1.0` cannot be built because it requires rustc 1.85 or newer\n"
OF_OFFLINE = """info: syncing channel updates for 1.70.0-x86_64-unknown-linux-gnu
error: could not download file from 'https://static.rust-lang.org/dist/channel-rust-1.70.0.toml.sha256' to 'file'
"""
OF_LINKER = """error: linking with `rust-lld` failed: signal: 11 (SIGSEGV)
  = note: "rust-lld" "-flavor" "wasm" "--gc-sections" "--emit-relocs"
"""


@pytest.mark.parametrize(
    ("verb", "said", "status", "code", "hint"),
    [
        ("build", OF_TARGET, 2, "no-rust-target", "bacpack new --target wasm32-wasi"),
        ("metadata", OF_OFFLINE, 2, "no-rust-toolchain", "where an installed Rust serves, pin none"),
        ("build", "error: linker `cc` not found\n", 1, "cargo-failed", "apt-get install gcc"),
        ("metadata", OF_EDITION, 1, "cargo-failed", "older than the `2024` edition"),
        ("build", OF_VERSION, 1, "cargo-failed", "hint: rustup update: a later Rust builds this"),
        ("build", OF_LINKER, 1, "cargo-failed", "the linker of this Rust crashes on --emit-relocs"),
        ("build", "error[E0425]: cannot find value `x`\n", 1, "cargo-failed", "error[E0425]: cannot find value `x`"),
        ("metadata", "", 1, "cargo-failed", "it said nothing"),
    ],
    ids=["target", "offline", "compiler", "edition", "version", "linker", "source", "nothing"],
)
def test_what_cargo_lacks_is_named(
    command: Command, project: Path, verb: str, said: str, status: int, code: str, hint: str
) -> None:
    command.environment["CARGO"] = str(cargo_that_says(project, verb, said))
    done = command("build", cwd=project)
    assert done.returncode == status, done.stderr
    assert f"error[{code}]" in done.stderr.decode()
    assert hint in done.stderr.decode()


def test_a_cargo_that_prints_something_else_is_named(command: Command, project: Path) -> None:
    command.environment["CARGO"] = str(script(project / "cargo", "echo hello"))
    done = command("build", cwd=project)
    assert (done.returncode, b"error[cargo-failed]: cargo metadata failed" in done.stderr) == (1, True), done.stderr


def test_what_cargo_says_need_not_be_utf8(command: Command, project: Path) -> None:
    command.environment["CARGO"] = str(script(project / "cargo", r"printf 'error: \377\n' >&2; exit 101"))
    done = command("build", cwd=project)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False), done.stderr


@pytest.mark.parametrize(
    ("installed", "status", "found"),
    [
        ("wasm32-wasip1", "ok", "installed"),
        ("wasm32-wasi", "missing", "an older Rust: it has wasm32-wasi"),
        ("wasm32-unknown-unknown", "missing", "no standard library for it"),
    ],
)
def test_doctor_knows_the_older_name(
    command: Command, project: Path, tmp_path: Path, installed: str, status: str, found: str
) -> None:
    library = tmp_path / "rust" / "lib" / "rustlib" / installed / "lib"
    library.mkdir(parents=True)
    (library / "libstd-0123.rlib").touch()
    command.environment["RUSTC"] = str(script(tmp_path / "rustc", f'echo "{tmp_path}/rust"'))
    command.environment["CARGO"] = str(script(tmp_path / "cargo", '[ "$1" = --version ] && echo cargo 1.65.0'))
    checks = {check["name"]: check for check in json.loads(command("doctor", "--json", cwd=project).stdout)["checks"]}
    assert (checks["wasm32-wasip1"]["status"], checks["wasm32-wasip1"]["found"]) == (status, found)
    assert checks["wasm32-unknown-unknown"]["status"] == ("ok" if "unknown" in installed else "missing")


def test_doctor_leaves_nothing_in_the_home_folder(command: Command, tmp_path: Path) -> None:
    """A go of today writes into the folder for configuration when it is asked for its version."""
    home = tmp_path / "somebody"
    home.mkdir()
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    script(go, 'mkdir -p "${XDG_CONFIG_HOME:-$HOME/.config}/go/telemetry" 2>/dev/null; echo go version go1.26')
    environment = {"HOME": str(home), "PATH": f"{go.parent}:/usr/bin:/bin", "CARGO": str(tmp_path / "none")}
    done = command("doctor", "--json", cwd=tmp_path, env=environment)
    assert "go version go1.26" in done.stdout.decode()
    assert list(home.iterdir()) == []
