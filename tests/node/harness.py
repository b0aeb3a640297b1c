"""What tests of the node share: modules from text, folders of modules by CID, a fetch function without a network."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import wasmtime

from bacnode.fetch.fetched import Fetched
from bacnode.programs.module_graph import Graph, Node
from bacnode.runtime.engine import Runtime
from bacnode.runtime.planner import make_plan
from bacnode.runtime.traps import Outcome
from bacnode.runtime.wasi import Job
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef, UrlRef
from bacpack.errors import UnreachableError
from commands import command, environment
from wasmtools import assemble

__all__ = ["PLENTY", "Command", "FakeFetch", "assemble", "fetched", "run_graph", "write_release"]

#: Any large enough limit, for sources.
PLENTY = 1 << 30


def write_release(folder: Path, program: bytes, *modules: bytes) -> Path:
    """Lay a program and its modules out as `bacpack split` does; return the program's path."""
    (folder / "modules").mkdir(parents=True)
    for module in modules:
        (folder / "modules" / f"{Cid.of_raw(module)}.wasm").write_bytes(module)
    path = folder / "app.wasm"
    path.write_bytes(program)
    return path


class FakeFetch:
    """Content by namespace, in memory; notes what was asked for."""

    def __init__(self, urls: Mapping[str, bytes] | None = None) -> None:
        self._by_ref: dict[str, tuple[bytes, Cid | None]] = {url: (data, None) for url, data in (urls or {}).items()}
        self.asked: list[str] = []

    def add(self, data: bytes, name: str = "") -> str:
        """Add a module under its CID, or under a name that leads to it; return its CID."""
        cid = Cid.of_raw(data)
        self._by_ref[name or str(cid)] = (data, cid)
        return str(cid)

    def __call__(self, ref: CidRef | UrlRef, max_bytes: int) -> Fetched:
        self.asked.append(str(ref))
        if str(ref) not in self._by_ref:
            raise UnreachableError("module-not-found", f"{ref} is not available", hint="add it")
        data, cid = self._by_ref[str(ref)]
        assert len(data) <= max_bytes
        return fetched(data, str(ref), cid=cid, url=None if cid else str(ref))


def fetched(data: bytes, name: str = "app.wasm", *, cid: Cid | None = None, url: str | None = None) -> Fetched:
    """A module as a source returns it; one from a file unless a URL is given."""
    known = cid if url or cid else Cid.of_raw(data)
    return Fetched(data=data, name=name, cid=known, url=url, source="file", fetched_from="memory", fetch_ms=0)


class Command:
    """The real command, with a store of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = environment(home)

    def line(self, *arguments: object) -> list[str]:
        return command(*arguments)

    def __call__(
        self, *arguments: object, stdin: bytes = b"", cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            self.line(*arguments),
            input=stdin,
            cwd=cwd,
            env={**self.environment, **(env or {})},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    def fails(self, status: int, code: str, *arguments: object, cwd: Path | None = None) -> str:
        """Run the command, which must print one error with a hint and nothing else; return the error's text."""
        done = self(*arguments, cwd=cwd)
        text = done.stderr.decode()
        assert (done.returncode, done.stdout) == (status, b""), (done.returncode, done.stdout, text)
        lines = text.splitlines()
        assert lines[0].startswith(f"error[{code}]: "), text
        assert len(lines) == 2 and lines[1].startswith("hint: "), text
        return text


def run_graph(runtime: Runtime, graph: Graph, invoke: str | None, job: Job) -> Outcome:
    """Plan, compile and run a program as the command does."""
    modules: list[wasmtime.Module] = []

    def compile_module(_cid: str, node: Node) -> bool:
        modules.append(runtime.compile(node).module)
        return False

    plan = make_plan("app.wasm", graph, invoke, compile_module)
    return runtime.run(plan, modules, job)
