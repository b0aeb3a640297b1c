"""What tests of statements share."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bacpack.content.unixfs.writer import cid_of_bytes


@dataclass(frozen=True)
class Keys:
    """A folder of PEM files: a key and its public half, for two people."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / f"{name}.pem"


def statement(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "provenance.json").read_bytes())
    return found


def signature(folder: Path) -> bytes:
    return base64.b64decode(envelope(folder)["signatures"][0]["sig"])


def envelope(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "provenance.dsse.json").read_bytes())
    return found


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Change a provenance file, and the manifest so that it names the new bytes: as one does who wants to deceive."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "bacpack.json").read_bytes())
    for entry in manifest["provenance"]:
        if entry["path"] == name:
            entry |= {"cid": str(cid_of_bytes(data)), "bytes": len(data)}
    (folder / "bacpack.json").write_text(json.dumps(manifest))
