"""The graph of a program's modules, and everything that is refused in it."""

import pytest

from bacnode.fetch.limits import LoadLimits
from bacnode.programs.module_graph import Graph, Node
from bacnode.programs.resolver import resolve
from bacpack.content.cid.cid import Cid
from bacpack.errors import BacpackError, InputError, UnreachableError
from node.harness import FakeFetch, assemble, fetched

LIMITS = LoadLimits()
LEAF = assemble('(module (func (export "f")) (memory (export "m") 1 2) (table (export "t") 1 funcref)'
                ' (global (export "g") i32 (i32.const 0)) (tag (export "e") (param i32)))')  # fmt: skip


def importing(*pairs: tuple[str, str]) -> bytes:
    """A module that imports each (namespace, function) and exports a function `f`."""
    imports = " ".join(f'(import "{namespace}" "{name}" (func))' for namespace, name in pairs)
    return assemble(f'(module {imports} (func (export "f")))')


def names(graph: Graph) -> list[str]:
    return [node.fetched.name for node in graph.nodes]


def only_problem(graph: Graph) -> BacpackError:
    (problem,) = graph.problems
    with pytest.raises(type(problem)) as raised:
        graph.check()
    assert raised.value is problem
    return problem


def test_a_program_without_imports_needs_only_itself() -> None:
    graph = resolve(fetched(LEAF), FakeFetch(), LIMITS)
    graph.check()
    assert names(graph) == ["app.wasm"]


def test_providers_come_before_their_users_and_the_program_last() -> None:
    fetch = FakeFetch()
    leaf = fetch.add(LEAF)
    middle = fetch.add(importing((leaf, "f")))
    graph = resolve(fetched(importing((middle, "f"), (leaf, "f"))), fetch, LIMITS)
    graph.check()
    assert names(graph) == [leaf, middle, "app.wasm"]
    assert graph.root.closure_bytes == sum(len(node.fetched.data) for node in graph.nodes)


@pytest.mark.parametrize(
    "wanted", ['"m" (memory 1)', '"t" (table 1 funcref)', '"g" (global i32)', '"e" (tag (param i32))', '"f" (func)']
)
def test_every_kind_of_import_brings_its_provider(wanted: str) -> None:
    fetch = FakeFetch()
    leaf = fetch.add(LEAF)
    graph = resolve(fetched(assemble(f'(module (import "{leaf}" {wanted}))')), fetch, LIMITS)
    graph.check()
    assert names(graph) == [leaf, "app.wasm"]


def test_a_module_is_fetched_once_however_many_need_it() -> None:
    fetch = FakeFetch()
    leaf = fetch.add(LEAF)
    users = [fetch.add(importing((leaf, "f"), (leaf, "f")) + b"\0\2\1" + bytes([number])) for number in range(5)]
    resolve(fetched(importing(*((user, "f") for user in users))), fetch, LIMITS).check()
    assert sorted(fetch.asked) == sorted([leaf, *users])


def test_one_module_under_two_names_is_one_node() -> None:
    fetch = FakeFetch()
    leaf = fetch.add(LEAF)
    folder = str(Cid.of_block(0x70, b"folder"))
    fetch.add(LEAF, name=f"{folder}/lib.wasm")
    graph = resolve(fetched(importing((leaf, "f"), (f"ipfs://{folder}/lib.wasm", "f"))), fetch, LIMITS)
    graph.check()
    (provider, _) = graph.nodes
    assert graph.namespaces(provider) == [leaf, f"ipfs://{folder}/lib.wasm"]


def test_a_missing_module_is_refused_by_name_with_the_path_to_it() -> None:
    fetch = FakeFetch()
    missing = str(Cid.of_raw(b"nowhere"))
    middle = fetch.add(importing((missing, "f")))
    problem = only_problem(resolve(fetched(importing((middle, "f"))), fetch, LIMITS))
    assert isinstance(problem, UnreachableError)
    assert (problem.code, problem.exit_status) == ("module-not-found", 3)
    assert problem.message == f"{missing} is not available (needed by app.wasm -> {middle})"
    assert problem.details["needed_by"] == ["app.wasm", middle]


