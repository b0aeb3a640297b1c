"""Whole releases written by an enemy, blob and all: each is refused, or behaves as its blob, and neither takes long.

`@name` stands for the CID of another module of the release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from differential.harness import cid_of
from mutation.release import Release
from split.harness import Call
from wasmtools import assemble


@dataclass(frozen=True)
class Crafted:
    """A blob, the modules of its split, each after those that it imports, and the remainder; as text."""

    blob: str
    remainder: str
    modules: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[Call, ...] = (("go",),)

    def release(self) -> Release:
        """The release in binary form."""
        names: dict[str, str] = {}
        modules: dict[str, bytes] = {}
        for name, text in self.modules.items():
            data = assemble(_filled(text, names))
            names[name] = cid_of(data)
            modules[names[name]] = data
        return Release(
            assemble(f"(module {self.blob})"), assemble(_filled(f"(module {self.remainder})", names)), modules
        )


def _filled(text: str, names: Mapping[str, str]) -> str:
    text = text if text.startswith("(module") else f"(module {text})"
    for name, cid in names.items():
        text = text.replace(f'"@{name}"', f'"{cid}"')
    return text


_SEVEN = '(func $f (result i32) i32.const 7) (func (export "go") (result i32) call $f)'
_GO = '(import "@lib" "go" (func $go (result i32))) (func (export "go") (result i32) call $go)'
_LOW = '(table (export "T") 1 1 funcref) (func (export "call") (result i32) i32.const 0 call_indirect (result i32))'
_STRUCT = "(type $s (struct (field (mut i32))))"
_NODE = "(rec (type $a (sub (struct))) (type $b (sub $a (struct (field i32)))))"


def _writer(value: int) -> str:
    return f"""(import "@low" "T" (table 1 1 funcref)) (func $f (result i32) i32.const {value}) (elem (i32.const 0) $f)
      (func (export "load"))"""


def _two_orders(first: str, second: str, value: int) -> Crafted:
    """Two modules write one entry of a third one's table."""
    return Crafted(
        f'(func $f (result i32) i32.const {value}) (func (export "go") (result i32) call $f)',
        f"""(import "@{first}" "load" (func)) (import "@{second}" "load" (func))
          (import "@low" "call" (func $c (result i32))) (func (export "go") (result i32) call $c)""",
        {"low": _LOW, "one": _writer(1), "two": _writer(2)},
    )


_MEMORY = '(memory (export "memory") 1)'
_READ = '(func (export "go") (result i32) i32.const 0 i32.load)'
_TABLE = '(table (export "t") 0 funcref) (func (export "go"))'
_WALK = """(memory (export "m") 1) (func (export "walk") (param i32 i32) (local i32)
  loop local.get 0 local.get 0 i32.load local.tee 2 i32.const {mask} i32.and local.get 1 i32.add i32.store
  local.get 0 local.get 2 i32.const {shift} i32.shr_u i32.const 4 i32.mul i32.add local.set 0
  local.get 2 i32.const {shift} i32.shr_u br_if 0 end)"""


def _walk(mask: int, shift: int, words: Mapping[int, int], at: int = 0) -> Crafted:
    """A chain of words that does not end, or goes elsewhere."""
    stores = "".join(f"(i32.store (i32.const {to}) (i32.const {word}))" for to, word in words.items())
    return Crafted(
        f"{_MEMORY} {_READ}",
        f"""(import "@lib" "m" (memory 1)) (import "@lib" "walk" (func $w (param i32 i32))) (export "memory" (memory 0))
          {_READ} (start $s) (func $s {stores} (call $w (i32.const {at}) (i32.const 0)))""",
        {"lib": _WALK.format(mask=mask, shift=shift)},
    )


def _set_up(code: str) -> Crafted:
    """A table of another module, set up by some code."""
    return Crafted(
        _TABLE,
        f"""(import "@lib" "t" (table 0 funcref)) (export "t" (table 0)) (func (export "go")) (start $s)
          (func $s {code})""",
        {"lib": '(table (export "t") 0 funcref) (func (export "load"))'},
    )


