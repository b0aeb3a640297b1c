"""`bacpack split --catalog`: the next program uses the modules that are there, wherever they are."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bacpack.content.car import CarReader
from bacpack.content.cid.cid import Cid
from bacpack.wasm import Limits, Module, SectionId, writer
from corpus import rust_programs
from differential.harness import Host, differences
from differential.test_rust import RUNS
from node.harness import Command
from node.server import FileServer

RUST = rust_programs()
FIVE = [RUST[name] for name in ("checksum", "csvsum", "logsearch", "thumbnail", "wordcount")]
FIRST, REST = FIVE[0], FIVE[1:]


@dataclass(frozen=True)
class Release:
    """Four of our programs, split and published: a folder, a CAR file, and a CID in a store."""

    command: Command
    folder: Path
    car: Path
    root: str


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("release")
    command = Command(folder / "home")
    split(command, *REST, "-o", folder / "four")
    done = command("publish", folder / "four", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert command("pack", folder / "four", "-o", folder / "four.car").returncode == 0
    return Release(command, folder / "four", folder / "four.car", json.loads(done.stdout)["root"])


def split(command: Command, *arguments: object) -> dict[str, Any]:
    done = command("split", *arguments, "--json")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def fails(command: Command, code: str, *arguments: object, status: int = 2) -> str:
    """The message of a call that must end with an error that has a hint; `-o` must come last, and stay absent."""
    done = command("split", *arguments, "--json")
    assert done.returncode == status, done
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code, error
    assert error["hint"]
    assert not Path(str(arguments[-1])).exists()
    return str(error["message"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def reused(result: dict[str, Any]) -> set[str]:
    return {module["cid"] for module in result["modules"] if module["reused"]}


def new_bytes(result: dict[str, Any]) -> int:
    kept = sum(module["bytes"] for module in result["modules"] if module["reused"])
    return int(result["totals"]["split_bytes"]) - kept


@pytest.fixture(scope="module")
def fifth(release: Release, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The fifth program, split with the catalog of the other four."""
    folder = tmp_path_factory.mktemp("fifth") / "out"
    return folder, split(release.command, FIRST, "--catalog", release.folder, "-o", folder)


def test_the_next_program_adds_little(release: Release, fifth: tuple[Path, dict[str, Any]]) -> None:
    folder, result = fifth
    there = {path.stem: path.read_bytes() for path in (release.folder / "modules").iterdir()}
    assert reused(result) and reused(result) <= there.keys()
    for module in result["modules"]:
        assert module["reused"] == (module["kind"] != "environment")
        assert (folder / "modules" / f"{module['cid']}.wasm").read_bytes() == there[module["cid"]]
    assert new_bytes(result) < 0.35 * FIRST.stat().st_size
    assert json.loads((folder / "bacpack.json").read_bytes())["modules"] == [
        {**module, "path": f"modules/{module['cid']}.wasm"} for module in result["modules"]
    ]


@pytest.mark.parametrize(
    "run", [run for run in RUNS if run.program == "checksum"], ids=lambda run: " ".join(run.case.args)
)
def test_the_next_program_behaves_as_before(host: Host, fifth: tuple[Path, dict[str, Any]], run: Any) -> None:
    folder, _ = fifth
    split_run = host.run(folder / "checksum.wasm", run.case, folder / "modules")
    assert differences(host.run(FIRST, run.case), split_run) == []


