"""Releases made by an enemy: whatever the release says, what the proof accepts behaves as the blob."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Mapping

import pytest

from bacpack.content.cid.cid import Cid, encode_base58
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import CheckFailedError
from bacpack.proof.code import byte_matcher, instruction_forms
from bacpack.proof.code.function_code import Room
from bacpack.proof.equivalence import prover
from bacpack.proof.equivalence.prover import Prover
from proof.handmade import Texts
from wasmtools import assemble, invalid_because

GO = '(func (export "go") (result i32) call $f)'
SEVEN = "(func $f (result i32) i32.const 7)"


def release(remainder: str, modules: Mapping[str, str]) -> tuple[bytes, dict[str, bytes]]:
    """A remainder, and modules by CID; `{name}` in a text is the CID of a module before."""
    names: dict[str, str] = {}
    made: dict[str, bytes] = {}
    for name, text in modules.items():
        data = assemble(f"(module {filled(text, names)})")
        assert not invalid_because(data), invalid_because(data)
        names[name] = str(cid_of_bytes(data))
        made[names[name]] = data
    data = assemble(f"(module {filled(remainder, names)})")
    assert not invalid_because(data), invalid_because(data)
    return data, made


def filled(text: str, names: Mapping[str, str]) -> str:
    for name, cid in names.items():
        text = text.replace("{" + name + "}", cid)
    return text


def prove(blob: str, remainder: str, modules: Mapping[str, str] | None = None) -> None:
    split, made = release(remainder, modules or {})
    Prover(made).prove(assemble(f"(module {blob})"), split)


def refused(blob: str, remainder: str, modules: Mapping[str, str] | None = None) -> str:
    """The message with which a release is refused."""
    with pytest.raises(CheckFailedError) as caught:
        prove(blob, remainder, modules)
    assert caught.value.code == "not-equivalent"
    return caught.value.message


LOW_TABLE = (
    """(table (export "T") 1 1 funcref) (func (export "call") (result i32) i32.const 0 call_indirect 0 (result i32))"""
)


def writes_entry(value: int) -> str:
    return f"""(import "{{low}}" "T" (table 1 1 funcref)) (func $f (result i32) i32.const {value})
      (elem (table 0) (i32.const 0) func $f) (func (export "load"))"""


@pytest.mark.parametrize("order", [("good", "evil"), ("evil", "good")])
def test_modules_that_write_one_table_are_refused_in_any_order(order: tuple[str, str]) -> None:
    imports = "".join(f'(import "{{{name}}}" "load" (func))' for name in order)
    message = refused(
        f"{SEVEN} {GO}",
        f'{imports} (import "{{low}}" "call" (func $f (result i32))) {GO}',
        {"low": LOW_TABLE, "good": writes_entry(7), "evil": writes_entry(8)},
    )
    assert "writes to a table of another module when it is instantiated" in message


def test_a_module_that_writes_a_memory_of_another_is_refused() -> None:
    read = '(func (export "read") (result i32) i32.const 0 i32.load8_u)'
    message = refused(
        f'(memory 1) (data (i32.const 0) "a") {read}',
        f'(import "{{high}}" "load" (func)) (import "{{low}}" "m" (memory 1)) {read}',
        {"low": '(memory (export "m") 1)',
         "high": '(import "{low}" "m" (memory 1)) (data (i32.const 0) "a") (func (export "load"))'},
    )  # fmt: skip
    assert "writes to a memory of another module when it is instantiated" in message


@pytest.mark.parametrize("name", ["_initialize", "_start"])
def test_a_module_whose_function_hosts_call_is_refused(name: str) -> None:
    message = refused(
        f"{SEVEN} {GO}",
        f'(import "{{shared}}" "f" (func $f (result i32))) {GO}',
        {"shared": f'(func (export "f") (result i32) i32.const 7) (func (export "{name}") unreachable)'},
    )
    assert f"exports `{name}`, which hosts call by themselves" in message


def spellings(cid: Cid) -> list[str]:
    return [f"z{encode_base58(bytes(cid))}", str(Cid(1, 0x70, cid.multihash)), encode_base58(cid.multihash)]


@pytest.mark.parametrize("spelling", range(3), ids=["base58", "dag-pb", "version 0"])
def test_one_module_under_two_names_is_refused(spelling: int) -> None:
    counter = assemble("""(module (global $n (mut i32) (i32.const 0))
      (global (export "n") (mut i32) (i32.const 5)) (func (export "f")))""")
    cid = cid_of_bytes(counter)
    other = spellings(cid)[spelling]
    split = assemble(f"""(module (import "{cid}" "n" (global $a (mut i32))) (import "{other}" "n" (global $b (mut i32)))
      (func (export "get") (result i32) global.get $a) (func (export "set") (param i32) local.get 0 global.set $b))""")
    blob = assemble("""(module (global $a (mut i32) (i32.const 5)) (global $b (mut i32) (i32.const 5))
      (func (export "get") (result i32) global.get $a) (func (export "set") (param i32) local.get 0 global.set $b))""")
    with pytest.raises(CheckFailedError) as caught:
        Prover({str(cid): counter, other: counter}).prove(blob, split)
    assert caught.value.code == "not-equivalent"


def test_a_module_that_the_blob_imports_is_no_module_of_the_split_as_well() -> None:
    counter = assemble('(module (global (export "n") (mut i32) (i32.const 5)) (func (export "add")))')
    cid = cid_of_bytes(counter)
    calls = '(func (export "get") (result i32) call $add global.get $n)'
    for name in (*spellings(cid)[:1], f"{cid}/inside", f"ipfs://{cid}", f"/ipfs/{cid}", f"/ipfs/{cid}/in", str(cid)):
        host = f'(import "{name}" "add" (func $add))'
        blob = assemble(f"(module {host} (global $n (mut i32) (i32.const 5)) {calls})")
        split = assemble(f'(module {host} (import "{cid}" "n" (global $n (mut i32))) {calls})')
        with pytest.raises(CheckFailedError):
            Prover({str(cid): counter}, {}).prove(blob, split)


def test_what_the_blob_wants_of_the_host_its_remainder_wants_too() -> None:
    go = '(func (export "go") (result i32) i32.const 1)'
    assert "the blob imports `h.f` from the host" in refused(f'(import "h" "f" (func)) {go}', go)


def test_a_host_function_that_is_exported_itself_is_no_function_that_calls_it() -> None:
    note = '(import "h" "f" (func $f (param i32)))'
    itself, calls = '(export "g" (func $f))', '(func (export "g") (param i32) local.get 0 call $f)'
    for blob, split in ((itself, calls), (calls, itself)):
        assert "the host's own in one and not in the other" in refused(note + blob, note + split)
    for same in (itself, calls):
        prove(note + same, note + same + "(func)")


STRUCT = "(type $s (struct (field (mut i32))))"
SAME = '(func (export "same") (result i32) (ref.eq (global.get $a) (global.get $b)))'
MADE = "(struct.new $s (i32.const 1))"


def two_globals(second: str) -> str:
    return f"{STRUCT} (global $a (ref $s) {MADE}) (global $b (ref $s) {second}) {SAME}"


def test_two_structs_of_equal_content_are_not_one() -> None:
    one, two = two_globals("(global.get $a)"), two_globals(MADE)
    for blob, split in ((one, two), (two, one)):
        assert "is one object with another value in one and not in the other" in refused(blob, split)
    for same in (one, two):
        prove(same, same + "(func)")


def test_entries_of_a_table_are_one_struct_or_several() -> None:
    eq = '(func (export "same") (result i32) (ref.eq (table.get $t (i32.const 0)) (table.get $t (i32.const 1))))'
    one = f"{STRUCT} (table $t 2 (ref null $s) {MADE}) {eq}"
    two = f"{STRUCT} (table $t 2 (ref null $s) {MADE}) (elem (table $t) (i32.const 0) (ref null $s) (item {MADE})) {eq}"
    for blob, split in ((one, two), (two, one)):
        assert "is one object with another value" in refused(blob, split)
    prove(two, two + "(func)")


def late(table: str, entry: int) -> dict[str, str]:
    return {
        "shared": f"""(func $f (result i32) i32.const 7) (table $T 2 2 {table}) (elem declare func $f)
      (func (export "go") (result i32) i32.const {entry} call_indirect $T (result i32))"""
    }


@pytest.mark.parametrize("entry", [2, 5, -1])
def test_a_call_beyond_the_end_of_a_private_table_is_a_trap(entry: int) -> None:
    remainder = '(import "{shared}" "go" (func $go (result i32))) (func (export "go") (result i32) call $go)'
    table = "(ref null func) (ref.func $f)"
    prove(f"{SEVEN} {GO}", remainder, late(table, 1))
    assert "the table ends before it" in refused(f"{SEVEN} {GO}", remainder, late(table, entry))


def test_a_function_that_bounds_the_growth_of_memory_itself_is_one_like_others() -> None:
    bounded = """(func $grow (param i32) (result i32) memory.size i64.extend_i32_u local.get 0 i64.extend_i32_u i64.add
      i64.const 5 i64.gt_u if (result i32) i32.const -1 else local.get 0 memory.grow end)
      (func (export "go") (result i32) i32.const 1 call $grow)"""
    prove(f"(memory 1) {bounded}", f"(memory 1) {bounded} (func)")
    wider = bounded.replace("i64.const 5", "i64.const 6")
    assert "5 became 6" in refused(f"(memory 1) {bounded}", f"(memory 1) {wider} (func)")


def test_a_chain_that_never_ends_is_refused() -> None:
    walk = """(memory (export "m") 1) (func (export "walk") (param i32 i32) (local i32)
      loop local.get 0 local.get 0 i32.load local.tee 2 i32.const -1 i32.and local.get 1 i32.add i32.store
       local.get 0 local.get 2 i32.const 0 i32.shr_u i32.const 4 i32.mul i32.add local.set 0
       local.get 2 i32.const 0 i32.shr_u br_if 0 end)"""
    message = refused(
        "(memory 1)",
        """(import "{shared}" "m" (memory 1)) (import "{shared}" "walk" (func $w (param i32 i32))) (start $s)
        (func $s (i32.store (i32.const 0) (i32.const 0x40000000)) (call $w (i32.const 0) (i32.const 0)))""",
        {"shared": walk},
    )
    assert MORE in message


MORE = "does more than can be followed"
TABLE = '(import "{shared}" "t" (table 0 funcref)) (export "t" (table 0)) (start $s)'
GROW = "ref.null func i32.const {} table.grow 0 i32.const -1 i32.eq if unreachable end"
COPY = "i32.const 0 i32.const 0 i32.const {} table.copy 0 0 "

#: What is asked of the start function; the memory that following it takes is measured.
TOO_MUCH = {
    "a table of all numbers": (f"{TABLE} (func $s {GROW.format(-1)} {COPY.format(-1)})", "which no host allows"),
    "a large table that is copied": (f"{TABLE} (func $s {GROW.format(9_999_999)} {COPY.format(9_999_999)})", MORE),
    "a table that is copied again and again": (f"{TABLE} (func $s {GROW.format(900)} {COPY.format(900) * 1000})", MORE),
    "calls that double at each level": (
        f"{TABLE} (func $s {'call 1 ' * 9})" + "".join(f"(func {f'call {n} ' * 9})" for n in range(2, 8)) + "(func)",
        MORE,
    ),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_a_start_function_that_asks_for_much_takes_little(what: str) -> None:
    remainder, message = TOO_MUCH[what]
    started = time.process_time()
    tracemalloc.start()
    try:
        found = refused('(table (export "t") 0 funcref)', remainder, {"shared": '(table (export "t") 0 funcref)'})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert message in found
    assert peak < 100_000_000
    assert time.process_time() - started < 10


def test_values_that_double_are_refused() -> None:
    host = '(import "h" "base" (global i32))'
    double = "".join(f"(global i32 (i32.add (global.get {n}) (global.get {n})))" for n in range(64))
    assert MORE in refused(f'{host} (func (export "f"))', f'{host} {double} (func (export "f"))')
    doubled = "local.get 0 local.get 0 i32.add local.tee 0 global.set $g " * 64
    message = refused(
        f'{host} (func (export "f"))',
        f"""{host} (global $g (mut i32) (i32.const 0)) (func (export "f")) (start $s)
        (func $s global.get 0 call $double) (func $double (param i32) {doubled})""",
    )
    assert MORE in message


def test_functions_that_are_alike_are_compared_once_each() -> None:
    """Two rings of functions, of sizes without a common divisor: all pairs of the two would be a million."""
    sizes = (1009, 1013)

    def ring(size: int) -> str:
        names = [*range(1, size), 0]
        functions = "".join(f"(func $f{n} i32.const 1 drop call $f{following})" for n, following in enumerate(names))
        return f'{functions} (export "f" (func $f0))'

    started = time.process_time()
    prove(ring(sizes[0]), ring(sizes[1]))
    assert time.process_time() - started < 10


def test_a_long_row_of_functions_that_pass_on_is_followed_once() -> None:
    count = 20_000
    row = "".join(f"(func $f{n} (result i32) call $f{n + 1})" for n in range(count))
    started = time.process_time()
    prove(
        f"(func $f (result i32) i32.const 7) {GO}",
        f'{row} (func $f{count} (result i32) i32.const 7) (func (export "go") (result i32) call $f0)',
    )
    assert time.process_time() - started < 10


def test_constants_that_differ_are_looked_up_once_a_function() -> None:
    loads = 4_000
    blob = "i32.const 0 " * loads + "i32.load offset=8 drop " * loads
    split = "i32.const 8 " * loads + "i32.load drop " * loads
    started = time.process_time()
    prove(f'(memory 1) (func (export "f") {blob})', f'(memory 1) (func (export "f") {split})')
    assert time.process_time() - started < 10


def test_many_imports_of_things_are_linked_once_each() -> None:
    count = 20_000
    globals_ = "".join(f'(global (export "{n}") (mut i32) (i32.const {n}))' for n in range(count))
    imports = "".join(f'(import "{{shared}}" "{n}" (global (mut i32)))' for n in range(count))
    started = time.process_time()
    prove('(func (export "f"))', f'{imports} (func (export "f"))', {"shared": globals_})
    assert time.process_time() - started < 10


HANDS_OVER = """(import "h" "t" (table 1 funcref)) (memory 1) (elem (table 0) (i32.const 0) func $f)
  (func $f (result i32) i32.const {value}) (data (i32.const 65535) "ab")"""


def test_what_the_host_has_been_given_before_a_trap_is_compared() -> None:
    seven, eight = HANDS_OVER.format(value=7), HANDS_OVER.format(value=8)
    prove(seven, seven + "(func)")
    assert "the constant 7 became 8" in refused(seven, eight)
    kept = seven.replace('(import "h" "t" (table 1 funcref))', "(table 1 funcref)")
    prove(kept, kept.replace("i32.const 7", "i32.const 8"))  # nobody can ever call it


def test_a_blob_that_allocates_too_much_is_not_provable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each structure is told apart from all others, and so takes memory that is not in proportion to its bytes."""
    monkeypatch.setattr("bacpack.proof.program.initial_state.MOST_ALLOCATIONS", 3)
    segment = f"{STRUCT} (table $t 9 (ref null $s)) (elem (table $t) (i32.const 0) (ref null $s)"
    prove(f"{segment} {MADE * 3})", f"{segment} {MADE * 3}) (func)")
    assert "does more than can be followed" in refused(f"{segment} {MADE * 3})", f"{segment} {MADE * 4})")
    with pytest.raises(CheckFailedError) as caught:
        prove(f"{segment} {MADE * 4})", f"{segment} {MADE * 4}) (func)")
    assert caught.value.code == "not-provable"


