"""A build has the flags of whoever builds, wherever they are set, and ours: it gives the program that cargo gives."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bacpack.errors import CheckFailedError
from bacpack.project.languages.compiler_flags import BETWEEN, InForce, joined, read_answer
from project.conftest import RustCommand

MAIN = """\
//! Says with which flags it was built.
#![allow(unexpected_cfgs)]

fn main() {
    println!("{} {} {:?}", cfg!(one), cfg!(two), option_env!("GREETING"));
}
"""


@pytest.fixture
def crate(tmp_path: Path, rust: RustCommand) -> Path:
    """A crate that says with which flags it was built, in a folder above which there may be a configuration."""
    folder = tmp_path / "above" / "plain"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "main.rs").write_text(MAIN)
    (folder / "Cargo.toml").write_text('[package]\nname = "plain"\nversion = "0.1.0"\nedition = "2021"\n')
    (folder / "bacpack.toml").write_text(f'[build]\ntarget = "{rust.target}"\n')
    rust.environment["CARGO_TARGET_DIR"] = str(folder / "target")
    return folder


def by_cargo(rust: RustCommand, crate: Path) -> str:
    """What the program says that cargo alone builds, and the flags with which it was built."""
    build = [rust.environment["CARGO"], "build", "--release", "--target", rust.target]
    environment = {**rust.environment, "CARGO_TARGET_DIR": str(crate / "by-cargo")}
    subprocess.run(build, cwd=crate, env=environment, capture_output=True, check=True, timeout=300)
    return rust.run("run", crate / "by-cargo" / rust.target / "release" / "plain.wasm", cwd=crate).stdout


def by_bacpack(rust: RustCommand, crate: Path) -> str:
    rust.run("build", cwd=crate)
    return rust.run("run", crate / "target" / "bacpack" / "plain.wasm", cwd=crate).stdout


CONFIGURATION = '[build]\nrustflags = ["--cfg", "one"]\n'


@pytest.mark.parametrize(
    ("files", "variables", "said"),
    [
        ({".cargo/config.toml": CONFIGURATION}, {}, "true false None"),
        ({"../.cargo/config": CONFIGURATION}, {"CARGO_BUILD_RUSTFLAGS": "--cfg two"}, "true true None"),
        ({"../.cargo/config.toml": "[target.'cfg(target_os = \"wasi\")']\nrustflags = \"--cfg two\"\n",
          "home/config.toml": CONFIGURATION}, {}, "false true None"),
        ({".cargo/config.toml": CONFIGURATION}, {"CARGO_TARGET_TRIPLE_RUSTFLAGS": "--cfg two"}, "false true None"),
        ({".cargo/config": CONFIGURATION}, {"RUSTFLAGS": "-Dwarnings -Fmissing-docs --cfg two"}, "false true None"),
        ({}, {"CARGO_ENCODED_RUSTFLAGS": "--cfg\x1fone\x1f--cfg\x1ftwo", "RUSTFLAGS": "--nonsense"}, "true true None"),
        ({"home/config.toml": CONFIGURATION + '[env]\nGREETING = "hi"\n'}, {}, 'true false Some("hi")'),
    ],
    ids=["build", "above", "target-cfg", "target-variable", "variable", "encoded", "home"],
)  # fmt: skip
def test_flags_of_every_source_reach_the_program(
    rust: RustCommand, crate: Path, files: Mapping[str, str], variables: Mapping[str, str], said: str
) -> None:
    for path, text in files.items():
        (crate / path).parent.mkdir(exist_ok=True)
        (crate / path).write_text(text)
    triple = rust.target.upper().replace("-", "_")
    rust.environment |= {name.replace("TRIPLE", triple): value for name, value in variables.items()}
    rust.environment["CARGO_HOME"] = str(crate / "home")
    # A variable that is read first decides which of the others cargo takes: it is not for us to know.
    assert by_bacpack(rust, crate) == by_cargo(rust, crate) == f"{said}\n"


def test_a_change_of_the_configuration_is_noticed_and_nothing_else(rust: RustCommand, crate: Path) -> None:
    assert by_bacpack(rust, crate) == "false false None\n"
    above = crate.parent / ".cargo" / "config.toml"
    above.parent.mkdir()
    for text, said in (
        ('[env]\nGREETING = "hi"\n', 'false false Some("hi")\n'),
        (CONFIGURATION, "true false None\n"),
        ("", "false false None\n"),
    ):
        above.write_text(text)
        assert by_bacpack(rust, crate) == said
        assert json.loads(rust.run("build", "--json", cwd=crate).stdout)["unchanged"] is True
    # The flags change what is warned of, and not the program.
    rust.environment["RUSTFLAGS"] = "-D warnings"
    assert json.loads(rust.run("build", "--json", cwd=crate).stdout)["unchanged"] is True


SYSROOT = ("/rust", "/sysroot")
NONE = InForce((), "", "/rust")


def test_theirs_come_after_ours_and_so_decide() -> None:
    theirs = InForce(("-C", "link-arg=-O2", "--cfg", "one"), "", "/rust")
    flags = joined(theirs, "wasm32-wasip1", [SYSROOT], modules=False).split(BETWEEN)
    assert flags == [
        "--remap-path-prefix=/rust=/sysroot", "-C", "link-arg=--emit-relocs", "-C", "link-arg=-O0", *theirs.flags,
    ]  # fmt: skip


def test_programs_for_the_older_target_keep_no_relocations() -> None:
    assert joined(NONE, "wasm32-wasi", [], modules=False) == ""
    assert "--emit-relocs" in joined(NONE, "wasm32-unknown-unknown", [], modules=True)


@pytest.mark.parametrize(
    ("flags", "linker", "through"),
    [
        ((), "", False),
        ((), "/opt/wasi-sdk/bin/clang", True),
        ((), "/opt/bin/wasm32-wasi-clang-18", True),
        ((), "wasm-ld-22", False),
        ((), "rust-lld", False),
        (("-C", "linker=clang"), "", True),
        (("-Clinker=wasm-ld",), "clang", False),
        (("--codegen=linker-flavor=wasm-ld",), "clang", False),
        (("-Clinker-flavor=gcc",), "my-linker", True),
    ],
)
def test_a_compiler_that_links_passes_our_arguments_on(flags: tuple[str, ...], linker: str, through: bool) -> None:
    found = joined(InForce(flags, linker, "/rust"), "wasm32-wasip1", [], modules=False)
    assert ("link-arg=-Wl,--emit-relocs" in found) is through
    assert ("link-arg=--emit-relocs" in found) is not through


def test_a_cargo_that_says_nothing_is_no_cargo() -> None:
    with pytest.raises(CheckFailedError, match="which flags are set"):
        read_answer(['{"reason": "build-finished"}'])
