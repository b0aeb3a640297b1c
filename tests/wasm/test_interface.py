"""Imports and exports, and whether one fits the other."""

import pytest

from bacpack.wasm import Kind
from bacpack.wasm.interface import Item, mismatch, read_interface
from node.harness import assemble

EVERY_KIND = """(module
  (import "p" "f" (func (param i32 i64) (result f32)))
  (import "p" "t" (table 1 2 externref))
  (import "p" "m" (memory 1 3))
  (import "p" "g" (global (mut v128)))
  (import "p" "e" (tag (param f64)))
  (func (export "own f") (param i32))
  (table (export "own t") 5 funcref)
  (global (export "own g") f64 (f64.const 0))
  (tag (export "own e"))
  (export "f" (func 0)) (export "t" (table 0)) (export "m" (memory 0)) (export "g" (global 0)) (export "e" (tag 0)))"""


def test_every_kind_of_import_is_read_with_its_type() -> None:
    imports = read_interface(assemble(EVERY_KIND)).imports
    assert [(entry.name, str(entry.item)) for entry in imports] == [
        ("f", "function (i32, i64) -> (f32)"),
        ("t", "table of externref from 1 to 2"),
        ("m", "memory from 1 to 3"),
        ("g", "global mutable v128"),
        ("e", "tag (f64) -> ()"),
    ]


def test_exports_have_the_type_of_what_they_export_imported_or_not() -> None:
    exports = read_interface(assemble(EVERY_KIND)).exports
    assert {name: str(item) for name, item in exports.items()} == {
        "own f": "function (i32) -> ()",
        "own t": "table of funcref from 5",
        "own g": "global f64",
        "own e": "tag () -> ()",
        "f": "function (i32, i64) -> (f32)",
        "t": "table of externref from 1 to 2",
        "m": "memory from 1 to 3",
        "g": "global mutable v128",
        "e": "tag (f64) -> ()",
    }


def test_namespaces_come_in_the_order_of_their_first_import() -> None:
    text = '(module (import "b" "x" (func)) (import "a" "x" (func)) (import "b" "y" (func)))'
    assert read_interface(assemble(text)).namespaces == ["b", "a"]


def item(text: str) -> Item:
    return read_interface(assemble(f'(module (import "p" "x" {text}))')).imports[0].item


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("(func (param i32))", "(func (param i32))"),
        ("(memory 1)", "(memory 2)"),
        ("(memory 9)", "(memory 1)"),  # it may have grown: the engine knows
        ("(memory 1 4)", "(memory 1 3)"),
        ("(table 1 funcref)", "(table 1 9 funcref)"),
        ("(global (mut i32))", "(global (mut i32))"),
        ("(tag (param i32))", "(tag (param i32))"),
        # Types of a module's own are compared by the engine.
        ("(func (param (ref null struct)))", "(func (param i32))"),
    ],
)
def test_what_fits(wanted: str, offered: str) -> None:
    assert mismatch(item(wanted), item(offered)) is None


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("(func)", "(global i32)"),
        ("(func (param i32))", "(func (param i64))"),
        ("(func (result i32))", "(func)"),
        ("(memory 1 4)", "(memory 1 5)"),
        ("(memory 1 4)", "(memory 1)"),
        ("(memory 3)", "(memory 1 2)"),  # it can never grow to that
        ("(table 3 funcref)", "(table 1 2 funcref)"),
        ("(memory i64 1)", "(memory 1)"),
        ("(memory 1 2 shared)", "(memory 1 2)"),
        ("(table 1 funcref)", "(table 1 externref)"),
        ("(global i32)", "(global (mut i32))"),
        ("(global i32)", "(global i64)"),
        ("(tag (param i32))", "(tag (param i64))"),
    ],
)
def test_what_does_not_fit_is_said_with_both_types(wanted: str, offered: str) -> None:
    assert mismatch(item(wanted), item(offered)) == f"a {item(wanted)} is wanted, a {item(offered)} is there"


def test_an_export_of_nothing_has_no_type() -> None:
    module = assemble('(module (func (export "f")))')
    broken = module.replace(b"\x01f\x00\x00", b"\x01f\x00\x07")
    assert broken != module
    assert read_interface(broken).exports["f"] == Item(Kind.FUNCTION, None)
