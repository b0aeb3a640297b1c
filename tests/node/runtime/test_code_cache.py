"""The cache of compiled modules: used again, never believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import wasmtime

from bacnode.fetch.limits import LoadLimits
from bacnode.programs.resolver import resolve
from bacnode.runtime.code_cache import CompileCache, Configuration
from bacnode.runtime.engine import Runtime
from node.harness import FakeFetch, assemble, fetched

PLAIN = Configuration(interruptible=False, fueled=False)
NUMBER = '(module (func (export "number") (result i32) i32.const {}))'


def module(number: int) -> bytes:
    return assemble(NUMBER.format(number))


def compiled(folder: Path, number: int) -> tuple[CompileCache, str, Path]:
    """Compile a module into a cache; return it, the module's CID and the file of its code."""
    cache = CompileCache(folder)
    entry = fetched(module(number))
    node = resolve(entry, FakeFetch(), LoadLimits()).root
    result = Runtime(interruptible=False, cache=cache).compile(node)
    assert not result.cached
    (file,) = (folder / "compiled" / PLAIN.name).glob(entry.identity)
    return cache, entry.identity, file


def call(runtime: Runtime, found: wasmtime.Module) -> int:
    store = wasmtime.Store(runtime.engine)
    function = wasmtime.Instance(store, found, []).exports(store)["number"]
    assert isinstance(function, wasmtime.Func)
    value = function(store)
    assert isinstance(value, int)
    return value


def test_another_process_finds_the_code(tmp_path: Path) -> None:
    compiled(tmp_path, 5)
    # As another process would: all that it shares is the folder.
    runtime = Runtime(interruptible=False, cache=CompileCache(tmp_path))
    node = resolve(fetched(module(5)), FakeFetch(), LoadLimits()).root
    again = runtime.compile(node)
    assert again.cached
    assert call(runtime, again.module) == 5


@pytest.mark.parametrize("at", [0, 100, -1, -40])
def test_changed_code_is_compiled_anew(tmp_path: Path, at: int) -> None:
    cache, cid, file = compiled(tmp_path, 6)
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    runtime = Runtime(interruptible=False, cache=cache)
    assert runtime.known(cid) is None
    assert not file.exists()


@pytest.mark.parametrize("size", [0, 10, 32, 1000])
def test_code_that_was_cut_off_is_compiled_anew(tmp_path: Path, size: int) -> None:
    cache, cid, file = compiled(tmp_path, 7)
    os.truncate(file, size)
    assert Runtime(interruptible=False, cache=cache).known(cid) is None


def test_the_code_of_another_module_is_not_taken(tmp_path: Path) -> None:
    cache, cid, file = compiled(tmp_path, 8)
    _, _, other = compiled(tmp_path, 9)
    file.write_bytes(other.read_bytes())
    assert Runtime(interruptible=False, cache=cache).known(cid) is None


def test_code_from_elsewhere_is_not_taken(tmp_path: Path) -> None:
    _, cid, file = compiled(tmp_path / "here", 10)
    _, same, foreign = compiled(tmp_path / "elsewhere", 10)
    assert same == cid
    # The very same code, sealed with another secret.
    file.write_bytes(foreign.read_bytes())
    assert Runtime(interruptible=False, cache=CompileCache(tmp_path / "here")).known(cid) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    cache, cid, file = compiled(tmp_path, 11)
    moved = tmp_path / "moved"
    file.rename(moved)
    file.symlink_to(moved)
    assert Runtime(interruptible=False, cache=cache).known(cid) is None


def test_engines_that_make_other_code_do_not_share_it(tmp_path: Path) -> None:
    cache, cid, _ = compiled(tmp_path, 12)
    assert Runtime(interruptible=True, cache=cache).known(cid) is None
    assert Runtime(interruptible=False, fueled=True, cache=cache).known(cid) is None
    assert Runtime(interruptible=False, cache=cache).known(cid) is not None


def test_what_was_used_long_ago_goes_first(tmp_path: Path) -> None:
    cache, _, first = compiled(tmp_path, 13)
    _, cid, second = compiled(tmp_path, 14)
    os.utime(first, (1000, 1000))
    os.utime(second, (900, 900))
    # To use it makes it new.
    assert Runtime(interruptible=False, cache=cache).known(cid) is not None
    size = first.stat().st_size
    small = CompileCache(tmp_path, int(size * 2.5))
    entry = fetched(module(15))
    Runtime(interruptible=False, cache=small).compile(resolve(entry, FakeFetch(), LoadLimits()).root)
    assert not first.exists()
    assert second.exists()


def test_the_secret_is_private(tmp_path: Path) -> None:
    compiled(tmp_path, 16)
    assert (tmp_path / "compiled-key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "compiled").stat().st_mode & 0o777 == 0o700
