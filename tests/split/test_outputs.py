"""What else a split keeps: names, sections, exports; and that the same programs always give the same CIDs."""

from __future__ import annotations

import itertools

from bacpack.split.input.blob import Input
from bacpack.split.pipeline.steps import split
from bacpack.wasm import Kind, Module, SectionId
from bacpack.wasm.custom_sections import read_names
from split.harness import both, split_all, work
from wasmtools import assemble, invalid_because

TEXT = f"""(func $f (export "f") (param i32) (result i32) {work("f")} local.get 0 call $shared call $own)
  (func $own (export "own") (param i32) (result i32) i32.const {{1000|2000}})
  (func $shared (param i32) (result i32) {work("shared")} local.get 0 i32.const {{1000|2000}} i32.add)
  (memory (export "memory") 1) (table (export "table") 3 funcref) (elem (i32.const 1) $shared $own)"""


def custom(module: Module) -> dict[str, bytes]:
    return {s.name: module.data[s.content : s.end] for s in module.sections if s.name is not None}


def test_functions_that_stay_keep_their_names() -> None:
    imports = '(import "host" "log" (func $log (param i32)))'
    blobs = [
        assemble(blob.replace("(module", f"(module ${name}", 1))
        for name, blob in zip("ab", both(TEXT, imports), strict=True)
    ]
    for name, app in zip("ab", split_all(blobs).apps, strict=True):
        module = Module.parse(app.data)
        module_name, functions = read_names(module)
        exported = {entry.index: entry.name for entry in module.exports if entry.kind == Kind.FUNCTION}
        assert module_name == name
        assert functions == {0: "log"} | exported  # what stands for a shared function has its name


def test_a_module_without_names_gets_none() -> None:
    for app in split_all([without_names(assemble(blob)) for blob in both(TEXT)]).apps:
        assert not Module.parse(app.data).custom_sections("name")


def without_names(blob: bytes) -> bytes:
    module = Module.parse(blob)
    kept = [section for section in module.sections if section.name != "name"]
    assert len(kept) < len(module.sections)
    return b"".join([blob[:8], *(blob[section.start : section.end] for section in kept)])


KEPT = ("producers", "target_features", "namespace", "names", "mine", ".debugger")
DROPPED = (
    ".debug_info", ".debug_line", "linking", "reloc.CODE", "sourceMappingURL", "external_debug_info", "build_id",
    "metadata.code.branch_hint", "llvm.func_attr.annotate.hot",
)  # fmt: skip


def test_custom_sections_are_kept_unless_they_say_where_code_is() -> None:
    sections = " ".join(f'(@custom "{name}" (after last) "content of {name}")' for name in (*KEPT, *DROPPED))
    for app in split_all([assemble(f"{blob[:-1]} {sections})") for blob in both(TEXT)]).apps:
        found = custom(Module.parse(app.data))
        assert found.keys() - {"name"} == set(KEPT)
        assert found["mine"].endswith(b"content of mine")


def test_what_shares_nothing_loses_debug_sections_as_what_shares_does() -> None:
    sections = " ".join(f'(@custom "{name}" (after last) "content of {name}")' for name in (*KEPT, *DROPPED))
    programs = [f'(module (memory 1) (func (export "run") {code}) {sections})' for code in ("", "nop")]
    blobs = [assemble(text) for text in programs]
    for blob, app in zip(blobs, split_all(blobs).apps, strict=True):
        assert not app.imports
        found = custom(Module.parse(app.data))
        right = {"sourceMappingURL", "external_debug_info", "build_id", *DROPPED[-2:]}  # for its code is what it was
        assert found.keys() == {*KEPT, *right}
        assert app.data.startswith(blob[: Module.parse(blob).sections[3].end])
    plain = assemble("(module (memory 1))")
    assert split_all([plain, blobs[0]]).apps[0].data == plain


def test_one_program_that_shares_nothing_loses_them_too() -> None:
    sections = '(@custom ".debug_info" (after last) "of no use any more") (@custom "mine" (after last) "kept")'
    # A program with one function has nothing that could move; with many, all is tried first.
    for functions in (1, 20):
        blob = assemble(f"(module (memory 1) {'(func (result i32) i32.const 1)' * functions} {sections})")
        (app,) = split_all([blob]).apps
        assert custom(Module.parse(app.data)).keys() == {"mine"}


