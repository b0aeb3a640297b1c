"""`bacpack verify DIR --against BLOB...`: a folder and the programs that it was split from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import CheckFailedError
from bacpack.manifest import MANIFEST_NAME, decode_manifest, encode_manifest
from bacpack.project.settings.lock_file import LOCK_NAME, LockedModule, UrlLock
from bacpack.proof.equivalence.release_folder import prove_folder
from bacpack.wasm import Module, SectionId, writer
from corpus import rust_programs
from node.harness import Command
from proof import edits

RUST = rust_programs()
BLOBS = [RUST[name] for name in ("checksum", "logsearch", "thumbnail")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("proof")
    done = Command(base / "home")("split", *BLOBS, "-o", base / "out")
    assert done.returncode == 0, done.stderr.decode()
    return base / "out"


@pytest.fixture
def bacpack(tmp_path: Path) -> Command:
    return Command(tmp_path / "home")


def verify(bacpack: Command, *arguments: object) -> tuple[int, dict[str, Any]]:
    done = bacpack("verify", *arguments, "--json")
    assert b"Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def test_programs_are_found_by_their_bytes(bacpack: Command, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "another-name.wasm"
    shutil.copy(BLOBS[1], copy)
    status, result = verify(bacpack, folder, "--against", copy, BLOBS[0])
    assert status == 0
    assert result["ok"] is True
    assert result["verified"] == ["checksum", "logsearch"]


def test_blobs_may_be_named_one_by_one_and_with_a_cid(bacpack: Command, folder: Path) -> None:
    _, plain = verify(bacpack, folder)
    assert "verified" not in plain
    status, result = verify(bacpack, folder, plain["cid"], "--against", BLOBS[0], "--against", BLOBS[2], BLOBS[1])
    assert status == 0
    assert result["verified"] == ["checksum", "logsearch", "thumbnail"]
    assert result["cid"] == plain["cid"]


def test_the_text_names_the_programs(bacpack: Command, folder: Path) -> None:
    done = bacpack("verify", folder, "--against", BLOBS[0])
    assert done.returncode == 0
    assert done.stdout.decode().rstrip().endswith("equal to their blobs: checksum")


def test_another_program_is_refused_by_name(bacpack: Command, folder: Path) -> None:
    status, result = verify(bacpack, folder, "--against", BLOBS[0], RUST["wordcount"])
    assert status == 1
    assert result["error"]["code"] == "not-equivalent"
    assert "do not run the split" in result["error"]["hint"]
    assert f"no program in `{folder}` was split from `{RUST['wordcount']}`" in result["error"]["message"]


def other_data(module: bytes) -> bytes:
    return edits.with_data_byte(module, 0, -1)


def twice_exported(module: bytes) -> bytes:
    """Invalid, though it can be read."""
    exports = Module.parse(module).exports
    content = writer.vector(map(writer.export, [*exports, exports[0]]))
    return writer.rewrite(Module.parse(module), {SectionId.EXPORT: content})


def tampered(folder: Path, into: Path, change: Callable[[bytes], bytes] = other_data) -> Path:
    """A copy of the folder in which one program is another, and the manifest says so; nothing says what it was."""
    shutil.copytree(folder, into)
    manifest = decode_manifest((folder / MANIFEST_NAME).read_bytes(), "manifest")
    (app,) = [app for app in manifest.apps if app.name == "logsearch"]
    data = change((folder / app.path).read_bytes())
    assert Module.parse(data)
    (into / app.path).write_bytes(data)
    text = (into / MANIFEST_NAME).read_text().replace(app.cid, str(cid_of_bytes(data)))
    without = msgspec.structs.replace(decode_manifest(text.encode(), "manifest"), provenance=[])
    (into / MANIFEST_NAME).write_bytes(encode_manifest(without))
    (into / "provenance.json").unlink()
    return into


def test_a_program_that_differs_is_named_with_what_differs(bacpack: Command, folder: Path, tmp_path: Path) -> None:
    wrong = tampered(folder, tmp_path / "wrong")
    status, _ = verify(bacpack, wrong)
    assert status == 0  # by its CIDs all is well
    status, result = verify(bacpack, wrong, "--against", *BLOBS)
    assert status == 1
    error = result["error"]
    assert error["code"] == "not-equivalent"
    assert error["details"]["app"] == "logsearch"
    assert "memory 0 of the blob holds at address" in error["message"]
    with pytest.raises(CheckFailedError, match="`logsearch` in "):
        prove_folder(wrong, BLOBS)
    assert prove_folder(wrong, BLOBS[:1]) == ["checksum"]


def test_a_program_that_is_not_valid_is_refused(bacpack: Command, folder: Path, tmp_path: Path) -> None:
    status, result = verify(bacpack, tampered(folder, tmp_path / "wrong", twice_exported), "--against", *BLOBS)
    assert status == 1
    assert result["error"]["code"] == "not-equivalent"
    assert "`logsearch.wasm` is not valid" in result["error"]["message"]


def test_a_blob_that_is_not_valid_is_said(bacpack: Command, folder: Path, tmp_path: Path) -> None:
    blob = tmp_path / "wrong.wasm"
    blob.write_bytes(twice_exported(BLOBS[0].read_bytes()))
    status, result = verify(bacpack, folder, "--against", blob)
    assert (status, result["error"]["code"]) == (2, "invalid-blob")


def test_names_that_a_release_brings_itself_stand_for_nothing(bacpack: Command, folder: Path, tmp_path: Path) -> None:
    for place, is_linked in ((tmp_path / "above", True), (tmp_path / "within" / "out", False)):
        out = shutil.copytree(folder, tmp_path / place.relative_to(tmp_path).parts[0] / "out")
        place.joinpath("bacpack.toml").write_text("")
        module = LockedModule(cid=str(cid_of_bytes(b"evil")), bytes=4, source="evil.wasm")
        UrlLock(place / LOCK_NAME).set_modules({"own": module})
        status, result = verify(bacpack, out, "--against", BLOBS[0])
        assert status == 0
        assert ("linked" in result) == is_linked


def renamed(folder: Path, into: Path, *names: str, path: str = "") -> Path:
    """A copy in which the manifest has the first program under other names; for a path, in a file of that name."""
    shutil.copytree(folder, into)
    manifest = decode_manifest((folder / MANIFEST_NAME).read_bytes(), "manifest")
    first, *others = manifest.apps
    apps = [msgspec.structs.replace(first, name=name, path=path or f"{name}.wasm") for name in names]
    for app in apps:
        shutil.copy(folder / first.path, into / app.path)
    manifest = msgspec.structs.replace(manifest, apps=[*apps, *others], provenance=[])
    (into / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
    (into / "provenance.json").unlink()
    return into


def test_the_manifest_names_the_file_that_people_take_for_a_program(
    bacpack: Command, folder: Path, tmp_path: Path
) -> None:
    for number, (wrong, message) in enumerate((
        (renamed(folder, tmp_path / "a", "checksum", path="hidden.wasm"), "is `hidden.wasm`, not `checksum.wasm`"),
        (renamed(folder, tmp_path / "b", "checksum", "CheckSum"), "has two programs of one name"),
    )):  # fmt: skip
        status, result = verify(bacpack, wrong, "--against", BLOBS[0])
        assert status == 1, number
        assert message in result["error"]["message"]


def test_progress_is_told(folder: Path) -> None:
    told: list[str] = []
    prove_folder(folder, BLOBS, told.append)
    assert told == ["0 of 3 programs proved", "1 of 3 programs proved", "2 of 3 programs proved"]


@pytest.mark.parametrize("arguments", [("{file}", "--against", "{blob}"), ("{folder}", "one", "two")])
def test_wrong_usage_is_said(bacpack: Command, folder: Path, arguments: tuple[str, ...]) -> None:
    names = {"file": folder / "checksum.wasm", "folder": folder, "blob": BLOBS[0]}
    status, result = verify(bacpack, *(argument.format(**names) for argument in arguments))
    assert status == 2
    assert result["error"]["code"] == "usage"


def test_a_blob_that_cannot_be_read_is_said(bacpack: Command, folder: Path) -> None:
    status, result = verify(bacpack, folder, "--against", folder / "missing.wasm")
    assert status == 2
    assert result["error"]["code"] == "not-found"
