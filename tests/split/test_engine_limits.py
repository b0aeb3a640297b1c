"""What a split adds may be more than engines accept where a blob is at a limit: then something stays behind.

Limits are set low where a blob at the real one would take long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from bacpack.split.abi.data_module import LOAD_DATA
from bacpack.split.emit import engine_limits
from bacpack.split.model.records import TOO_LARGE
from bacpack.wasm import Module, SectionId, limits
from split.harness import Comparer, both, holds, split_all, work
from wasmtools import assemble

MEMORY = '(memory (export "memory") 1)'
#: What two programs share whatever else stays. It has a slot, and calls what stays.
COMMON = f"""(func (export "common") (param i32) (result i32)
    {work("common")} i32.const {{14000|15000}} call $stays i32.add)
  (func $stays (result i32) table.size $own) (table $own 0 externref)"""


def many(instruction: Callable[[int], str], count: int = 8000) -> str:
    return "\n".join(map(instruction, range(count)))


#: So long that the limits set here leave other functions alone.
PADDING = many(lambda number: f"f64.const {number} drop")


def lengths(data: bytes) -> list[int]:
    return [body.end - body.start for body in Module.parse(data).bodies]


def set_function_limit(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(limits, "MAX_FUNCTION_BYTES", count)
    monkeypatch.setattr("bacpack.split.emit.remainder.MAX_FUNCTION_BYTES", count)


@pytest.mark.parametrize(
    "code",
    [
        many(lambda number: f"local.get 1 i32.load offset={{{10_000 + number}|{20_000 + number}}} drop", 3000),
        many(lambda number: "local.get 0 call {$one|$two} drop", 3000),
    ],
    ids=["checked loads", "late-bound calls"],
)
def test_code_that_grows_beyond_the_limit_stays(compare: Comparer, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    text = f"""{MEMORY} {COMMON}
      (func $one (param i32) (result i32) {work("one")} local.get 0)
      (func $two (param i32) (result i32) {work("two")} local.get 0)
      (func (export "long") (param i32 i32) (result i32) {work("long", 20)}
        {PADDING} {code} local.get 0)"""
    blobs = both(text)
    modules = split_all([assemble(blob) for blob in blobs]).modules.values()
    longest = max(length for module in modules for length in lengths(module.data))
    assert longest > max(lengths(assemble(blobs[0])))
    set_function_limit(monkeypatch, longest - 1)
    compare(blobs, ("common", 5), ("long", 7, 1), shared=["common"], kept=["long"])


@pytest.mark.parametrize("count", [limits.MAX_LOCALS - limits.MAX_PARAMETERS - 1, limits.MAX_LOCALS - 2])
def test_a_function_stays_that_has_no_local_left_for_a_checked_load(compare: Comparer, count: int) -> None:
    text = f"""{MEMORY} {COMMON} (func (export "long") (param i32 i32) (result i32) (local {"i64 " * count})
      {work("long")} local.get 1 i32.load offset={{10000|20000}} local.get 0 i32.add)"""
    compare(both(text), ("common", 5), ("long", 7, 1), shared=["common"], kept=["long"])


def with_others(first: str) -> list[bytes]:
    """Three programs with the same large function, one of them with something more."""
    others = both(f'{MEMORY} {COMMON} {{|(data (i32.const 99) (;another;) "text")}}')
    return [assemble(text) for text in (both(f"{MEMORY} {COMMON} {first}")[0], *others)]


def assert_first_stays(blobs: Sequence[bytes]) -> None:
    split = split_all(blobs)
    assert split.apps[0].data == blobs[0]
    assert split.apps[0].kept_reports
    assert {entry.reason for entry in split.apps[0].kept_reports[0].stayed} == {TOO_LARGE}
    for app in split.apps[1:]:
        assert any(holds(split.modules[cid].data, "common") for cid in app.imports)


AT_LIMIT = {
    SectionId.TYPE: many(lambda number: f"(type (func (param {'f64 ' * number})))", 50),
    SectionId.FUNCTION: many(lambda number: f'(func (export "f{number}") unreachable)', 50),
    SectionId.TABLE: many(lambda number: "(table 0 externref)", 50),
    SectionId.ELEMENT: many(lambda number: "(elem externref)", 50),
    SectionId.DATA: many(lambda number: '(data "x")', 50),
}


@pytest.mark.parametrize("section", AT_LIMIT)
def test_a_program_at_a_limit_stays_whole_and_the_others_are_split(
    monkeypatch: pytest.MonkeyPatch, section: SectionId
) -> None:
    dropped = '(func (export "drop") data.drop 0 elem.drop 0) (elem externref) (data "y")'
    blobs = with_others(f"{dropped} {AT_LIMIT[section]}")
    module = Module.parse(blobs[0])
    counts = {
        SectionId.TYPE: len(module.types), SectionId.FUNCTION: len(module.functions),
        SectionId.TABLE: len(module.tables), SectionId.ELEMENT: len(module.elements),
        SectionId.DATA: len(module.data_segments),
    }  # fmt: skip
    assert all(app.imports for app in split_all(blobs).apps)
    monkeypatch.setitem(engine_limits._MOST, section, counts[section])
    assert_first_stays(blobs)


def test_imports_and_exports_count_with_parameters_and_results(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = assemble(f"""(module (import "host" "call" (func (param i32 i32) (result i32))) {MEMORY}
      (func (export "f") (param i32) (result i32) local.get 0))""")
    size = 1 + (1 + 3) + 1 + (1 + 2)
    monkeypatch.setattr(limits, "MAX_INTERFACE_SIZE", size + 1)
    assert engine_limits.is_within_limits(blob)
    monkeypatch.setattr(limits, "MAX_INTERFACE_SIZE", size)
    assert not engine_limits.is_within_limits(blob)


def test_code_that_stays_grows_with_the_numbers_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call takes a byte more where its function has a number of two: then even what stays would be too long."""
    calls = many(lambda number: "call $far", 300) + "\n" + PADDING
    exported = many(lambda number: f'(func (export "{number}"))', 125)
    kept = f'(func (export "kept") {calls} table.size $own drop)'
    blobs = with_others(f'{exported} (func $far (export "far") nop) {kept}')
    longest = max(lengths(blobs[0]))
    assert max(lengths(split_all(blobs).apps[0].data)) == longest + 300
    set_function_limit(monkeypatch, longest)
    assert_first_stays(blobs)


