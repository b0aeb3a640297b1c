"""Eight times as large a program takes about eight times as long, whatever there is much of in it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from bacpack.split.input.blob import Input
from bacpack.split.model.grouping import group_by_users
from bacpack.split.pipeline.steps import split
from bacpack.wasm import Export, FuncType, Kind, Limits, SectionId, writer
from bacpack.wasm.leb128 import encode_unsigned
from bacpack.wasm.types import I32

#: How many times as much there is of something; a time that grows with the square grows by as much again.
TIMES = 8


def program(bodies: list[bytes], exported: list[int]) -> bytes:
    """A program with a memory, of functions from i32 to i32."""
    return writer.module(
        [
            writer.section(SectionId.TYPE, writer.vector([writer.func_type(FuncType((I32,), (I32,)))])),
            writer.section(SectionId.FUNCTION, writer.vector([b"\0"] * len(bodies))),
            writer.section(SectionId.MEMORY, writer.vector([writer.limits(Limits(1))])),
            writer.section(
                SectionId.EXPORT,
                writer.vector(writer.export(Export(f"f{index}", Kind.FUNCTION, index)) for index in exported),
            ),
            writer.section(SectionId.CODE, writer.vector(map(writer.sized, bodies))),
        ]
    )


def of_one_shape(count: int, seed: int) -> bytes:
    """Functions that differ in their constants alone."""
    chance = random.Random(seed)

    def add() -> bytes:
        return b"\x20\0" + writer.i32_const(chance.randrange(2000, 10**6)) + b"\x6a\x21\0"

    bodies = [b"\0" + add() + add() + add() + b"\x20\0\x0b" for _ in range(count)]
    return program(bodies, list(range(count)))


def chain_of_calls(count: int, seed: int) -> bytes:
    """Functions of one shape, each of which calls the next."""
    count += seed
    links = [b"\0\x20\0\x41\x01\x6a\x10" + encode_unsigned(index) + b"\x0b" for index in range(1, count)]
    return program([*links, b"\0\x41\x05\x0b"], [0])


@pytest.mark.parametrize(("generate", "count"), [(of_one_shape, 250), (chain_of_calls, 250)])
def test_time_grows_as_the_program(generate: Callable[[int, int], bytes], count: int) -> None:
    def seconds(count: int) -> float:
        inputs = [Input(f"app{seed}", generate(count, seed), f"app{seed}.wasm") for seed in (1, 2)]
        started = time.process_time()
        split(inputs)
        return time.process_time() - started

    seconds(10)
    # A busy machine swings by less than twice, and what is quadratic takes 64 times as long.
    assert seconds(TIMES * count) < 3 * TIMES * max(seconds(count), 0.005)


def test_many_groups_of_users_are_merged_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bacpack.split.model.grouping._MOST_COMPARED", 32)

    @dataclass(frozen=True)
    class Item:
        users: int

    def seconds(count: int) -> float:
        chance = random.Random(1)
        items = [(Item(chance.getrandbits(30) | 3 << 30), 60) for _ in range(count)]
        started = time.process_time()
        groups = group_by_users(items)
        assert sum(len(group.items) for group in groups) == count
        return time.process_time() - started

    assert seconds(TIMES * 200) < 3 * TIMES * seconds(200)
