"""Collected blobs behave as before, and hold what the linker's own collection keeps: all that is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.split.collect import Live, collect
from bacpack.split.collected import write_collected
from bacpack.split.exact import Exact, Inexact, exact, table_entries
from bacpack.wasm import Kind, Module, SectionId, WasmError, writer
from bacpack.wasm.names import read_names
from corpus import PREBUILT, image_blobs, rust_programs
from differential.harness import Case, Host, differences
from examples.test_prebuilt import SAMPLES
from linked import PROGRAM, RUNS, Toolchain
from wasmtools import assemble, invalid_because


@pytest.fixture(scope="module")
def zig(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    return Toolchain(tmp_path_factory.mktemp("collect"))


def collected(data: bytes) -> tuple[bytes, Live]:
    """The blob without what is dead; checked to be valid, and to give the same again when its relocations are kept."""
    module = Module.parse(data)
    known = exact(module)
    live = collect(module, known)
    out = write_collected(module, live)
    assert invalid_because(out) == ""
    if isinstance(known, Exact):
        kept = write_collected(module, live, known)
        assert invalid_because(kept) == ""
        again = Module.parse(kept)
        known_again = exact(again)
        assert isinstance(known_again, Exact), known_again.reason
        live_again = collect(again, known_again)
        assert live_again.functions == set(range(len(again.function_types)))
        assert (live_again.table, live_again.data) == (live.table, live.data)
        assert write_collected(again, live_again) == out
    return out, live


def stripped_size(data: bytes) -> int:
    module = Module.parse(data)
    bare = Module(data, [section for section in module.sections if section.id != SectionId.CUSTOM])
    return len(writer.rewrite(bare, {}))


def names_in(data: bytes) -> set[str]:
    """The names of the functions that a program defines."""
    module = Module.parse(data)
    imported = len(module.imported(Kind.FUNCTION))
    return {name for index, name in read_names(module)[1].items() if index >= imported}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--emit-relocs",),
        ("--emit-relocs", "--no-gc-sections"),
        ("--emit-relocs", "--no-gc-sections", "--no-merge-data-segments"),
        ("--emit-relocs", "--no-gc-sections", "--export-table"),
        ("--no-gc-sections",),
    ],
    ids=" ".join,
)
def test_a_collected_program_in_c_behaves_as_before(zig: Toolchain, tmp_path: Path, options: tuple[str, ...]) -> None:
    blob = zig.link([zig.compile(PROGRAM)], *options)
    out, _ = collected(blob)
    assert stripped_size(out) < stripped_size(blob)
    before, after = tmp_path / "before.wasm", tmp_path / "after.wasm"
    before.write_bytes(blob)
    after.write_bytes(out)
    host = Host()
    for arguments, says, exit_code in RUNS:
        case = Case(arguments)
        outcome = host.run(before, case)
        assert outcome.exit_code == exit_code
        assert says in outcome.stdout
        assert differences(outcome, host.run(after, case)) == []


def test_collected_code_that_could_be_in_a_library_behaves_as_before(zig: Toolchain, tmp_path: Path) -> None:
    objects = [zig.compile(PROGRAM, "-Os", "-fPIC", name="pic")]
    out, _ = collected(zig.link(objects, "--emit-relocs", "--no-gc-sections"))
    assert names_in(out) == names_in(zig.link(objects))
    target = tmp_path / "after.wasm"
    target.write_bytes(out)
    for arguments, says, exit_code in RUNS:
        outcome = Host().run(target, Case(arguments))
        assert outcome.exit_code == exit_code
        assert says in outcome.stdout


def test_what_is_kept_is_what_the_linker_would_keep(zig: Toolchain) -> None:
    objects = [zig.compile(PROGRAM)]
    whole = zig.link(objects, "--emit-relocs", "--no-gc-sections")
    by_linker = zig.link(objects)
    out, live = collected(whole)
    assert len(names_in(whole)) > 5 * len(names_in(by_linker))
    assert names_in(out) == names_in(by_linker)
    assert {entry.name for entry in Module.parse(out).imports} == {
        entry.name for entry in Module.parse(by_linker).imports
    }
    assert stripped_size(out) < 1.02 * stripped_size(by_linker)
    assert b"never said" in whole
    assert b"never said" not in out
    assert b"gamma" in out
    assert live.table is not None


def test_what_the_linker_has_collected_is_live(zig: Toolchain) -> None:
    blob = zig.link([zig.compile(PROGRAM)], "--emit-relocs")
    out, live = collected(blob)
    assert live.functions == set(range(len(Module.parse(blob).function_types)))
    assert stripped_size(out) <= stripped_size(zig.link([zig.compile(PROGRAM)]))


def test_places_in_the_table_stay_and_dead_ones_are_null(zig: Toolchain) -> None:
    blob = zig.link([zig.compile(PROGRAM)], "--emit-relocs", "--no-gc-sections")
    out, _ = collected(blob)
    before, after = table_of(blob), table_of(out)
    assert after.items() < before.items()
    dead = {before[place] for place in before.keys() - after.keys()}
    assert "unused_callback" in dead
    assert {"length", "letters", "compare"} <= set(after.values())
    assert Module.parse(out).tables == Module.parse(blob).tables


def table_of(data: bytes) -> dict[int, str]:
    module = Module.parse(data)
    names = read_names(module)[1]
    return {place: names[index] for place, index in table_entries(module).items()}


def test_an_exported_table_keeps_its_entries(zig: Toolchain) -> None:
    out, live = collected(zig.link([zig.compile(PROGRAM)], "--emit-relocs", "--no-gc-sections", "--export-table"))
    assert live.table is None
    assert "unused_callback" in names_in(out)
    assert b"never said" in out
    assert "unused" not in names_in(out)


def test_a_symbol_that_must_stay_stays(zig: Toolchain) -> None:
    options = ("--emit-relocs", "--no-gc-sections")
    assert b"never said" not in collected(zig.link([zig.compile(PROGRAM)], *options))[0]
    blob = zig.link([zig.compile(PROGRAM)], *options, "--export=unused_table")
    assert b"never said" in collected(blob)[0]
    assert {"unused_callback"} <= names_in(collected(blob)[0])
    kept = PROGRAM.replace(
        "static const char *const unused_words[]", "__attribute__((used)) const char *const unused_words[]"
    )
    blob = zig.link([zig.compile(kept, name="kept")], "--emit-relocs", "--no-gc-sections")
    assert b"never said" in collected(blob)[0]


def test_a_long_list_in_data_is_followed_to_its_end(zig: Toolchain) -> None:
    count = 3000
    nodes = "".join(f"static const struct node n{at} = {{&n{at + 1}, {at}}};\n" for at in reversed(range(count)))
    text = (
        "struct node { const struct node *next; int value; };\n"
        f"static const struct node n{count} = {{0, 77777}};\n{nodes}"
        "const struct node *volatile start = &n0;\n"
        "int main(void) { const struct node *at = start; while (at->next) at = at->next; return at->value == 77777; }\n"
    )
    blob = zig.link([zig.compile(text, name="list")], "--emit-relocs", "--no-gc-sections")
    assert (77777).to_bytes(4, "little") in collected(blob)[0]


WITHOUT_RELOCATIONS = """(module
  (import "env" "uncalled" (func $uncalled))
  (import "env" "called" (func $called))
  (table 4 funcref) (memory 1)
  (global funcref (ref.func $in_global))
  (elem (i32.const 1) $in_table)
  (elem declare func $by_reference)
  (data (i32.const 8) "text")
  (func $dead (call $dead_too))
  (func $dead_too (call $called))
  (func $in_global) (func $in_table) (func $by_reference)
  (func $tail (result funcref) (ref.func $by_reference))
  (func (export "go") (result funcref) (call $called) (return_call $tail))
  (func $start)
  (start $start))"""


def test_without_relocations_only_what_nothing_names_is_dropped() -> None:
    blob = assemble(WITHOUT_RELOCATIONS)
    out, live = collected(blob)
    assert names_in(blob) - names_in(out) == {"dead", "dead_too"}
    assert (live.table, live.data) == (None, None)
    module = Module.parse(out)
    assert [entry.name for entry in module.imported(Kind.FUNCTION)] == ["uncalled", "called"]
    assert b"text" in out


@given(st.data())
def test_a_blob_with_other_bytes_is_collected_or_refused(broken: bytes, data: st.DataObject) -> None:
    changed = bytearray(broken)
    sections = [section for section in Module.parse(broken).sections if section.id != SectionId.CODE]
    for _ in range(data.draw(st.integers(1, 3))):
        section = data.draw(st.sampled_from(sections))
        changed[data.draw(st.integers(section.start, section.end - 1))] = data.draw(st.integers(0, 255))
    try:
        module = Module.parse(bytes(changed))
        known = exact(module)
        live = collect(module, known)
        write_collected(module, live)
        write_collected(module, live, known if isinstance(known, Exact) else None)
    except WasmError as error:
        assert 0 <= error.offset <= len(broken)


@pytest.fixture(scope="module")
def broken(zig: Toolchain) -> bytes:
    """A blob to break: small, so that most bytes say something."""
    text = 'extern int puts(const char *); int main(void) { return puts("hello"); }\n'
    return zig.link([zig.compile(text, name="small")], "--emit-relocs", "--strip-debug")


def test_segments_that_code_names_stay_as_they_are() -> None:
    blob = assemble(
        r"""(module (memory 1) (table 2 funcref) (elem $e func $a)
        (data $d "\00\00") (data (i32.const 0) "\00\00\01") (func $a)
        (func (export "go") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 2)) (elem.drop $e)))"""
    )
    out, live = collected(blob)
    assert live.names_segments
    for section_id in (SectionId.DATA, SectionId.ELEMENT, SectionId.CODE, SectionId.DATA_COUNT):
        sections = [Module.parse(data).section(section_id) for data in (blob, out)]
        first, second = (
            data[section.content : section.end] for data, section in zip((blob, out), sections, strict=True) if section
        )
        assert first == second


@pytest.mark.parametrize(
    "fields",
    [
        '(memory 1) (data (i32.const 65530) "\\00\\00\\00\\00\\00\\00\\00")',  # it does not fit: instantiation traps
        '(memory 1) (data (i32.const 0) "abc") (data (i32.const 1) "\\00")',  # the second writes over the first
        '(global $g (import "env" "g") i32) (memory 1) (data (global.get $g) "\\00a")',
        '(import "env" "m" (memory 1)) (data (i32.const 0) "\\00a")',
    ],
)
def test_zeros_stay_where_they_may_count(fields: str) -> None:
    blob = assemble(f"(module {fields} (func $dead))")
    modules = [Module.parse(data) for data in (blob, collected(blob)[0])]
    assert [len(module.bodies) for module in modules] == [1, 0]
    contents = [[module.data[entry.start : entry.end] for entry in module.data_segments] for module in modules]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_rust_program_without_relocations_behaves_as_before(tmp_path: Path, name: str) -> None:
    blob = rust_programs()[name]
    target = tmp_path / "collected.wasm"
    target.write_bytes(collected(blob.read_bytes())[0])
    host = Host()
    for case in (SAMPLES[name], Case(["--help"]), Case(["--panic"])):
        assert differences(host.run(blob, case), host.run(target, case)) == []


def test_an_ordinary_blob_keeps_all_its_functions() -> None:
    blob = image_blobs()["png-read-image.wasi"].read_bytes()
    out, _ = collected(blob)
    assert len(Module.parse(out).functions) == len(Module.parse(blob).functions)


@pytest.fixture(scope="module")
def relocated_rust() -> Path:
    """The folder of our Rust programs, built with relocations and without the linker's own collection."""
    cargo = shutil.which(os.environ.get("CARGO", "cargo"))
    if cargo is None:
        pytest.skip("programs not built: there is no Rust (CARGO can name a cargo)")
    workspace = PREBUILT.parent
    flags = ["-Clink-arg=--emit-relocs", "-Clink-arg=--no-gc-sections", "-Clink-arg=--allow-undefined"]
    target = workspace / "target" / "relocated"
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(target),
        "CARGO_PROFILE_RELEASE_STRIP": "none",
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
    }
    command = [cargo, "build", "--locked", "--offline", "--release", "--target", "wasm32-wasip1"]
    built = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)
    if "target may not be installed" in built.stderr:
        pytest.skip("programs not built: this Rust lacks the target (rustup target add wasm32-wasip1)")
    assert built.returncode == 0, built.stderr
    return target / "wasm32-wasip1" / "release"


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_rust_program_with_relocations_behaves_as_before(relocated_rust: Path, tmp_path: Path, name: str) -> None:
    blob = (relocated_rust / f"{name}.wasm").read_bytes()
    assert not isinstance(exact(Module.parse(blob)), Inexact)
    out, _ = collected(blob)
    target = tmp_path / "collected.wasm"
    target.write_bytes(out)
    host = Host()
    prebuilt = rust_programs()[name]
    for case in (SAMPLES[name], Case(["--help"]), Case(["--panic"])):
        assert differences(host.run(prebuilt, case), host.run(target, case)) == []
    assert stripped_size(out) < 1.03 * stripped_size(prebuilt.read_bytes())
