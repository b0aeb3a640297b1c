"""Large start functions: what sets a program up needs no more stack than the program has."""

from __future__ import annotations

import pytest
import wasmtime

from bacpack.split.emit import start_function
from bacpack.split.input.blob import Input
from bacpack.split.model.records import Split
from bacpack.split.pipeline.proof import prove_split
from bacpack.split.pipeline.steps import split
from bacpack.wasm import Module
from split.harness import Comparer, both, work
from wasmtools import assemble

#: Places in the table that are filled one by one: that takes some 14 KB of code.
PLACES = 1_200
#: So many take as much as one function may have.
PLACES_OF_ONE = 480


def many_entries(places: int) -> str:
    """Two programs whose table has an entry here and there, each from a place that follows no other."""
    entries = "".join(f"(elem (i32.const {2 * place}) $own)" for place in range(places))
    return f"""(memory (export "memory") 1) (table (export "table") {2 * places} funcref)
      (global $set (export "set") (mut i32) (i32.const 1))
      (func $own (param i32) (result i32) local.get 0)
      (func (export "shared") (param i32) (result i32) {work("shared", 8_000)} local.get 0)
      (func $begin (global.set $set (i32.add (global.get $set) (i32.const {{4|5}})))) (start $begin) {entries}"""


def made_of(places: int) -> Split:
    return split(
        [Input(name, assemble(text), name) for name, text in zip("ab", both(many_entries(places)), strict=True)]
    )


def test_a_start_function_is_made_of_parts(compare: Comparer) -> None:
    compare(both(many_entries(PLACES)), ("shared", 3), shared=["shared"])
    for app in prove_split(made_of(PLACES), lambda _: None).apps:
        module = Module.parse(app.data)
        sizes = [body.end - body.start for body in module.bodies]
        assert max(sizes) <= start_function._MOST_BYTES
        assert sum(sizes) > 2 * start_function._MOST_BYTES


@pytest.mark.parametrize(("places", "stack"), [(PLACES, 128 * 1024), (PLACES_OF_ONE, 512 * 1024)])
def test_a_large_start_function_needs_no_more_than_the_stack_that_engines_give(places: int, stack: int) -> None:
    """An engine that compiles quickly gives each value of a function a place in its frame."""
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"
    config.cranelift_flag_set("regalloc_algorithm", "single_pass")
    config.max_wasm_stack = stack
    engine = wasmtime.Engine(config)
    made = made_of(places)
    for app in made.apps:
        assert app.imports
        store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        pending = dict.fromkeys(made.closure(app))
        while pending:
            cid = next(cid for cid in pending if not set(made.modules[cid].imports) & set(pending))
            del pending[cid]
            instance = linker.instantiate(store, wasmtime.Module(engine, made.modules[cid].data))
            linker.define_instance(store, cid, instance)
        linker.instantiate(store, wasmtime.Module(engine, app.data))