def test_the_proof_holds(release: Release, fifth: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = fifth
    done = release.command("verify", folder, "--against", FIRST)
    assert done.returncode == 0, done.stderr.decode()


def test_what_was_reused_is_said(release: Release, tmp_path: Path) -> None:
    done = release.command("split", FIRST, "--catalog", release.folder, "-o", tmp_path / "out")
    assert b", are reused; new: " in done.stdout
    assert b"nothing" not in done.stderr
    alone = release.command("split", FIRST, "-o", tmp_path / "alone")
    assert b"are reused" not in alone.stdout


@pytest.mark.parametrize("blob", REST, ids=lambda blob: blob.stem)
def test_a_program_of_the_catalog_adds_no_more_than_its_remainder(release: Release, tmp_path: Path, blob: Path) -> None:
    result = split(release.command, blob, "--catalog", release.folder, "-o", tmp_path / "out")
    before = (release.folder / blob.name).stat().st_size
    assert all(module["reused"] or module["kind"] == "environment" for module in result["modules"])
    assert result["apps"][0]["bytes"] <= 1.1 * before


def test_wherever_the_release_is_the_split_is_the_same(
    release: Release, fifth: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    both = release.command("pack", release.folder, FIRST, "-o", tmp_path / "both.car")
    assert both.returncode == 0, both.stderr.decode()
    refs = [release.root, f"ipfs://{release.root}", release.car, f"{tmp_path}/both.car/four"]
    for number, ref in enumerate(refs):
        out = tmp_path / str(number)
        split(release.command, FIRST, "--catalog", ref, "--offline", "-o", out)
        assert contents(out) == contents(fifth[0]), ref


def blocks_of(car: Path) -> dict[Cid, bytes]:
    with car.open("rb") as file:
        return dict(CarReader(file))


def serve(server: FileServer, car: Path, without: frozenset[Cid] = frozenset()) -> None:
    for cid, block in blocks_of(car).items():
        if cid not in without:
            server.put_block(str(cid), block)


def test_a_peer_is_asked_for_what_is_used_and_no_more(
    release: Release, fifth: tuple[Path, dict[str, Any]], command: Command, server: FileServer, tmp_path: Path
) -> None:
    serve(server, release.car)
    result = split(command, FIRST, "--catalog", release.root, "--peer", server.url, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(fifth[0])
    asked = [path for path, _ in server.requests]
    assert {count for path, count in Counter(asked).items() if release.root not in path} == {1}
    programs = {str(Cid.of_raw((release.folder / blob.name).read_bytes())) for blob in REST}
    assert not any(cid in path for cid in programs for path in asked)
    assert all(any(cid in path for path in asked) for cid in reused(result))


@pytest.mark.parametrize("part", ["catalog/modules", "catalog/all", "modules"])
def test_a_block_that_nobody_has_is_named(
    release: Release, command: Command, server: FileServer, tmp_path: Path, part: str
) -> None:
    paths = [release.folder / part] if part != "modules" else list((release.folder / "modules").iterdir())
    lost = frozenset(Cid.of_raw(path.read_bytes()) for path in paths)
    serve(server, release.car, lost)
    arguments = (FIRST, "--catalog", release.root, "--peer", server.url, "-o", tmp_path / "out")
    message = fails(command, "module-not-found", *arguments, status=3)
    assert any(str(cid) in message for cid in lost)
    assert message.startswith(f"`{part}") and server.url in message and "the store" in message


def test_a_block_with_other_bytes_is_refused(
    release: Release, command: Command, server: FileServer, tmp_path: Path
) -> None:
    serve(server, release.car)
    shard = (release.folder / "catalog/all").read_bytes()
    server.put_block(str(Cid.of_raw(shard)), bytes(len(shard)))
    arguments = (FIRST, "--catalog", release.root, "--peer", server.url, "-o", tmp_path / "out")
    fails(command, "block-mismatch", *arguments, status=1)


def test_catalogs_add_up_in_any_order(release: Release, tmp_path: Path) -> None:
    split(release.command, *REST[:2], "-o", tmp_path / "a")
    split(release.command, *REST[2:], "-o", tmp_path / "b")
    refs = ["--catalog", tmp_path / "a", "--catalog", tmp_path / "b"]
    one = split(release.command, FIRST, RUST["jsonfmt"], *refs, "-o", tmp_path / "one")
    split(release.command, RUST["jsonfmt"], FIRST, *refs[2:], *refs[:2], *refs, "-o", tmp_path / "other")
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert reused(one)


def test_several_new_programs_share_what_the_catalog_lacks(release: Release, host: Host, tmp_path: Path) -> None:
    split(release.command, *REST[:2], "-o", tmp_path / "two")
    rest = [FIRST, *REST[2:]]
    result = split(release.command, *rest, "--catalog", tmp_path / "two", "-o", tmp_path / "out")
    without = split(release.command, *rest, "-o", tmp_path / "without")
    assert new_bytes(result) < new_bytes(without)
    assert reused(result)
    for app in result["apps"]:
        for run in [run for run in RUNS if run.program == app["name"]][:2]:
            split_run = host.run(Path(app["path"]), run.case, tmp_path / "out" / "modules")
            assert differences(host.run(RUST[app["name"]], run.case), split_run) == []
    done = release.command("verify", tmp_path / "out", *(part for blob in rest for part in ("--against", blob)))
    assert done.returncode == 0, done.stderr.decode()


def test_what_was_split_with_a_catalog_is_a_catalog_itself(
    release: Release, fifth: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    again = split(release.command, RUST["jsonfmt"], "--catalog", fifth[0], "-o", tmp_path / "again")
    assert reused(again) and reused(again) <= reused(fifth[1])


Damage = Callable[[Path], object]


def meta(**values: object) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "catalog" / "catalog.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return damage


def bytes_of(path: str, data: bytes) -> Damage:
    return lambda folder: (folder / path).write_bytes(data)


def cut_short(path: str, less: int) -> Damage:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:-less])


def modules_with(change: Callable[[bytes], bytes | None]) -> Damage:
    def damage(folder: Path) -> None:
        for path in (folder / "modules").iterdir():
            data = change(path.read_bytes())
            path.unlink()
            if data is not None:
                path.write_bytes(data)

    return damage


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "catalog/catalog.json").unlink(), "no `catalog/catalog.json`"),
        (lambda folder: (folder / "catalog/modules").unlink(), "no `catalog/modules`"),
        (lambda folder: shutil.rmtree(folder / "catalog"), "no `catalog/catalog.json`"),
        (bytes_of("catalog/catalog.json", b"\xff{"), "can be read"),
        (bytes_of("catalog/catalog.json", b"[1]"), "can be read"),
        (bytes_of("catalog/catalog.json", b"[" * 100_000), "can be read"),
        (meta(schema=2), "can be read"),
        (meta(digits=10**40), "can be read"),
        (meta(digits=17), "can be read"),
        (meta(digits=-1), "can be read"),
        (meta(digits="1"), "can be read"),
        (meta(environment="bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"), "environment"),
        (cut_short("catalog/modules", 1), "cut short"),
        (cut_short("catalog/modules", 36), "does not list"),
        (bytes_of("catalog/modules", bytes(36 * 9)), "does not list"),
        (modules_with(lambda data: data + b"\0"), "has other bytes than its name says"),
        (modules_with(lambda data: data[:-1]), "has other bytes than its name says"),
        (modules_with(lambda data: None), "is missing"),
    ],
)  # fmt: skip
def test_a_damaged_catalog_is_refused(release: Release, tmp_path: Path, damage: Damage, says: str) -> None:
    shutil.copytree(release.folder, tmp_path / "four")
    damage(tmp_path / "four")
    message = fails(release.command, "no-catalog", FIRST, "--catalog", tmp_path / "four", "-o", tmp_path / "out")
    assert says in message


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "catalog/all").unlink(),
        bytes_of("catalog/all", b""),
        bytes_of("catalog/all", b"\0" * 11),
        bytes_of("catalog/all", bytes(12 * 5000)),
        cut_short("catalog/all", 5),
        meta(digits=16),
    ],
)
def test_entries_that_say_nothing_are_passed_over(release: Release, tmp_path: Path, damage: Damage) -> None:
    shutil.copytree(release.folder, tmp_path / "four")
    damage(tmp_path / "four")
    split(release.command, FIRST, "--catalog", tmp_path / "four", "-o", tmp_path / "out")