def test_a_missing_module_is_asked_for_once_and_refused_for_each_user() -> None:
    fetch = FakeFetch()
    missing = str(Cid.of_raw(b"nowhere"))
    one, two = (fetch.add(importing((missing, "f"), *[(missing, "g")] * count)) for count in (0, 1))
    graph = resolve(fetched(importing((one, "f"), (two, "f"))), fetch, LIMITS)
    assert [problem.details["needed_by"] for problem in graph.problems] == [["app.wasm", one], ["app.wasm", two]]
    assert fetch.asked.count(missing) == 1


def test_an_unlinked_namespace_is_refused_with_how_to_link_it() -> None:
    problem = only_problem(resolve(fetched(importing(("env", "abort"))), FakeFetch(), LIMITS))
    assert problem.code == "unlinked-import"
    assert "`abort` of `env`" in problem.message
    assert problem.hint == (
        "name its provider with `bacpack link BLOB --map env=REF`, or below [modules] in bacpack.toml"
    )


def test_a_bad_cid_is_refused_with_the_path() -> None:
    problem = only_problem(resolve(fetched(importing((str(Cid.of_raw(b"x"))[:-1] + "1", "f"))), FakeFetch(), LIMITS))
    assert problem.code == "bad-cid"
    assert problem.message.endswith("(needed by app.wasm)")


def test_a_provider_that_lacks_the_export_is_refused() -> None:
    fetch = FakeFetch()
    leaf = fetch.add(LEAF)
    problem = only_problem(resolve(fetched(importing((leaf, "gone"))), fetch, LIMITS))
    assert (problem.code, problem.exit_status) == ("missing-export", 2)
    assert problem.message == f"`gone` is wanted from `{leaf}`, which does not export it (needed by app.wasm)"


def test_a_function_that_wasi_lacks_is_refused() -> None:
    problem = only_problem(resolve(fetched(importing(("wasi_snapshot_preview1", "fork"))), FakeFetch(), LIMITS))
    assert problem.code == "missing-export"
    assert "`fork` is wanted from `wasi_snapshot_preview1`" in problem.message


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        ('"f" (func (param i64))', "a function (i64) -> () is wanted, a function () -> () is there"),
        ('"f" (global i32)', "a global i32 is wanted, a function () -> () is there"),
        ('"m" (memory 1 1)', "a memory from 1 to 1 is wanted, a memory from 1 to 2 is there"),
        ('"t" (table 1 externref)', "a table of externref from 1 is wanted, a table of funcref from 1 is there"),
        ('"g" (global (mut i32))', "a global mutable i32 is wanted, a global i32 is there"),
        ('"e" (tag)', "a tag () -> () is wanted, a tag (i32) -> () is there"),
    ],
)
def test_a_type_mismatch_is_refused_for_every_kind(wanted: str, difference: str) -> None:
    fetch = FakeFetch()
    leaf = fetch.add(LEAF)
    middle = fetch.add(assemble(f'(module (import "{leaf}" {wanted}) (func (export "f")))'))
    problem = only_problem(resolve(fetched(importing((middle, "f"))), fetch, LIMITS))
    assert (problem.code, problem.exit_status) == ("type-mismatch", 2)
    assert difference in problem.message
    assert problem.message.endswith(f"(needed by app.wasm -> {middle})")


def test_a_circle_is_refused_with_all_that_are_in_it() -> None:
    a, b = "http://example.org/a.wasm", "http://example.org/b.wasm"
    fetch = FakeFetch({a: importing((b, "f")), b: importing((a, "f"))})
    problem = only_problem(resolve(fetched(importing((a, "f"))), fetch, LIMITS))
    assert (problem.code, problem.exit_status) == ("import-cycle", 2)
    assert problem.details["cycle"] == [a, b, a]
    assert problem.message.endswith(f"(needed by app.wasm -> {a} -> {b})")
    assert sorted(fetch.asked) == [a, b]


def test_a_module_that_imports_itself_is_a_circle() -> None:
    a = "http://example.org/a.wasm"
    problem = only_problem(resolve(fetched(importing((a, "f"))), FakeFetch({a: importing((a, "f"))}), LIMITS))
    assert problem.details["cycle"] == [a, a]


def chain(fetch: FakeFetch, length: int) -> bytes:
    """A program that stands on `length` - 1 modules, one upon the other."""
    module = LEAF
    for _ in range(length - 1):
        module = importing((fetch.add(module), "f"))
    return module


def test_modules_may_stand_as_deep_as_the_limit() -> None:
    fetch = FakeFetch()
    graph = resolve(fetched(chain(fetch, 8)), fetch, LoadLimits(depth=8))
    graph.check()
    assert graph.root.height == 8


