"""Cutting code: every run and every token ends where an instruction does, whatever the code."""

from __future__ import annotations

import time
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacpack.proof.code.tokenizer import Depth, _tokenize_slowly, ends_with, instructions_start, locals_named, tokenize
from bacpack.wasm import Module, WasmError
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.reader import Reader
from corpus import image_blobs, rust_programs
from proof.instructions import codes
from wasmtools import ALL_FEATURES, assemble, padded, smith

DEPTHS = list(Depth)
#: What a run may never hold: it means something only in its own module.
OWN = {"func", "type", "table", "global", "data", "elem", "tag", "field"}


def check(code: bytes, depth: Depth) -> None:
    """The pieces are the code, they end where instructions do, and runs hold what reads the same in any module."""
    runs, tokens = tokenize(code, 0, len(code), depth)
    assert b"".join(chain.from_iterable(zip(runs, [*tokens, b""], strict=True))) == code
    slow_runs, slow_tokens = [b""], list[bytes]()
    _tokenize_slowly(code, 0, len(code), depth, slow_runs, slow_tokens)
    assert (slow_runs, slow_tokens) == (runs, tokens)
    named: set[int] = set()
    for run in runs:
        reader = Reader(run)
        starts: list[int] = []
        while reader.remaining:
            starts.append(reader.position)
            row, values = reader.instruction()
            if row.immediates == ("local",):
                named.add(values[0])
            assert OWN.isdisjoint(row.immediates)
            assert row.name != "memory.grow"
            if row.immediates in (("i32",), ("i64",)):
                assert depth == Depth.COARSE
                assert -64 <= values[0] < 64
            if "memarg" in row.immediates:
                assert depth == Depth.COARSE
                assert values[1] == 0
            if "memory" in row.immediates:
                assert set(values) == {0}
        for size in range(1, min(len(run), 8)):
            assert ends_with(run, run[-size:]) == (len(run) - size in starts)
    assert locals_named(runs) == named
    for token in tokens:
        assert token
        reader = Reader(token)
        count = 0
        while reader.remaining:
            reader.instruction()
            count += 1
        assert count <= (3 if depth == Depth.COARSE else 1)


def check_module(module: bytes, every: int = 1) -> None:
    for body in Module.parse(module).bodies[::every]:
        code = module[instructions_start(module, body) : body.end]
        for depth in DEPTHS:
            check(code, depth)


@pytest.mark.parametrize("depth", DEPTHS)
@given(code=codes)
def test_any_instructions_are_cut_where_they_end(depth: Depth, code: bytes) -> None:
    check(code + b"\x0b", depth)


@pytest.mark.parametrize("seed", range(30))
def test_modules_made_by_chance_are_cut_where_instructions_end(seed: int) -> None:
    module = smith(seed, *ALL_FEATURES)
    check_module(module)


@pytest.mark.parametrize(
    "code", [b"\x43\x00\x00\x22\x03", b"\x0e\x03\x20\x21\x22\x03", b"\x0e\xa0\x01" + b"\x22" * 161]
)
def test_what_looks_like_an_instruction_within_another_is_none(code: bytes) -> None:
    assert not ends_with(code, code[-2:])
    assert ends_with(b"\x20\x09" + code + b"\x22\x03", b"\x22\x03")
    assert locals_named([code]) == set()
    assert locals_named([b"\x20\x09", code + b"\x22\x80\x02\x01"]) == {9, 256}


@pytest.mark.parametrize("name", ["png-read-image.wasi", "wordcount"])
def test_real_programs_are_cut_where_instructions_end(name: str) -> None:
    check_module((image_blobs() | rust_programs())[name].read_bytes(), every=7)


@pytest.mark.parametrize("targets", [0, 1, 126, 127, 128, 129, 300, 5000])
@pytest.mark.parametrize("depth", DEPTHS)
def test_tables_of_many_targets_belong_to_runs(targets: int, depth: Depth) -> None:
    table = b"\x0e" + encode_unsigned(targets) + b"\x00" * (targets + 1)
    code = b"\x20\x00" + table + b"\x10\x05" + table + table + b"\x0b"
    assert tokenize(code, 0, len(code), depth) == ([b"\x20\x00" + table, table * 2 + b"\x0b"], [b"\x10\x05"])


@pytest.mark.parametrize("depth", DEPTHS)
def test_very_many_rare_instructions_are_cut_in_time(depth: Depth) -> None:
    code = b"\x1f\x40\x00\x0b" * 100_000 + b"\x0b"
    started = time.process_time()
    runs, tokens = tokenize(code, 0, len(code), depth)
    assert (runs[-1], tokens) == (b"\x0b\x0b", [b"\x1f\x40\x00"] * 100_000)
    assert time.process_time() - started < 4


def test_a_constant_that_selects_an_entry_goes_with_the_call() -> None:
    code = b"\x41\x05\x11\x03\x01\x41\x05\x1a\x23\x02\x41\xe8\x07\x6a\x1a\x0b"
    assert tokenize(code, 0, len(code), Depth.COARSE) == (
        [b"", b"\x41\x05\x1a", b"\x1a\x0b"],
        [b"\x41\x05\x11\x03\x01", b"\x23\x02\x41\xe8\x07\x6a"],
    )
    runs, tokens = tokenize(code, 0, len(code), Depth.FINE)
    assert tokens == [b"\x41\x05", b"\x11\x03\x01", b"\x41\x05", b"\x23\x02", b"\x41\xe8\x07"]
    assert runs == [b"", b"", b"", b"\x1a", b"", b"\x6a\x1a\x0b"]


def test_padded_numbers_are_tokens() -> None:
    module = assemble("(module (memory 1) (func i32.const 8 i32.load offset=4 drop))")
    wide = padded(module)
    body = Module.parse(wide).bodies[0]
    _, tokens = tokenize(wide, instructions_start(wide, body), body.end, Depth.COARSE)
    assert tokens == [b"\x41\x88\x80\x80\x80\x00", b"\x28\x02\x84\x80\x80\x80\x00"]


@pytest.mark.parametrize(
    "code", [b"\xff\x0b", b"\x10", b"\x41\x80", b"\x0e\x81\x01\x0b", b"\x20\x00\xfc\x99\x01\x0b", b"\x44\x0b"]
)
@pytest.mark.parametrize("depth", DEPTHS)
def test_malformed_code_is_an_error(code: bytes, depth: Depth) -> None:
    with pytest.raises(WasmError):
        tokenize(code, 0, len(code), depth)


@given(code=st.binary(min_size=1, max_size=60))
def test_any_bytes_are_cut_or_refused(code: bytes) -> None:
    for depth in DEPTHS:
        try:
            runs, tokens = tokenize(code, 0, len(code), depth)
        except WasmError:
            continue
        assert b"".join(chain.from_iterable(zip(runs, [*tokens, b""], strict=True))) == code