def test_a_blob_that_asks_for_too_much_is_not_provable() -> None:
    double = "".join(f"(global i32 (i32.add (global.get {n}) (global.get {n})))" for n in range(64))
    text = f'(import "h" "base" (global i32)) {double} (func (export "f"))'
    with pytest.raises(CheckFailedError) as caught:
        prove(text, text + "(func)")
    assert caught.value.code == "not-provable"
    # Where nothing but custom sections is left out or added, there is nothing to follow.
    prove(text + '(@custom ".debug_info" "x")', text + '(@custom "other" "y")')


def test_accesses_to_two_memories_are_not_exchanged() -> None:
    def reads(first: str, second: str) -> str:
        return f"""(memory $a 1) (memory $b 1) (data (memory $b) (i32.const 0) "x") (func (export "f") (result i32)
          i32.const 0 i32.load {first} i32.const 1 i32.shl i32.const 0 i32.load {second} i32.add)"""

    blob = reads("$a", "$b")
    prove(blob, blob + "(func)")
    for other in (reads("$b", "$a"), reads("$a", "$a"), reads("$b", "$b")):
        assert "`i32.load` has other operands" in refused(blob, other)


def test_a_value_that_ends_early_is_another() -> None:
    types = "(type $p (struct (field (mut (ref null $p)))))"
    get = '(func (export "f") (result i32) global.get 0 ref.is_null)'
    null = f"{types} (global (ref null $p) (ref.null $p)) {get}"
    assert "became" in refused(null, f"{types} (global (ref null $p) (struct.new $p (ref.null $p))) {get}")


def test_what_is_not_kept_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept forms of code take many times its memory, so there is a limit, beyond which all goes on more slowly."""
    monkeypatch.setattr(prover, "Room", lambda: Room(0))
    monkeypatch.setattr(instruction_forms, "MOST_FORMS", 1)
    monkeypatch.setattr(byte_matcher, "MOST_FORMS", 1)
    Texts().prove()
    with pytest.raises(CheckFailedError, match="the constant 1024 became 1025"):
        Texts().changed("shared", "global.get $first i32.add", "i32.const 1025 i32.add").prove()
