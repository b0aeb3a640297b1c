"""Hypothesis strategy: code, as any sequence of instructions, whether valid or not."""

from __future__ import annotations

from hypothesis import strategies as st

from bacpack.wasm.leb128 import encode_signed, encode_unsigned
from bacpack.wasm.opcodes import OPCODES, Opcode
from strategies_wasm import heap_types, s64s, u32s, value_types
from wasmtools import padded_signed, padded_unsigned

_index = u32s.map(encode_unsigned) | st.integers(0, 3).map(padded_unsigned)
_label = st.integers(0, 5).map(encode_unsigned)
_memory = st.sampled_from([b"\0", b"\0", b"\1"])
_offset = st.integers(0, 2**40).map(encode_unsigned) | u32s.map(padded_unsigned) | st.just(b"\0")
_handler = st.tuples(st.sampled_from([b"\0", b"\1"]), _index, _label) | st.tuples(
    st.sampled_from([b"\2", b"\3"]), _label
)


def _vector(items: st.SearchStrategy[bytes], least: int = 0) -> st.SearchStrategy[bytes]:
    lists = st.lists(items, min_size=least, max_size=4)
    return lists.map(lambda found: encode_unsigned(len(found) - least) + b"".join(found))


_IMMEDIATES: dict[str, st.SearchStrategy[bytes]] = {
    **dict.fromkeys(("type", "func", "table", "global", "data", "elem", "tag", "local", "field", "count"), _index),
    "label": _label,
    "memory": _memory,
    "block": st.just(b"\x40") | value_types | st.integers(0, 200).map(encode_signed),
    "heap": heap_types,
    "types": _vector(value_types),
    "labels": _vector(_label, least=1),
    "catches": _vector(_handler.map(b"".join)),
    "cast": st.sampled_from([b"\0", b"\1", b"\2", b"\3"]),
    "memarg": st.builds(bytes.__add__, st.integers(0, 4).map(encode_unsigned) | st.just(b"\x42\1"), _offset),
    "i32": st.integers(-(2**31), 2**31 - 1).map(encode_signed) | st.integers(-70, 70).map(padded_signed),
    "i64": s64s.map(encode_signed),
    "f32": st.binary(min_size=4, max_size=4),
    "f64": st.binary(min_size=8, max_size=8),
    "v128": st.binary(min_size=16, max_size=16),
    "lanes": st.binary(min_size=16, max_size=16),
    "lane": st.binary(min_size=1, max_size=1),
    "zero": st.just(b"\0"),
}


def _instruction(row: Opcode) -> st.SearchStrategy[bytes]:
    return st.tuples(*(_IMMEDIATES[kind] for kind in row.immediates)).map(lambda parts: row.encoding + b"".join(parts))


#: Code without the final `end`; the last byte of each instruction may look like the start of another.
codes = st.lists(st.sampled_from(OPCODES).flatmap(_instruction), max_size=12).map(b"".join)