def test_one_deeper_is_refused_and_no_more_is_fetched() -> None:
    fetch = FakeFetch()
    problem = only_problem(resolve(fetched(chain(fetch, 9)), fetch, LoadLimits(depth=8)))
    assert (problem.code, problem.exit_status) == ("too-deep", 2)
    assert len(fetch.asked) == 7
    assert len(problem.details["needed_by"]) == 8
    assert " -> … -> " in problem.message


def test_depth_counts_along_the_longest_path_also_through_modules_already_known() -> None:
    fetch = FakeFetch()
    tail = fetch.add(chain(fetch, 7))
    longer = fetch.add(importing((tail, "f")))
    program = importing((tail, "f"), (longer, "f"))
    resolve(fetched(program), fetch, LoadLimits(depth=9)).check()
    problem = only_problem(resolve(fetched(program), fetch, LoadLimits(depth=8)))
    assert problem.code == "too-deep"


def test_the_default_depth_is_resolved_without_running_out_of_stack() -> None:
    fetch = FakeFetch()
    resolve(fetched(chain(fetch, LIMITS.depth)), fetch, LIMITS).check()


def test_more_modules_than_the_limit_are_refused() -> None:
    fetch = FakeFetch()
    leaves = [fetch.add(LEAF + b"\0\2\1" + bytes([number])) for number in range(4)]
    program = importing(*((leaf, "f") for leaf in leaves))
    resolve(fetched(program), fetch, LoadLimits(modules=5)).check()
    problem = only_problem(resolve(fetched(program), fetch, LoadLimits(modules=4)))
    assert (problem.code, problem.exit_status) == ("too-many-modules", 2)


def test_sources_are_told_what_a_module_may_still_weigh() -> None:
    offered: list[int] = []
    fetch = FakeFetch()
    leaf, other = fetch.add(LEAF), fetch.add(LEAF + b"\0\2\1x")
    program = fetched(importing((leaf, "f"), (other, "f")))

    def noting(ref, max_bytes):  # type: ignore[no-untyped-def]
        offered.append(max_bytes)
        return fetch(ref, max_bytes)

    resolve(program, noting, LoadLimits(module_bytes=250, total_bytes=500)).check()
    assert offered == [250, min(250, 500 - len(program.data) - len(LEAF))]


def test_a_provider_that_is_no_module_is_refused_by_name() -> None:
    fetch = FakeFetch()
    junk = fetch.add(b"no module")
    problem = only_problem(resolve(fetched(importing((junk, "f"))), fetch, LIMITS))
    assert problem.code == "not-wasm"
    assert problem.message.startswith(f"`{junk}` cannot be linked: ")
    assert problem.message.endswith("(needed by app.wasm)")


def test_a_program_that_is_no_module_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"^`app.wasm`: this is no WebAssembly module") as raised:
        resolve(fetched(b"no module"), FakeFetch(), LIMITS)
    assert raised.value.code == "not-wasm"


def test_all_problems_are_gathered() -> None:
    missing = str(Cid.of_raw(b"nowhere"))
    graph = resolve(fetched(importing(("env", "a"), (missing, "f"), ("other", "b"))), FakeFetch(), LIMITS)
    assert [problem.code for problem in graph.problems] == ["unlinked-import", "module-not-found", "unlinked-import"]
    assert all(isinstance(problem, InputError | UnreachableError) for problem in graph.problems)


def test_not_more_problems_are_gathered_than_anybody_reads() -> None:
    graph = resolve(fetched(importing(*((f"n{number}", "f") for number in range(2000)))), FakeFetch(), LIMITS)
    assert len(list(graph.problems)) == 100


def test_ten_thousand_imports_are_no_trouble() -> None:
    fetch = FakeFetch()
    leaf = fetch.add(LEAF)
    resolve(fetched(importing(*[(leaf, "f")] * 10_000)), fetch, LIMITS).check()
    assert fetch.asked == [leaf]


def test_a_node_lists_each_provider_once() -> None:
    fetch = FakeFetch()
    leaf = fetch.add(LEAF)
    node: Node = resolve(fetched(importing((leaf, "f"), (f"ipfs://{leaf}", "f"))), fetch, LIMITS).root
    assert [dependency.fetched.name for dependency in node.dependencies] == [leaf]
