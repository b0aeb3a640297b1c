"""Running a graph of modules: one memory, one instance each, providers first."""

from __future__ import annotations

import pytest

from bacnode.fetch.limits import LoadLimits
from bacnode.programs.module_graph import Graph
from bacnode.programs.resolver import resolve
from bacnode.runtime.engine import Runtime
from bacnode.runtime.run_limits import RunLimits
from bacnode.runtime.traps import Outcome, TrapError
from bacnode.runtime.wasi import Job
from bacpack.errors import InputError
from node.harness import FakeFetch, assemble, fetched, run_graph

ENVIRONMENT = assemble("""(module
  (memory (export "memory") 0) (table (export "table") 0 funcref)
  (global (export "stack") (mut i32) (i32.const 0)) (tag (export "tag") (param i32)) (func (export "link")))""")


def load(program: bytes, fetch: FakeFetch) -> Graph:
    graph = resolve(fetched(program), fetch, LoadLimits())
    graph.check()
    return graph


def run(
    program: bytes,
    fetch: FakeFetch | None = None,
    *,
    runtime: Runtime | None = None,
    invoke: str | None = "result",
    arguments: tuple[str, ...] = (),
    memory_bytes: int | None = None,
) -> Outcome:
    runtime = runtime or Runtime(interruptible=False)
    graph = load(program, fetch or FakeFetch())
    limits = RunLimits(memory_bytes=memory_bytes)
    return run_graph(runtime, graph, invoke, Job(arguments=["app.wasm", *arguments], limits=limits))


def refused(code: str, program: bytes, **options: object) -> InputError:
    with pytest.raises(InputError) as raised:
        run(program, **options)  # type: ignore[arg-type]
    assert raised.value.code == code
    assert raised.value.hint
    return raised.value


def test_modules_share_memory_table_global_and_tag() -> None:
    fetch = FakeFetch()
    environment = fetch.add(ENVIRONMENT)
    shared = fetch.add(
        assemble(f"""(module
      (import "{environment}" "memory" (memory 0)) (import "{environment}" "table" (table 0 funcref))
      (import "{environment}" "stack" (global $stack (mut i32))) (import "{environment}" "tag" (tag $tag (param i32)))
      (type $callback (func (result i32)))
      (func (export "poke") (i32.store (i32.const 8) (i32.const 30)) (global.set $stack (i32.const 5)))
      (func (export "call") (result i32) (call_indirect (type $callback) (i32.const 0)))
      (func (export "throw") (throw $tag (i32.const 4))))""")
    )
    program = assemble(f"""(module
      (import "{environment}" "memory" (memory 0)) (import "{environment}" "table" (table $table 0 funcref))
      (import "{environment}" "stack" (global $stack (mut i32))) (import "{environment}" "tag" (tag $tag (param i32)))
      (import "{shared}" "poke" (func $poke)) (import "{shared}" "call" (func $call (result i32)))
      (import "{shared}" "throw" (func $throw))
      (func $three (result i32) i32.const 3) (elem declare func $three)
      (func $start (drop (memory.grow (i32.const 1))) (drop (table.grow $table (ref.func $three) (i32.const 1))))
      (start $start)
      (func $caught (result i32) (block $h (result i32) (try_table (catch $tag $h) (call $throw)) (i32.const 0)))
      (func (export "result") (result i32)
        (call $poke)
        (i32.add (i32.add (i32.load (i32.const 8)) (global.get $stack)) (i32.add (call $call) (call $caught)))))""")
    assert run(program, fetch).results == ["42"]


def test_a_module_is_instantiated_once_and_before_its_users() -> None:
    fetch = FakeFetch()
    counter = fetch.add(
        assemble("""(module (global $n (mut i32) (i32.const 0))
      (func (export "next") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))""")
    )
    users = [
        fetch.add(
            assemble(f"""(module (import "{name}" "next" (func $next (result i32)))
          (global $got (mut i32) (i32.const 0)) (func $start (global.set $got (call $next))) (start $start)
          (func (export "got") (result i32) (global.get $got)) (@custom "n" "{name}"))""")
        )
        for name in (counter, f"ipfs://{counter}")
    ]
    program = assemble(f"""(module (import "{users[0]}" "got" (func $a (result i32)))
      (import "{users[1]}" "got" (func $b (result i32))) (import "{counter}" "next" (func $next (result i32)))
      (func (export "result") (result i32 i32 i32) (call $a) (call $b) (call $next)))""")
    assert run(program, fetch).results == ["1", "2", "3"]


