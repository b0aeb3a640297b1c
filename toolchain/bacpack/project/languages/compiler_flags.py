"""The compiler's flags of a build: those that the user set, joined with ours.

Cargo takes flags from one of many places: variables, `[build]` or `[target]` in any of the files that it finds. Ours
given in any of them would replace what stands in another, or be replaced. So cargo is asked first which are in force,
by building a crate without content whose build script is told, as every build script is. Joined with ours, they are
given back in the one variable that goes before all else: cargo knows each flag then, and builds anew when one changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from bacpack.decode import decode_json
from bacpack.errors import CheckFailedError
from bacpack.files import write_file

#: The variable, and what stands between two flags in it.
VARIABLE, BETWEEN = "CARGO_ENCODED_RUSTFLAGS", "\x1f"

#: The crate: of its own workspace, for any cargo since 1.55. Its script runs each time: cargo knows not of all that it
#: is told by, such as the linker.
_CRATE = {
    "Cargo.toml": '[package]\nname = "bacpack-asks"\nversion = "0.0.0"\nedition = "2018"\n\n'
    '[lib]\npath = "lib.rs"\n\n[workspace]\n',
    "Cargo.lock": 'version = 3\n\n[[package]]\nname = "bacpack-asks"\nversion = "0.0.0"\n',
    # Described, for flags that refuse what is not.
    "lib.rs": "//! Nothing.\n#![no_std]\n",
    "build.rs": """\
use std::env::var;
use std::process::Command;

fn main() {
    let asked = Command::new(var("RUSTC").unwrap()).arg("--print").arg("sysroot").output().unwrap();
    println!("cargo:rerun-if-changed=never-there");
    println!("cargo:rustc-env=SYSROOT={}", String::from_utf8_lossy(&asked.stdout).trim());
    println!("cargo:rustc-env=FLAGS={}", var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default());
    println!("cargo:rustc-env=LINKER={}", var("RUSTC_LINKER").unwrap_or_default());
}
""",
}
#: Programs that pass what follows `-Wl,` on to the linker, and understand few of its options themselves.
_COMPILER = re.compile(r"(.*-)?(cc|c\+\+|gcc|g\+\+|clang|clang\+\+|emcc)(-[0-9.]+)?")


@dataclass(frozen=True, slots=True)
class InForce:
    """What cargo says of a build for one target."""

    flags: tuple[str, ...]
    #: The linker that is configured, empty for the compiler's own choice.
    linker: str
    #: Where the compiler and its libraries are; paths below it stand in what is built.
    sysroot: str


def write_question(folder: Path) -> Path:
    """Write the crate that asks to `folder`, as far as it is not there; return its manifest."""
    for name, text in _CRATE.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != text.encode():
            write_file(path, text.encode())
    return folder / "Cargo.toml"


def read_answer(messages: Iterable[str]) -> InForce:
    """Return what cargo told the crate; raises `CheckFailedError` (`cargo-failed`) if it did not run it."""
    for line in messages:
        entry = decode_json(line)
        if entry.get("reason") == "build-script-executed":
            told = dict(entry["env"])
            flags = tuple(told["FLAGS"].split(BETWEEN)) if told["FLAGS"] else ()
            return InForce(flags, told["LINKER"], told["SYSROOT"])
    raise CheckFailedError(
        "cargo-failed",
        "cargo built nothing when it was asked which flags are set",
        hint="set CARGO to a cargo that builds, 1.55 or later",
    )


def joined(theirs: InForce, target: str, folders: Sequence[tuple[str, str]], *, modules: bool) -> str:
    """Return the value of the variable: our flags, then those in force, which so decide where the two differ.

    `folders` are those of this machine that must not stand in what is built, each with its name there.
    """
    ours = [f"--remap-path-prefix={folder}={name}" for folder, name in folders]
    through = "-Wl," if _links_by_compiler(theirs) else ""
    for argument in _link_arguments(target, modules=modules):
        ours += ["-C", f"link-arg={through}{argument}"]
    return BETWEEN.join([*ours, *theirs.flags])


def _link_arguments(target: str, *, modules: bool) -> list[str]:
    """What the linker must keep or leave so that programs share."""
    if modules:
        # A module's stack lies in the memory of each program that uses it.
        return ["--emit-relocs", "-zstack-size=32768"]
    if target == "wasm32-wasi":
        # Linkers of that time crash on --emit-relocs for a whole program; the split then finds addresses by itself.
        return []
    # At -O0 texts are not merged with each other, so that those which two programs have in common are the same in both.
    return ["--emit-relocs", "-O0"]


def _links_by_compiler(theirs: InForce) -> bool:
    """Whether the linker is a compiler's driver, by its name or by what flags say of it."""
    linker, flavor = theirs.linker, ""
    for before, flag in zip(("", *theirs.flags), theirs.flags, strict=False):
        option = flag.removeprefix("-C").removeprefix("--codegen=") if before not in ("-C", "--codegen") else flag
        name, _, value = option.partition("=")
        linker = value if name == "linker" else linker
        flavor = value if name == "linker-flavor" else flavor
    if flavor:
        return flavor in ("gcc", "em") or flavor.endswith("-cc")
    return _COMPILER.fullmatch(PurePath(linker).name.removesuffix(".exe")) is not None
