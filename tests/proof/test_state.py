"""What a split must set up before the blob's own code runs, and what must never change again."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from bacpack.errors import CheckFailedError
from bacpack.proof.code.function_code import Codes
from bacpack.proof.code.module_view import ModuleView
from bacpack.proof.equivalence.prover import Prover, prove
from bacpack.proof.program.linked_program import in_order
from differential.harness import cid_of
from proof.handmade import ENVIRONMENT, Texts
from wasmtools import assemble

MEMORY = '(import "{environment}" "memory" (memory 0))'
TABLE = '(import "{environment}" "table" (table 0 funcref))'
GROW_MEMORY = "i32.const 1 memory.grow i32.const -1 i32.eq if unreachable end"
GROW_TABLE = "ref.null func i32.const 4 table.grow 0 i32.const -1 i32.eq if unreachable end"
READ = '(func (export "read") (param i32) (result i32) local.get 0 i32.load)'
CALL = '(func (export "call") (param i32) local.get 0 call_indirect)'


def split_alone(blob: str, remainder: str) -> tuple[bytes, bytes, dict[str, bytes]]:
    """A blob and a remainder, each the content of a module, and the environment, which is all that it needs."""
    environment = assemble(ENVIRONMENT)
    cid = cid_of(environment)
    return (
        assemble(f"(module {blob})"),
        assemble(f"(module {remainder})".replace("{environment}", cid)),
        {cid: environment},
    )


def refused(blob: str, remainder: str) -> str:
    """The message with which a split is refused."""
    with pytest.raises(CheckFailedError) as caught:
        prove(*split_alone(blob, remainder))
    assert caught.value.code == "not-equivalent"
    return caught.value.message


def test_a_module_that_is_missing_or_was_changed_is_named() -> None:
    blob, remainder, modules = Texts().assembled()
    for cid in modules:
        with pytest.raises(CheckFailedError, match=f"module {cid} is missing"):
            prove(blob, remainder, {name: data for name, data in modules.items() if name != cid})
        with pytest.raises(CheckFailedError, match=f"module {cid} has other bytes than its name says"):
            prove(blob, remainder, {**modules, cid: modules[cid] + b"\0\1\0"})


def test_a_module_that_runs_code_is_refused_each_time() -> None:
    texts = Texts().changed("shared", "(elem $placed func $scale)", "(elem $placed func $scale) (start 1) (func)")
    blob, remainder, modules = texts.assembled()
    prover = Prover(modules)
    for _ in range(2):
        with pytest.raises(CheckFailedError, match="runs code of its own when it is instantiated"):
            prover.prove(blob, remainder)


def test_modules_that_import_each_other_are_refused() -> None:
    names = [cid_of(b"a"), cid_of(b"b")]
    units = [ModuleView.of_shared(assemble(f'(module (import "{other}" "f" (func)))'), cid)
             for cid, other in (names, names[::-1])]  # fmt: skip
    codes = {view.cid: Codes(view) for view in units}
    with pytest.raises(CheckFailedError, match=f"module {names[0]} imports itself, directly or through others"):
        in_order(units[1], codes.__getitem__)


def test_modules_come_after_those_that_they_import() -> None:
    low, middle, high = names = [cid_of(name) for name in (b"low", b"middle", b"high")]
    needs: dict[str, list[str]] = {low: [], middle: [low], high: [low, middle]}
    codes = {
        cid: Codes(
            ModuleView.of_shared(assemble("(module" + "".join(f'(import "{n}" "f" (func))' for n in needed) + ")"), cid)
        )
        for cid, needed in needs.items()
    }
    assert [cid for cid, _ in in_order(codes[high].view, codes.__getitem__)] == names[:2]
    ordered = in_order(ModuleView.of_shared(assemble(f'(module (import "{high}" "f" (func)))'), ""), codes.__getitem__)
    assert [cid for cid, _ in ordered] == names


def test_a_program_that_stays_as_it_is_needs_no_module() -> None:
    blob = assemble('(module (import "host" "f" (func)) (memory 1) (start 0))')
    prove(blob, blob, {})


def test_what_was_split_before_is_not_taken_for_a_blob() -> None:
    blob, remainder, modules = Texts().assembled()
    with pytest.raises(CheckFailedError, match=r"the blob itself imports module \S+: it was split before"):
        prove(remainder, blob, modules)


def in_memory(offset: str) -> str:
    return f'(memory 1) (data ({offset}) "abcd") {READ}'


def filled_memory(steps: str) -> str:
    return f'{MEMORY} (data "abcd") {READ} (start 1) (func {GROW_MEMORY} {steps})'


WORDS = f"""{MEMORY} (global $set (mut i32) (i32.const 0)) (data "\\2a\\00\\00\\00") {READ}
  (func (export "get") (result i32) global.get $set) (start $start)
  (func $set (param i32) (local i32) local.get 0 i32.load local.tee 1 if local.get 1 global.set $set end)
  (func $start {GROW_MEMORY} i32.const 8 i32.const 0 i32.const 4 memory.init 0 i32.const 8 call $set
    i32.const 8 i32.const 0 i32.const 4 memory.fill)"""
#: What makes it another program, or none that can be followed.
NOT_WORDS = {
    ("2a", "2b"): "is `i32 42` and became `i32 43`",
    ("memory.init 0 i32.const 8 call", "memory.init 0 i32.const 12 call"): "is `i32 42` and became `i32 0`",
    ("memory.init 0 i32.const 8 call", "memory.init 0 i32.const 65533 call"): "a number is read beyond the memory",
    ("i32.const 4 memory.fill", "i32.const 3 memory.fill"): None,
    ("i32.const 0 i32.const 4 memory.fill", "i32.const 1 i32.const 4 memory.fill"): "holds at address 8",
    ("i32.const 4 memory.fill", "i32.const 65529 memory.fill"): "65529 bytes of data do not fit at address 8",
    ("i32.const 4 memory.fill", "i32.const 65537 memory.fill"): "it fills more than can be followed",
    ("(local i32)", "(local i32 i32)"): "more locals than one i32",
}


@pytest.mark.parametrize("change", NOT_WORDS)
def test_words_in_memory_are_read_and_taken_away(change: tuple[str, str]) -> None:
    get = '(func (export "get") (result i32) global.get 0)'
    blob = f"(memory 1) (global (mut i32) (i32.const 42)) {READ} {get}"
    prove(*split_alone(blob, WORDS))
    assert change[0] in WORDS
    message = NOT_WORDS[change]
    if message is None:  # its highest byte is zero anyway
        prove(*split_alone(blob, WORDS.replace(*change)))
    else:
        assert message in refused(blob, WORDS.replace(*change))


def test_a_blob_that_traps_on_instantiation_must_trap_when_split() -> None:
    beyond, within = in_memory("i32.const 65533"), in_memory("i32.const 65532")
    copy = "i32.const {} i32.const 0 i32.const 4 memory.init 0"
    prove(*split_alone(within, filled_memory(copy.format(65532))))
    prove(*split_alone(beyond, filled_memory(copy.format(65533))))
    message = refused(beyond, filled_memory(copy.format(65532)))
    assert message.startswith(
        "the blob, unlike the remainder, traps when it is instantiated: 4 bytes of data do not fit"
    )
    message = refused(within, filled_memory(copy.format(-1)))
    assert message.startswith(
        "the remainder, unlike the blob, traps when it is instantiated: 4 bytes of data do not fit"
    )


def test_a_table_that_is_too_small_traps() -> None:
    blob = f"(table 4 funcref) (elem (i32.const {{}}) func 0 0) {CALL}"
    remainder = (
        f"{TABLE} (elem func 0 0) {CALL} (start 1) (func {GROW_TABLE} i32.const N i32.const 0 i32.const 2 table.init 0)"
    )
    prove(*split_alone(blob.format(2), remainder.replace("N", "2")))
    prove(*split_alone(blob.format(3), remainder.replace("N", "3")))
    message = refused(blob.format(3), remainder.replace("N", "2"))
    assert message.endswith("2 elements do not fit at entry 3 of the table")


#: Segments that overlap, in an order that matters.
OVERLAP = '(memory 1) (data (i32.const 8) "abcd") (data (i32.const 6) "xyz") ' + READ


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_segments_overwrite_each_other_in_order(order: tuple[int, int]) -> None:
    steps = ["i32.const 8 i32.const 0 i32.const 4 memory.init 0", "i32.const 6 i32.const 0 i32.const 3 memory.init 1"]
    program = " ".join(steps[step] for step in order)
    remainder = f'{MEMORY} (data "abcd") (data "xyz") {READ} (start 1) (func {GROW_MEMORY} {program})'
    if order == (0, 1):
        prove(*split_alone(OVERLAP, remainder))
    else:
        assert "holds at address 8 the byte 0x7a and became 0x61" in refused(OVERLAP, remainder)


BASE = '(import "host" "base" (global i32))'


@pytest.mark.parametrize(
    ("steps", "refusal"),
    [
        ("{known} {first} {second}", None),
        ("{first} {second} {known}", "holds other bytes, or what is copied after it does"),
        (
            "{known} {second} {first}",
            "segments are copied to other places that only the host knows, or in another order",
        ),
        ("{known} {first}", "segments are copied to other places that only the host knows"),
        ("{known} {first} {first}", "segments are copied to other places that only the host knows"),
    ],
)
def test_segments_at_addresses_of_the_host_are_copied_alike(steps: str, refusal: str | None) -> None:
    blob = f"""{BASE} (memory 1) (data (i32.const 10) "known") (data (global.get 0) "first")
        (data (i32.add (global.get 0) (i32.const 2)) "second") {READ}"""
    copies = {
        "known": "i32.const 10 i32.const 0 i32.const 5 memory.init 0",
        "first": "global.get 0 i32.const 0 i32.const 5 memory.init 1",
        "second": "global.get 0 i32.const 2 i32.add i32.const 0 i32.const 6 memory.init 2",
    }
    remainder = f"""{BASE} {MEMORY} (data "known") (data "first") (data "second") {READ}
        (start 1) (func {GROW_MEMORY} {steps.format(**copies)})"""
    if refusal is None:
        prove(*split_alone(blob, remainder))
    else:
        assert refusal in refused(blob, remainder)


def test_elements_after_those_at_an_entry_of_the_host_may_come_in_parts() -> None:
    blob = f"{BASE} (table 4 funcref) (elem (global.get 0) func 0) (elem (i32.const 0) func 1 0 1) {CALL} (func nop)"
    remainder = f"{BASE} {TABLE} (elem func 0) (elem func 1 0 1) {CALL} (func nop) (start 2) (func {GROW_TABLE} STEPS)"
    unknown = "global.get 0 i32.const 0 i32.const 1 table.init 0"
    parts = [f"i32.const {at} i32.const {at} i32.const 1 table.init 1" for at in range(3)]
    prove(*split_alone(blob, remainder.replace("STEPS", f"{unknown} {parts[2]} {parts[0]} {parts[1]}")))
    assert "other entries are filled" in refused(blob, remainder.replace("STEPS", f"{unknown} {parts[2]} {parts[0]}"))
    message = refused(blob, remainder.replace("STEPS", f"{parts[0]} {parts[1]} {parts[2]} {unknown}"))
    assert "other entries are filled" in message


def test_extended_constants_count_as_what_they_are() -> None:
    blob = f"(memory 1) (global (mut i64) (i64.sub (i64.const 3) (i64.mul (i64.const 2) (i64.const 4)))) {READ}"
    get = '(func (export "get") (result i64) global.get 0)'
    for value, is_right in ((-5, True), (5, False)):
        remainder = f"{MEMORY} (global (mut i64) (i64.const {value})) {READ} {get} (start 2) (func {GROW_MEMORY})"
        if is_right:
            prove(*split_alone(blob + get, remainder))
        else:
            assert f"is `i64 {2**64 - 5}` and became `i64 5`" in refused(blob + get, remainder)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            "i32.const 1 drop",
            "the start function runs `drop` in the remainder: the start function may only set things up",
        ),
        ("i32.const 1 call 0 drop", "the function called has results, or more locals than one i32"),
        ("call 2", "the start function of the remainder does more than can be followed"),
        ("global.get 0 memory.grow " + GROW_MEMORY.split("grow ")[1], "on a number that is not a constant"),
        ("i32.const 70000 memory.grow " + GROW_MEMORY.split("grow ")[1], "the memory cannot grow by 70000 pages"),
    ],
)
def test_a_start_function_that_is_no_straight_line_is_refused(start: str, message: str) -> None:
    again = "call 2 " * 8
    remainder = f"{BASE} {MEMORY} {READ} (start 1) (func {GROW_MEMORY} {start}) (func {again})"
    assert message in refused(f"{BASE} (memory 1) {READ}", remainder)


def never_changed(change: Callable[[Texts], Texts], what: str) -> None:
    with pytest.raises(CheckFailedError, match=rf"{what} of module \S+ counts as constant and can be changed"):
        change(Texts()).prove()


def test_a_private_table_that_code_can_change_is_refused() -> None:
    change = "i32.const 0 ref.null func table.set"
    never_changed(
        lambda texts: texts.changed(
            "blob",
            '(export "again" (func $scale))',
            f'(export "again" (func $scale)) (table $other 2 2 funcref) (func (export "change") {change} $other)'
            " (elem (table $other) (i32.const 0) func $tell $odd)",
        ).changed("remainder", "(start $setup)", f'(start $setup) (func (export "change") {change} $private)'),
        "table 1",
    )


def test_a_slot_that_code_can_change_is_refused() -> None:
    change = '(func (export "change") i32.const 5 global.set'
    never_changed(
        lambda texts: (
            texts.changed("shared", "(global $first (mut", '(global $first (export "g") (mut')
            .changed("blob", "(start $begin)", f"(start $begin) (global $g (mut i32) (i32.const 1024)) {change} $g)")
            .changed("remainder", "(start $setup)", f"(start $setup) {change} $g)")
            .changed(
                "remainder",
                '(import "{shared}" "P"',
                '(import "{shared}" "g" (global $g (mut i32))) (import "{shared}" "P"',
            )
        ),
        "global 1",
    )


def test_two_globals_of_the_blob_need_two_of_the_split() -> None:
    swap = "(func (export {name}) global.get {a} global.set {b})"
    blob = "(global (mut i32) (i32.const 1)) (global (mut i32) (i32.const 1))" + swap
    message = refused(
        f"(memory 1) {READ} " + blob.format(name='"swap"', a=0, b=1),
        f"{MEMORY} {READ} " + blob.format(name='"swap"', a=0, b=0) + f" (start 2) (func {GROW_MEMORY})",
    )
    assert message == "global 0 of the blob stands for two different ones (used by function 1 of the blob)"


def test_long_slots_count_as_long_constants() -> None:
    texts = (
        Texts()
        .changed("blob", "i32.const 0 local.get 2 i32.store offset=3000",
                 "i64.const 5000000000 i64.const -1 drop local.set 3 i32.const 0 local.get 2 i32.store offset=3000")
        .changed("shared", "global.get $second local.get 2 i32.store",
                 "global.get $long i64.const 7 i64.add global.get $minus drop local.set 3"
                 " global.get $second local.get 2 i32.store")
        .changed("shared", "(elem $placed func", "(global $long (mut i64) (i64.const 0))"
                 " (global $minus (mut i64) (i64.const 0)) (elem $placed func")
        .changed("shared", '(func (export "S0")', '(func (export "S1") (param i64 i64) local.get 1 global.set $minus'
                 ' local.get 0 global.set $long) (func (export "S0")')
        .changed("remainder", '(import "{shared}" "P"',
                 '(import "{shared}" "S1" (func $set_long (param i64 i64))) (import "{shared}" "P"')
    )  # fmt: skip
    for value in (4_999_999_993, 4_999_999_994):
        set_long = f"i32.const 4096 global.set $sp i64.const {value} i64.const -1 call $set_long"
        changed = texts.changed("remainder", "i32.const 4096 global.set $sp", set_long)
        if value == 4_999_999_993:
            changed.prove()
        else:
            with pytest.raises(CheckFailedError, match="the constant 5000000000 became 5000000001"):
                changed.prove()


@pytest.mark.parametrize(
    ("defined", "says"),
    [
        ("(memory 1000)", "the split has 1001 pages of memory in all, and the blob has 1"),
        ("(table 1000000 funcref)", "the split has 1000000 entries of tables in all, and the blob has 0"),
    ],
)
def test_a_split_may_not_take_what_the_blob_does_not(defined: str, says: str) -> None:
    blob = f'(memory (export "memory") 1) {READ}'
    remainder = f'{MEMORY} (export "memory" (memory 0)) {READ} (start $up) (func $up {GROW_MEMORY}) {defined}'
    assert says in refused(blob, remainder)


@pytest.mark.parametrize(
    "elements",
    ["(i32.const 0) func {}", "(i32.const 0) funcref {}", "func {}"],
    ids=["numbers", "expressions", "passive"],
)
def test_a_table_of_many_entries_takes_little_memory(elements: str) -> None:
    """A release of strangers may have ten millions: each took 235 bytes."""
    entries = 50_000
    each = "(ref.func 0) " if "funcref" in elements else "0 "
    table = f'(table {entries} funcref) (elem {elements.format(each * entries)}) (func (export "call"))'
    blob, remainder, modules = split_alone(table, f"{table} (func)")
    tracemalloc.start()
    try:
        prove(blob, remainder, modules)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 60 * entries
