"""`bacpack split` as a person meets it: what it writes, what it says, and what is left when it fails."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bacpack.content.cid.cid import Cid
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.wasm import FuncType, Module, SectionId, writer
from bacpack.wasm.custom_sections import name_section
from corpus import NAMED_PROGRAM, image_blobs, rust_programs
from node.harness import Command

RUST = rust_programs()
FIVE = [RUST[name] for name in ("checksum", "csvsum", "logsearch", "thumbnail", "wordcount")]


@pytest.fixture
def split(tmp_path: Path) -> Command:
    return Command(tmp_path / "home")


def ok(split: Command, *arguments: object) -> dict[str, Any]:
    done = split("split", *arguments, "--json")
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def fails(split: Command, *arguments: object) -> dict[str, Any]:
    """The error of a call that must end with status 2, with a hint and without a traceback."""
    done = split("split", *arguments, "--json")
    assert done.returncode == 2, done
    assert b"Traceback" not in done.stderr
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    assert error["message"]
    assert error["hint"]
    return error


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_result_is_what_outside_scripts_rely_on(split: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ok(split, *FIVE, "-o", out)
    assert result["schema"] == 1
    assert result["seconds"] > 0
    modules = {module["cid"]: module for module in result["modules"]}
    for app, blob in zip(result["apps"], FIVE, strict=True):
        data = Path(app["path"]).read_bytes()
        assert app["name"] == blob.stem
        assert app["blob"] == str(blob)
        assert app["path"] == str(out / blob.name)
        assert app["bytes"] == len(data)
        assert app["cid"] == str(cid_of_bytes(data))
        assert app["blob_bytes"] == blob.stat().st_size  # they are stripped
        assert app["verified"] is True
        named = {entry.module for entry in Module.parse(data).imports}
        assert set(app["imports"]) == named & modules.keys()
        needed = {cid for cid, module in modules.items() if app["name"] in module["users"]}
        assert app["closure_bytes"] == app["bytes"] + sum(modules[cid]["bytes"] for cid in needed)
    for cid, module in modules.items():
        data = Path(module["path"]).read_bytes()
        assert Path(module["path"]) == out / "modules" / f"{cid}.wasm"
        assert cid == str(Cid.of_raw(data))
        assert module["bytes"] == len(data)
        assert module["reused"] is False
    assert [module["kind"] for module in modules.values()].count("environment") == 1
    files = contents(out)
    catalog = {name for name in files if name.startswith("catalog/")}
    assert catalog == {entry["path"] for entry in result["catalog"]} >= {"catalog/catalog.json", "catalog/modules"}
    named_files = {f"{blob.stem}.wasm" for blob in FIVE} | {f"modules/{cid}.wasm" for cid in modules}
    assert set(files) - catalog == named_files | {"bacpack.json", "provenance.json"}
    stored = sum(len(files[name]) for name in named_files)
    assert result["totals"] == {"blob_bytes": sum(blob.stat().st_size for blob in FIVE), "split_bytes": stored}


def test_five_rust_programs_come_out_at_most_65_percent_of_their_size(split: Command, tmp_path: Path) -> None:
    totals = ok(split, *FIVE, "-o", tmp_path / "out")["totals"]
    assert totals["split_bytes"] <= 0.65 * totals["blob_bytes"]


def test_the_order_of_the_programs_changes_nothing(split: Command, tmp_path: Path) -> None:
    ok(split, *FIVE, "-o", tmp_path / "one")
    ok(split, *reversed(FIVE), "-o", tmp_path / "other")
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_equal_programs_under_two_names_are_one(split: Command, tmp_path: Path) -> None:
    copy = tmp_path / "copy of it.wasm"
    shutil.copyfile(FIVE[0], copy)
    result = ok(split, FIVE[0], FIVE[1], copy, "-o", tmp_path / "out")
    first, _, second = result["apps"]
    assert first["cid"] == second["cid"]
    assert result["totals"]["split_bytes"] == len(
        b"".join({data for name, data in contents(tmp_path / "out").items() if name.endswith(".wasm")})
    )


def test_one_program_with_names_is_split_by_library(split: Command, tmp_path: Path) -> None:
    result = ok(split, NAMED_PROGRAM, "-o", tmp_path / "out")
    assert [module["kind"] for module in result["modules"]].count("shared") >= 2
    assert result["apps"][0]["bytes"] < result["apps"][0]["blob_bytes"] / 2


def test_one_program_without_names_is_written_as_it_is_and_told_so(split: Command, tmp_path: Path) -> None:
    done = split("split", FIVE[0], "-o", tmp_path / "out")
    assert done.returncode == 0
    assert b"nothing to gain" in done.stderr
    assert (tmp_path / "out" / FIVE[0].name).read_bytes() == FIVE[0].read_bytes()


def test_one_program_without_names_is_not_read_before_it_is_written(split: Command, tmp_path: Path) -> None:
    """Nothing can be gained, so it takes no longer than to check that it is valid: here 7 MB."""
    body = b"\0" + b"\x41\0\x28\2\xa0\x8d\6\x1a" * 90_000 + b"\x0b"
    blob = tmp_path / "large.wasm"
    blob.write_bytes(
        writer.module(
            [
                writer.section(SectionId.TYPE, writer.vector([writer.func_type(FuncType((), ()))])),
                writer.section(SectionId.FUNCTION, writer.vector([b"\0"] * 10)),
                writer.section(SectionId.MEMORY, writer.vector([b"\0\1"])),
                writer.section(SectionId.CODE, writer.vector([writer.sized(body)] * 10)),
            ]
        )
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    result = ok(split, blob, "-o", tmp_path / "out")
    assert result["modules"] == []
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 2.5  # to read it takes 5 seconds


@pytest.mark.parametrize("name", ["core[9fdf64a6790eadef]::fmt::part", "fmt.part"])
def test_names_of_no_known_library_are_not_called_missing(split: Command, tmp_path: Path, name: str) -> None:
    code = b"\0" + b"\x41\x05\x1a" * 300 + b"\x0b"
    blob = tmp_path / "named.wasm"
    sections = [
        writer.section(SectionId.TYPE, writer.vector([writer.func_type(FuncType((), ()))])),
        writer.section(SectionId.FUNCTION, writer.vector([b"\0"] * 20)),
        writer.section(SectionId.CODE, writer.vector([writer.sized(code)] * 20)),
    ]
    blob.write_bytes(writer.module(sections) + name_section(None, {number: f"{name}{number}" for number in range(20)}))
    done = split("split", blob, "-o", tmp_path / "out")
    assert b"its names tell of no large library that bacpack knows" in done.stderr
    assert b"keep its name section" not in done.stderr
    blob.write_bytes(writer.module(sections))
    done = split("split", blob, "-o", tmp_path / "out")
    assert b"no names of functions" in done.stderr
    assert b"keep its name section" in done.stderr


def test_names_that_outweigh_what_is_gained_are_told_of(split: Command, tmp_path: Path) -> None:
    blobs = []
    for blob in FIVE[:2]:
        blobs.append(tmp_path / blob.name)
        blobs[-1].write_bytes(blob.read_bytes() + name_section(None, {0: "n" * 90_000}))
    done = split("split", *blobs, "-o", tmp_path / "out", "--json")
    totals = json.loads(done.stdout)["totals"]
    assert totals["split_bytes"] > totals["blob_bytes"]
    assert b"little is gained" in done.stderr
    assert b"wasm-tools strip" in done.stderr
    assert b"gain" not in split("split", *FIVE[:2], "-o", tmp_path / "out").stderr


def test_programs_without_common_code_are_written_as_they_are(split: Command, tmp_path: Path) -> None:
    image = image_blobs()["bmp-read-image.wasi"]
    tiny = tmp_path / "tiny.wasm"
    tiny.write_bytes(writer.module([]))
    result = ok(split, image, tiny, "-o", tmp_path / "out")
    assert result["modules"] == []
    assert result["totals"]["split_bytes"] == image.stat().st_size + tiny.stat().st_size


def test_a_later_split_replaces_the_files_of_an_earlier_one_and_no_others(split: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ok(split, *FIVE, "-o", out)
    (out / "mine.txt").write_text("mine")
    ok(split, *FIVE[:2], "-o", out)
    fresh = tmp_path / "fresh"
    ok(split, *FIVE[:2], "-o", fresh)
    assert contents(out) == {**contents(fresh), "mine.txt": b"mine"}


def test_names_are_kept_and_debug_sections_dropped(split: Command, tmp_path: Path) -> None:
    blob = tmp_path / "debug.wasm"
    blob.write_bytes(NAMED_PROGRAM.read_bytes() + writer.custom_section(".debug_info", b"x" * 5000))
    result = ok(split, blob, "-o", tmp_path / "out")
    assert result["apps"][0]["blob_bytes"] < NAMED_PROGRAM.stat().st_size
    remainder = Module.parse((tmp_path / "out" / "debug.wasm").read_bytes())
    assert not remainder.custom_sections(".debug_info")
    assert remainder.custom_sections("name")
    assert remainder.custom_sections("producers")


def _broken(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that cannot be split, and the code of the error that each gives."""
    program = FIVE[0].read_bytes()
    made = {
        "text": (b"(module)", "not-wasm"),
        "empty": (b"", "not-wasm"),
        "cut": (program[:5000], "wasm-cut-short"),
        "component": (b"\0asm\x0d\0\1\0", "wasm-component"),
        "version": (b"\0asm\2\0\0\0", "wasm-version"),
        "dangling": (
            writer.module([writer.section(SectionId.START, b"\x07")]),
            "wasm-malformed",
        ),
        "shared-memory": (writer.module([writer.section(SectionId.MEMORY, b"\1\3\1\2")]), "cannot-split"),
        "memory64": (writer.module([writer.section(SectionId.MEMORY, b"\1\4\1")]), "cannot-split"),
        "imported-memory": (
            writer.module([writer.section(SectionId.IMPORT, b"\1\3env\6memory\2\0\1")]),
            "cannot-split",
        ),
        "invalid": (
            # A function that gives an i32 and has no code for it.
            writer.module(
                [
                    writer.section(SectionId.TYPE, b"\1\x60\0\1\x7f"),
                    writer.section(SectionId.FUNCTION, b"\1\0"),
                    writer.section(SectionId.CODE, b"\1\2\0\x0b"),
                ]
            ),
            "invalid-blob",
        ),
    }
    paths = {}
    for name, (data, expected) in made.items():
        path = folder / f"{name}.wasm"
        path.write_bytes(data)
        paths[name] = path, expected
    (folder / "folder.wasm").mkdir()
    paths["folder"] = folder / "folder.wasm", "is-a-directory"
    paths["nowhere"] = folder / "nowhere.wasm", "not-found"
    return paths


