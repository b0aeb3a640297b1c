"""The configuration of a project: `bacpack.toml`, in the current folder or in the nearest one above it.

Each table of the file is a struct here, so that one definition gives the fields, their types and their defaults. What
is given on the command line goes before what is configured.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from bacpack.decode import DecodeError, decode_toml
from bacpack.errors import InputError
from bacpack.files import read_file

#: The name of the file.
CONFIG_NAME = "bacpack.toml"

#: Where `fetch` may ask, by the key that configures it.
SourceKind: TypeAlias = Literal["peers", "gateways", "kubo"]


class _Table(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What all tables share."""


class PublishTable(_Table, frozen=True):
    """`[publish]`: where releases are published to, as `bacpack publish` takes it."""

    #: Targets, as `--to` takes them; none means the store.
    to: list[str] = []
    #: Multiaddrs that a pinning service can fetch from.
    origins: list[str] = []
    #: Files with tokens, by kind of target; a path is relative to the folder of the configuration.
    token_files: dict[Literal["kubo", "pinning", "node"], str] = {}


class FetchTable(_Table, frozen=True):
    """`[fetch]`: where content comes from that the store lacks."""

    peers: list[str] = []
    gateways: list[str] = []
    #: URL of a Kubo's RPC.
    kubo: str | None = None
    #: Who is asked first.
    order: list[SourceKind] = msgspec.field(default_factory=lambda: ["peers", "gateways", "kubo"])


class BuildTable(_Table, frozen=True):
    """`[build]`: what `bacpack build` builds, and where to."""

    #: What cargo builds programs for.
    target: Literal["wasm32-wasip1", "wasm32-wasi", "wasm32-unknown-unknown"] = "wasm32-wasip1"
    #: The folder that the release is written to.
    output: str = "target/bacpack"
    #: Names of programs, in the order in which they may use each other's code; all others follow.
    jobs: list[str] = []
    #: Names of programs of the workspace that are left out, also where cargo would build them.
    exclude: list[str] = []
    #: Programs that something else than cargo built.
    blobs: list[str] = []
    #: Releases whose modules are used where they fit.
    catalogs: list[str] = []


class BudgetsTable(_Table, frozen=True):
    """`[budgets]`: what `bacpack ci` holds a build to; sizes in bytes."""

    #: All that publishing would bring to where the release is published, or beyond the base branch.
    max_new_bytes: int | None = None
    #: Each program with every module that it needs.
    max_closure_bytes: int | None = None
    #: Whether `bacpack.lock` must be there, and say what the build gives.
    require_locked: bool = False


class Tables(_Table, frozen=True):
    """The whole file."""

    #: What each import namespace stands for: a folder with a crate or a .wasm file, a CID, or a URL.
    modules: dict[str, str] = {}
    build: BuildTable = BuildTable()
    budgets: BudgetsTable = BudgetsTable()
    publish: PublishTable = PublishTable()
    fetch: FetchTable = FetchTable()


@dataclass(frozen=True, slots=True)
class Project:
    """The configuration, and the file that it was read from; all defaults where there is none."""

    path: Path | None = None
    tables: Tables = field(default_factory=Tables)

    @property
    def publish(self) -> PublishTable:
        """The table `[publish]`."""
        return self.tables.publish

    @property
    def fetch(self) -> FetchTable:
        """The table `[fetch]`."""
        return self.tables.fetch

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self.path.parent if self.path else Path()

    @property
    def output(self) -> Path:
        """The folder that `bacpack build` writes to; raises `InputError` (`bad-config`) if more than that is in it."""
        path = Path(os.path.normpath(self.resolve(self.tables.build.output)))
        if self.folder.resolve().is_relative_to(path.resolve()):
            reason = f"`build.output` is `{self.tables.build.output}`, the folder of the project or one above it"
            raise _bad_config(self.path or Path(CONFIG_NAME), reason, "name a folder of its own, as target/bacpack")
        return path

    def resolve(self, path: str) -> Path:
        """Return a path that the configuration names, which is relative to the folder of the file."""
        return self.folder / path


def toml_string(text: str) -> str:
    """Return `text` as TOML writes it, quoted; raises `InputError` (`not-utf8`) for a path that is no text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError("not-utf8", f"{text!r} is not UTF-8, which TOML is", hint="rename the file") from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def find_config(start: Path | None = None) -> Path | None:
    """Return the `bacpack.toml` in `start` (the current folder) or in the nearest folder above it."""
    folder = (start or Path()).absolute()
    return next((path for above in (folder, *folder.parents) if (path := above / CONFIG_NAME).is_file()), None)


def load_project(start: Path | None = None) -> Project:
    """Read the configuration that `find_config` finds; raises `InputError` (`bad-config`) when it cannot be used."""
    path = find_config(start)
    return Project(path, decode_config(read_file(path), path)) if path else Project()


def decode_config(data: bytes, path: Path) -> Tables:
    """Read the bytes of a configuration found at `path`; raises `InputError` (`bad-config`)."""
    try:
        raw = decode_toml(data)
    except DecodeError as error:
        raise _bad_config(path, str(error), "correct the file; https://toml.io describes the format") from error
    for name, known in _unknown_keys(raw, Tables, ""):
        close = difflib.get_close_matches(name.rpartition(".")[2], known, n=1, cutoff=0)
        raise _bad_config(path, f"`{name}` is not known", f"did you mean `{close[0]}`? Known here: {', '.join(known)}")
    try:
        return msgspec.convert(raw, Tables)
    except msgspec.ValidationError as error:
        raise _bad_config(path, str(error).replace("`$.", "`"), "correct the value") from error


def _unknown_keys(raw: dict[str, Any], table: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each key that its table does not have, with those that it has."""
    fields = {entry.encode_name: entry.type for entry in msgspec.structs.fields(table)}
    for name, value in raw.items():
        kind = fields.get(name)
        if name not in fields:
            yield prefix + name, sorted(fields)
        elif isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from _unknown_keys(value, kind, f"{prefix}{name}.")


def _bad_config(path: Path, reason: str, hint: str) -> InputError:
    return InputError("bad-config", f"`{path}` cannot be used: {reason}", hint=hint, details={"path": str(path)})
