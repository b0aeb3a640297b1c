"""Every command, given files that were changed at random: an error of ours with a code, and never a traceback.

A normal run takes a small sample, `make soak` many more.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import soak
from attest.conftest import blobs, keys
from attest.harness import Keys, replace_file
from cli.running import ECHO_ARGUMENTS, write
from inprocess import Done, call
from node.harness import assemble
from node.server import FileServer

__all__ = ["blobs", "keys"]

#: Changes of each file in a normal run.
SAMPLES = 4
#: What the exit status may be: 134 where a program traps, and that of the program, which is none of our errors.
STATUSES = {0, 1, 2, 3, 124, 134}
BOUNDED = ("--timeout", "5", "--max-memory", "64MiB")


def changed(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, insert, repeat or overwrite some bytes."""
    at = chance.randrange(len(data) + 1)
    count = min(chance.choice([1, 1, 2, 4, 16, 200]), len(data))
    end = min(at + count, len(data))
    match chance.randrange(7):
        case 0:
            return data[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[at:end]) + data[end:]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[end:]
        case 3:
            return data[:at] + chance.randbytes(count) + data[at:]
        case 4:
            return data[:at] + data[at:end] * chance.choice([2, 3, 50]) + data[end:]
        case 5:
            return (
                data[:at] + chance.choice([b"\0", b"\xff", b"\x80", b'"', b"[", b"}", b"\n", b"-"]) * count + data[end:]
            )
        case _:
            return data[:at] + chance.randbytes(end - at) + data[end:]


#: What stands in the place of a value in JSON.
_VALUES: list[Any] = [
    *("", "\0", "a\0b", "..", "../x", "/etc/passwd", "x" * 5000, "\ud800", "bafkqaaa", "first", "x.wasm", "modules"),
    *(None, True, 0, -1, 1, 2**31, 2**63 - 1, 2**64, 1e308, [], {}, [[]], {"": ""}, ["\0"]),
]


def tampered(data: bytes, chance: random.Random) -> bytes:
    """Put another value somewhere into JSON, take one out, or have one twice."""
    root = {"": json.loads(data)}
    above, key = _somewhere(root, "", chance)
    match chance.randrange(4):
        case 0 if above is not root:
            del above[key]
        case 1 if isinstance(above, list):
            above.append(above[key])
        case _:
            above[key] = chance.choice(_VALUES)
    return json.dumps(root[""]).encode()


def _somewhere(above: Any, key: Any, chance: random.Random) -> tuple[Any, Any]:
    value = above[key]
    if isinstance(value, dict | list) and value and chance.random() < 0.85:
        return _somewhere(value, chance.choice(list(value) if isinstance(value, dict) else range(len(value))), chance)
    return above, key


def check(done: Done, line: Sequence[object], *, as_json: bool) -> None:
    """A failure has a code and a hint, whatever was wrong."""
    assert done.status in STATUSES, (line, done)
    assert "Error(" not in done.stderr, (line, done.stderr)
    if as_json and (done.status or done.stdout):
        said = json.loads(done.stdout.splitlines()[-1])
        if done.status in (2, 3):
            assert said["error"]["code"] and said["error"]["message"], (line, said)
    elif done.status in (2, 3):
        assert any(text.startswith("error[") for text in done.stderr.splitlines()), (line, done.stderr)


@dataclass(frozen=True)
class Release:
    """A release that is whole, and copies of it to be spoilt."""

    home: Path
    blobs: list[Path]
    whole: Path
    key: Path
    work: Path

    def spoilt(self, name: str, data: bytes, *, listed: bool = False) -> Path:
        """A copy with other bytes in one file; `listed` has the manifest name them, as somebody would to deceive."""
        out = self.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.whole, out)
        if listed:
            replace_file(out, name, data)
        else:
            (out / name).write_bytes(data)
        return out

    def split(self, catalog: object) -> tuple[object, ...]:
        shutil.rmtree(self.work / "next", ignore_errors=True)
        return ("split", *self.blobs, "-o", self.work / "next", "--catalog", catalog)


@pytest.fixture
def release(blobs: list[Path], keys: Keys, tmp_path: Path) -> Release:
    home, whole = tmp_path / "home", tmp_path / "whole"
    assert call(home, "split", *blobs, "-o", whole, "--key", keys["own"]).status == 0
    work = tmp_path / "work"
    work.mkdir()
    return Release(home, blobs, whole, keys["own.pub"], work)


def of_blob(release: Release, data: bytes) -> Iterator[tuple[object, ...]]:
    path = write(release.work / "blob.wasm", data)
    out = release.work / "split"
    shutil.rmtree(out, ignore_errors=True)
    yield "split", path, release.blobs[1], "-o", out
    yield "split", path, "-o", out
    yield "inspect", path
    yield "run", *BOUNDED, path
    yield "link", path, "--map", "env=/ipfs/bafkqaaa", "-o", release.work / "linked.wasm"
    yield "jobspec", path
    yield "publish", path
    yield "verify", release.whole, "--against", path


def of_remainder(release: Release, data: bytes) -> Iterator[tuple[object, ...]]:
    out = release.spoilt("first.wasm", data)
    yield "inspect", out
    yield "run", *BOUNDED, out / "first.wasm"
    yield "verify", out
    yield "verify", out, "--against", *release.blobs
    yield "publish", out
    yield "jobspec", out / "first.wasm"