_GROW = "ref.null func i32.const {} table.grow 0 i32.const -1 i32.eq if unreachable end"
_COPY = "i32.const 0 i32.const 0 i32.const {} table.copy 0 0 "


def _moved_addresses(count: int, between: str = "") -> Crafted:
    """Constants that wait for their loads, each moved to the other's offset."""

    def text(constant: int, offset: int) -> str:
        loads = f"i32.load offset={offset} drop " * count
        return f'{_MEMORY} (func (export "go") {f"i32.const {constant} " * count} {between} {loads})'

    return Crafted(text(0, 100), text(100, 0))


def _nested(depth: int) -> Crafted:
    blocks = f"{'block ' * depth} nop {'end ' * depth}"
    return Crafted(f'(func (export "go") {blocks})', f'(func (export "go") {blocks}) (func)')


def _ring(size: int) -> str:
    """Functions that only call the next one."""
    return "".join(f"(func $f{n} call $f{(n + 1) % size})" for n in range(size))


def _forwards(count: int) -> Crafted:
    """Many functions that only pass on, one to the next, each in a table."""
    chain = "".join(f"(func $f{n} call $f{n + 1})" for n in range(count)) + f"(func $f{count})"
    names = " ".join(f"$f{n}" for n in range(count))
    text = f'{chain} (table {count} funcref) (elem (i32.const 0) {names}) (func (export "go") call $f{count})'
    return Crafted(text, f"{text} (func)")


def _doubling(depth: int, times: int) -> Crafted:
    calls = "".join(f"(func $f{n} {f'call $f{n + 1} ' * times})" for n in range(depth)) + f"(func $f{depth})"
    return Crafted('(func (export "go"))', f'(func (export "go")) {calls} (start $f0)')


def _many_results(count: int) -> str:
    functions = "(func call $f unreachable)" * count
    return f'(func (export "go")) (func $f (result {"i32 " * count}) unreachable) {functions}'


_GROWTH = """(func $g (param i32) (result i32) (if (result i32) (i64.gt_u (i64.add (i64.extend_i32_u (memory.size))
  (i64.extend_i32_u (local.get 0))) (i64.const {}))
  (then (i32.const -1)) (else (memory.grow (local.get 0)))))"""

