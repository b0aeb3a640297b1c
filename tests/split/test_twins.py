"""What looks the same and is not: modules of equal bytes with other slots, and a piece at address zero."""

from __future__ import annotations

import json
import random
from pathlib import Path
from unittest.mock import patch

import pytest

from bacpack.project import programs
from bacpack.split.catalog.catalog import Catalog, index
from bacpack.split.input.blob import Input
from bacpack.split.model.records import Split
from bacpack.split.pipeline import steps
from bacpack.split.pipeline.proof import prove_split
from bacpack.split.pipeline.steps import split
from inprocess import call
from split.harness import Comparer, both, work
from wasmtools import assemble


def library(namespace: str, address: int) -> str:
    """A function of a library that was linked twice, each with static data of its own."""
    return f"""(func ${namespace}_get (@name "{namespace}::get(int)") (param i32) (result i32) {work("twin", 1000)}
      local.get 0 i32.const {address} i32.load i32.add)"""


TWIN = f"""(module (memory (export "memory") 1) (data (i32.const 1024) "\\00")
  (data (i32.const 5016) "\\0a\\00\\00\\00") (data (i32.const 9112) "\\05\\00\\00\\00")
  {library("alpha", 5016)} {library("beta", 9112)}
  (func (export "run") (result i32)
    i32.const 0 call $alpha_get i32.const 10 i32.mul i32.const 0 call $beta_get i32.sub))"""


def shared(result: Split) -> set[str]:
    return {cid for cid, module in result.modules.items() if module.kind == "shared"}


def test_two_copies_of_a_library_are_two_modules(compare: Comparer) -> None:
    compare([TWIN], ("run",))
    assert len(shared(split([Input("twin", assemble(TWIN), "twin.wasm")]))) == 2


def test_a_copy_that_a_catalog_has_is_none_that_is_new() -> None:
    """The catalog has one of the two; the other is written anew, and would have equal bytes."""
    first = split([Input("first", assemble(TWIN), "first.wasm")])
    for left in shared(first):
        modules = {cid: module.data for cid, module in first.modules.items() if cid != left}
        files = index({cid: found for cid, found in first.features.items() if cid != left})
        files |= {f"modules/{cid}.wasm": data for cid, data in modules.items()}
        catalog = Catalog.open("first", files.get)
        again = split([Input("again", assemble(TWIN), "again.wasm")], catalogs=[catalog])
        assert all(app.proved for app in prove_split(again, lambda _: None).apps)


def test_one_program_alone_is_proved_before_it_is_written(tmp_path: Path) -> None:
    blob = tmp_path / "twin.wasm"
    blob.write_bytes(assemble(TWIN))
    with patch.object(steps, "unlike", lambda others, module: module):
        done = call(tmp_path / "home", "split", blob, "-o", tmp_path / "out")
    assert done.status == 1
    assert "error[not-equivalent]: the split of `twin` is not its blob, so nothing was written" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["{0|0}", "{0|512}", "{512|0}", "{0|2}", "{2|0}", "{1|8}"])
def test_data_at_address_zero_is_shared(compare: Comparer, address: str) -> None:
    content = "".join(f"\\{byte:02x}" for byte in random.Random(1).randbytes(3000))
    text = f"""(memory (export "memory") 2) (data (i32.const {address}) "{content}")
      (func (export "at") (param i32) (result i32) {work("at")} local.get 0 i32.load8_u)"""
    compare(both(text), ("at", 3), shared=["at"])
    blobs = [Input(name, assemble(blob), name) for name, blob in zip("ab", both(text), strict=True)]
    result = split(blobs)
    assert any(module.kind == "data" for module in result.modules.values())


def test_what_a_build_links_is_proved_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after the split, too: here it puts another program in the place of what was split."""
    tmp_path.joinpath("twin.wasm").write_bytes(assemble(TWIN))
    tmp_path.joinpath("bacpack.toml").write_text('[build]\nblobs = ["twin.wasm"]\noutput = "out"\n')
    monkeypatch.chdir(tmp_path)
    with patch.object(programs, "_without_names", lambda data: assemble(TWIN.replace("i32.sub", "i32.add"))):
        done = call(tmp_path / "home", "build")
    assert done.status == 1
    assert "error[not-equivalent]: the split of `twin` is not its blob, so nothing was written" in done.stderr
    assert not (tmp_path / "out").exists()
    done = call(tmp_path / "home", "build", "--json")
    assert done.status == 0
    assert [app["verified"] for app in json.loads(done.stdout)["apps"]] == [True]
