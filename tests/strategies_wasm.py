"""Hypothesis strategies: the records of a module."""

from __future__ import annotations

from array import array

from hypothesis import strategies as st

from bacpack.wasm import Export, FuncType, GlobalType, Import, Kind, Limits, TableType, writer
from bacpack.wasm.leb128 import encode_signed, encode_unsigned
from bacpack.wasm.types import EXTERNREF, F32, F64, FUNCREF, I32, I64, V128, Data, Element, Global, Mode, Table

#: Numbers around each length that a LEB128 form can have.
u32s = st.integers(0, 2**32 - 1) | st.sampled_from([0, 127, 128, 2**14 - 1, 2**14, 2**28, 2**32 - 1])
u64s = st.integers(0, 2**64 - 1) | u32s
s64s = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-65, -64, 63, 64, -(2**31), 2**31 - 1])

_ABSTRACT_HEAP_TYPES = [bytes([code]) for code in range(0x69, 0x75)]
heap_types = st.sampled_from(_ABSTRACT_HEAP_TYPES) | st.integers(0, 2**32 - 1).map(encode_signed)
value_types = st.sampled_from([I32, I64, F32, F64, V128, *_ABSTRACT_HEAP_TYPES]) | st.builds(
    bytes.__add__, st.sampled_from([b"\x63", b"\x64"]), heap_types
)
reference_types = st.sampled_from([FUNCREF, EXTERNREF]) | st.builds(bytes.__add__, st.just(b"\x63"), heap_types)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
func_types = st.builds(
    FuncType,
    st.lists(value_types, max_size=5).map(tuple),
    st.lists(value_types, max_size=3).map(tuple),
)


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    """Limits of every form, also those that no module could use."""
    is_64 = draw(st.booleans())
    sizes = u64s if is_64 else u32s
    return Limits(draw(sizes), draw(st.none() | sizes), draw(st.booleans()), is_64)


table_types = st.builds(TableType, reference_types, limits())
global_types = st.builds(GlobalType, value_types, st.booleans())


#: Constant expressions, their `end` included.
constant_expressions = st.builds(
    lambda instructions: b"".join(instructions) + writer.END,
    st.lists(
        st.integers(-(2**31), 2**31 - 1).map(writer.i32_const)
        | s64s.map(lambda value: b"\x42" + encode_signed(value))
        | u32s.map(lambda index: b"\x23" + encode_unsigned(index))
        | u32s.map(lambda index: b"\xd2" + encode_unsigned(index))
        | heap_types.map(lambda heap: b"\xd0" + heap)
        | st.binary(min_size=16, max_size=16).map(lambda value: b"\xfd\x0c" + value)
        | st.sampled_from([b"\x6a", b"\x6b", b"\x6c"]),
        min_size=1,
        max_size=4,
    ),
)

imports = st.one_of(
    st.builds(Import, names, names, st.sampled_from([Kind.FUNCTION, Kind.TAG]), u32s),
    st.builds(Import, names, names, st.just(Kind.TABLE), table_types),
    st.builds(Import, names, names, st.just(Kind.MEMORY), limits()),
    st.builds(Import, names, names, st.just(Kind.GLOBAL), global_types),
)
exports = st.builds(Export, names, st.sampled_from(Kind), u32s)
globals_ = st.builds(Global, global_types, constant_expressions)
tables = st.builds(Table, table_types, st.none() | constant_expressions)


@st.composite
def elements(draw: st.DrawFn) -> Element:
    """Element segments of all eight forms."""
    mode = draw(st.sampled_from(Mode))
    active = mode == Mode.ACTIVE
    table = draw(u32s) if active else 0
    offset = draw(constant_expressions) if active else None
    if draw(st.booleans()):
        return Element(mode, table, offset, FUNCREF, array("I", draw(st.lists(u32s, max_size=5))), None)
    type_ = draw(reference_types)
    return Element(mode, table, offset, type_, None, draw(st.lists(constant_expressions, max_size=3)))


@st.composite
def data_segments(draw: st.DrawFn) -> tuple[Data, bytes]:
    """Data segments with their content; where it stands in the file is not known yet."""
    content = draw(st.binary(max_size=200))
    if draw(st.booleans()):
        return Data(Mode.PASSIVE, 0, None, 0, 0), content
    return Data(Mode.ACTIVE, draw(u32s), draw(constant_expressions), 0, 0), content


#: Numbers from which `wasmtools.smith` makes a module.
seeds = st.integers(0, 2**32 - 1)