CRAFTED: dict[str, Crafted] = {
    "a call beyond the end of a table with a first value": Crafted(
        _SEVEN, _GO,
        {"lib": """(func $f (result i32) i32.const 7) (elem declare func $f)
           (table $T 2 2 (ref null func) (ref.func $f))
           (func (export "go") (result i32) i32.const 5 call_indirect $T (result i32))"""},
    ),
    "a call beyond the end of a table without": Crafted(
        _SEVEN, _GO,
        {"lib": """(func $f (result i32) i32.const 7) (table $T 2 2 funcref) (elem (i32.const 1) func $f)
           (func (export "go") (result i32) i32.const 5 call_indirect $T (result i32))"""},
    ),
    "two globals that are one object": Crafted(
        f"""{_STRUCT} (global $a (ref $s) (struct.new $s (i32.const 1))) (global $b (ref $s) (global.get $a))
          (func (export "go") (result i32) (ref.eq (global.get $a) (global.get $b)))""",
        f"""{_STRUCT} (global $a (ref $s) (struct.new $s (i32.const 1)))
          (global $b (ref $s) (struct.new $s (i32.const 1)))
          (func (export "go") (result i32) (ref.eq (global.get $a) (global.get $b)))""",
    ),
    "two entries that are one object": Crafted(
        f"""{_STRUCT} (table $t 2 (ref null $s) (struct.new $s (i32.const 1)))
          (func (export "go") (result i32) (ref.eq (table.get $t (i32.const 0)) (table.get $t (i32.const 1))))""",
        f"""{_STRUCT} (table $t 2 (ref null $s) (struct.new $s (i32.const 1)))
          (elem (table $t) (i32.const 0) (ref null $s) (item (struct.new $s (i32.const 1))))
          (func (export "go") (result i32) (ref.eq (table.get $t (i32.const 0)) (table.get $t (i32.const 1))))""",
    ),
    "an array in a segment and in a table": Crafted(
        """(type $r (array (mut i8))) (global $a (ref $r) (array.new_fixed $r 1 (i32.const 1)))
          (table $t 1 (ref null $r)) (elem (table $t) (i32.const 0) (ref null $r) (item (global.get $a)))
          (func (export "go") (result i32) (ref.eq (global.get $a) (table.get $t (i32.const 0))))""",
        """(type $r (array (mut i8))) (global $a (ref $r) (array.new_fixed $r 1 (i32.const 1)))
          (table $t 1 (ref null $r))
          (elem (table $t) (i32.const 0) (ref null $r) (item (array.new_fixed $r 1 (i32.const 1))))
          (func (export "go") (result i32) (ref.eq (global.get $a) (table.get $t (i32.const 0))))""",
    ),
    **{f"two write one entry, {one} first, {value} is right": _two_orders(one, two, value)
       for one, two in (("one", "two"), ("two", "one")) for value in (1, 2)},
    "a shared module that a host starts": Crafted(
        f"{_MEMORY} {_READ}",
        f'(import "@lib" "memory" (memory 1)) (export "memory" (memory 0)) {_READ}',
        {"lib": f'{_MEMORY} (func (export "_initialize") (i32.store (i32.const 0) (i32.const 1)))'},
    ),
    "a chain that leads to itself": _walk(-1, 0, {0: 0x40000000}),
    "a chain with a mask of nothing": _walk(0, 31, {0: -1, 4: -1, 8: -1}),
    "a chain that goes around": _walk(-1, 1, {0: 2, 4: -2}),
    "a chain beyond the memory": _walk(-1, 0, {0: 0x3FFFFFFF}),
    "a chain at the end": _walk(-1, 0, {65_532: 0}, 65_533),
    "a table grown to all there is, and copied": _set_up(_GROW.format(-1) + " " + _COPY.format(-1)),
    "a large table copied many times": _set_up(_GROW.format(9_999_999) + " " + _COPY.format(9_999_999) * 200),
    "a table of some size copied very often": _set_up(_GROW.format(60_000) + " " + _COPY.format(60_000) * 3000),
    "calls that double": _doubling(8, 16),
    "calls that double a little, very deep": _doubling(5_000, 2),
    "calls in a ring": Crafted('(func (export "go"))', f'(func (export "go")) {_ring(3)} (start $f0)'),
    "a ring of functions that pass on": Crafted(
        f'{_ring(2000)} (export "f" (func $f0)) (func (export "go"))',
        f'{_ring(2000)} (export "f" (func $f1)) (func (export "go")) (func)',
    ),
    "functions that pass on, one to the next": _forwards(2000),
    "addresses that wait": _moved_addresses(1000),
    "very many addresses that wait": _moved_addresses(20_000),
    "addresses that wait for branches": _moved_addresses(3000, "block i32.const 0 br_if 0 end " * 3000),
    "blocks in blocks": _nested(20_000),
    "many functions of many results": Crafted(
        _many_results(300), _many_results(300) + " (func)",
    ),
    "a function that grows memory, as the blob's own": Crafted(
        f'{_MEMORY} {_GROWTH.format(5)} (func (export "go") (result i32) (call $g (i32.const 3)))',
        f'{_MEMORY} {_GROWTH.format(5)} (func (export "go") (result i32) (call $g (i32.const 3))) (func)',
    ),
    "a function that grows memory up to another size": Crafted(
        '(memory (export "memory") 1 5) (func (export "go") (result i32) (memory.grow (i32.const 4)))',
        f'(memory (export "memory") 1) {_GROWTH.format(4)} (func (export "go") (result i32) (call $g (i32.const 4)))',
    ),
    "a slot that code sets": Crafted(
        f'{_MEMORY} (func $f (result i32) i32.const 7) (func (export "go") (result i32) call $f)',
        f'(import "@lib" "f" (func $f (result i32))) {_MEMORY} (func (export "go") (result i32) call $f)',
        {"lib": """(global $s (mut i32) (i32.const 7)) (func (export "f") (result i32) call $set global.get $s)
           (func $set i32.const 8 global.set $s)"""},
    ),
    "a slot that everybody can set": Crafted(
        """(global $g (export "g") (mut i32) (i32.const 7)) (func $f (result i32) i32.const 7)
           (func (export "go") (result i32) (global.set $g (i32.const 9)) call $f)""",
        """(import "@lib" "s" (global $g (mut i32))) (import "@lib" "f" (func $f (result i32))) (export "g" (global $g))
           (func (export "go") (result i32) (global.set $g (i32.const 9)) call $f)""",
        {"lib": '(global $s (export "s") (mut i32) (i32.const 7)) (func (export "f") (result i32) global.get $s)'},
    ),
    "a private table that the program writes": Crafted(
        """(type $t (func (result i32))) (table $t (export "t") 1 1 funcref) (elem (i32.const 0) $f)
           (func $f (type $t) i32.const 7) (func $g (type $t) i32.const 9) (elem declare func $g)
           (func (export "go") (result i32) (table.set (i32.const 0) (ref.func $g)) call $f)""",
        """(type $t (func (result i32))) (import "@lib" "T" (table $t 1 1 funcref))
           (import "@lib" "f" (func $c (type $t))) (export "t" (table 0)) (elem (i32.const 0) $f)
           (func $f (type $t) i32.const 7) (func $g (type $t) i32.const 9) (elem declare func $g)
           (func (export "go") (result i32) (table.set (i32.const 0) (ref.func $g)) call $c)""",
        {"lib": """(table (export "T") 1 1 funcref)
           (func (export "f") (result i32) i32.const 0 call_indirect (result i32))"""},
    ),
    "a cast to a type that has the same number": Crafted(
        f"""{_NODE} (global $g (ref $a) (struct.new $b (i32.const 1)))
          (func (export "go") (result i32) (ref.test (ref $b) (global.get $g)))""",
        """(rec (type $a (sub (struct))) (type $b (sub (struct (field i32)))) (type $c (sub $a (struct (field i32)))))
          (global $g (ref $a) (struct.new $c (i32.const 1)))
          (func (export "go") (result i32) (ref.test (ref $c) (global.get $g)))""",
    ),
    "a memory that nothing uses, of all there is": Crafted(
        f"{_MEMORY} {_READ}",
        f'(import "@lib" "memory" (memory 1)) (import "@big" "load" (func)) (export "memory" (memory 0)) {_READ}',
        {"lib": _MEMORY, "big": '(memory 60000) (func (export "load"))'},
    ),
    "a table that nothing uses, of all there is": Crafted(
        f"{_MEMORY} {_READ}",
        f'(import "@lib" "memory" (memory 1)) (import "@big" "load" (func)) (export "memory" (memory 0)) {_READ}',
        {"lib": _MEMORY, "big": '(table 9000000 funcref) (func (export "load"))'},
    ),
    "a memory that starts elsewhere": Crafted(
        f'(import "host" "m" (memory 1)) (data (i32.const 0) "\\01") {_READ}',
        f'(import "host" "m" (memory 1)) (data (i32.const 0) "\\01\\00") {_READ}',
    ),
    "the trap of one that the host sees and of one that it does not": Crafted(
        '(import "host" "m" (memory 1)) (data (i32.const 0) "\\01") (data (i32.const -1) "\\01") (func (export "go"))',
        '(import "host" "m" (memory 1)) (data (i32.const -1) "\\01") (data (i32.const 0) "\\01") (func (export "go"))',
    ),
}  # fmt: skip
