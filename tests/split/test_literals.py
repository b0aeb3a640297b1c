"""Globals that never change: code reads them like constants, and is shared like code that has constants."""

from __future__ import annotations

import pytest

from split.harness import Comparer, both, work
from wasmtools import assemble, padded

FILLER = f'(func (export "filler") (param i32) (result i32) {work("filler")} local.get 0)'


def run(code: str, result: str = "i32") -> str:
    return f'(func (export "run") (param i32) (result {result}) {work("run")} {code})'


@pytest.mark.parametrize(
    "declared",
    [
        "(global $where i32 (i32.const {4000|5000}))",
        '(global $where (export "where") i32 (i32.const {4000|5000}))',
        "(global $where i32 (i32.sub (i32.const {5000|6000}) (i32.const 1000)))",
        "(global $base i32 (i32.const {40|50})) (global $where i32 (i32.mul (global.get $base) (i32.const 100)))",
        "(global $where i32 (i32.mul (i32.const {0x400003e8|0x400004e2}) (i32.const 4)))",
    ],
    ids=["alone", "exported", "a sum", "of another", "wraps"],
)
def test_an_address_that_is_read_from_a_global(compare: Comparer, declared: str) -> None:
    text = f"""(memory (export "memory") 1) {declared} (data (i32.const {{4000|5000}}) "{{one|two}}")
      {run("global.get $where i32.load8_u global.get $where i32.const 2 i32.add i32.load8_u i32.sub")}"""
    first, second = compare(both(text), ("run", 1), shared=["run"])
    assert (first.calls, second.calls) == ([[ord("o") - ord("e")]], [[ord("t") - ord("o")]])


def test_a_program_that_reads_globals_and_one_that_has_constants(compare: Comparer) -> None:
    """The same library, once compiled to be in a shared library and once not."""
    one, two = (
        f"""(module (memory (export "memory") 1) (global $where i32 (i32.const 4000)) (global $zero i32 (i32.const 0))
        (global $long i64 (i64.const -5000000000)) (data (i32.const {address}) "{text}")
        {run(f"{code} i64.extend_i32_u {long} i64.add", "i64")})"""
        for address, text, code, long in (
            (4000, "one", "global.get $where i32.load8_u global.get $zero i32.load8_u offset=4001 i32.add",
             "global.get $long"),
            (5000, "two", "i32.const 5000 i32.load8_u i32.const 0 i32.load8_u offset=5001 i32.add",
             "i64.const -4000000000"),
        )
    )  # fmt: skip
    first, second = compare([one, two], ("run", 1), shared=["run"])
    assert (first.calls, second.calls) == ([[221 - 5_000_000_000]], [[235 - 4_000_000_000]])


def test_numbers_of_globals_are_padded(compare: Comparer) -> None:
    text = f"""(memory (export "memory") 1) (global $where i32 (i32.const {{4000|5000}}))
      (data (i32.const {{4000|5000}}) "{{one|two}}") {run("global.get $where i32.load8_u")}"""
    plain: list[bytes] = [assemble(blob) for blob in both(text)]
    compare([padded(plain[0], ("global",)), plain[1]], ("run", 1), shared=["run"])


def test_functions_that_stay_read_them_too(compare: Comparer) -> None:
    """What is not shared gives the same, whatever becomes of its globals; they are still there for the host."""
    text = f"""(global $a (export "a") i32 (i32.const {{7|9}})) (global $b i64 (i64.const {{1000000|2000000}}))
      (func (export "own") (result i64) global.get $b global.get $a i64.extend_i32_u {{i64.add|i64.mul}})
      {run("local.get 0")}"""
    first, second = compare(both(text), ("own",), ("run", 1), shared=["run"])
    assert (first.calls[0], second.calls[0]) == ([1000007], [18000000])
    assert (first.state["a"], second.state["a"]) == (7, 9)


@pytest.mark.parametrize(
    ("imports", "declared"),
    [
        ('(import "host" "where" (global $where i32))', ""),
        ('(import "host" "base" (global $base i32))', "(global $where i32 (global.get $base))"),
        ('(import "host" "base" (global $b i32))', "(global $where i32 (i32.add (i32.const 1) (global.get $b)))"),
    ],
    ids=["imported", "a copy", "a sum"],
)
def test_what_the_host_decides_is_no_constant(compare: Comparer, imports: str, declared: str) -> None:
    text = f"""(memory (export "memory") 1) {declared} (data (i32.const 8) "{{one|two}}")
      {run("global.get $where i32.load8_u i32.const {1000|2000} i32.add")} {FILLER}"""
    first, second = compare(both(text, imports), ("run", 1), shared=["filler"], kept=["run"])
    assert first.calls != second.calls


def test_constants_of_other_types_stay(compare: Comparer) -> None:
    text = f"""(global $f f64 (f64.const {{1.5|2.5}}))
      {run("global.get $f i32.const {1000|2000} f64.convert_i32_u f64.add", "f64")} {FILLER}"""
    compare(both(text), ("run", 1), shared=["filler"], kept=["run"])
