"""Packing, publishing and verifying releases, through the real commands."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec
import pytest

from bacpack.content.cid.cid import Cid
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.origins import Provenance
from bacpack.content.unixfs.reader import read_bytes, resolve, walk_files
from bacpack.manifest import MANIFEST_NAME, Manifest, encode_manifest
from content.harness import Bacpack, Oracles
from node.harness import assemble
from publish.releases import write_release


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release of two apps and three modules, one of them larger than a block."""
    folder = tmp_path / "out"
    write_release(folder, module_bytes=1_300_000)
    return folder


def manifest_of(folder: Path) -> Manifest:
    return msgspec.json.decode((folder / MANIFEST_NAME).read_bytes(), type=Manifest)


def test_a_release_is_published_and_found_by_path(bacpack: Bacpack, folder: Path) -> None:
    result = bacpack.ok("publish", folder)
    apps = {app.name: app.cid for app in manifest_of(folder).apps}
    assert {key: result[key] for key in ("apps", "car", "pins")} == {
        "apps": apps,
        "car": None,
        "pins": [{"target": "store", "status": "pinned", "new_bytes": result["bytes"]}],
    }
    # The manifest, two apps, three modules of two leaves and a node, and two directories.
    assert result["blocks"] == 1 + 2 + 3 * 3 + 2
    assert result["new_bytes"] == result["bytes"]
    root = Cid.parse(result["root"])
    store = BlockStore(bacpack.home)
    files = dict(walk_files(store.get, root))
    on_disk = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert files.keys() == on_disk.keys()
    for name, path in on_disk.items():
        assert read_bytes(store.get, resolve(store.get, root, name.split("/"))) == path.read_bytes()
    for module in manifest_of(folder).modules:
        assert str(files[module.path]) == module.cid
    assert [(pin["cid"], pin["name"], pin["mode"]) for pin in bacpack.ok("pin", "ls")["pins"]] == [
        (str(root), "out", "recursive")
    ]
    origin = Provenance(bacpack.home).get(files["app-0.wasm"])
    assert origin is not None
    assert (origin.names, origin.obtained_from) == (("app-0.wasm",), "publish")
    assert bacpack.ok("gc")["deleted_blocks"] == 0
    again = {"target": "store", "status": "pinned", "new_bytes": 0}
    assert bacpack.ok("publish", folder) == {**result, "new_bytes": 0, "pins": [again]}


def test_the_text_names_the_root_the_apps_and_the_next_command(bacpack: Bacpack, folder: Path) -> None:
    root = bacpack.ok("publish", folder, "--dry-run")["root"]
    done = bacpack.run("publish", folder)
    first = manifest_of(folder).apps[0]
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"root  {root}"
    assert f"app-0  {first.cid}" in done.stdout
    assert done.stderr == f"next: bacpack inspect {root}\n"
    assert bacpack.run("publish", folder, "--quiet").stderr == ""


def test_the_next_command_runs_the_first_that_is_a_program(bacpack: Bacpack, tmp_path: Path) -> None:
    library, component, program = (tmp_path / f"{name}.wasm" for name in ("a", "b", "c"))
    library.write_bytes(assemble('(module (func (export "add")))'))
    component.write_bytes(b"\0asm\x0d\0\1\0")
    program.write_bytes(assemble('(module (func (export "_start")))'))
    for given in ([library], [component], [library, component]):
        done = bacpack.run("publish", *given)
        assert done.stderr == f"next: bacpack inspect {done.stdout.split()[1]}\n"
    cid = bacpack.ok("publish", component, library, program)["apps"]["c"]
    assert bacpack.run("publish", component, library, program).stderr == f"next: bacpack run {cid}\n"
    assert bacpack.run("run", cid).returncode == 0