def test_debug_sections_do_not_make_a_split_pay() -> None:
    """Weighed is what ships: two modules for what two programs share here weigh more than it does twice."""
    debug = f'(@custom ".debug_info" (after last) "{"x" * 5000}")'
    for lines, more, modules in ((88, "", 0), (88, debug, 0), (110, "", 2), (110, debug, 2)):
        text = f"""(memory (export "memory") 1) (func $s (param i32) (result i32) {work("s", lines)} local.get 0)
          (func (export "run") (param i32) (result i32) local.get 0 i32.const {{1000|2000}} i32.add call $s) {more}"""
        assert len(split_all([assemble(blob) for blob in both(text)]).modules) == modules, (lines, more)


def test_exports_keep_names_kinds_and_order() -> None:
    blobs = [assemble(blob) for blob in both(TEXT)]
    for blob, app in zip(blobs, split_all(blobs).apps, strict=True):
        before, after = Module.parse(blob), Module.parse(app.data)
        assert [(entry.name, entry.kind) for entry in after.exports] == [(e.name, e.kind) for e in before.exports]
        defined = len(after.imported(Kind.FUNCTION))
        assert all(entry.index >= defined for entry in after.exports if entry.kind == Kind.FUNCTION)


def test_imports_of_the_host_come_first_and_unchanged() -> None:
    imports = '(import "host" "log" (func $log (param i32))) (import "host" "base" (global $base i32))'
    blobs = [assemble(blob) for blob in both(TEXT, imports)]
    for blob, app in zip(blobs, split_all(blobs).apps, strict=True):
        before, after = Module.parse(blob).imports, Module.parse(app.data).imports
        assert after[: len(before)] == before
        assert all(entry.module in app.imports for entry in after[len(before) :])
        loaded = {entry.module for entry in after if entry.kind == Kind.FUNCTION}
        assert set(app.imports) <= loaded  # some hosts load a module only for a function


def test_shared_modules_import_nothing_of_the_host_and_export_short_names() -> None:
    result = split_all([assemble(blob) for blob in both(TEXT)])
    assert sorted(module.kind for module in result.modules.values()) == ["environment", "shared"]
    for module in result.modules.values():
        parsed = Module.parse(module.data)
        assert {entry.module for entry in parsed.imports} <= result.modules.keys()
        assert all(len(entry.name) <= 3 for entry in parsed.exports if module.kind == "shared")
        assert parsed.section(SectionId.DATA) is None
        assert not custom(parsed)


def three_blobs() -> dict[str, bytes]:
    one, two = both(TEXT)
    return {"one": assemble(one), "two": assemble(two), "three": assemble(one.replace("1000", "3000"))}


def cids(blobs: dict[str, bytes]) -> tuple[set[str], dict[str, bytes]]:
    result = split([Input(name, data, f"{name}.wasm") for name, data in blobs.items()])
    return set(result.modules), {app.name: app.data for app in result.apps}


def test_the_order_of_the_blobs_and_their_names_change_nothing() -> None:
    blobs = three_blobs()
    expected = cids(blobs)
    for order in itertools.permutations(blobs):
        assert cids({name: blobs[name] for name in order}) == expected
    modules, apps = cids(dict(zip("xyz", blobs.values(), strict=True)))
    assert (modules, list(apps.values())) == (expected[0], list(expected[1].values()))


def test_equal_blobs_are_split_as_one() -> None:
    blobs = three_blobs()
    expected_modules, expected = cids(blobs)
    modules, apps = cids({**blobs, "copy": blobs["two"], "again": blobs["two"]})
    assert modules == expected_modules
    assert apps == {**expected, "copy": expected["two"], "again": expected["two"]}


def test_a_blob_that_shares_nothing_stays_as_it_is() -> None:
    other = assemble('(module (func (export "other") (result i64) i64.const 5))')
    result = split_all([*three_blobs().values(), other])
    assert result.apps[-1].data == other
    assert result.apps[-1].imports == ()


def test_what_only_some_share_is_fetched_by_nobody_else() -> None:
    """Large groups of functions go to modules of their own."""

    count = 5

    def blob(number: int) -> bytes:
        parts = [work("all", 1500), work("early" if number < count else "late", 1500)]
        functions = "".join(
            f'(func (export "{name}") (param i32) {part} i32.const {1000 + number} drop)'
            for name, part in enumerate(parts)
        )
        return assemble(f"(module {functions})")

    result = split_all([blob(number) for number in range(2 * count)])
    shared = [module for module in result.modules.values() if module.kind == "shared"]
    assert len(shared) == 3
    closures = [frozenset(result.closure(app)) for app in result.apps]
    assert len(set(closures[:count])) == len(set(closures[count:])) == 1
    assert closures[0] != closures[-1]
    assert not any(invalid_because(module.data) for module in shared)
