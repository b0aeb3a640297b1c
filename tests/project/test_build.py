"""`bacpack build`: a release is what the sources say, or there is none."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bacpack.errors import InputError
from bacpack.project.settings.config import load_project
from node.harness import Command, assemble
from project.conftest import RustCommand

CONFIG = """\
[modules]
{name} = "greet.wasm"

[build]
blobs = ["job.wasm"]
output = "out"
"""
GREET = '(module (func (export "six") (result i32) i32.const 6))'
JOB = """(module (import "greet" "six" (func $six (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
  (func (export "_start") (call $exit (call $six))))"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose program ends with the number that its module gives."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "greet.wasm").write_bytes(assemble(GREET))
    (folder / "job.wasm").write_bytes(assemble(JOB))
    (folder / "bacpack.toml").write_text(CONFIG.format(name="greet"))
    return folder


@pytest.mark.parametrize("verb", ["build", "ci"])
def test_a_name_that_nothing_provides_is_an_error(command: Command, project: Path, verb: str) -> None:
    (project / "bacpack.toml").write_text(CONFIG.format(name="gret"))
    done = command(verb, cwd=project)
    text = done.stderr.decode()
    assert (done.returncode, "error[unlinked-import]" in text) == (2, True), text
    assert "nothing provides `six` of `greet`" in text
    assert "did you mean `gret`?" in text
    assert not (project / "out").exists()


@pytest.mark.parametrize(
    ("module", "code"),
    [
        (GREET.replace("six", "seven"), "missing-export"),
        (GREET.replace("i32", "i64"), "type-mismatch"),
    ],
    ids=["missing", "type"],
)
def test_what_could_not_run_is_not_built(command: Command, project: Path, module: str, code: str) -> None:
    (project / "greet.wasm").write_bytes(assemble(module))
    text = command.fails(2, code, "build", cwd=project)
    assert "greet" in text
    assert not (project / "out").exists()


def test_what_is_provided_is_built_and_runs(command: Command, project: Path) -> None:
    assert command("build", cwd=project).returncode == 0
    assert command("publish", ".", cwd=project).returncode == 0
    [app] = json.loads((project / "out" / "bacpack.json").read_text())["apps"]
    assert command("run", "--offline", app["cid"]).returncode == 6


@pytest.mark.parametrize("form", ["CID", "ipfs://CID"])
def test_a_module_that_the_program_names_by_cid_is_checked_too(command: Command, project: Path, form: str) -> None:
    published = json.loads(command("publish", "greet.wasm", "--json", cwd=project).stdout)
    namespace = form.replace("CID", published["apps"]["greet"])
    (project / "bacpack.toml").write_text('[build]\nblobs = ["job.wasm"]\noutput = "out"\n')
    (project / "job.wasm").write_bytes(assemble(JOB.replace('"greet"', f'"{namespace}"').replace('"six"', '"sex"')))
    assert "did you mean `six`?" in command.fails(2, "missing-export", "build", cwd=project)
    (project / "job.wasm").write_bytes(assemble(JOB.replace('"greet"', f'"{namespace}"')))
    assert command("build", cwd=project).returncode == 0
    assert command("run", "--offline", "out/job.wasm", cwd=project).returncode == 6


def test_what_was_changed_since_it_was_built_is_not_published(command: Command, project: Path) -> None:
    assert command("build", cwd=project).returncode == 0
    assert command("publish", ".", "--dry-run", cwd=project).returncode == 0
    # The same bytes written again are no change; other ones are.
    (project / "job.wasm").write_bytes(assemble(JOB))
    assert command("publish", ".", "--dry-run", cwd=project).returncode == 0
    (project / "greet.wasm").write_bytes(assemble(GREET.replace("const 6", "const 7")))
    text = command.fails(1, "build-stale", "publish", ".", cwd=project)
    assert "is older than the sources: the module `greet` changed since it was built" in text
    assert "hint: run `bacpack build`" in text
    # Whoever names the release itself has it as it is.
    assert command("publish", "out", "--dry-run", cwd=project).returncode == 0
    assert command("build", cwd=project).returncode == 0
    assert command("publish", ".", "--dry-run", cwd=project).returncode == 0
    # A copy is looked at as well.
    copy = project.parent / "copy"
    shutil.copytree(project, copy)
    (copy / "job.wasm").write_bytes(assemble(JOB.replace("(call $six)", "(i32.const 1)")))
    assert "the program `job`" in command.fails(1, "build-stale", "publish", ".", cwd=copy)


def test_what_cannot_be_known_is_said(command: Command, project: Path) -> None:
    assert command("build", cwd=project).returncode == 0
    (project / ".out.json").unlink()
    done = command("publish", ".", "--dry-run", cwd=project)
    assert (done.returncode, b"is not known: no build was noted beside it" in done.stderr) == (0, True)
    assert command("build", cwd=project).returncode == 0
    (project / "Cargo.toml").touch()
    command.environment["CARGO"] = "no-such-cargo"
    done = command("publish", ".", "--dry-run", cwd=project)
    assert (done.returncode, b"is not known: `no-such-cargo` cannot be found" in done.stderr) == (0, True)


def test_a_release_that_was_tampered_with_is_built_again(command: Command, project: Path) -> None:
    assert command("build", cwd=project).returncode == 0
    built = (project / "out" / "job.wasm").read_bytes()
    (project / "out" / "job.wasm").write_bytes(built[:-1] + b"x")
    assert json.loads(command("build", "--json", cwd=project).stdout)["unchanged"] is False
    assert (project / "out" / "job.wasm").read_bytes() == built
    assert json.loads(command("build", "--json", cwd=project).stdout)["unchanged"] is True


def test_two_programs_of_one_name_are_refused(command: Command, project: Path) -> None:
    (project / "other").mkdir()
    shutil.copy(project / "job.wasm", project / "other" / "job.wasm")
    configuration = project / "bacpack.toml"
    configuration.write_text(configuration.read_text().replace('["job.wasm"]', '["job.wasm", "other/job.wasm"]'))
    text = command.fails(2, "equal-names", "build", cwd=project)
    assert "`job.wasm` and `other/job.wasm` would both be built as `job.wasm`" in text


@pytest.mark.parametrize("output", [".", "..", "/", "", "out/..", "./"])
def test_a_release_has_a_folder_of_its_own(project: Path, output: str) -> None:
    (project / "bacpack.toml").write_text(f'[build]\noutput = "{output}"\n')
    with pytest.raises(InputError, match="folder of the project or one above") as caught:
        assert load_project(project).output
    assert caught.value.code == "bad-config"


def test_all_of_the_name_of_a_release_is_kept(command: Command, project: Path) -> None:
    for version in ("v1.2", "v1.3"):
        text = CONFIG.format(name="greet").replace('"out"', f'"target/{version}"')
        (project / "bacpack.toml").write_text(text)
        assert command("ci", "--dry-run", cwd=project).returncode == 0
    assert sorted(path.name for path in (project / "target").iterdir() if path.is_file()) == [
        ".v1.2.json", ".v1.3.json", "v1.2.car", "v1.2.report.json", "v1.3.car", "v1.3.report.json",
    ]  # fmt: skip


MAIN = 'fn main() { println!("main"); }\n'
#: Compiles for this machine alone.
XTASK = '#[cfg(target_family = "wasm")]\ncompile_error!("for the host");\nfn main() {}\n'


def add_crate(workspace: Path, name: str, *, main: str = MAIN) -> Path:
    (workspace / name / "src" / "bin").mkdir(parents=True)
    (workspace / name / "src" / "main.rs").write_text(main)
    manifest = f'[package]\nname = "{Path(name).name}"\nversion = "0.1.0"\nedition = "2021"\n'
    (workspace / name / "Cargo.toml").write_text(manifest)
    return workspace / name


@pytest.fixture
def workspace(tmp_path: Path, rust: RustCommand) -> Path:
    """A workspace with a program, and a tool that is for the host alone."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    add_crate(folder, "crates/tool")
    add_crate(folder, "xtask", main=XTASK)
    rust.environment |= {"CARGO_TARGET_DIR": str(folder / "target"), "CARGO_HOME": str(folder / "cargo")}
    (folder / "Cargo.toml").write_text('[workspace]\nresolver = "2"\nmembers = ["xtask", "crates/*"]\n')
    (folder / "bacpack.toml").write_text(f'[build]\ntarget = "{rust.target}"\nexclude = ["xtask"]\n')
    return folder


def programs(rust: RustCommand, folder: Path) -> list[str]:
    return [app["name"] for app in json.loads(rust.run("build", "--json", cwd=folder).stdout)["apps"]]


def test_new_programs_are_found_and_others_are_left_out(rust: RustCommand, workspace: Path) -> None:
    configuration = workspace / "bacpack.toml"
    excluding = configuration.read_text()
    configuration.write_text(excluding.replace('["xtask"]', "[]"))
    text = rust.run("build", cwd=workspace, check=False).stderr
    assert "or leave out a program that is for this machine alone: `exclude` below [build]" in text
    configuration.write_text(excluding)
    assert programs(rust, workspace) == ["tool"]
    (workspace / "crates" / "tool" / "src" / "bin" / "extra.rs").write_text(MAIN)
    assert programs(rust, workspace) == ["extra", "tool"]
    add_crate(workspace, "crates/second")
    assert programs(rust, workspace) == ["extra", "second", "tool"]
    # One of the programs of a crate.
    (workspace / "crates" / "tool" / "src" / "bin" / "broken.rs").write_text(XTASK)
    configuration.write_text(configuration.read_text().replace('["xtask"]', '["xtask", "broken"]'))
    assert programs(rust, workspace) == ["extra", "second", "tool"]
    # What cargo leaves out by itself.
    manifest = workspace / "Cargo.toml"
    manifest.write_text(manifest.read_text() + 'default-members = ["crates/tool", "./crates/second"]\n')
    configuration.write_text(configuration.read_text().replace('"xtask", ', ""))
    assert programs(rust, workspace) == ["extra", "second", "tool"]
    # What `jobs` names is built all the same.
    add_crate(workspace, "crates/third")
    assert programs(rust, workspace) == ["extra", "second", "tool"]
    configuration.write_text(configuration.read_text() + 'jobs = ["third"]\n')
    assert programs(rust, workspace) == ["extra", "second", "third", "tool"]
    (workspace / "crates" / "second" / "src" / "bin" / "tool.rs").write_text(MAIN)
    text = rust.run("build", cwd=workspace, check=False).stderr
    assert "error[equal-names]: the crate `second` and the crate `tool` would both be built as `tool.wasm`" in text
    (workspace / "crates" / "second" / "src" / "bin" / "tool.rs").unlink()
    configuration.write_text(configuration.read_text().replace('"broken"', '"broken", "extr"'))
    text = rust.run("build", cwd=workspace, check=False).stderr
    assert "error[no-such-program]: `bacpack.toml` names the program `extr` in `exclude`" in text
    assert "did you mean `extra`?" in text


def test_the_base_of_a_change_leaves_what_was_built_as_it_is(rust: RustCommand, workspace: Path) -> None:
    for arguments in (
        ["init", "--quiet", "--initial-branch", "main"], ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one"],
    ):  # fmt: skip
        subprocess.run(["git", *arguments], cwd=workspace, check=True, capture_output=True)
    (workspace / ".git" / "info" / "exclude").write_text("target\n")
    main = workspace / "crates" / "tool" / "src" / "main.rs"
    main.write_text(MAIN.replace('"main"', '"changed"'))
    done = rust.run("ci", "--base", "main", "--dry-run", cwd=workspace)
    assert "beyond `main`" in done.stdout
    assert "unchanged" not in done.stdout
    again = rust.run("build", "--json", cwd=workspace)
    assert (json.loads(again.stdout)["unchanged"], "Compiling" in again.stderr) == (True, False), again.stderr
    shutil.rmtree(workspace / "target" / "bacpack")
    assert programs(rust, workspace) == ["tool"]
    assert rust.run("run", workspace / "target" / "bacpack" / "tool.wasm", cwd=workspace).stdout == "changed\n"
    assert [path.name for path in workspace.parent.iterdir() if path.name.startswith(".bacpack-base-")] == []


GENERATING = """\
fn main() {
    let path = std::path::Path::new(&std::env::var_os("OUT_DIR").unwrap()).join("number.rs");
    std::fs::write(path, "pub fn number(at: usize) -> u8 { [1, 2, 3][at] }").unwrap();
}
"""


def test_no_dependency_names_a_folder_of_the_machine(rust: RustCommand, workspace: Path) -> None:
    library = add_crate(workspace, "crates/numbers")
    (library / "src" / "main.rs").unlink()
    (library / "src" / "lib.rs").write_text('include!(concat!(env!("OUT_DIR"), "/number.rs"));\n')
    (library / "build.rs").write_text(GENERATING)
    with (workspace / "crates" / "tool" / "Cargo.toml").open("a") as manifest:
        manifest.write('[dependencies]\nnumbers = { path = "../numbers" }\nbeside = { path = "../../../beside" }\n')
    beside = add_crate(workspace.parent, "beside")
    (beside / "src" / "main.rs").unlink()
    (beside / "src" / "lib.rs").write_text("pub fn letter(at: usize) -> char { ['a', 'b', 'c'][at] }\n")
    main = 'let n = std::env::args().count(); println!("{} {}", numbers::number(n), beside::letter(n * 7));'
    (workspace / "crates" / "tool" / "src" / "main.rs").write_text(f"fn main() {{ {main} }}\n")
    assert programs(rust, workspace) == ["tool"]
    blob = (workspace / "target" / rust.target / "release" / "tool.wasm").read_bytes()
    assert b"number.rs" in blob
    assert b"../beside/src/lib.rs" in blob
    assert str(workspace.parent).encode() not in blob


def test_an_edit_is_not_published_unbuilt(rust: RustCommand, workspace: Path) -> None:
    assert programs(rust, workspace) == ["tool"]
    rust.run("publish", ".", "--dry-run", cwd=workspace)
    (workspace / "crates" / "tool" / "src" / "main.rs").write_text(MAIN.replace('"main"', '"changed"'))
    for text in (MAIN.replace('"main"', '"changed"'), "no Rust"):
        (workspace / "crates" / "tool" / "src" / "main.rs").write_text(text)
        done = rust.run("publish", ".", cwd=workspace, check=False)
        assert done.returncode == 1
        assert "error[build-stale]" in done.stderr
