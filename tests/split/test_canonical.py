"""The canonical form of code: found once, when a blob is read, and not again when its modules are written."""

from __future__ import annotations

import pytest

from bacpack.split.shapes import open_instructions
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.wasm import Module
from wasmtools import assemble

TEXT = """(module (memory 1) (global $g i32 (i32.const 70000))
  (func (result i32) i32.const 0 i32.load offset=70000)
  (func (result i32) i32.const 70000 i32.load)
  (func (result i32) global.get $g i32.load))"""


def test_the_canonical_form_of_each_function_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Module.parse(assemble(TEXT))
    first, second, third = (open_instructions.cut(module, body) for body in module.bodies)
    assert first[1:] == third[1:]
    assert second[2] == first[2]
    blob = fingerprint(module)
    assert [*blob.canonical] == [0, 2]
    open_instructions.cut.cache_clear()
    for name in ("constant_bases", "constant_globals"):
        monkeypatch.setattr(open_instructions, name, lambda *_: pytest.fail("it was looked for again"))
    assert [blob.cut(0), blob.cut(2)] == [first, third]


def test_short_accesses_are_no_candidates() -> None:
    module = Module.parse(assemble("(module (memory 1) (func i32.const 0 i32.load offset=127 drop))"))
    body = module.bodies[0]
    code = module.data[body.start + 1 : body.end]
    assert open_instructions.constant_bases(module, code, 3) == {2: (0, 127)}
    assert open_instructions.constant_bases(module, code, 4) == {}
