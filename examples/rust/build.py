"""Build the example programs for WASI and record what was built: `python build.py [FOLDER]`, `prebuilt/` unless given.

Needs a Rust that can build for wasm32-wasip1 (see README.md); `CARGO` names its cargo if it is not the one in `PATH`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

WORKSPACE = Path(__file__).resolve().parent
PREBUILT = WORKSPACE / "prebuilt"
TARGET = "wasm32-wasip1"
PROGRAMS = ("checksum", "csvsum", "jsonfmt", "logsearch", "thumbnail", "wordcount")
#: The program that is also kept with its names.
NAMED = "jsonfmt"
KEEP_NAMES = ["-C", "strip=debuginfo"]


def run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Run `command` in the workspace and return what it printed."""
    done = subprocess.run(command, cwd=WORKSPACE, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def sysroot(cargo: str) -> str | None:
    """Folder of the Rust that builds its standard library from source, None where the library comes built.

    A library that comes built names no path of this machine. Only a cargo that can build it understands the question.
    """
    question = [cargo, "rustc", "-p", "textkit", "--offline", "-Zunstable-options", "--print", "sysroot"]
    answer = subprocess.run(question, cwd=WORKSPACE, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def build_folders(cargo: str) -> dict[str, str]:
    """Folders of this machine that a compiler could leave in a program, each with the name to leave there instead."""
    folders = {str(WORKSPACE): ".", os.environ.get("CARGO_HOME", str(Path.home() / ".cargo")): "/cargo"}
    if (rust := sysroot(cargo)) is not None:
        folders[rust] = "/rust"
    return folders


def compiler(program: Path) -> str:
    """Name the compiler that a program with its `producers` section says it was built by."""
    found = re.search(rb"rustc.(\d[\w.-]+ \([^)]+\))", program.read_bytes())
    if found is None:
        raise SystemExit(f"{program} does not say which compiler built it")
    return f"rustc {found[1].decode()}"


def record(path: Path) -> dict[str, Any]:
    """What is remembered of a built program."""
    data = path.read_bytes()
    return {"file": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def refuse_paths(path: Path, folders: Iterable[str]) -> None:
    """Fail if the program names one of `folders`: its bytes would depend on where it was built."""
    data = path.read_bytes()
    for folder in folders:
        if folder.encode() in data:
            raise SystemExit(f"{path.name} names a folder of this machine: {folder}")


def build(folder: Path) -> None:
    """Build every program into `folder` and write `build.json` beside them."""
    cargo = os.environ.get("CARGO", "cargo")
    folders = build_folders(cargo)
    flags = [f"--remap-path-prefix={folder}={name}" for folder, name in folders.items()]
    environment = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags)}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        environment["CARGO_TARGET_DIR"] = str(Path(os.environ.get("CARGO_TARGET_DIR", scratch)).resolve())
        out = Path(environment["CARGO_TARGET_DIR"]) / TARGET / "release"
        # Without names or relocations, as most programs are that are given away.
        options = ["--locked", "--offline", "--release", "--target", TARGET, "--config", "profile.release.strip=true"]
        run([cargo, "build", *options], environment)
        for name in PROGRAMS:
            shutil.copyfile(out / f"{name}.wasm", folder / f"{name}.wasm")
        # Only the last step, linking, differs: a profile of its own would compile everything again.
        run([cargo, "rustc", *options, "--package", NAMED, "--", *KEEP_NAMES], environment)
        shutil.copyfile(out / f"{NAMED}.wasm", folder / f"{NAMED}.named.wasm")
    built = [folder / f"{name}.wasm" for name in PROGRAMS] + [folder / f"{NAMED}.named.wasm"]
    for path in built:
        refuse_paths(path, [*folders, str(Path.home())])
    facts = {
        "schema": 1,
        "compiler": compiler(folder / f"{NAMED}.named.wasm"),
        "target": TARGET,
        "std": "built" if "/rust" not in folders.values() else "from source: -Zbuild-std=std,panic_abort",
        "command": f"cargo build {' '.join(options)}",
        "command_named": f"cargo rustc {' '.join(options)} --package {NAMED} -- {' '.join(KEEP_NAMES)}",
        "flags": [f"--remap-path-prefix=…={name}" for name in folders.values()],
        "files": [record(path) for path in built],
    }
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    (folder / "build.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PREBUILT)