def test_all_that_cannot_be_split_is_named_in_one_run(split: Command, tmp_path: Path) -> None:
    broken = _broken(tmp_path)
    names = ["cut", "imported-memory", "invalid", "memory64"]
    blobs = [FIVE[0], *(broken[name][0] for name in names), FIVE[1]]
    error = fails(split, *blobs, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert error["code"] == "cannot-split"
    assert "4 of 6 programs" in error["message"]
    assert "--skip-refused" in error["hint"]
    refused = {entry["name"]: entry["code"] for entry in error["details"]["refused"]}
    assert refused == {name: broken[name][1] for name in names}
    for entry in error["details"]["refused"]:
        assert entry["message"] in error["message"]
        assert str(broken[entry["name"]][0]) in entry["message"]


def test_what_cannot_be_split_is_listed_a_line_each(split: Command, tmp_path: Path) -> None:
    """And a line feed in the name of a file begins none."""
    names = ["a.wasm", "b\nhint: forged.wasm"]
    for name in names:
        (tmp_path / name).write_bytes(b"(module)")
    done = split("split", *(tmp_path / name for name in names), "-o", tmp_path / "out")
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 4, lines
    assert lines[0] == "error[not-wasm]: 2 of 2 programs cannot be split:"
    assert all(line.startswith("  `") for line in lines[1:3])
    assert "b\ufffdhint: forged.wasm" in lines[2]
    assert lines[3].startswith("hint: give the binary form")


def test_the_rest_is_split_when_refused_programs_are_skipped(split: Command, tmp_path: Path) -> None:
    broken = _broken(tmp_path)
    names = ["invalid", "memory64"]
    blobs = [FIVE[0], *(broken[name][0] for name in names), FIVE[1]]
    done = split("split", *blobs, "--skip-refused", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert [app["name"] for app in result["apps"]] == [FIVE[0].stem, FIVE[1].stem]
    assert [(entry["name"], entry["code"]) for entry in result["refused"]] == [(n, broken[n][1]) for n in names]
    for entry in result["refused"]:
        assert entry["message"].encode() in done.stderr
    ok(split, FIVE[0], FIVE[1], "-o", tmp_path / "without")
    assert contents(tmp_path / "out") == contents(tmp_path / "without")
    assert fails(split, broken["invalid"][0], "--skip-refused", "-o", tmp_path / "none")["code"] == "invalid-blob"


@pytest.mark.parametrize(
    "defect",
    [
        *("text", "empty", "cut", "component", "version", "dangling", "shared-memory", "memory64", "imported-memory"),
        *("invalid", "folder", "nowhere"),
    ],
)
def test_bad_input_gets_one_clear_error_and_nothing_is_written(split: Command, tmp_path: Path, defect: str) -> None:
    path, expected = _broken(tmp_path)[defect]
    out = tmp_path / "out"
    error = fails(split, FIVE[0], path, "-o", out)
    assert error["code"] == expected
    assert str(path) in error["message"]
    assert not out.exists()


def test_a_remainder_is_not_split_again(split: Command, tmp_path: Path) -> None:
    ok(split, *FIVE[:2], "-o", tmp_path / "out")
    assert "split before" in fails(split, tmp_path / "out" / FIVE[0].name)["message"]


def test_a_blob_is_not_replaced_by_its_remainder(split: Command, tmp_path: Path) -> None:
    blobs = [Path(shutil.copy(path, tmp_path)) for path in FIVE[:2]]
    assert fails(split, *blobs, "-o", tmp_path)["code"] == "output-is-input"
    assert [path.read_bytes() for path in blobs] == [path.read_bytes() for path in FIVE[:2]]


def test_two_programs_of_one_name_are_refused(split: Command, tmp_path: Path) -> None:
    copy = tmp_path / FIVE[0].name
    shutil.copyfile(FIVE[1], copy)
    assert fails(split, FIVE[0], copy, "-o", tmp_path / "out")["code"] == "equal-names"
    assert fails(split, FIVE[0], FIVE[0], "-o", tmp_path / "out")["code"] == "equal-names"


def test_a_file_where_the_folder_should_be(split: Command, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    assert fails(split, *FIVE[:2], "-o", tmp_path / "out")["code"] == "not-a-folder"
    assert (tmp_path / "out").read_text() == "in the way"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    split = Command(tmp_path / "home")
    ok(split, *FIVE[:2], "-o", out)
    before = contents(out)

    def full() -> None:
        # No file may grow beyond this: what a full disk does, without one.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        split.line("split", *FIVE, "-o", out),
        capture_output=True, preexec_fn=full, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"cannot write" in done.stderr
    assert contents(out) == before


def test_a_blob_with_too_much_code_is_refused_at_once(split: Command, tmp_path: Path) -> None:
    blob = tmp_path / "huge.wasm"
    body = writer.sized(b"\0" + b"\x01" * 7_000_000 + writer.END)
    sections = [
        writer.section(SectionId.TYPE, writer.vector([writer.func_type(FuncType((), ()))])),
        writer.section(SectionId.FUNCTION, writer.vector([b"\0"] * 10)),
        writer.section(SectionId.CODE, writer.vector([body] * 10)),
    ]
    blob.write_bytes(writer.module(sections))
    error = fails(split, blob, "-o", tmp_path / "out")
    assert error["code"] == "cannot-split"
    assert "70 MB of code" in error["message"]
    assert not (tmp_path / "out").exists()
