"""The block store: whole blocks or none, damage noticed and mended, and many at work in it."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bacpack.content.cid.block import CorruptBlockError, MissingBlockError
from bacpack.content.cid.cid import DAG_PB, RAW, Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.errors import CheckFailedError, InputError
from content.harness import node
from strategies import named_blocks
from waiting import joined, line_of, started

DATA = b"hello world"
CID = Cid.of_raw(DATA)


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path / "store")


def test_a_block_is_a_file_named_by_its_cid(store: BlockStore) -> None:
    assert store.put(CID, DATA)
    name = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    path = store.folder / "blocks" / "n5" / name
    assert store.path(CID) == path
    assert hashlib.sha256(path.read_bytes()).digest() == CID.multihash[2:]
    assert (store.get(CID), store.has(CID), store.size(CID), list(store)) == (DATA, True, len(DATA), [CID])
    assert sorted(found.name for found in store.folder.rglob("*") if found.is_file()) == [name, "lock"]


def test_new_files_follow_the_umask(store: BlockStore) -> None:
    before = os.umask(0o027)
    try:
        store.put(CID, DATA)
    finally:
        os.umask(before)
    assert store.path(CID).stat().st_mode & 0o777 == 0o640


def test_an_empty_store_answers_and_makes_nothing(store: BlockStore) -> None:
    assert (store.has(CID), store.size(CID), list(store)) == (False, None, [])
    with pytest.raises(MissingBlockError, match=str(CID)) as caught:
        store.get(CID)
    assert (caught.value.code, caught.value.cid) == ("missing-block", CID)
    assert not store.folder.exists()


@given(st.lists(named_blocks(), max_size=8))
@settings(max_examples=25)
def test_blocks_survive(tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[Cid, bytes]]) -> None:
    store = BlockStore(tmp_path_factory.mktemp("store"))
    with store.batch() as batch:
        for cid, data in blocks:
            batch.put(cid, data)
            assert not batch.put(cid, data)
    assert {cid: store.get(cid) for cid in store} == dict(blocks)
    for cid in dict(blocks):
        assert store.delete(cid) == len(dict(blocks)[cid])
        assert store.delete(cid) == 0
    assert list(store) == []


def test_versions_0_and_1_of_a_cid_are_one_block(store: BlockStore) -> None:
    cid, block = node({"a": CID})
    old = Cid(0, DAG_PB, cid.multihash)
    assert store.put(old, block)
    assert not store.put(cid, block)
    assert store.get(cid) == store.get(old) == block
    assert list(store) == [cid]


def test_identity_cids_are_always_there_and_never_stored(store: BlockStore) -> None:
    identity = Cid(1, RAW, b"\x00\x05hello")
    assert not store.put(identity, b"hello")
    assert (store.get(identity), store.has(identity), store.size(identity)) == (b"hello", True, 5)
    assert store.delete(identity) == 5
    assert list(store) == []


def test_a_block_that_its_cid_does_not_name_is_refused(store: BlockStore) -> None:
    with pytest.raises(CheckFailedError) as caught:
        store.put(CID, b"something else")
    assert caught.value.code == "block-mismatch"
    assert caught.value.details["expected"] == str(CID)
    assert caught.value.details["got"] == str(Cid.of_raw(b"something else"))
    assert list(store) == []


@pytest.mark.parametrize(
    "damage", [b"", DATA[:-1], b"hellO world", DATA + b"x"], ids=["empty", "cut", "flipped", "longer"]
)
def test_damage_is_noticed_and_mended_by_the_next_put(store: BlockStore, damage: bytes) -> None:
    """What a failing disk can leave; a crash leaves nothing under the final name."""
    store.put(CID, DATA)
    store.path(CID).write_bytes(damage)
    with pytest.raises(CorruptBlockError, match="does not match") as caught:
        store.get(CID)
    assert caught.value.code == "corrupt-block"
    assert store.get(CID, verify=False) == damage
    assert store.put(CID, DATA)
    assert store.get(CID) == DATA


def test_files_that_are_no_blocks_are_not_listed(store: BlockStore) -> None:
    store.put(CID, DATA)
    (store.path(CID).parent / "notes.txt").write_text("mine")
    (store.path(CID).parent / str(Cid.of_raw(b"elsewhere"))).write_text("in the wrong folder")
    assert list(store) == [CID]


def test_many_writers_of_one_block(store: BlockStore) -> None:
    data = os.urandom(1 << 20)
    cid = Cid.of_raw(data)
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for _ in range(5):
                store.put(cid, data)
                assert store.get(cid) == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread, "the block is written")
    assert failures == []
    assert list(store) == [cid]
    assert not list((store.folder / "blocks" / "tmp").iterdir())


def test_collecting_waits_for_writers_and_clears_what_killed_ones_left(store: BlockStore) -> None:
    """In two processes, as it is in use."""
    script = (
        "import sys; from pathlib import Path; from bacpack.content.store.block_store import BlockStore\n"
        "with BlockStore(Path(sys.argv[1])).batch():\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    line = [sys.executable, "-c", script, str(store.folder)]
    with started(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert line_of(writer.stdout, "the other process has the lock") == "locked\n"
        left = store.folder / "blocks" / "tmp" / "left"
        left.parent.mkdir(parents=True)
        left.touch()
        # Another writer does not wait.
        store.put(CID, DATA)
        waited: list[float] = []

        def release() -> None:
            waited.append(time.monotonic())
            writer.stdin.close()

        with store.collecting(release) as delete:
            assert waited
            assert not left.exists()
            assert delete(CID) == len(DATA)
        writer.wait(timeout=30)


def test_a_failed_write_leaves_nothing(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError) as caught:
        store.put(CID, DATA)
    assert caught.value.code == "disk-full"
    monkeypatch.undo()
    assert [path for path in (store.folder / "blocks").rglob("*") if path.is_file()] == []
    assert store.put(CID, DATA)


def test_every_block_is_on_disk_before_a_batch_ends(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of system calls: file forced to disk, renamed, and its folder forced to disk before `flush` returns."""
    events: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        events.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        events.append(("rename", str(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    with store.batch() as batch:
        batch.put(CID, DATA)
        batch.flush()
        done = list(events)
    path = store.path(CID)
    renamed = done.index(("rename", str(path)))
    assert done[renamed - 1][0] == "fsync"
    assert done[renamed - 1][1].startswith(str(path.parent.parent / "tmp"))
    assert {name for kind, name in done[renamed:] if kind == "fsync"} == {
        str(path.parent),
        str(path.parent.parent),
        str(store.folder),
    }


def test_a_flush_forces_every_folder_to_disk_and_says_when_it_cannot(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync, broken = os.fsync, False

    def noted_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if broken and path.is_dir():
            raise OSError(errno.EIO, "the disk is gone")
        synced.append(str(path))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    blocks = {Cid.of_raw(data): data for data in (bytes([number]) for number in range(50))}
    with store.batch() as batch:
        for cid, data in blocks.items():
            assert batch.put(cid, data)
        assert not any(Path(path).is_dir() for path in synced)
        batch.flush()
        assert {str(store.path(cid).parent) for cid in blocks} <= set(synced)
    # What may be lost is not waited for.
    synced.clear()
    with store.batch() as batch:
        assert batch.put(CID, DATA)
        batch.leave()
    assert len(synced) == 1 and store.get(CID) == DATA
    broken = True
    with pytest.raises(InputError, match="the disk is gone"), store.batch() as batch:
        for number in range(50, 100):
            batch.put(Cid.of_raw(bytes([number])), bytes([number]))