def test_a_librarys_initialize_is_called_once_before_its_users() -> None:
    fetch = FakeFetch()
    library = fetch.add(
        assemble("""(module (global $n (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 7))))
      (func (export "n") (result i32) (global.get $n)))""")
    )
    program = assemble(f"""(module (import "{library}" "n" (func $n (result i32)))
      (global $seen (mut i32) (i32.const 0)) (func $start (global.set $seen (call $n))) (start $start)
      (func (export "result") (result i32) (global.get $seen)))""")
    assert run(program, fetch).results == ["7"]


def test_a_library_may_call_wasi_itself() -> None:
    fetch = FakeFetch()
    library = fetch.add(
        assemble("""(module
      (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "count") (result i32)
        (drop (call $sizes (i32.const 0) (i32.const 4))) (i32.load (i32.const 0))))""")
    )
    program = assemble(f"""(module (import "{library}" "count" (func $count (result i32)))
      (func (export "result") (result i32) (call $count)))""")
    assert run(program, fetch, arguments=("a", "b")).results == ["3"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("unreachable", "wasm `unreachable` instruction executed"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer divide by zero"),
        ("(drop (i32.load (i32.const -1)))", "out of bounds memory access"),
        ("(call_indirect (i32.const 0))", "uninitialized element"),
        ("(call 0)", "call stack exhausted"),
    ],
)
def test_a_trap_ends_the_program_with_its_reason(body: str, reason: str) -> None:
    program = assemble(f'(module (memory 1) (table 1 funcref) (func $f (export "result") {body}))')
    outcome = run(program)
    assert outcome.exit_code == 134
    assert isinstance(outcome.error, TrapError)
    assert outcome.error.message == f"the program trapped: {reason}"
    assert outcome.trap is not None and outcome.trap.reason == reason
    assert len(outcome.trap.backtrace) >= 1


def test_a_trap_in_the_start_section_is_a_trap() -> None:
    program = assemble('(module (func $start unreachable) (start $start) (func (export "result")))')
    assert run(program).exit_code == 134


@pytest.mark.parametrize("code", [0, 1, 42, 125, 126, 200, 255, 256, 257, 512, 0xFFFFFFFF])
def test_proc_exit_gives_its_code(code: int) -> None:
    program = assemble(f"""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "result") (call $exit (i32.const {code})) unreachable))""")
    assert run(program) == Outcome(code)


def test_proc_exit_in_a_start_section_gives_its_code() -> None:
    program = assemble("""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func $start (call $exit (i32.const 3))) (start $start) (func (export "result")))""")
    assert run(program) == Outcome(3)


@pytest.mark.parametrize(
    "export",
    [
        "(global (export {name}) i32 (i32.const 1))",
        "(memory (export {name}) 1)",
        "(table (export {name}) 1 funcref)",
        "(func (export {name}) (param i32) unreachable)",
        "(func (export {name}) (result i32) unreachable)",
    ],
)
def test_what_is_no_function_without_parameters_initializes_nothing(export: str) -> None:
    library = f'(module {export.format(name=chr(34) + "_initialize" + chr(34))} (func (export "f")))'
    fetch = FakeFetch()
    program = assemble(f"""(module (import "{fetch.add(assemble(library))}" "f" (func))
      {export.format(name='"_initialize"')} (func (export "result")))""")
    assert run(program, fetch) == Outcome(0, [])


def test_a_call_to_the_host_that_breaks_its_rules_ends_the_program() -> None:
    program = assemble("""(module
      (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
      (memory (export "memory") 1) (func (export "result") (drop (call $sizes (i32.const -1) (i32.const 0)))))""")
    outcome = run(program)
    assert outcome.exit_code == 1
    assert outcome.error is not None and outcome.error.code == "host-call"


GROWING = """(module (memory (export "memory") 1)
  (func (export "result") (result i32 i32) (memory.grow (i32.const 1)) (memory.grow (i32.const 1))))"""


