"""CAR files that hold a block twice, or name a root twice: each counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacpack.content.car.writer import car_chunks
from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.car_import import import_car
from cli.running import write
from inprocess import call
from node.harness import assemble

PROGRAM = assemble('(module (func (export "_start")))')
CID = Cid.of_raw(PROGRAM)


@pytest.mark.parametrize("count", [2, 5, 200])
def test_a_block_that_comes_again_is_new_once(tmp_path: Path, count: int) -> None:
    blocks = [(Cid.of_raw(data), data) for data in (b"one", b"two")] * count
    car = write(tmp_path / "x.car", b"".join(car_chunks([blocks[0][0]], blocks)))
    store = BlockStore(tmp_path / "store")
    assert import_car(car, store, lambda: None) == 6
    assert import_car(car, store, lambda: None) == 0


def test_a_root_that_is_named_twice_is_one(tmp_path: Path) -> None:
    car = write(tmp_path / "x.car", b"".join(car_chunks([CID, CID], [(CID, PROGRAM)])))
    done = call(tmp_path / "home", "fetch", car)
    assert done.status == 0 and done.stdout.splitlines()[0] == str(CID) and done.stdout.count(str(CID)) == 1
    assert f"1 block, {len(PROGRAM)} B, {len(PROGRAM)} B new" in done.stdout
    assert call(tmp_path / "home", "run", car).status == 0
