"""Pins, provenance, walking and garbage collection, through the command where there is one."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bacpack.content.cid.block import MissingBlockError
from bacpack.content.cid.cid import DAG_PB, RAW, Cid
from bacpack.content.ipld.links import links_of, read_dag, walk
from bacpack.content.store.audit import audit_pins
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.collection import collect_garbage
from bacpack.content.store.database import DATABASE_NAME
from bacpack.content.store.origins import Provenance
from bacpack.content.store.pins import Pins
from bacpack.content.unixfs.nodes import Kind, UnixFsData
from bacpack.errors import InputError
from commands import command
from content.harness import Bacpack, Blocks, node, raw
from waiting import PATIENCE, started

ONE, TWO, THREE = raw(b"one"), raw(b"two two"), raw(b"three three three")
INNER = node({"two": TWO[0], "three": THREE[0]})
ROOT = node({"one": ONE[0], "inner": INNER[0], "two": TWO[0]})
BLOCKS: Blocks = dict([ONE, TWO, THREE, INNER, ROOT])
ORDER = [ROOT[0], ONE[0], INNER[0], TWO[0], THREE[0]]


@pytest.fixture
def store(bacpack: Bacpack) -> BlockStore:
    """The store of the command, with every block and no pin."""
    store = BlockStore(bacpack.home)
    with store.batch() as batch:
        for cid, data in BLOCKS.items():
            batch.put(cid, data)
    return store


# Walking


def test_blocks_are_walked_parents_first_and_left_to_right() -> None:
    def get(cid: Cid) -> bytes:
        try:
            return BLOCKS[cid]
        except KeyError:
            raise MissingBlockError(cid) from None

    assert [cid for cid, _ in read_dag(get, [ROOT[0]])] == ORDER
    assert list(read_dag(get, [TWO[0], ROOT[0], TWO[0]])) == [
        (cid, BLOCKS[cid]) for cid in [TWO[0], ROOT[0], ONE[0], INNER[0], THREE[0]]
    ]
    absent = Cid.of_raw(b"absent")
    with pytest.raises(MissingBlockError):
        list(read_dag(get, [absent]))
    missing: list[MissingBlockError] = []
    assert [cid for cid, _ in read_dag(get, [absent, ONE[0]], missing.append)] == [ONE[0]]
    assert [error.cid for error in missing] == [absent]


def test_a_dag_deeper_than_any_is_refused() -> None:
    chain = [Cid.of_raw(b"%d" % index) for index in range(1100)]
    below = {cid: [after] for cid, after in itertools.pairwise(chain)}
    assert list(walk(chain[-1024:-1], lambda cid: below.get(cid, []))) == chain[-1024:]
    with pytest.raises(InputError) as caught:
        list(walk([chain[0]], lambda cid: below.get(cid, [])))
    assert caught.value.code == "too-deep"


def test_links_of_an_unknown_codec_are_an_error() -> None:
    with pytest.raises(InputError) as caught:
        links_of(Cid(1, 0x0129, ONE[0].multihash), b"{}")
    assert caught.value.code == "unknown-codec"


# Pins


def test_pins_are_listed_added_and_removed(bacpack: Bacpack, store: BlockStore) -> None:
    assert bacpack.ok("pin", "ls") == {"pins": []}
    added = bacpack.ok("pin", "add", ROOT[0], "--name", "release")
    size = sum(map(len, BLOCKS.values()))
    assert added == {"cid": str(ROOT[0]), "name": "release", "mode": "recursive", "blocks": 5, "bytes": size}
    old = Cid(0, DAG_PB, INNER[0].multihash)
    assert bacpack.ok("pin", "add", old)["cid"] == str(old)
    assert bacpack.ok("pin", "add", f"{ROOT[0]}/inner/three", "--direct")["cid"] == str(THREE[0])
    pins = bacpack.ok("pin", "ls")["pins"]
    assert [(pin["cid"], pin["name"], pin["mode"]) for pin in pins] == [
        (str(ROOT[0]), "release", "recursive"),
        (str(INNER[0]), "", "recursive"),
        (str(THREE[0]), "", "direct"),
    ]
    assert all(pin["created"].endswith("Z") for pin in pins)
    assert bacpack.ok("pin", "ls", old)["pins"] == [pins[1]]
    assert bacpack.ok("pin", "rm", old) == {"cid": str(INNER[0]), "name": ""}
    bacpack.fails(2, "not-pinned", "pin", "rm", INNER[0])
    bacpack.fails(2, "not-pinned", "pin", "ls", INNER[0])
    bacpack.fails(2, "not-a-cid", "pin", "add", "app.wasm")
    bacpack.fails(2, "not-pinned", "pin", "rm", "app.wasm")
    bacpack.fails(2, "bad-cid", "pin", "rm", str(ROOT[0])[:-5])
    text = bacpack.run("pin", "ls").stdout.splitlines()
    assert text[0].split() == ["cid", "mode", "created", "name"]
    assert text[1].startswith(f"{ROOT[0]}  recursive")


def test_pins_are_found_by_name(bacpack: Bacpack, store: BlockStore) -> None:
    pins = Pins(bacpack.home)
    pins.add(ROOT[0], "release")
    pins.add(INNER[0], "release")
    pins.add(ONE[0], "one.car")
    listed = bacpack.ok("pin", "ls", "release")["pins"]
    assert [pin["cid"] for pin in listed] == [str(ROOT[0]), str(INNER[0])]
    error = bacpack.fails(2, "ambiguous-name", "pin", "rm", "release")
    assert error["details"]["cids"] == [str(ROOT[0]), str(INNER[0])]
    assert str(INNER[0]) in error["message"]
    assert len(pins.all()) == 3
    # By a path, what it leads to is unpinned, as it is pinned, and not what the path begins at.
    assert bacpack.ok("pin", "rm", f"{ROOT[0]}/inner")["cid"] == str(INNER[0])
    assert bacpack.ok("pin", "rm", "release") == {"cid": str(ROOT[0]), "name": "release"}
    assert bacpack.ok("pin", "rm", "one.car")["cid"] == str(ONE[0])
    assert pins.all() == []


def test_every_pinned_block_is_read_and_what_lacks_is_named(bacpack: Bacpack, store: BlockStore) -> None:
    assert bacpack.ok("pin", "verify") == {"ok": True, "pins": 0, "blocks": 0, "bytes": 0}
    pins = Pins(bacpack.home)
    pins.add(ROOT[0], "all")
    pins.add(INNER[0], "inner")
    pins.add(ONE[0], "one", "direct")
    size = sum(map(len, BLOCKS.values()))
    assert bacpack.ok("pin", "verify") == {"ok": True, "pins": 3, "blocks": 5, "bytes": size}
    assert bacpack.ok("pin", "verify", "inner")["blocks"] == 3
    path = store.path(THREE[0])
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    store.delete(ONE[0])
    details = bacpack.fails(1, "incomplete", "pin", "verify")["details"]
    assert sorted(details["missing"]) == sorted([str(ONE[0]), str(THREE[0])])
    assert details["damaged"] == [str(THREE[0])]
    assert [pin["name"] for pin in details["pins"]] == ["all", "inner", "one"]
    assert bacpack.fails(1, "incomplete", "pin", "verify", INNER[0])["details"]["missing"] == [str(THREE[0])]
    assert bacpack.fails(1, "incomplete", "pin", "verify", "one")["details"]["missing"] == [str(ONE[0])]


def test_a_pin_that_is_removed_while_it_is_checked_is_not_broken(bacpack: Bacpack, store: BlockStore) -> None:
    pins = Pins(bacpack.home)
    pins.add(ROOT[0])
    wanted = pins.all()
    pins.remove(ROOT[0])
    store.delete(ONE[0])
    assert audit_pins(store, pins, wanted).broken == []


def test_a_pin_never_comes_to_keep_less(bacpack: Bacpack, store: BlockStore) -> None:
    pins = Pins(bacpack.home)
    pins.add(ROOT[0], "name", "direct")
    assert pins.add(ROOT[0]).mode == "recursive"
    kept = pins.add(ROOT[0], "other", "direct")
    assert (kept.mode, kept.name) == ("recursive", "other")
    assert pins.add(ROOT[0]).name == "other"
    assert pins.all() == [pins.get(ROOT[0])]


def test_what_is_incomplete_is_not_pinned(bacpack: Bacpack, store: BlockStore) -> None:
    store.delete(TWO[0])
    store.path(THREE[0]).write_bytes(b"changed")
    error = bacpack.fails(3, "incomplete", "pin", "add", ROOT[0])
    assert error["details"] == {"missing": [str(TWO[0]), str(THREE[0])], "damaged": [str(THREE[0])]}
    asked_nobody = {**error["details"], "asked": []}
    assert bacpack.fails(3, "incomplete", "fetch", ROOT[0])["details"] == asked_nobody
    assert bacpack.fails(3, "incomplete", "fetch", ROOT[0], "--no-pin")["details"] == asked_nobody
    assert bacpack.fails(1, "incomplete", "verify", ROOT[0])["details"] == error["details"]
    bacpack.fails(3, "missing-block", "pin", "add", TWO[0], "--direct")
    assert bacpack.ok("pin", "ls") == {"pins": []}


def test_of_a_cid_that_is_not_in_the_store_nothing_is_verified(bacpack: Bacpack, store: BlockStore) -> None:
    store.delete(TWO[0])
    error = bacpack.fails(3, "missing-block", "verify", TWO[0])
    assert error["message"] == f"{TWO[0]} is not in the store"
    assert "`bacpack fetch FILE.car`" in error["hint"]
    store.path(THREE[0]).write_bytes(b"changed")
    bacpack.fails(1, "incomplete", "verify", THREE[0])


def test_fetching_what_is_there_pins_it(bacpack: Bacpack, store: BlockStore) -> None:
    assert bacpack.ok("fetch", f"ipfs://{ROOT[0]}/inner")["roots"] == [str(INNER[0])]
    assert [pin["cid"] for pin in bacpack.ok("pin", "ls")["pins"]] == [str(INNER[0])]
    assert bacpack.ok("fetch", ROOT[0], "--no-pin")["pinned"] is False
    assert len(bacpack.ok("pin", "ls")["pins"]) == 1
    assert bacpack.ok("verify", f"{ROOT[0]}/inner", INNER[0])["blocks"] == 3
    bacpack.fails(1, "cid-mismatch", "verify", f"{ROOT[0]}/inner", ROOT[0])


def test_many_processes_pin_in_a_store_that_is_new(bacpack: Bacpack) -> None:
    identities = [str(Cid(1, RAW, b"\x00\x01" + bytes([index]))) for index in range(8)]
    with ExitStack() as stack:
        options = {"env": bacpack.environment, "stderr": subprocess.PIPE}
        running = [stack.enter_context(started(command("pin", "add", cid), **options)) for cid in identities]
        for process in running:
            _, stderr = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, stderr
    assert {pin["cid"] for pin in bacpack.ok("pin", "ls")["pins"]} == set(identities)


def test_a_database_that_cannot_be_used(bacpack: Bacpack, store: BlockStore) -> None:
    database = bacpack.home / DATABASE_NAME
    database.write_bytes(b"this is no database at all, but a file of more than a hundred bytes " * 3)
    bacpack.fails(2, "store-damaged", "pin", "ls")
    bacpack.fails(2, "store-damaged", "gc")
    assert set(store) == set(BLOCKS)
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    bacpack.fails(2, "store-too-new", "pin", "ls")
    database.unlink()
    database.mkdir()
    bacpack.fails(2, "no-permission", "pin", "add", ROOT[0])


# Provenance


def test_what_is_known_of_a_cid_stays_and_names_are_added(tmp_path: Path) -> None:
    provenance = Provenance(tmp_path / "store")
    assert provenance.all() == []
    assert provenance.get(ONE[0]) is None
    assert not (tmp_path / "store").exists()
    provenance.record([(ONE[0], "b.wasm"), (TWO[0], "")], "publish")
    provenance.record([(ONE[0], "a.wasm"), (ONE[0], "b.wasm")], "car:x.car")
    origin = provenance.get(ONE[0])
    assert origin is not None
    assert (origin.names, origin.obtained_from) == (("a.wasm", "b.wasm"), "publish")
    assert [known.cid for known in provenance.all()] == [ONE[0], TWO[0]]
    assert provenance.all()[1].names == ()
    provenance.forget([ONE[0]])
    assert provenance.get(ONE[0]) is None


# Garbage collection


def test_what_no_pin_reaches_is_freed(bacpack: Bacpack, store: BlockStore) -> None:
    bacpack.ok("pin", "add", INNER[0])
    bacpack.ok("pin", "add", ROOT[0], "--direct")
    Provenance(bacpack.home).record([(ONE[0], "one"), (TWO[0], "two")], "publish")
    assert bacpack.ok("gc") == {
        "deleted_blocks": 1,
        "deleted_bytes": 3,
        "kept_blocks": 4,
        "kept_bytes": sum(map(len, BLOCKS.values())) - 3,
        "missing": [],
    }
    assert set(store) == {INNER[0], TWO[0], THREE[0], ROOT[0]}
    assert [origin.cid for origin in Provenance(bacpack.home).all()] == [TWO[0]]
    assert bacpack.ok("gc")["deleted_blocks"] == 0
    bacpack.ok("pin", "rm", INNER[0])
    bacpack.ok("pin", "rm", ROOT[0])
    assert bacpack.ok("gc")["deleted_blocks"] == 4
    assert list(store) == []


def test_garbage_collection_of_nothing(bacpack: Bacpack) -> None:
    assert bacpack.ok("gc")["kept_blocks"] == 0


def test_what_pins_lack_is_named_and_the_rest_kept(bacpack: Bacpack, store: BlockStore) -> None:
    pins = Pins(bacpack.home)
    pins.add(ROOT[0])
    pins.add(Cid.of_raw(b"never was here"), "", "direct")
    store.delete(THREE[0])
    done = bacpack.run("gc")
    assert done.returncode == 0
    assert "lacks 2 blocks" in done.stderr
    assert str(THREE[0]) in done.stderr
    assert set(store) == set(BLOCKS) - {THREE[0]}
    # A damaged node leads nowhere: it is named, and what only it links to goes.
    store.put(*THREE)
    store.path(INNER[0]).write_bytes(b"damaged")
    report = bacpack.ok("gc")
    assert report["missing"] == [str(Cid.of_raw(b"never was here")), str(INNER[0])]
    assert set(store) == {ROOT[0], ONE[0], TWO[0]}


def test_a_pinned_block_that_cannot_be_read_stops_collection_before_anything_is_freed(
    bacpack: Bacpack, store: BlockStore
) -> None:
    bad = Cid.of_block(DAG_PB, b"\xff")
    store.put(bad, b"\xff")
    Pins(bacpack.home).add(bad)
    bacpack.fails(2, "bad-block", "gc")
    assert set(store) == {*BLOCKS, bad}


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=20),
    st.sets(st.integers(0, 19), max_size=3),
    st.sets(st.integers(0, 19), max_size=3),
)
@settings(max_examples=25)
def test_any_graph_keeps_what_is_reached(
    tmp_path_factory: pytest.TempPathFactory, graph: list[list[int]], pinned: set[int], direct: set[int]
) -> None:
    """Block n links to blocks before it, chosen by number."""
    home = tmp_path_factory.mktemp("store")
    store, pins = BlockStore(home), Pins(home)
    blocks: list[tuple[Cid, bytes]] = []
    reached: list[set[Cid]] = []
    for index, choices in enumerate(graph):
        targets = sorted({choice % index for choice in choices}) if index else []
        block = node(
            {f"{index}-{target}": blocks[target][0] for target in targets}, UnixFsData(Kind.DIRECTORY, b"%d" % index)
        )
        blocks.append(block)
        reached.append({block[0]}.union(*(reached[target] for target in targets)))
        store.put(*block)
    keep: set[Cid] = set()
    for index in direct:
        if index < len(blocks):
            pins.add(blocks[index][0], "", "direct")
            keep.add(blocks[index][0])
    for index in pinned:
        if index < len(blocks):
            pins.add(blocks[index][0])
            keep |= reached[index]
    done = collect_garbage(store, pins, Provenance(home))
    assert set(store) == keep
    assert (done.kept_blocks, done.deleted_blocks) == (len(keep), len(set(dict(blocks)) - keep))
    assert done.missing == []