def test_memory_beyond_the_limit_is_not_granted() -> None:
    assert run(assemble(GROWING), memory_bytes=2 << 16).results == ["1", "-1"]


def test_a_table_beyond_the_limit_is_not_granted() -> None:
    program = assemble("""(module (table 1 funcref)
      (func (export "result") (result i32) (table.grow (ref.null func) (i32.const 100))))""")
    assert run(program, memory_bytes=800).results == ["-1"]


def test_a_memory_that_starts_beyond_the_limit_ends_the_program() -> None:
    outcome = run(assemble(GROWING), memory_bytes=1 << 15)
    assert outcome.exit_code == 134
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.hint) == ("memory-limit", "give it more memory with --max-memory")


def test_a_program_that_takes_its_memory_in_its_start_section_ends_alike() -> None:
    program = assemble("""(module (memory 0)
      (func $start (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))) (start $start)
      (func (export "result")))""")
    outcome = run(program, memory_bytes=1 << 15)
    assert outcome.exit_code == 134
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.hint) == ("memory-limit", "give it more memory with --max-memory")


@pytest.mark.parametrize("body", ["unreachable", "(drop (memory.grow (i32.const 1))) unreachable", "call $fails"])
def test_another_trap_in_the_start_section_is_not_put_down_to_the_limit(body: str) -> None:
    program = assemble(f"""(module (memory 0) (func $fails unreachable) (func $start {body}) (start $start)
      (func (export "result")))""")
    outcome = run(program, memory_bytes=1 << 15)
    assert outcome.error is not None and outcome.error.code == "trap"


def test_a_memory_that_a_module_wants_larger_than_it_is_is_refused() -> None:
    fetch = FakeFetch()
    environment = fetch.add(ENVIRONMENT)
    program = assemble(f'(module (import "{environment}" "memory" (memory 1)) (func (export "result")))')
    error = refused("cannot-instantiate", program, fetch=fetch)
    assert "app.wasm" in error.message


def test_a_module_that_is_not_valid_is_refused_by_name() -> None:
    valid = assemble('(module (func (export "result") (result i32) i32.const 7))')
    assert valid.count(b"\x41\x07\x0b") == 1
    error = refused("invalid-module", valid.replace(b"\x41\x07\x0b", b"\x42\x07\x0b"))
    assert error.message.startswith("`app.wasm` is no valid module: ")


def test_the_default_export_is_called_before_start() -> None:
    both = '(module (func (export "") unreachable) (func (export "_start")))'
    assert run(assemble(both), invoke=None).exit_code == 134
    assert run(assemble('(module (func (export "_start")))'), invoke=None) == Outcome(0, [])


def test_a_module_without_entry_point_is_refused_with_what_could_be_called() -> None:
    program = assemble('(module (func (export "_initialize")) (func (export "b")) (func (export "a")))')
    error = refused("no-entry-point", program, invoke=None)
    assert error.hint == "call one of its functions with --invoke: a, b"


def test_a_function_that_is_not_there_is_refused_with_those_that_are() -> None:
    error = refused("no-such-function", assemble('(module (func (export "a")) (memory (export "m") 1))'), invoke="m")
    assert error.hint == "call one of its functions with --invoke: a"


def test_a_module_is_compiled_once_for_its_cid() -> None:
    runtime = Runtime(interruptible=False)
    node = load(assemble('(module (func (export "result")))'), FakeFetch()).root
    first, second = runtime.compile(node), runtime.compile(node)
    assert (first.cached, second.cached) == (False, True)
    assert first.module is second.module


def test_what_a_url_gave_is_compiled_anew() -> None:
    runtime = Runtime(interruptible=False)
    url = "http://example.org/a.wasm"
    for body in ("i32.const 1", "i32.const 2"):
        module = assemble(f'(module (func (export "result") (result i32) {body}))')
        node = resolve(fetched(module, url=url), FakeFetch(), LoadLimits()).root
        assert not runtime.compile(node).cached


def test_one_runtime_runs_one_job_after_the_other_each_in_its_own_memory() -> None:
    runtime = Runtime(interruptible=False)
    program = assemble("""(module (memory 1) (func (export "result") (result i32)
      (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (i32.load (i32.const 0))))""")
    assert [run(program, runtime=runtime).results for _ in range(2)] == [["1"], ["1"]]
