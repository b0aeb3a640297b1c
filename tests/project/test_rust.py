"""Templates as a new user meets them: built, tested, published and run. Needs a Rust for WASI."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bacpack.wasm import Module
from bacpack.wasm.custom_sections import read_producers
from project.conftest import TARGET_FOLDER, Rust, RustCommand, zig
from wanting import wanting

#: A second program of a workspace: the same library, other work.
SECOND = """\
//! Counts words and letters of all lines of standard input.

use std::io::{self, BufRead};

use greet_api::{hello, measure};

fn main() -> io::Result<()> {
    let (mut words, mut letters) = (0, 0);
    for line in io::stdin().lock().lines() {
        let found = measure(&line?);
        words += found.words;
        letters += found.letters;
    }
    println!("{} {words} words, {letters} letters", hello("everyone"));
    Ok(())
}
"""


def make(rust: RustCommand, folder: Path, *arguments: str) -> Path:
    folder.mkdir(exist_ok=True)
    rust.run("new", *arguments, "--target", rust.target, "--quiet", cwd=folder)
    return folder / arguments[0]


def build(rust: RustCommand, project: Path, *options: str) -> dict[str, Any]:
    done = rust.run("build", "--json", *options, cwd=project)
    assert "warning" not in done.stderr, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def publish(rust: RustCommand, project: Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(rust.run("publish", ".", "--json", cwd=project).stdout)
    return answer


def test_a_workspace_from_nothing_to_a_run(rust: RustCommand, tmp_path: Path) -> None:
    project = make(rust, tmp_path, "hello", "--template", "workspace")
    started = time.monotonic()
    built = build(rust, project)
    first = time.monotonic() - started
    assert list(built["seconds"])[:2] == ["cargo, modules", "cargo, programs"]
    published = publish(rust, project)
    ran = rust.run("run", "--offline", published["apps"]["hello"], "Ada", "Grace Hopper", cwd=tmp_path)
    assert ran.stdout == "Hello, Ada! (3 letters)\nWELCOME, GRACE HOPPER! (11 letters)\n"
    lock = json.loads((project / "bacpack.lock").read_text())
    [named] = built["named"]
    assert lock["modules"] == {
        "greet": {"cid": named["cid"], "bytes": module_bytes(built, named["cid"]), "source": "greet"}
    }

    started = time.monotonic()
    again = build(rust, project)
    assert (again["unchanged"], again["apps"]) == (True, built["apps"])
    # Cargo compiles nothing, and nothing is split.
    assert time.monotonic() - started < first

    # Many pipelines set this: what module and program are linked with stays.
    rust.environment["RUSTFLAGS"] = "-D warnings"
    shutil.rmtree(project / "target" / "bacpack")
    assert build(rust, project)["apps"] == built["apps"]
    del rust.environment["RUSTFLAGS"]

    # The other folder has another name and depth.
    other = build(rust, make(rust, tmp_path / "deeper", "hello", "--template", "workspace"))
    assert [app["cid"] for app in other["apps"]] == [app["cid"] for app in built["apps"]]
    assert [module["cid"] for module in other["modules"]] == [module["cid"] for module in built["modules"]]

    built_by_cargo = [TARGET_FOLDER / rust.target / "release" / "hello.wasm"]
    done = rust.run("verify", project / "target" / "bacpack", "--against", *built_by_cargo, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["linked"] == {"greet": named["cid"]}
    # A split of what cargo made is another program, and no part of the release here: a name in it is not linked.
    release = project / "target" / "bacpack"
    done = rust.run("split", *built_by_cargo, "--catalog", release, "-o", "plain", "--json", cwd=tmp_path)
    assert not any(app["reused"] for app in json.loads(done.stdout)["apps"])

    add_second(project)
    added = build(rust, project)
    assert added["apps"][0]["cid"] == built["apps"][0]["cid"]
    new = publish(rust, project)
    # Older linkers leave no relocations; then programs share less.
    assert new["new_bytes"] < (15_000 if rust.target == "wasm32-wasip1" else 80_000), new
    ran = subprocess.run(
        rust.line("run", "--offline", new["apps"]["second"]), env=rust.environment, input="one two\nthree\n",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout == "Hello, everyone! 3 words, 11 letters\n"


def module_bytes(built: dict[str, Any], cid: str) -> int:
    return next(int(module["bytes"]) for module in built["modules"] if module["cid"] == cid)


def named_module(built: dict[str, Any]) -> Module:
    [named] = built["named"]
    return Module.parse(
        next(Path(module["path"]) for module in built["modules"] if module["cid"] == named["cid"]).read_bytes()
    )


def add_second(project: Path) -> None:
    shutil.copytree(project / "hello", project / "second")
    for path, old, new in (
        (project / "second" / "Cargo.toml", 'name = "hello"', 'name = "second"'),
        (project / "Cargo.toml", '"hello"]', '"hello", "second"]'),
        (project / "bacpack.toml", 'jobs = ["hello"]', 'jobs = ["hello", "second"]'),
    ):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    (project / "second" / "src" / "main.rs").write_text(SECOND)


def test_a_module_is_published_and_named_by_another_project(rust: RustCommand, tmp_path: Path) -> None:
    module = make(rust, tmp_path, "greet", "--template", "module", "--no-std")
    [named] = build(rust, module)["named"]
    publish(rust, module)
    job = make(rust, tmp_path, "report", "--template", "job", "--module", f"greet={named['cid']}")
    published = publish(rust, job) if build(rust, job) else {}
    ran = rust.run("run", "--offline", published["apps"]["report"], "Ada", cwd=tmp_path)
    assert ran.stdout == "Hello, Ada! (3 letters)\n"

    # A CID that stands in the source needs no configuration.
    calls = job / "greet-api" / "src" / "calls.rs"
    calls.write_text(calls.read_text().replace('module = "greet"', f'module = "{named["cid"]}"'))
    (job / "bacpack.toml").write_text(f'[build]\ntarget = "{rust.target}"\n')
    assert build(rust, job)["apps"][0]["cid"] == published["apps"]["report"]
    blob = TARGET_FOLDER / rust.target / "release" / "report.wasm"
    rust.run("verify", job / "target" / "bacpack", "--against", blob, cwd=job)


def test_a_job_brings_its_module_built(rust: RustCommand, tmp_path: Path) -> None:
    job = make(rust, tmp_path, "report", "--template", "job")
    module = make(rust, tmp_path, "greet", "--template", "module", "--no-std")
    prebuilt, built = (named_module(build(rust, project)) for project in (job, module))
    assert {entry.name for entry in prebuilt.exports} == {entry.name for entry in built.exports}
    # What comes with the template is what its source gives, by the compiler that the template names.
    assert read_producers(prebuilt) != read_producers(built) or prebuilt.data == built.data
    ran = rust.run("run", job / "target" / "bacpack" / "report.wasm", "Ada", cwd=tmp_path)
    assert ran.stdout == "Hello, Ada! (3 letters)\n"


@pytest.fixture(scope="session")
def test_options(toolchain: Rust) -> list[str]:
    """Options for cargo's tests: what an old C library lacks."""
    # One place for ever: cargo compiles all anew for another linker.
    folder = TARGET_FOLDER / "linker"
    folder.mkdir(parents=True, exist_ok=True)
    options: list[str] = []
    cargo = toolchain.cargo
    linker = shutil.which("wasm-ld-22") or next(
        (word.split('"')[1] for word in Path(cargo).read_bytes().decode(errors="replace").split() if "wasm-ld" in word),
        None,
    )
    if linker is None or b"build-std" not in Path(cargo).read_bytes():
        return options
    # Its std was built for a newer C library than there is: threads, which nothing starts, are missing.
    (folder / "stub.c").write_text(
        "int pthread_join(int a, int b) { return 1; } int pthread_detach(int a) { return 1; }"
    )
    zig("cc", "--target=wasm32-wasi", "-Os", "-c", "stub.c", "-o", "stub.o", cwd=folder)
    wrapper = folder / "link"
    wrapper.write_text(f'#!/bin/sh\nexec {linker} "$@" {folder}/stub.o\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return [*options, "--config", f'target.wasm32-wasip1.linker="{wrapper}"']


@pytest.mark.parametrize("template", ["job", "module", "workspace"])
def test_tests_of_a_template_pass_under_wasmtime(
    rust: RustCommand, tmp_path: Path, template: str, test_options: list[str]
) -> None:
    project = make(rust, tmp_path, "sample", "--template", template)
    # The template's runner is `bacpack run`.
    rust.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [rust.environment["CARGO"], "test", "--lib", "--bins", *test_options], cwd=project, env=rust.environment,
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    assert done.stdout.count("test result: ok") >= 1
    assert " 0 failed" in done.stdout


@pytest.mark.skipif(shutil.which("cargo-clippy") is None, reason=wanting("clippy", "rustup component add clippy"))
@pytest.mark.parametrize("options", [["job"], ["module"], ["module", "--no-std"], ["workspace"]], ids=" ".join)
def test_templates_are_clean(rust: RustCommand, tmp_path: Path, options: list[str]) -> None:
    # Of the Rust that is pinned by default: an older one may come without.
    rust.run("new", "sample", "--template", *options, "--quiet", cwd=tmp_path)
    project = tmp_path / "sample"
    target = subprocess.run(["rustc", "-vV"], cwd=project, capture_output=True, text=True, check=True).stdout
    host = next(line.split()[1] for line in target.splitlines() if line.startswith("host:"))
    environment = {**os.environ, "CARGO_TARGET_DIR": rust.environment["CARGO_TARGET_DIR"]}
    for command in (
        ["cargo", "clippy", "--all-targets", "--locked", "--target", host, "--", "-D", "warnings"],
        ["cargo", "fmt", "--all", "--check"],
    ):
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_target_that_is_missing_is_named_with_the_line_that_installs_it(rust: RustCommand, tmp_path: Path) -> None:
    project = make(rust, tmp_path, "hello", "--template", "workspace")
    fake = tmp_path / "cargo"
    fake.write_text(
        '#!/bin/sh\ncase "$1" in build) echo "error[E0463]: can\'t find crate for \\`std\\`" >&2\n'
        'echo "  = note: the \\`wasm32-unknown-unknown\\` target may not be installed" >&2; exit 101;; esac\n'
        f'exec {rust.environment["CARGO"]} "$@"\n'
    )
    fake.chmod(0o755)
    rust.environment["CARGO"] = str(fake)
    done = rust.run("build", cwd=project, check=False)
    assert done.returncode == 2
    assert "error[no-rust-target]" in done.stderr
    assert "hint: rustup target add wasm32-unknown-unknown" in done.stderr


def test_an_error_in_the_source_is_cargos_to_tell(rust: RustCommand, tmp_path: Path) -> None:
    project = make(rust, tmp_path, "hello", "--template", "workspace")
    (project / "greet" / "src" / "lib.rs").write_text("this is no Rust")
    done = rust.run("build", cwd=project, check=False)
    assert done.returncode == 1
    assert "error[cargo-failed]" in done.stderr
    assert "greet/src/lib.rs:1" in done.stderr
