"""Every instruction of WebAssembly 3.0, in one table from which all else derives.

Source: WebAssembly Core Specification 3.0, "Binary Format / Instructions" and the index of instructions; the five rows
of the legacy exception handling proposal, which toolchains emitted for years, are from its own text.
A row is an opcode, the instruction's name, and the kinds of its immediates in order.
"""

from __future__ import annotations

from typing import NamedTuple

#: Kinds of immediates: what the bytes after an opcode are.
#:
#: Indices (unsigned LEB128): `type func table global memory data elem tag local label field`; other numbers: `count`.
#: `block` a block type; `heap` a heap type; `types` a vector of value types; `labels` a vector of labels and a default;
#: `catches` the handlers of `try_table`; `cast` the flags of `br_on_cast`; `memarg` alignment, perhaps a memory index,
#: and offset; `i32 i64` signed LEB128 constants; `f32 f64 v128` constants of 4, 8 and 16 bytes; `lanes` 16 lane
#: indices; `lane` one lane index; `zero` a reserved zero byte.
IMMEDIATES = frozenset((
    "type", "func", "table", "global", "memory", "data", "elem", "tag", "local", "label", "field", "count",
    "block", "heap", "types", "labels", "catches", "cast", "memarg", "i32", "i64", "f32", "f64", "v128",
    "lanes", "lane", "zero",
))  # fmt: skip


class Opcode(NamedTuple):
    """A row of the table."""

    #: The byte, or prefix byte and number that follows it as LEB128.
    prefix: int | None
    number: int
    name: str
    immediates: tuple[str, ...]

    @property
    def encoding(self) -> bytes:
        """The opcode's bytes, without immediates."""
        if self.prefix is None:
            return bytes([self.number])
        number = self.number
        return (
            bytes([self.prefix, number]) if number < 0x80 else bytes([self.prefix, number & 0x7F | 0x80, number >> 7])
        )


