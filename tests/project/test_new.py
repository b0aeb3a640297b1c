"""`bacpack new`: what templates give, and names that they refuse."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from bacpack.installed import shipped
from bacpack.project.settings.config import load_project
from bacpack.project.template import Template, Wanted, render
from node.harness import Command, assemble


@pytest.mark.parametrize("template", ["job", "module", "workspace"])
def test_files_are_whole(command: Command, tmp_path: Path, template: Template) -> None:
    done = command("new", "my-name", "--template", template, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = tmp_path / "my-name"
    files = json.loads(done.stdout)["files"]
    assert {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()} == set(files)
    assert {".gitignore", ".cargo/config.toml", ".github/workflows/bacpack.yml", "Cargo.lock"} <= set(files)
    for path in project.rglob("*.toml"):
        tomllib.loads(path.read_text())
    members = tomllib.loads((project / "Cargo.toml").read_text())["workspace"]["members"]
    assert all((project / member / "Cargo.toml").is_file() for member in members)
    locked = [package["name"] for package in tomllib.loads((project / "Cargo.lock").read_text())["package"]]
    assert locked == sorted(locked)
    assert len(locked) == len(members)
    module = "my-name" if template == "module" else "greet"
    source = load_project(project).tables.modules[module]
    assert (project / source).exists()
    assert all("{{" not in path.read_text() for path in project.rglob("*.toml"))
    assert "${{ github.ref }}" in (project / ".github/workflows/bacpack.yml").read_text()


def test_a_job_for_a_module_elsewhere(command: Command, tmp_path: Path) -> None:
    cid = "bafkreie4lcpob2kne2tdvnsudyugzfohfqs5mvglow5rrq6mis3t42ou3q"
    done = command("new", "report", "--template", "job", "--module", f"parser={cid}", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = load_project(tmp_path / "report")
    assert project.tables.modules == {"parser": cid}
    assert not (tmp_path / "report" / "modules").exists()
    assert 'wasm_import_module = "parser"' in (tmp_path / "report/parser-api/src/calls.rs").read_text()


def test_an_older_target_stands_wherever_the_newer_would(command: Command, tmp_path: Path) -> None:
    done = command("new", "hello", "--target", "wasm32-wasi", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = {path: path.read_bytes() for path in (tmp_path / "hello").rglob("*") if path.is_file()}
    assert [str(path) for path, data in files.items() if b"wasip1" in data and path.parent.name != "ci"] == []
    assert load_project(tmp_path / "hello").tables.build.target == "wasm32-wasi"
    config = tomllib.loads((tmp_path / "hello" / ".cargo" / "config.toml").read_text())
    assert config["build"]["target"] == "wasm32-wasi"
    # Later compilers do not know it.
    assert tomllib.loads((tmp_path / "hello" / "rust-toolchain.toml").read_text())["toolchain"]["channel"] == "1.77.2"


def test_nothing_is_pinned_that_an_installed_compiler_serves_for(command: Command, tmp_path: Path) -> None:
    assert command("new", "hello", "-q", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "hello" / "rust-toolchain.toml").exists()
    # Flags that stand here would keep cargo from those of whoever builds.
    assert "rustflags" not in (tmp_path / "hello" / ".cargo" / "config.toml").read_text()
    assert "pin the compiler" in (tmp_path / "hello" / "README.md").read_text()


@pytest.mark.parametrize(
    "name", ['we"ird\\dir', "two words", "tab\there", "große", "line\nbreak", "del\x7f", "$HOME`x`"]
)
def test_a_path_is_written_as_toml_writes_it(command: Command, tmp_path: Path, name: str) -> None:
    module = tmp_path / name / "g.wasm"
    module.parent.mkdir()
    module.write_bytes(assemble("(module)"))
    done = command(
        "new", "job", "--template", "job", "--module", f"greet={module}", "--path", "sp ace/x y", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert load_project(tmp_path / "sp ace" / "x y").tables.modules == {"greet": str(module)}
    assert b"next: cd 'sp ace/x y' && bacpack build" in done.stderr


@pytest.mark.parametrize(("ref", "code"), [("./no such.wasm", "not-found"), ("text.wasm", "not-wasm")])
def test_a_module_that_is_none_is_refused(command: Command, tmp_path: Path, ref: str, code: str) -> None:
    (tmp_path / "text.wasm").write_text("text")
    command.fails(2, code, "new", "job", "--template", "job", "--module", f"greet={ref}", cwd=tmp_path)
    assert not (tmp_path / "job").exists()


def test_without_std_the_module_brings_a_panic_handler() -> None:
    texts = [
        dict(render(Wanted("module", "kit", "kit", no_std=no_std)))["kit/src/lib.rs"].decode()
        for no_std in (False, True)
    ]
    assert ["no_std" in text for text in texts] == [False, True]
    assert ["panic_handler" in text for text in texts] == [False, True]


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("bad-crate-name", ["Hello"]),
        ("bad-crate-name", ["../up"]),
        ("bad-crate-name", ["crate"]),
        ("bad-crate-name", ["greet"]),
        ("bad-crate-name", ["hello", "--template", "job", "--module", "other"]),
        ("usage", ["hello", "--template", "workspace", "--module", "a=b"]),
        ("usage", ["hello", "--template", "module", "--module", "a"]),
    ],
)
def test_what_cannot_be_made_is_refused(command: Command, tmp_path: Path, code: str, arguments: list[str]) -> None:
    command.fails(2, code, "new", *arguments, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


def test_a_folder_in_use_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "mine").write_text("mine")
    command.fails(2, "folder-in-use", "new", "hello", cwd=tmp_path)
    assert [path.name for path in (tmp_path / "hello").iterdir()] == ["mine"]


def test_templates_name_no_folder_of_a_machine() -> None:
    for path in shipped("templates").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(text in data for text in (b"/home/", b"/root/", b"/tmp/", b"/Users/")), path
