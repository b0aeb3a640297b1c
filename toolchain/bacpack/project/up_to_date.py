"""Whether a release is what would be built now: of what it was made is noted beside it, by the bytes.

What cargo builds is not looked into: cargo is asked, and what it gives is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgspec

from bacpack import __version__
from bacpack.attest.attach import Circumstances
from bacpack.content.cid.reference import PathRef, parse_ref
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import InputError
from bacpack.files import read_file, write_file
from bacpack.manifest import MANIFEST_NAME
from bacpack.project.languages.sources import Compiled
from bacpack.project.settings.config import Project

#: What stands for this version among what decides: the next may build the same sources to something else.
BACPACK = "bacpack"


class Note(msgspec.Struct, kw_only=True):
    """What a build was made of, and what it wrote."""

    #: Where it was written to: a copy of the project has the note of another.
    output: str
    #: Digest of each thing that decides what is built, by what it is.
    sources: dict[str, str]
    #: What a statement of provenance says besides.
    circumstances: str
    #: Digest of each file that was written, by its path in the folder.
    files: dict[str, str]
    #: What the build reported.
    report: dict[str, object]


def sources_of(project: Project, compiled: Compiled) -> dict[str, str]:
    """Digests of all that decides what the programs and modules of a project become."""
    tables = project.tables
    found = {BACPACK: __version__, "the order of programs": "\n".join(entry.name for entry in compiled.programs)}
    found |= {f"the program `{program.name}`": _digest(program.data) for program in compiled.programs}
    for name, source in tables.modules.items():
        path = _path(project, source)
        data = compiled.libraries.get(name) or (read_file(path) if path and path.is_file() else b"")
        found[f"the module `{name}`"] = f"{source} {_digest(data)}"
    for number, source in enumerate(tables.build.catalogs):
        # What is named by CID stays what it is.
        path = _path(project, source)
        data = read_file(path / MANIFEST_NAME if path.is_dir() else path) if path else b""
        found[f"catalog {number}"] = f"{source} {_digest(data)}"
    return found


def note_build(
    project: Project, sources: Mapping[str, str], circumstances: Circumstances, report: Mapping[str, object]
) -> None:
    """Note of what the release that was written last was made, and what is in it."""
    note = Note(
        output=str(project.output.absolute()),
        sources=dict(sources),
        circumstances=_said(circumstances),
        files=dict(_files(project.output)),
        report=dict(report),
    )
    write_file(_note_path(project.output), msgspec.json.encode(note))


def last_report(project: Project, sources: Mapping[str, str], circumstances: Circumstances) -> dict[str, object] | None:
    """What the last build reported, if a build would give the same now."""
    note = _last_note(project)
    now = (str(project.output.absolute()), sources, _said(circumstances))
    if note is None or (note.output, note.sources, note.circumstances) != now:
        return None
    return note.report if note.files == dict(_files(project.output)) else None


def changed_since(project: Project, sources: Mapping[str, str]) -> list[str] | None:
    """What has changed since the release was built; None if that was not noted."""
    note = _last_note(project)
    if note is None:
        return None
    names = [name for name in {**sources, **note.sources} if name != BACPACK]
    return [name for name in names if sources.get(name) != note.sources.get(name)]


def _last_note(project: Project) -> Note | None:
    try:
        return decode_json(read_file(_note_path(project.output)), Note)
    except (InputError, DecodeError):
        return None


def _note_path(output: Path) -> Path:
    """Where the note is: beside the folder, which is the release and nothing else."""
    return output.with_name(f".{output.name}.json")


def _path(project: Project, source: str) -> Path | None:
    ref = parse_ref(source)
    return project.resolve(str(ref.path)) if isinstance(ref, PathRef) else None


def _said(circumstances: Circumstances) -> str:
    key = circumstances.key.public_key().public_bytes_raw().hex() if circumstances.key else None
    return f"{replace(circumstances, key=None)} {key}"


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), _digest(read_file(path))


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()
