"""Calling an exported function with arguments as text, as the wasmtime command does."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from bacpack.errors import InputError
from bacpack.wasm import FuncType
from bacpack.wasm.interface import Type
from bacpack.wasm.types import EXTERNREF, F32, F64, FUNCREF, I32, I64

_BITS = {I32: 32, I64: 64}
_INTEGER = re.compile(r"[+-]?[0-9]+|0[xX][0-9a-fA-F]+")
_FLOAT = re.compile(r"[+-]?(inf|infinity|nan|([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?)", re.IGNORECASE)
_NAMES = {I32: "i32", I64: "i64", F32: "f32", F64: "f64"}


def parse_arguments(function: str, type_: Type | None, texts: Sequence[str]) -> list[int | float]:
    """Read one argument for each parameter of the function; what is left over is ignored.

    Raises `InputError`: `unsupported-signature`, `bad-argument`.
    """
    if not isinstance(type_, FuncType) or not set(type_.params) <= _NAMES.keys() or not _printable(type_):
        raise InputError(
            "unsupported-signature",
            f"`{function}` cannot be called from the command line: it takes or returns more than numbers",
            hint="call a function whose parameters are i32, i64, f32 or f64",
            details={"function": function},
        )
    if len(texts) < len(type_.params):
        wanted = ", ".join(_NAMES[param] for param in type_.params)
        raise InputError(
            "bad-argument",
            f"`{function}` takes {len(type_.params)} arguments ({wanted}), and {len(texts)} are given",
            hint="give the arguments after the program",
            details={"function": function},
        )
    return [_value(function, param, text) for param, text in zip(type_.params, texts, strict=False)]


def format_results(results: Sequence[Any], type_: Type | None) -> list[str]:
    """Return each result of a call as text. The engine gives None for none and for a null reference: the type tells."""
    types = type_.results if isinstance(type_, FuncType) else ()
    return [_result_text(value, result_type) for value, result_type in zip(results, types, strict=bool(types))]


def _result_text(value: Any, type_: bytes) -> str:
    if type_ in _BITS:
        return str(value)
    if type_ in (F32, F64):
        return _float_text(value, type_)
    name = "funcref" if type_ == FUNCREF else "externref"
    return f"<null {name}>" if value is None else f"<{name}>"


def _printable(type_: FuncType) -> bool:
    return set(type_.results) <= {*_NAMES, FUNCREF, EXTERNREF}


def _value(function: str, param: bytes, text: str) -> int | float:
    if param in _BITS and _INTEGER.fullmatch(text):
        value = int(text, 16 if text[:2] in ("0x", "0X") else 10)
        if -(1 << _BITS[param] - 1) <= value < 1 << _BITS[param] - 1:
            return value
    if param not in _BITS and _FLOAT.fullmatch(text):
        return float(text)
    raise InputError(
        "bad-argument",
        f"`{text}` is no {_NAMES[param]}, which `{function}` takes",
        hint="integers are decimal, or hexadecimal after 0x; negative ones follow `--`",
        details={"function": function, "argument": text},
    )


def _float_text(value: float, type_: bytes) -> str:
    """Write a float as Rust does: the shortest digits that read back as the same number, and no exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    digits = repr(value)
    if type_ == F32:
        packed = struct.pack("<f", value)
        candidates = (f"{value:.{precision}g}" for precision in range(1, 10))
        digits = next(text for text in candidates if _packs_to(text, packed))
    text = format(Decimal(digits), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _packs_to(text: str, packed: bytes) -> bool:
    try:
        return struct.pack("<f", float(text)) == packed
    except OverflowError:
        # Rounded up, the largest number goes beyond what an f32 can hold.
        return False