def test_code_that_stays_is_as_written_where_that_is_shorter(
    compare: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an address of 2**20, the signed number of a constant takes a byte more than the offset of a load."""
    code = many(lambda number: f"i32.const 0 i32.load8_u offset={(1 << 20) + number} drop", 300) + "\n" + PADDING
    kept = f"""(global $own f32 (f32.const 0))
      (func (export "kept") (param i32) (result i32) {code} global.get $own drop local.get 0)"""
    blobs = both(f"(memory 17) {COMMON} {kept}")
    longest = max(lengths(assemble(blobs[0])))
    assert max(lengths(split_all([assemble(blob) for blob in blobs]).apps[0].data)) == longest + 300
    set_function_limit(monkeypatch, longest)
    compare(blobs, ("common", 5), ("kept", 1), ("kept", 1), shared=["common"])


def test_a_data_module_with_more_code_than_engines_accept_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "".join(f"the {number}th message of these programs\\00" for number in range(200))
    blobs = [assemble(blob) for blob in both(f'{MEMORY} (data (i32.const {{1024|2048}}) "{content}")')]
    assert "data" in {module.kind for module in split_all(blobs).modules.values()}
    monkeypatch.setattr("bacpack.split.pipeline.steps.is_within_limits", lambda data: not is_data_module(data))
    assert "data" not in {module.kind for module in split_all(blobs).modules.values()}


def is_data_module(data: bytes) -> bool:
    return any(entry.name == LOAD_DATA for entry in Module.parse(data).exports)