def test_another_catalog_may_have_the_module_that_one_lacks(
    release: Release, fifth: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(release.folder, tmp_path / "four")
    modules_with(lambda data: None)(tmp_path / "four")
    refs = ("--catalog", tmp_path / "four", "--catalog", release.folder)
    split(release.command, FIRST, *refs, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(fifth[0])


def test_a_module_that_does_not_do_what_it_seems_to_is_refused_by_the_proof(release: Release, tmp_path: Path) -> None:
    shutil.copytree(release.folder, tmp_path / "four")
    listed = json.loads((release.folder / "bacpack.json").read_bytes())["modules"]
    shared = max((module for module in listed if module["kind"] == "shared"), key=lambda module: module["bytes"])
    data = (release.folder / shared["path"]).read_bytes()
    parsed = Module.parse(data)
    *others, functions = parsed.tables
    size = functions.type.limits.minimum
    longer = replace(functions, type=replace(functions.type, limits=Limits(size, size + 1)))
    tables = writer.vector(map(writer.table, [*others, longer]))
    changed = writer.rewrite(parsed, {SectionId.TABLE: tables})  # its table of functions may be of another size
    old, new = Cid.of_raw(data), Cid.of_raw(changed)
    (tmp_path / "four" / "modules" / f"{new}.wasm").write_bytes(changed)
    index = tmp_path / "four" / "catalog" / "modules"
    index.write_bytes(index.read_bytes().replace(bytes(old), bytes(new)))
    done = release.command("split", FIRST, "--catalog", tmp_path / "four", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert b"nothing was written" in done.stderr
    assert f"hint: it uses modules of `{tmp_path}/four`".encode() in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_no_release_is_refused(release: Release, tmp_path: Path) -> None:
    program = Cid.of_raw((release.folder / "csvsum.wasm").read_bytes())
    refs = [release.folder / "csvsum.wasm", tmp_path, "https://example.org/four", program, f"{release.car}/csvsum.wasm"]
    for ref in refs:
        fails(release.command, "no-catalog", FIRST, "--catalog", ref, "-o", tmp_path / "out")
    fails(release.command, "not-found", FIRST, "--catalog", tmp_path / "none", "-o", tmp_path / "out")
    fails(release.command, "bad-cid", FIRST, "--catalog", release.root[:-1], "-o", tmp_path / "out")


def test_a_program_that_a_release_has_already_stays_as_it_is_there(release: Release, tmp_path: Path) -> None:
    """One of five is new: nothing else is, though it shares code with the others that they had to themselves."""
    for ref in (release.folder, release.car, release.root):
        result = split(release.command, *REST, FIRST, "--catalog", ref, "-o", tmp_path / "out")
        apps = {app["name"]: app for app in result["apps"]}
        assert [app["name"] for app in result["apps"]] == [path.stem for path in (*REST, FIRST)]
        assert {name for name, app in apps.items() if app["reused"]} == {path.stem for path in REST}
        before = contents(release.folder)
        after = contents(tmp_path / "out")
        assert all(after[f"{path.stem}.wasm"] == before[f"{path.stem}.wasm"] for path in REST)
        assert all(after[path] == data for path, data in before.items() if path.startswith("modules/"))
        new = {path for path in after if path.endswith(".wasm") and after[path] != before.get(path)}
        assert f"{FIRST.stem}.wasm" in new and len(new) <= 3
    verified = release.command("verify", tmp_path / "out", "--against", *FIVE)
    assert verified.returncode == 0, verified.stderr.decode()


def test_a_release_split_again_with_itself_is_the_same(release: Release, tmp_path: Path) -> None:
    shutil.copytree(release.folder, tmp_path / "out")
    again = split(release.command, *REST, "--catalog", tmp_path / "out", "-o", tmp_path / "out")
    assert all(app["reused"] for app in again["apps"])
    before, after = contents(release.folder), contents(tmp_path / "out")
    same = {path for path in before if path.endswith(".wasm") or path.startswith("catalog/")}
    assert same <= after.keys() and all(before[path] == after[path] for path in same)


def test_a_program_whose_remainder_is_damaged_is_split_again(release: Release, tmp_path: Path) -> None:
    shutil.copytree(release.folder, tmp_path / "damaged")
    damaged, gone, *sound = (path.stem for path in REST)
    path = tmp_path / "damaged" / f"{damaged}.wasm"
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "damaged" / f"{gone}.wasm").unlink()
    result = split(release.command, *REST, "--catalog", tmp_path / "damaged", "-o", tmp_path / "out")
    assert {app["name"] for app in result["apps"] if app["reused"]} == set(sound)


def test_a_remainder_of_another_program_is_refused(release: Release, tmp_path: Path) -> None:
    """Who writes a release can say what they like in its manifest; the proof has the last word."""
    shutil.copytree(release.folder, tmp_path / "wrong")
    manifest = json.loads((tmp_path / "wrong" / "bacpack.json").read_text())
    one, other = manifest["apps"][:2]
    one["blob_cid"], other["blob_cid"] = other["blob_cid"], one["blob_cid"]
    (tmp_path / "wrong" / "bacpack.json").write_text(json.dumps(manifest))
    message = fails(
        release.command, "not-equivalent", *REST, "--catalog", tmp_path / "wrong", "-o", tmp_path / "out", status=1
    )
    assert "is not its blob, so nothing was written" in message
