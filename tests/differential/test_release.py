"""What `bacpack split` wrote for real programs: what it weighs, that it is sound, that `bacpack run` runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import wasmtime

import golden
from commands import command, environment
from corpus import image_blobs, rust_programs
from differential.conftest import Split
from differential.harness import cid_of
from differential.pictures import PICTURES

#: Larger files are several blocks, and their CID is not the hash of their bytes.
BLOCK_LIMIT = 1 << 20


@pytest.fixture(params=["split_corpus", "split_rust", "split_named"])
def split(request: pytest.FixtureRequest) -> Split:
    found: Split = request.getfixturevalue(request.param)
    return found


@pytest.mark.long
@pytest.mark.parametrize("name", ["images", "rust"])
def test_the_programs_of_the_demo_have_the_cids_that_are_stated(name: str, request: pytest.FixtureRequest) -> None:
    split: Split = request.getfixturevalue({"images": "split_corpus", "rust": "split_rust"}[name])
    stated = json.loads(golden.DEMO.read_bytes())[name]
    assert golden.release(split.folder, split.report) == stated, "if that is meant, see tests/golden.py"


@pytest.mark.long
def test_the_image_programs_weigh_half(split_corpus: Split) -> None:
    totals = split_corpus.report["totals"]
    assert totals["blob_bytes"] == sum(path.stat().st_size for path in image_blobs().values())
    assert totals["split_bytes"] <= 26_000_000


def test_the_rust_programs_weigh_two_thirds(split_rust: Split) -> None:
    totals = split_rust.report["totals"]
    assert totals["blob_bytes"] == sum(path.stat().st_size for path in rust_programs().values())
    assert totals["split_bytes"] <= 0.65 * totals["blob_bytes"]


def test_the_report_says_what_was_written(split: Split) -> None:
    entries = {Path(entry["path"]).resolve(): entry for entry in (*split.report["apps"], *split.report["modules"])}
    assert set(entries) == {path.resolve() for path in split.folder.rglob("*.wasm")}
    for path, entry in entries.items():
        data = path.read_bytes()
        assert entry["bytes"] == len(data)
        if len(data) <= BLOCK_LIMIT:
            assert entry["cid"] == cid_of(data)
    assert split.report["totals"]["split_bytes"] == sum(entry["bytes"] for entry in entries.values())
    assert all(app["verified"] for app in split.report["apps"])


def test_every_module_is_valid(split: Split) -> None:
    engine = wasmtime.Engine()
    for path in split.folder.rglob("*.wasm"):
        wasmtime.Module.validate(engine, path.read_bytes())


def bacpack_run(home: Path, *arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    line = command("run", "--offline", *arguments)
    return subprocess.run(line, input=stdin, capture_output=True, env=environment(home), check=False)


@pytest.mark.parametrize(
    ("program", "arguments", "stdin"),
    [
        ("wordcount", ("--top", "2"), b"one two two"),
        ("logsearch", ("nothing",), b"one two two"),
        ("jsonfmt", (), b'{"a": tru}'),
        ("checksum", ("--panic",), b""),
    ],
)
def test_bacpack_run_agrees(
    split_rust: Split, tmp_path: Path, program: str, arguments: tuple[str, ...], stdin: bytes
) -> None:
    blob = bacpack_run(tmp_path, rust_programs()[program], "--", *arguments, stdin=stdin)
    split = bacpack_run(tmp_path, split_rust.app(program), "--", *arguments, stdin=stdin)
    assert (split.returncode, split.stdout) == (blob.returncode, blob.stdout)
    assert split.returncode == {"wordcount": 0, "logsearch": 1, "jsonfmt": 2, "checksum": 134}[program]
    # After a trap stderr also holds a backtrace, which splitting changes.
    assert split.stderr.splitlines()[:1] == blob.stderr.splitlines()[:1]


def test_bacpack_run_writes_the_same_picture(split_corpus: Split, tmp_path: Path) -> None:
    pictures = []
    for name, program in (
        ("blob", image_blobs()["png-write-image.wasi"]),
        ("split", split_corpus.app("png-write-image.wasi")),
    ):
        folder = tmp_path / name
        for path, content in PICTURES["rgb2"].folder("in.iwi").items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        done = bacpack_run(
            tmp_path / "home", "--dir", f"{folder}::/", program, "--", "in.iwi", "written.json", "out.png"
        )
        assert (done.returncode, done.stderr) == (0, b"")
        pictures.append((folder / "out.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"\x89PNG")
