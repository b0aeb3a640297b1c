"""Arguments and results of `--invoke` as text."""

import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bacnode.runtime.call_arguments import format_results, parse_arguments
from bacpack.errors import InputError
from bacpack.wasm import FuncType
from bacpack.wasm.types import EXTERNREF, F32, F64, FUNCREF, I32, I64, V128
from node.harness import Command, assemble


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (I32, "-2147483648", -(2**31)),
        (I32, "0x7fffffff", 2**31 - 1),
        (I32, "+7", 7),
        (I64, "9223372036854775807", 2**63 - 1),
        (F32, "1.5", 1.5),
        (F64, "-1e300", -1e300),
        (F64, "inf", math.inf),
        (F64, ".5", 0.5),
    ],
)
def test_an_argument_is_read_by_its_type(type_: bytes, text: str, value: float) -> None:
    (read,) = parse_arguments("f", FuncType((type_,), ()), [text])
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("type_", "text"),
    [(I32, "2147483648"), (I32, "1.0"), (I32, "1_0"), (I32, ""), (I32, "0x80000000"), (I64, "x"), (F64, "1_0.0")],
)
def test_an_argument_of_another_type_is_refused(type_: bytes, text: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_arguments("f", FuncType((type_,), ()), [text])
    assert refused.value.code == "bad-argument"


def test_too_few_arguments_are_refused_with_those_that_are_wanted() -> None:
    with pytest.raises(InputError) as refused:
        parse_arguments("f", FuncType((I32, F64), ()), ["1"])
    assert refused.value.message == "`f` takes 2 arguments (i32, f64), and 1 are given"


def test_arguments_left_over_are_ignored() -> None:
    assert parse_arguments("f", FuncType((I32,), ()), ["1", "2"]) == [1]


@pytest.mark.parametrize("type_", [None, FuncType((V128,), ()), FuncType((EXTERNREF,), ()), FuncType((), (V128,))])
def test_signatures_of_more_than_numbers_are_refused(type_: FuncType | None) -> None:
    with pytest.raises(InputError) as refused:
        parse_arguments("f", type_, [])
    assert refused.value.code == "unsupported-signature"


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (I32, -1, "-1"),
        (I64, 2**63 - 1, "9223372036854775807"),
        (F64, 3.0, "3"),
        (F64, -0.0, "-0"),
        (F64, 0.1, "0.1"),
        (F64, 1e21, "1000000000000000000000"),
        (F64, 1e-7, "0.0000001"),
        (F64, math.nan, "NaN"),
        (F64, -math.inf, "-inf"),
        (F32, struct.unpack("<f", struct.pack("<f", 0.1))[0], "0.1"),
        (F32, 16777216.0, "16777216"),
        (F32, 3.4028234663852886e38, "340282350000000000000000000000000000000"),
        (FUNCREF, None, "<null funcref>"),
        (EXTERNREF, "x", "<externref>"),
    ],
)
def test_a_result_is_written_as_the_wasmtime_command_does(type_: bytes, value: object, text: str) -> None:
    assert format_results([value], FuncType((), (type_,))) == [text]


@given(st.floats(allow_nan=False))
def test_every_f64_reads_back_as_itself(value: float) -> None:
    (text,) = format_results([value], FuncType((), (F64,)))
    assert parse_arguments("f", FuncType((F64,), ()), [text]) == [value]


@given(st.floats(allow_nan=False, width=32))
def test_every_f32_reads_back_as_itself(value: float) -> None:
    (text,) = format_results([value], FuncType((), (F32,)))
    (read,) = parse_arguments("f", FuncType((F32,), ()), [text])
    assert struct.pack("<f", read) == struct.pack("<f", value)


def test_a_null_reference_is_a_result(tmp_path: Path, command: Command) -> None:
    for kind, shown in (("extern", b"<null externref>\n"), ("func", b"<null funcref>\n")):
        module = assemble(f'(module (func (export "f") (result {kind}ref) ref.null {kind}) (func (export "none")))')
        (tmp_path / "app.wasm").write_bytes(module)
        assert command("run", tmp_path / "app.wasm", "--invoke", "f").stdout == shown
    assert command("run", tmp_path / "app.wasm", "--invoke", "none").stdout == b""
