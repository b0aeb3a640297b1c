"""A program and a module that it names work on one memory: in C and Go, by `bacpack run` and by wasmtime alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wasmtime

from bacpack.errors import InputError
from bacpack.linker.shared_library import PLACE, ROOM, relocate, reserved_bytes
from bacpack.split.abi.environment import environment, environment_cid
from bacpack.wasm import Module
from golang import build_go
from node.harness import Command, assemble
from project.conftest import SOURCES

ARGUMENTS = ["hello world", "x", "one two three", "a b c d"]
SAID = "HELLO WORLD! 2 10 5\nX? 1 1 1\nONE TWO THREE... 3 11 5\nA B C D! 4 4 1\n"


def cids(project: Path) -> dict[str, str]:
    manifest = json.loads((project / "out" / "bacpack.json").read_text())
    return {app["name"]: app["cid"] for app in manifest["apps"]}


def test_a_program_in_c_and_its_module_share_memory(command: Command, c_project: Path) -> None:
    built = command("build", "--json", cwd=c_project)
    assert built.returncode == 0, built.stderr
    answer = json.loads(built.stdout)
    assert [module["name"] for module in answer["named"]] == ["greet"]
    done = command("run", c_project / "out" / "job.wasm", *ARGUMENTS)
    assert (done.returncode, done.stdout.decode()) == (0, SAID), done.stderr
    assert command("publish", ".", cwd=c_project).returncode == 0
    done = command("run", "--offline", cids(c_project)["job"], *ARGUMENTS)
    assert done.stdout.decode() == SAID


def test_what_was_built_is_proved_against_what_was_compiled(command: Command, c_project: Path) -> None:
    assert command("build", cwd=c_project).returncode == 0
    done = command("verify", c_project / "out", "--against", c_project / "job.wasm", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    lock = json.loads((c_project / "bacpack.lock").read_text())
    assert result["verified"] == ["job"]
    assert result["linked"] == {"greet": lock["modules"]["greet"]["cid"]}
    # By what the lock says alone: another module is another program.
    lock["modules"]["greet"]["cid"] = environment_cid()
    (c_project / "bacpack.lock").write_text(json.dumps(lock))
    command.fails(1, "not-equivalent", "verify", c_project / "out", "--against", c_project / "job.wasm")


def test_wasmtime_alone_runs_what_was_built(command: Command, c_project: Path, tmp_path: Path) -> None:
    assert command("build", cwd=c_project).returncode == 0
    engine = wasmtime.Engine()
    store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
    config = wasmtime.WasiConfig()
    config.argv = ["job", *ARGUMENTS]
    config.stdout_file = str(tmp_path / "said")
    store.set_wasi(config)
    linker.define_wasi()
    modules = {path.stem: path.read_bytes() for path in (c_project / "out" / "modules").glob("*.wasm")}

    def define(cid: str) -> None:
        if cid in modules:
            data = modules.pop(cid)
            for entry in Module.parse(data).imports:
                define(entry.module)
            provider = linker.instantiate(store, wasmtime.Module(engine, data))
            linker.define_instance(store, cid, provider)

    program = (c_project / "out" / "job.wasm").read_bytes()
    for entry in Module.parse(program).imports:
        define(entry.module)
    start = linker.instantiate(store, wasmtime.Module(engine, program)).exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    try:
        start(store)
    except wasmtime.ExitTrap as exited:
        assert exited.code == 0
    store.close()
    assert (tmp_path / "said").read_text() == SAID


def test_a_program_in_go_lends_the_module_its_memory(command: Command, c_project: Path) -> None:
    build_go(SOURCES / "job.go", c_project / "gojob.wasm", "-ldflags=-s -w", "-mod=mod")
    config = (c_project / "bacpack.toml").read_text().replace('"job.wasm"', '"gojob.wasm"')
    (c_project / "bacpack.toml").write_text(config)
    built = command("build", cwd=c_project)
    assert built.returncode == 0, built.stderr
    done = command("run", c_project / "out" / "gojob.wasm", *ARGUMENTS)
    assert done.stdout.decode().splitlines() == [
        "HELLO WORLD 2 10 5",
        "X 1 1 1",
        "ONE TWO THREE 3 11 5",
        "A B C D 4 4 1",
    ]


class Placed:
    """A placed module in an engine, with 40 pages of memory that somebody else grew."""

    def __init__(self, data: bytes) -> None:
        engine = wasmtime.Engine()
        self.store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
        env = linker.instantiate(self.store, wasmtime.Module(engine, environment()))
        linker.define_instance(self.store, environment_cid(), env)
        memory = env.exports(self.store)["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self.memory = memory
        self.memory.grow(self.store, 40)
        self.exports = linker.instantiate(self.store, wasmtime.Module(engine, data)).exports(self.store)

    def __call__(self, name: str, *arguments: int) -> int:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        result: int = function(self.store, *arguments)
        return result


def test_only_the_room_is_touched(built_c: Path) -> None:
    placed = relocate("greet.wasm", (built_c / "greet.wasm").read_bytes())
    assert placed.reserved == reserved_bytes(Module.parse(placed.data)) > 16384
    module = Placed(placed.data)
    assert module(ROOM) == placed.reserved
    at, size = 1_000_003, module.memory.data_len(module.store)
    module.memory.write(module.store, b"\xaa" * size, 0)
    module(PLACE, at)
    text = 2_000_000
    module.memory.write(module.store, b"one two", text)
    module("measure", text, 7, text + 16)
    assert module.memory.read(module.store, text + 16, text + 28) == bytes([2, 0, 0, 0, 6, 0, 0, 0, 3, 0, 0, 0])
    mark = module("mark")
    assert at <= mark < at + placed.reserved
    assert module.memory.read(module.store, mark, mark + 2) == b"!\0"
    assert set(module.memory.read(module.store, 0, at)) == {0xAA}
    assert set(module.memory.read(module.store, at + placed.reserved, text)) == {0xAA}


def test_a_second_place_changes_nothing(built_c: Path) -> None:
    module = Placed(relocate("greet.wasm", (built_c / "greet.wasm").read_bytes()).data)
    module(PLACE, 100_000)
    first = module("mark")
    module(PLACE, 900_000)
    assert 100_000 <= module("mark") < 200_000
    assert 100_000 <= first < 200_000


def test_without_room_a_call_traps(built_c: Path) -> None:
    module = Placed(relocate("greet.wasm", (built_c / "greet.wasm").read_bytes()).data)
    with pytest.raises(wasmtime.Trap):
        module("mark")


def test_room_beyond_the_memory_traps(built_c: Path) -> None:
    module = Placed(relocate("greet.wasm", (built_c / "greet.wasm").read_bytes()).data)
    with pytest.raises(wasmtime.Trap):
        module(PLACE, 40 * 65536 - 100)


def test_a_placed_module_stays_as_it_is(built_c: Path) -> None:
    placed = relocate("greet.wasm", (built_c / "greet.wasm").read_bytes())
    assert relocate("again.wasm", placed.data) == placed


def test_a_module_without_memory_needs_no_room() -> None:
    data = assemble('(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))')
    assert relocate("add.wasm", data).reserved == 0
    assert relocate("add.wasm", data).data == data


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('(module (memory 1) (data (i32.const 8) "x") (func (export "f")))', "without relocations"),
        ('(module (import "env" "memory" (memory 1)))', "is no function"),
        (
            '(module (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32))) (memory 1))',
            "the host",
        ),
        ("(module (memory i64 1))", "no plain one of 32 bits"),
    ],
)
def test_what_cannot_be_moved_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        relocate("lib.wasm", assemble(text))
    assert caught.value.code == "cannot-share"


def test_a_library_without_relocations_is_refused(command: Command, c_project: Path) -> None:
    (c_project / "plain.wasm").replace(c_project / "greet.wasm")
    text = command.fails(2, "cannot-share", "build", "-q", cwd=c_project)
    assert "--emit-relocs" in text


def test_a_program_that_gives_no_room_is_refused(command: Command, c_project: Path) -> None:
    program = assemble("""(module (import "greet" "mark" (func $mark (result i32))) (memory (export "memory") 1)
      (func (export "_start") (drop (call $mark))))""")
    (c_project / "job.wasm").write_bytes(program)
    text = command.fails(2, "module-not-placed", "build", "-q", cwd=c_project)
    assert "`_place`" in text


def test_link_by_the_configuration_gives_one_memory(command: Command, c_project: Path) -> None:
    done = command("link", "job.wasm", "-o", "linked/job.wasm", "--json", cwd=c_project)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["unlinked"] == []
    assert len(list((c_project / "linked" / "modules").iterdir())) == 2
    done = command("run", "--offline", c_project / "linked" / "job.wasm", *ARGUMENTS)
    assert done.stdout.decode() == SAID
    # The same by a file that was placed before.
    placed = c_project / "linked" / "modules" / f"{answer['linked']['greet']}.wasm"
    assert command("link", "job.wasm", "--map", f"greet={placed}", "-o", "two/job.wasm", cwd=c_project).returncode == 0
    assert (c_project / "two" / "job.wasm").read_bytes() == (c_project / "linked" / "job.wasm").read_bytes()


def test_link_without_names_says_what_to_do(command: Command, c_project: Path) -> None:
    (c_project / "bacpack.toml").write_text("")
    assert "--map" in command.fails(2, "usage", "link", "job.wasm", cwd=c_project)


def test_a_crate_that_was_not_built(command: Command, c_project: Path) -> None:
    (c_project / "bacpack.toml").write_text('[modules]\ngreet = "greet"\n')
    command.fails(2, "not-built", "link", "job.wasm", cwd=c_project)