def test_the_text_says_what_was_written_where(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    car = tmp_path / "release.car"
    both = bacpack.run("publish", folder, "--car", car).stdout.splitlines()
    assert both[1].endswith(" new to the store")
    assert both[2].strip() == f"written to {car}"
    alone = bacpack.run("publish", folder, "--to", f"car:{car}")
    assert "store" not in alone.stdout
    assert f"written to {car}\n" in alone.stdout
    assert "written" not in bacpack.run("publish", folder, "--car", car, "--dry-run").stdout


def test_a_target_is_listed_however_its_path_is_written(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    pins = bacpack.ok("publish", folder, "--to", f"car:{tmp_path}/./release.car")["pins"]
    assert pins == [{"target": f"car:{tmp_path}/release.car", "status": "written"}]


def test_a_dry_run_writes_nothing(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    car = tmp_path / "release.car"
    dry = bacpack.ok("publish", folder, "--dry-run", "--car", car)
    assert not bacpack.home.exists()
    assert not car.exists()
    assert dry["pins"] == [{"target": "store", "status": "dry-run", "new_bytes": dry["bytes"]}]
    wet = bacpack.ok("publish", folder, "--car", car)
    assert {**dry, "pins": wet["pins"]} == wet
    assert bacpack.ok("publish", folder, "--dry-run")["new_bytes"] == 0


def test_pack_and_publish_give_the_same_car_and_root(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    packed = bacpack.ok("pack", folder, "-o", tmp_path / "packed.car")
    published = bacpack.ok("publish", folder, "--to", f"car:{tmp_path / 'published.car'}", "--to", "store")
    assert packed["root"] == published["root"]
    assert packed["blocks"] == published["blocks"]
    assert packed["bytes"] == (tmp_path / "packed.car").stat().st_size
    assert packed["car"] == str(tmp_path / "packed.car")
    assert published["car"] == str(tmp_path / "published.car")
    assert published["pins"] == [
        {"target": "store", "status": "pinned", "new_bytes": published["bytes"]},
        {"target": f"car:{tmp_path / 'published.car'}", "status": "written"},
    ]
    assert (tmp_path / "packed.car").read_bytes() == (tmp_path / "published.car").read_bytes()
    other = Bacpack(tmp_path / "elsewhere")
    assert other.ok("publish", folder, "--to", f"car:{tmp_path / 'again.car'}")["pins"][0]["status"] == "written"
    assert not other.home.exists()


def test_a_release_moves_to_an_empty_store_by_car(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    root = bacpack.ok("publish", folder, "--car", tmp_path / "release.car")["root"]
    assert bacpack.ok("verify", tmp_path / "release.car")["roots"] == [root]
    other = Bacpack(tmp_path / "elsewhere")
    fetched = other.ok("fetch", tmp_path / "release.car")
    assert (fetched["roots"], fetched["pinned"], fetched["new_bytes"]) == ([root], True, fetched["bytes"])
    assert other.files() == bacpack.files()
    assert other.ok("verify", root)["ok"] is True
    origin = Provenance(other.home).get(Cid.parse(manifest_of(folder).apps[0].cid))
    assert origin is not None
    assert origin.obtained_from == f"car:{tmp_path / 'release.car'}"
    assert origin.names == ("app-0.wasm",)
    assert other.ok("fetch", tmp_path / "release.car", "--no-pin")["new_bytes"] == 0


def test_ipfs_car_gives_the_same_root_and_unpacks_ours(
    bacpack: Bacpack, folder: Path, tmp_path: Path, oracles: Oracles
) -> None:
    root = bacpack.ok("pack", folder, "-o", tmp_path / "ours.car")["root"]
    packed = oracles.ipfs_car("pack", folder, "--no-wrap", "--output", tmp_path / "theirs.car")
    assert packed.stdout.strip() == root, packed.stderr
    assert bacpack.ok("verify", tmp_path / "theirs.car", root)["roots"] == [root]
    unpacked = oracles.ipfs_car("unpack", tmp_path / "ours.car", "--output", tmp_path / "unpacked")
    assert unpacked.returncode == 0, unpacked.stderr
    for path in folder.rglob("*"):
        if path.is_file():
            assert (tmp_path / "unpacked" / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_the_root_depends_on_content_alone(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    root = bacpack.ok("publish", folder, "--dry-run")["root"]
    copy = tmp_path / "another name"
    shutil.copytree(folder, copy)
    (copy / "left-over.wasm").write_bytes(b"of a split before")
    (copy / ".hidden").write_bytes(b"")
    os.utime(copy / MANIFEST_NAME, (0, 0))
    done = bacpack.run("publish", copy, "--dry-run")
    assert root in done.stdout
    assert "left-over.wasm" in done.stderr
    assert ".hidden" in done.stderr
    assert bacpack.ok("verify", copy, root)["cid"] == root
    bacpack.fails(1, "cid-mismatch", "verify", copy, manifest_of(folder).apps[0].cid)


def test_files_are_published_in_a_folder_by_their_names(bacpack: Bacpack, tmp_path: Path) -> None:
    (tmp_path / "one.wasm").write_bytes(b"one")
    (tmp_path / "two.txt").write_bytes(b"two")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "three.wasm").write_bytes(b"three")
    alone = bacpack.ok("publish", tmp_path / "one.wasm")
    assert alone["apps"] == {"one": str(Cid.of_raw(b"one"))}
    store = BlockStore(bacpack.home)
    assert dict(walk_files(store.get, Cid.parse(alone["root"]))) == {"one.wasm": Cid.of_raw(b"one")}
    several = bacpack.ok("publish", tmp_path / "two.txt", tmp_path / "in", tmp_path / "one.wasm")
    assert several["apps"] == {"one": str(Cid.of_raw(b"one"))}
    assert set(dict(walk_files(store.get, Cid.parse(several["root"])))) == {"one.wasm", "two.txt", "in/three.wasm"}
    reordered = bacpack.ok("publish", tmp_path / "one.wasm", tmp_path / "two.txt", tmp_path / "in")
    assert reordered["root"] == several["root"]
    assert [pin["name"] for pin in bacpack.ok("pin", "ls")["pins"]] == ["one", "one"]


def test_folders_that_were_split_keep_their_apps_beside_others(bacpack: Bacpack, tmp_path: Path) -> None:
    write_release(tmp_path / "a", apps=1, seed=1)
    (tmp_path / "tool.wasm").write_bytes(b"tool")
    assert set(bacpack.ok("publish", tmp_path / "a", tmp_path / "tool.wasm")["apps"]) == {"app-0", "tool"}
    (tmp_path / "a" / "app-0.wasm").write_bytes(b"changed")
    error = bacpack.fails(1, "cid-mismatch", "publish", tmp_path / "a", tmp_path / "tool.wasm")
    assert error["details"]["path"] == "a/app-0.wasm"


def test_an_empty_folder_is_a_release_too(bacpack: Bacpack, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    root = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    assert bacpack.ok("pack", tmp_path / "empty", "-o", tmp_path / "e.car")["root"] == root
    assert bacpack.run("publish", tmp_path / "empty").stderr == f"next: bacpack inspect {root}\n"


# What does not match


def test_a_changed_module_is_refused_with_what_was_expected(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    module = manifest_of(folder).modules[1]
    (folder / module.path).write_bytes(b"tampered")
    for arguments in (("publish", folder), ("pack", folder, "-o", tmp_path / "x.car"), ("verify", folder)):
        error = bacpack.fails(1, "cid-mismatch", *arguments)
        assert module.cid in error["message"]
        assert error["details"]["expected"] == module.cid
        assert error["details"]["got"] == str(Cid.of_raw(b"tampered"))
        assert error["details"]["path"] == module.path
    assert not bacpack.home.exists()
    assert not (tmp_path / "x.car").exists()


def test_a_missing_module_is_named(bacpack: Bacpack, folder: Path) -> None:
    module = manifest_of(folder).modules[0]
    (folder / module.path).unlink()
    assert bacpack.fails(1, "missing-file", "publish", folder)["details"]["expected"] == module.cid
    bacpack.fails(1, "missing-file", "verify", folder)


def test_an_import_that_the_release_does_not_hold_is_named(bacpack: Bacpack, folder: Path) -> None:
    manifest = manifest_of(folder)
    changed = msgspec.structs.replace(manifest, modules=manifest.modules[1:])
    (folder / MANIFEST_NAME).write_bytes(encode_manifest(changed))
    error = bacpack.fails(1, "missing-module", "publish", folder)
    assert error["details"]["missing"] == [manifest.modules[0].cid]


@pytest.mark.parametrize("path", ["../outside.wasm", "/etc/passwd", "", ".", "a/../b.wasm", "a//b.wasm", "./a.wasm"])
def test_a_manifest_cannot_reach_outside_of_its_folder(bacpack: Bacpack, folder: Path, path: str) -> None:
    (folder.parent / "outside.wasm").write_bytes(b"secret")
    manifest = manifest_of(folder)
    app = msgspec.structs.replace(manifest.apps[0], path=path)
    (folder / MANIFEST_NAME).write_bytes(encode_manifest(msgspec.structs.replace(manifest, apps=[app])))
    bacpack.fails(2, "bad-manifest", "publish", folder)


def test_manifests_that_cannot_be_used(bacpack: Bacpack, folder: Path) -> None:
    manifest = manifest_of(folder)
    path = folder / MANIFEST_NAME
    twice = msgspec.structs.replace(manifest, apps=[manifest.apps[0], manifest.apps[0]])
    inside = msgspec.structs.replace(
        manifest, apps=[manifest.apps[0], msgspec.structs.replace(manifest.apps[1], path="app-0.wasm/x")]
    )
    newer = msgspec.structs.replace(manifest, schema=2)
    for data in (b"{", b"{}", encode_manifest(twice), encode_manifest(inside), encode_manifest(newer)):
        path.write_bytes(data)
        bacpack.fails(2, "bad-manifest", "publish", folder)
        bacpack.fails(2, "bad-manifest", "verify", folder)


# Verifying files


def test_a_file_is_verified_against_a_cid(bacpack: Bacpack, tmp_path: Path) -> None:
    small, large = tmp_path / "small.wasm", tmp_path / "large.wasm"
    small.write_bytes(b"hello world")
    large.write_bytes(b"abc" * 1_000_000)
    cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    root = bacpack.ok("publish", large, "--dry-run")["apps"]["large"]
    assert root.startswith("bafybei")
    assert bacpack.ok("verify", small, cid) == {"ref": str(small), "ok": True, "cid": cid, "bytes": 11}
    assert bacpack.ok("verify", large, root)["bytes"] == 3_000_000
    # The plain hash of a file above 1 MiB is a CID of it too, if not the profile's.
    assert bacpack.ok("verify", large, Cid.of_raw(large.read_bytes()))["ok"] is True
    for other in (root, str(Cid.of_raw(b"x"))):
        error = bacpack.fails(1, "cid-mismatch", "verify", small, other)
        assert error["details"] == {"path": str(small), "expected": other, "got": cid, "bytes": 11}
    bacpack.fails(2, "nothing-to-verify", "verify", small)
    bacpack.fails(2, "bad-cid", "verify", small, "bafkrei")
    bacpack.fails(2, "not-found", "verify", tmp_path / "absent", cid)
    bacpack.fails(2, "nothing-to-verify", "verify", tmp_path)
    named = tmp_path / f"{cid}.wasm"
    small.rename(named)
    assert bacpack.ok("verify", named)["cid"] == cid
    named.write_bytes(b"hello worlD")
    bacpack.fails(1, "cid-mismatch", "verify", named)


# Usage


@pytest.mark.parametrize("name", ["pack", "publish", "pin", "gc", "fetch", "verify"])
def test_help_has_examples_and_exit_statuses(bacpack: Bacpack, name: str) -> None:
    done = bacpack.run(name, "--help")
    assert done.returncode == 0
    assert f"  bacpack {name}" in done.stdout
    assert "Exit status:" in done.stdout


def test_wrong_usage(bacpack: Bacpack, folder: Path, tmp_path: Path) -> None:
    bacpack.fails(2, "usage", "publish")
    bacpack.fails(2, "usage", "pack", folder)
    bacpack.fails(2, "unknown-target", "publish", folder, "--to", "s3:bucket")
    bacpack.fails(2, "unknown-target", "publish", folder, "--to", "car:")
    bacpack.fails(2, "output-inside-input", "pack", folder, "-o", folder / "x.car")
    bacpack.fails(2, "output-inside-input", "publish", folder, "--car", folder / "modules" / "x.car")
    copy = tmp_path / "copy"
    copy.mkdir()
    for target in (copy, f"{tmp_path}/none/", ""):
        error = bacpack.fails(2, "is-a-directory", "pack", folder, "-o", target)
        assert error["hint"] == f"name the file, such as `{Path(target) / 'release.car'}`"
        bacpack.fails(2, "is-a-directory", "publish", folder, "--car", target)
    bacpack.fails(2, "is-a-directory", "publish", folder, "--to", f"car:{tmp_path}/none/")
    assert not (tmp_path / "none").exists()
    (copy / "app-0.wasm").write_bytes(b"")
    bacpack.fails(2, "duplicate-name", "publish", folder / "app-0.wasm", copy / "app-0.wasm")
    assert not bacpack.home.exists()
