"""One thing changed in a folder that `bacpack split` wrote: in its manifest, or in which file is called what."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from bacpack.manifest import MANIFEST_NAME

Files = dict[str, bytes]
#: Changes one thing of a folder's files by path; returns what, or None when there is no place.
Change = Callable[[Files, Random], str | None]


def _field(manifest: dict[str, Any], chance: Random) -> str:
    """One value, anywhere, is another one of its kind."""
    holders = [manifest["totals"], *manifest["apps"], *manifest["modules"], *manifest["catalog"]]
    holder = chance.choice(holders)
    name = chance.choice([*holder])
    old = holder[name]
    if isinstance(old, bool):
        holder[name] = not old
    elif isinstance(old, int):
        holder[name] = chance.choice((old + 1, 0, -1, 1 << 40))
    elif isinstance(old, list):
        holder[name] = chance.choice((old[1:], [*old, "more"], [*reversed(old)]))
    else:
        values = [str(other[name]) for other in holders if name in other]
        holder[name] = chance.choice((*values, old[:-1], old.upper(), "../" + old, "/" + old, ""))
    return f"`{name}`: {str(old)[-40:]} became {str(holder[name])[-40:]}"


def _entry(manifest: dict[str, Any], chance: Random) -> str:
    """An entry is gone, stands twice, or in another place."""
    name = chance.choice(("apps", "modules", "catalog"))
    entries = manifest[name]
    if not entries:
        return "nothing"
    at = chance.randrange(len(entries))
    match chance.randrange(3):
        case 0:
            del entries[at]
        case 1:
            entries.append({**entries[at], "path": chance.choice(entries)["path"]})
        case _:
            entries.reverse()
    return f"entry {at} of {name}"


def _in_manifest(change: Callable[[dict[str, Any], Random], str]) -> Change:
    def changed(files: Files, chance: Random) -> str:
        manifest = json.loads(files[MANIFEST_NAME])
        words = change(manifest, chance)
        files[MANIFEST_NAME] = json.dumps(manifest).encode()
        return words

    return changed


def _exchanged(files: Files, chance: Random) -> str:
    """Two files have each other's content."""
    one, two = chance.sample(sorted(path for path in files if path.endswith(".wasm")), 2)
    files[one], files[two] = files[two], files[one]
    return f"{one[-20:]} and {two[-20:]} exchanged"


def _gone(files: Files, chance: Random) -> str:
    path = chance.choice(sorted(files))
    del files[path]
    return f"{path[-20:]} is gone"


def _byte(files: Files, chance: Random) -> str:
    path = chance.choice(sorted(path for path, data in files.items() if data))
    data = bytearray(files[path])
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    files[path] = bytes(data)
    return f"one bit of {path[-20:]}"


CHANGES: dict[str, Change] = {
    "field of the manifest": _in_manifest(_field),
    "entry of the manifest": _in_manifest(_entry),
    "files exchanged": _exchanged,
    "a file gone": _gone,
    "a bit of a file": _byte,
}


def needed_files(files: Mapping[str, bytes], blob_cid: str) -> tuple[bytes, dict[str, bytes]] | None:
    """The remainder of a blob and the modules of a folder by CID, as the manifest says; None when it says nothing."""
    try:
        manifest = json.loads(files[MANIFEST_NAME])
        (path,) = {app["path"] for app in manifest["apps"] if app["blob_cid"] == blob_cid}
        return files[path], {module["cid"]: files[module["path"]] for module in manifest["modules"]}
    except (KeyError, ValueError, TypeError):
        return None