# Rows without a prefix. "45-c4 ..." would be shorter, but a name a row is what a reader searches for.
_PLAIN = """
00 unreachable            | 01 nop                     | 02 block block          | 03 loop block
04 if block               | 05 else                    | 06 try block            | 07 catch tag
08 throw tag              | 09 rethrow label           | 0a throw_ref            | 0b end
0c br label               | 0d br_if label             | 0e br_table labels      | 0f return
10 call func              | 11 call_indirect type table
12 return_call func       | 13 return_call_indirect type table
14 call_ref type          | 15 return_call_ref type    | 18 delegate label       | 19 catch_all
1a drop                   | 1b select                  | 1c select types         | 1f try_table block catches
20 local.get local        | 21 local.set local         | 22 local.tee local
23 global.get global      | 24 global.set global       | 25 table.get table      | 26 table.set table
28 i32.load memarg        | 29 i64.load memarg         | 2a f32.load memarg      | 2b f64.load memarg
2c i32.load8_s memarg     | 2d i32.load8_u memarg      | 2e i32.load16_s memarg  | 2f i32.load16_u memarg
30 i64.load8_s memarg     | 31 i64.load8_u memarg      | 32 i64.load16_s memarg  | 33 i64.load16_u memarg
34 i64.load32_s memarg    | 35 i64.load32_u memarg
36 i32.store memarg       | 37 i64.store memarg        | 38 f32.store memarg     | 39 f64.store memarg
3a i32.store8 memarg      | 3b i32.store16 memarg      | 3c i64.store8 memarg    | 3d i64.store16 memarg
3e i64.store32 memarg     | 3f memory.size memory      | 40 memory.grow memory
41 i32.const i32          | 42 i64.const i64           | 43 f32.const f32        | 44 f64.const f64
45 i32.eqz | 46 i32.eq   | 47 i32.ne   | 48 i32.lt_s | 49 i32.lt_u | 4a i32.gt_s | 4b i32.gt_u
4c i32.le_s | 4d i32.le_u | 4e i32.ge_s | 4f i32.ge_u
50 i64.eqz | 51 i64.eq   | 52 i64.ne   | 53 i64.lt_s | 54 i64.lt_u | 55 i64.gt_s | 56 i64.gt_u
57 i64.le_s | 58 i64.le_u | 59 i64.ge_s | 5a i64.ge_u
5b f32.eq | 5c f32.ne | 5d f32.lt | 5e f32.gt | 5f f32.le | 60 f32.ge
61 f64.eq | 62 f64.ne | 63 f64.lt | 64 f64.gt | 65 f64.le | 66 f64.ge
67 i32.clz | 68 i32.ctz | 69 i32.popcnt | 6a i32.add | 6b i32.sub | 6c i32.mul | 6d i32.div_s | 6e i32.div_u
6f i32.rem_s | 70 i32.rem_u | 71 i32.and | 72 i32.or | 73 i32.xor | 74 i32.shl | 75 i32.shr_s | 76 i32.shr_u
77 i32.rotl | 78 i32.rotr
79 i64.clz | 7a i64.ctz | 7b i64.popcnt | 7c i64.add | 7d i64.sub | 7e i64.mul | 7f i64.div_s | 80 i64.div_u
81 i64.rem_s | 82 i64.rem_u | 83 i64.and | 84 i64.or | 85 i64.xor | 86 i64.shl | 87 i64.shr_s | 88 i64.shr_u
89 i64.rotl | 8a i64.rotr
8b f32.abs | 8c f32.neg | 8d f32.ceil | 8e f32.floor | 8f f32.trunc | 90 f32.nearest | 91 f32.sqrt | 92 f32.add
93 f32.sub | 94 f32.mul | 95 f32.div | 96 f32.min | 97 f32.max | 98 f32.copysign
99 f64.abs | 9a f64.neg | 9b f64.ceil | 9c f64.floor | 9d f64.trunc | 9e f64.nearest | 9f f64.sqrt | a0 f64.add
a1 f64.sub | a2 f64.mul | a3 f64.div | a4 f64.min | a5 f64.max | a6 f64.copysign
a7 i32.wrap_i64 | a8 i32.trunc_f32_s | a9 i32.trunc_f32_u | aa i32.trunc_f64_s | ab i32.trunc_f64_u
ac i64.extend_i32_s | ad i64.extend_i32_u | ae i64.trunc_f32_s | af i64.trunc_f32_u | b0 i64.trunc_f64_s
b1 i64.trunc_f64_u | b2 f32.convert_i32_s | b3 f32.convert_i32_u | b4 f32.convert_i64_s | b5 f32.convert_i64_u
b6 f32.demote_f64 | b7 f64.convert_i32_s | b8 f64.convert_i32_u | b9 f64.convert_i64_s | ba f64.convert_i64_u
bb f64.promote_f32 | bc i32.reinterpret_f32 | bd i64.reinterpret_f64 | be f32.reinterpret_i32
bf f64.reinterpret_i64 | c0 i32.extend8_s | c1 i32.extend16_s | c2 i64.extend8_s | c3 i64.extend16_s
c4 i64.extend32_s
d0 ref.null heap | d1 ref.is_null | d2 ref.func func | d3 ref.eq | d4 ref.as_non_null
d5 br_on_null label | d6 br_on_non_null label
"""

# fb: garbage collection. Numbers in decimal, as in the specification.
_GC = """
0 struct.new type | 1 struct.new_default type | 2 struct.get type field | 3 struct.get_s type field
4 struct.get_u type field | 5 struct.set type field | 6 array.new type | 7 array.new_default type
8 array.new_fixed type count | 9 array.new_data type data | 10 array.new_elem type elem | 11 array.get type
12 array.get_s type | 13 array.get_u type | 14 array.set type | 15 array.len | 16 array.fill type
17 array.copy type type | 18 array.init_data type data | 19 array.init_elem type elem
20 ref.test heap | 21 ref.test_null heap | 22 ref.cast heap | 23 ref.cast_null heap
24 br_on_cast cast label heap heap | 25 br_on_cast_fail cast label heap heap
26 any.convert_extern | 27 extern.convert_any | 28 ref.i31 | 29 i31.get_s | 30 i31.get_u
"""

