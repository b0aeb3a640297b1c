"""Whether a build would give what the last one gave: known from its inputs, without asking cargo.

What cargo read it notes beside what it wrote, in `.d` files: sources, and variables of the environment. With these, the
manifests and the configuration unchanged, and the outputs as they were left, there is nothing to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from bacpack import __version__
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import InputError
from bacpack.files import read_file, write_file

#: Variables that change what is built or what is said of it.
_VARIABLES = re.compile(r"(CARGO|RUST|CI$|CI_|GITHUB_|GITLAB_|SOURCE_DATE_EPOCH|PATH$)")
#: Of those, what differs between two runs and changes nothing.
_IGNORED = re.compile(r"CARGO_TERM|RUST_(LOG|BACKTRACE)|GITHUB_(OUTPUT|ENV|PATH|STATE|STEP_SUMMARY|ACTION)")
#: Between two paths; in a path a space has a backslash before it.
_BETWEEN = re.compile(r"(?<!\\) ")
_VARIABLE_READ = re.compile(r"^# env-dep:(\w+)", re.MULTILINE)


class State(msgspec.Struct, kw_only=True):
    """What a build read and wrote: for each file its time and size, for each variable its value."""

    version: str = __version__
    #: The folder written to: a copy of the project has the note of another.
    output: str
    files: dict[str, tuple[int, int] | None]
    variables: dict[str, str | None]
    #: What the build reported.
    report: dict[str, object]


def note_build(output: Path, artefacts: Iterable[Path], others: Iterable[Path], report: Mapping[str, object]) -> None:
    """Note what a build read, and what it wrote to `output`.

    `artefacts` are the files that cargo wrote, `others` are manifests and configuration, whether they are there or not.
    """
    files = {*others, *artefacts, *(path for path in output.rglob("*") if path.is_file())}
    variables: set[str] = set()
    for artefact in artefacts:
        files |= set(_sources(artefact))
        for notes in (artefact.parent / "deps").glob("*.d"):
            variables |= set(_VARIABLE_READ.findall(notes.read_text(errors="replace")))
    state = State(
        output=str(output.absolute()),
        files={str(path): _stamp(path) for path in sorted(files)},
        variables={name: os.environ.get(name) for name in sorted(variables)} | _settings(),
        report=dict(report),
    )
    write_file(_state_path(output), msgspec.json.encode(state))


def last_report(output: Path) -> dict[str, object] | None:
    """What the last build reported, if a build would give the same now."""
    try:
        state = decode_json(read_file(_state_path(output)), State)
    except (InputError, DecodeError):
        return None
    if (state.version, state.output) != (__version__, str(output.absolute())):
        return None
    if not _settings().keys() <= state.variables.keys():
        return None
    if any(os.environ.get(name) != value for name, value in state.variables.items()):
        return None
    return state.report if all(_stamp(Path(path)) == stamp for path, stamp in state.files.items()) else None


def _state_path(output: Path) -> Path:
    """Where the note is: beside the folder, which is the release and nothing else."""
    return output.with_name(f".{output.name}.json")


def _settings() -> dict[str, str | None]:
    return {name: value for name, value in os.environ.items() if _VARIABLES.match(name) and not _IGNORED.match(name)}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _sources(artefact: Path) -> Iterator[Path]:
    """What cargo says that a file was made of."""
    notes = artefact.with_suffix(".d")
    if not notes.is_file():
        return
    yield notes
    for line in notes.read_text(errors="replace").splitlines():
        _, _, sources = line.partition(": ")
        yield from (Path(path.replace("\\ ", " ")) for path in _BETWEEN.split(sources) if path)