def of_module(release: Release, data: bytes) -> Iterator[tuple[object, ...]]:
    out = release.spoilt(_module(release), data)
    yield "inspect", out
    yield "run", *BOUNDED, out / "first.wasm"
    yield "verify", out, "--against", *release.blobs
    yield release.split(out)


def of_manifest(release: Release, data: bytes) -> Iterator[tuple[object, ...]]:
    out = release.spoilt("bacpack.json", data)
    yield "inspect", out
    yield "inspect", out / "first.wasm"
    yield "verify", out
    yield "verify", out, "--against", *release.blobs
    yield "publish", out
    yield "pack", out, "-o", release.work / "out.car"
    yield "run", *BOUNDED, out / "first.wasm"
    yield release.split(out)


def of_catalog(release: Release, data: bytes) -> Iterator[tuple[object, ...]]:
    yield release.split(release.spoilt("catalog/catalog.json", data))
    yield release.split(release.spoilt("catalog/modules", data))
    yield "verify", release.spoilt("catalog/catalog.json", data)


def of_statement(release: Release, data: bytes) -> Iterator[tuple[object, ...]]:
    yield "verify", release.spoilt("provenance.json", data, listed=True)
    yield "verify", release.spoilt("provenance.json", data, listed=True), "--key", release.key


def of_envelope(release: Release, data: bytes) -> Iterator[tuple[object, ...]]:
    yield "verify", release.spoilt("provenance.dsse.json", data, listed=True), "--key", release.key


def of_car(release: Release, data: bytes) -> Iterator[tuple[object, ...]]:
    path = write(release.work / "release.car", data)
    yield "inspect", path
    yield "verify", path
    yield "fetch", path, "--no-pin"
    yield "run", *BOUNDED, f"{path}/first.wasm"
    yield release.split(path)


def _module(release: Release) -> str:
    return str(min(release.whole.glob("modules/*.wasm")).relative_to(release.whole))


def packed(release: Release) -> bytes:
    path = release.work / "whole.car"
    assert call(release.home, "pack", release.whole, "-o", path).status == 0
    return path.read_bytes()


KINDS: dict[str, tuple[Callable[[Release], bytes], Callable[[Release, bytes], Iterator[tuple[object, ...]]]]] = {
    "blob": (lambda release: release.blobs[0].read_bytes(), of_blob),
    "remainder": (lambda release: (release.whole / "first.wasm").read_bytes(), of_remainder),
    "module": (lambda release: (release.whole / _module(release)).read_bytes(), of_module),
    "manifest": (lambda release: (release.whole / "bacpack.json").read_bytes(), of_manifest),
    "catalog": (lambda release: (release.whole / "catalog" / "catalog.json").read_bytes(), of_catalog),
    "statement": (lambda release: (release.whole / "provenance.json").read_bytes(), of_statement),
    "envelope": (lambda release: (release.whole / "provenance.dsse.json").read_bytes(), of_envelope),
    "car": (packed, of_car),
}


JSON = ("manifest", "catalog", "statement", "envelope")


@pytest.mark.parametrize(("kind", "how"), [*((kind, changed) for kind in KINDS), *((kind, tampered) for kind in JSON)])
def test_a_file_that_was_changed_is_an_error_of_ours(
    release: Release, kind: str, how: Callable[[bytes, random.Random], bytes]
) -> None:
    read, lines = KINDS[kind]
    whole = read(release)
    chance = random.Random(f"{kind} {soak.TIMES}")
    for _ in range(SAMPLES * soak.TIMES):
        data = how(whole, chance)
        for number, line in enumerate(lines(release, data)):
            as_json = line[0] != "run" and bool(number % 2)
            check(call(release.home, *line, *(["--json"] if as_json else [])), line, as_json=as_json)


def test_a_configuration_that_was_changed_is_an_error_of_ours(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(release.work)
    config = b'[publish]\nto = ["car:out.car"]\n[modules]\n"env" = { cid = "bafkqaaa" }\n[sources]\norder = ["peers"]\n'
    chance = random.Random(soak.TIMES)
    for _ in range(5 * SAMPLES * soak.TIMES):
        Path("bacpack.toml").write_bytes(changed(config, chance))
        for line in (("publish", "--dry-run", release.whole, "--json"), ("link", release.blobs[0], "--json")):
            check(call(release.home, *line), line, as_json=True)


def test_a_lock_that_was_changed_is_an_error_of_ours(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = server.put("/app.wasm", ECHO_ARGUMENTS)
    line = ("run", "--allow-private", "app.wasm")
    write(tmp_path / "app.wasm", assemble(f'(module (import "{url}" "memory" (memory 1)) (func (export "_start")))'))
    assert call(tmp_path / "home", *line).status == 0
    lock = tmp_path / "home" / "bacpack.lock"
    whole = lock.read_bytes()
    chance = random.Random(soak.TIMES)
    for _ in range(5 * SAMPLES * soak.TIMES):
        lock.write_bytes(changed(whole, chance))
        check(call(tmp_path / "home", *line), line, as_json=False)