# fc: saturating truncation, bulk memory and tables.
_MISC = """
0 i32.trunc_sat_f32_s | 1 i32.trunc_sat_f32_u | 2 i32.trunc_sat_f64_s | 3 i32.trunc_sat_f64_u
4 i64.trunc_sat_f32_s | 5 i64.trunc_sat_f32_u | 6 i64.trunc_sat_f64_s | 7 i64.trunc_sat_f64_u
8 memory.init data memory | 9 data.drop data | 10 memory.copy memory memory | 11 memory.fill memory
12 table.init elem table | 13 elem.drop elem | 14 table.copy table table | 15 table.grow table
16 table.size table | 17 table.fill table
"""

# fd: vectors, the relaxed ones included.
_SIMD = """
0 v128.load memarg | 1 v128.load8x8_s memarg | 2 v128.load8x8_u memarg | 3 v128.load16x4_s memarg
4 v128.load16x4_u memarg | 5 v128.load32x2_s memarg | 6 v128.load32x2_u memarg | 7 v128.load8_splat memarg
8 v128.load16_splat memarg | 9 v128.load32_splat memarg | 10 v128.load64_splat memarg | 11 v128.store memarg
12 v128.const v128 | 13 i8x16.shuffle lanes | 14 i8x16.swizzle
15 i8x16.splat | 16 i16x8.splat | 17 i32x4.splat | 18 i64x2.splat | 19 f32x4.splat | 20 f64x2.splat
21 i8x16.extract_lane_s lane | 22 i8x16.extract_lane_u lane | 23 i8x16.replace_lane lane
24 i16x8.extract_lane_s lane | 25 i16x8.extract_lane_u lane | 26 i16x8.replace_lane lane
27 i32x4.extract_lane lane | 28 i32x4.replace_lane lane | 29 i64x2.extract_lane lane | 30 i64x2.replace_lane lane
31 f32x4.extract_lane lane | 32 f32x4.replace_lane lane | 33 f64x2.extract_lane lane | 34 f64x2.replace_lane lane
35 i8x16.eq | 36 i8x16.ne | 37 i8x16.lt_s | 38 i8x16.lt_u | 39 i8x16.gt_s | 40 i8x16.gt_u | 41 i8x16.le_s
42 i8x16.le_u | 43 i8x16.ge_s | 44 i8x16.ge_u
45 i16x8.eq | 46 i16x8.ne | 47 i16x8.lt_s | 48 i16x8.lt_u | 49 i16x8.gt_s | 50 i16x8.gt_u | 51 i16x8.le_s
52 i16x8.le_u | 53 i16x8.ge_s | 54 i16x8.ge_u
55 i32x4.eq | 56 i32x4.ne | 57 i32x4.lt_s | 58 i32x4.lt_u | 59 i32x4.gt_s | 60 i32x4.gt_u | 61 i32x4.le_s
62 i32x4.le_u | 63 i32x4.ge_s | 64 i32x4.ge_u
65 f32x4.eq | 66 f32x4.ne | 67 f32x4.lt | 68 f32x4.gt | 69 f32x4.le | 70 f32x4.ge
71 f64x2.eq | 72 f64x2.ne | 73 f64x2.lt | 74 f64x2.gt | 75 f64x2.le | 76 f64x2.ge
77 v128.not | 78 v128.and | 79 v128.andnot | 80 v128.or | 81 v128.xor | 82 v128.bitselect | 83 v128.any_true
84 v128.load8_lane memarg lane | 85 v128.load16_lane memarg lane | 86 v128.load32_lane memarg lane
87 v128.load64_lane memarg lane | 88 v128.store8_lane memarg lane | 89 v128.store16_lane memarg lane
90 v128.store32_lane memarg lane | 91 v128.store64_lane memarg lane
92 v128.load32_zero memarg | 93 v128.load64_zero memarg
94 f32x4.demote_f64x2_zero | 95 f64x2.promote_low_f32x4
96 i8x16.abs | 97 i8x16.neg | 98 i8x16.popcnt | 99 i8x16.all_true | 100 i8x16.bitmask
101 i8x16.narrow_i16x8_s | 102 i8x16.narrow_i16x8_u | 103 f32x4.ceil | 104 f32x4.floor | 105 f32x4.trunc
106 f32x4.nearest | 107 i8x16.shl | 108 i8x16.shr_s | 109 i8x16.shr_u | 110 i8x16.add | 111 i8x16.add_sat_s
112 i8x16.add_sat_u | 113 i8x16.sub | 114 i8x16.sub_sat_s | 115 i8x16.sub_sat_u | 116 f64x2.ceil
117 f64x2.floor | 118 i8x16.min_s | 119 i8x16.min_u | 120 i8x16.max_s | 121 i8x16.max_u | 122 f64x2.trunc
123 i8x16.avgr_u | 124 i16x8.extadd_pairwise_i8x16_s | 125 i16x8.extadd_pairwise_i8x16_u
126 i32x4.extadd_pairwise_i16x8_s | 127 i32x4.extadd_pairwise_i16x8_u
128 i16x8.abs | 129 i16x8.neg | 130 i16x8.q15mulr_sat_s | 131 i16x8.all_true | 132 i16x8.bitmask
133 i16x8.narrow_i32x4_s | 134 i16x8.narrow_i32x4_u | 135 i16x8.extend_low_i8x16_s
136 i16x8.extend_high_i8x16_s | 137 i16x8.extend_low_i8x16_u | 138 i16x8.extend_high_i8x16_u
139 i16x8.shl | 140 i16x8.shr_s | 141 i16x8.shr_u | 142 i16x8.add | 143 i16x8.add_sat_s | 144 i16x8.add_sat_u
145 i16x8.sub | 146 i16x8.sub_sat_s | 147 i16x8.sub_sat_u | 148 f64x2.nearest | 149 i16x8.mul | 150 i16x8.min_s
151 i16x8.min_u | 152 i16x8.max_s | 153 i16x8.max_u | 155 i16x8.avgr_u | 156 i16x8.extmul_low_i8x16_s
157 i16x8.extmul_high_i8x16_s | 158 i16x8.extmul_low_i8x16_u | 159 i16x8.extmul_high_i8x16_u
160 i32x4.abs | 161 i32x4.neg | 163 i32x4.all_true | 164 i32x4.bitmask | 167 i32x4.extend_low_i16x8_s
168 i32x4.extend_high_i16x8_s | 169 i32x4.extend_low_i16x8_u | 170 i32x4.extend_high_i16x8_u | 171 i32x4.shl
172 i32x4.shr_s | 173 i32x4.shr_u | 174 i32x4.add | 177 i32x4.sub | 181 i32x4.mul | 182 i32x4.min_s
183 i32x4.min_u | 184 i32x4.max_s | 185 i32x4.max_u | 186 i32x4.dot_i16x8_s | 188 i32x4.extmul_low_i16x8_s
189 i32x4.extmul_high_i16x8_s | 190 i32x4.extmul_low_i16x8_u | 191 i32x4.extmul_high_i16x8_u
192 i64x2.abs | 193 i64x2.neg | 195 i64x2.all_true | 196 i64x2.bitmask | 199 i64x2.extend_low_i32x4_s
200 i64x2.extend_high_i32x4_s | 201 i64x2.extend_low_i32x4_u | 202 i64x2.extend_high_i32x4_u | 203 i64x2.shl
204 i64x2.shr_s | 205 i64x2.shr_u | 206 i64x2.add | 209 i64x2.sub | 213 i64x2.mul | 214 i64x2.eq | 215 i64x2.ne
216 i64x2.lt_s | 217 i64x2.gt_s | 218 i64x2.le_s | 219 i64x2.ge_s | 220 i64x2.extmul_low_i32x4_s
221 i64x2.extmul_high_i32x4_s | 222 i64x2.extmul_low_i32x4_u | 223 i64x2.extmul_high_i32x4_u
224 f32x4.abs | 225 f32x4.neg | 227 f32x4.sqrt | 228 f32x4.add | 229 f32x4.sub | 230 f32x4.mul | 231 f32x4.div
232 f32x4.min | 233 f32x4.max | 234 f32x4.pmin | 235 f32x4.pmax
236 f64x2.abs | 237 f64x2.neg | 239 f64x2.sqrt | 240 f64x2.add | 241 f64x2.sub | 242 f64x2.mul | 243 f64x2.div
244 f64x2.min | 245 f64x2.max | 246 f64x2.pmin | 247 f64x2.pmax
248 i32x4.trunc_sat_f32x4_s | 249 i32x4.trunc_sat_f32x4_u | 250 f32x4.convert_i32x4_s
251 f32x4.convert_i32x4_u | 252 i32x4.trunc_sat_f64x2_s_zero | 253 i32x4.trunc_sat_f64x2_u_zero
254 f64x2.convert_low_i32x4_s | 255 f64x2.convert_low_i32x4_u
256 i8x16.relaxed_swizzle | 257 i32x4.relaxed_trunc_f32x4_s | 258 i32x4.relaxed_trunc_f32x4_u
259 i32x4.relaxed_trunc_f64x2_s_zero | 260 i32x4.relaxed_trunc_f64x2_u_zero
261 f32x4.relaxed_madd | 262 f32x4.relaxed_nmadd | 263 f64x2.relaxed_madd | 264 f64x2.relaxed_nmadd
265 i8x16.relaxed_laneselect | 266 i16x8.relaxed_laneselect | 267 i32x4.relaxed_laneselect
268 i64x2.relaxed_laneselect | 269 f32x4.relaxed_min | 270 f32x4.relaxed_max | 271 f64x2.relaxed_min
272 f64x2.relaxed_max | 273 i16x8.relaxed_q15mulr_s | 274 i16x8.relaxed_dot_i8x16_i7x16_s
275 i32x4.relaxed_dot_i8x16_i7x16_add_s
"""

# fe: threads. Every access is `<type>.atomic.<access>`.
_ATOMIC_WIDTHS = ("i32", "i64", "i32 8", "i32 16", "i64 8", "i64 16", "i64 32")


def _rows(prefix: int | None, text: str, base: int) -> list[Opcode]:
    rows = []
    for row in text.replace("\n", "|").split("|"):
        if words := row.split():
            rows.append(Opcode(prefix, int(words[0], base), words[1], tuple(words[2:])))
    return rows


def _atomics() -> list[Opcode]:
    rows = [
        Opcode(0xFE, 0, "memory.atomic.notify", ("memarg",)),
        Opcode(0xFE, 1, "memory.atomic.wait32", ("memarg",)),
        Opcode(0xFE, 2, "memory.atomic.wait64", ("memarg",)),
        Opcode(0xFE, 3, "atomic.fence", ("zero",)),
    ]
    number = 0x10
    for access in ("load", "store", "rmw.add", "rmw.sub", "rmw.and", "rmw.or", "rmw.xor", "rmw.xchg", "rmw.cmpxchg"):
        for width in _ATOMIC_WIDTHS:
            type_, _, bits = width.partition(" ")
            verb, _, operation = access.partition(".")
            unsigned = "_u" if bits and verb != "store" else ""
            name = f"{type_}.atomic.{verb}{bits}" + (f".{operation}" if operation else "") + unsigned
            rows.append(Opcode(0xFE, number, name, ("memarg",)))
            number += 1
    return rows


#: The table.
OPCODES: tuple[Opcode, ...] = (
    *_rows(None, _PLAIN, 16),
    *_rows(0xFB, _GC, 10),
    *_rows(0xFC, _MISC, 10),
    *_rows(0xFD, _SIMD, 10),
    *_atomics(),
)

#: Rows by (prefix, number).
BY_NUMBER: dict[tuple[int | None, int], Opcode] = {(row.prefix, row.number): row for row in OPCODES}

#: Bytes that start an instruction of two numbers.
PREFIXES = frozenset(row.prefix for row in OPCODES if row.prefix is not None)
