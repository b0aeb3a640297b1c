"""Sources of modules: what they return is what was asked for, and damage in one is no reason to give up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacnode.fetch.limits import LoadLimits
from bacnode.fetch.session import Web
from bacnode.fetch.source import BlockSource, FolderSource, file_cid
from bacnode.fetch.sources import Sources
from bacnode.programs.open_program import Folder, Program, open_program, open_ref
from bacpack.content.car import car_chunks
from bacpack.content.cid.block import CorruptBlockError, MissingBlockError
from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import CidRef
from bacpack.content.store.block_store import BlockStore
from bacpack.content.store.file_dag import FileDag
from bacpack.errors import BacpackError, CheckFailedError, InputError, UnreachableError
from node.harness import PLENTY, assemble

MODULE = assemble('(module (func (export "_start")))')
CID = Cid.of_raw(MODULE)
LIMITS = LoadLimits()
#: Larger than a block, so that its CID is that of a tree.
LARGE = assemble(f'(module (memory 32) (func (export "_start")) (data (i32.const 0) "{"x" * (3 << 19)}"))')


def modules_folder(folder: Path, name: Cid, data: bytes) -> FolderSource:
    (folder / "modules").mkdir(exist_ok=True)
    (folder / "modules" / f"{name}.wasm").write_bytes(data)
    return FolderSource(folder)


def store_source(store: BlockStore) -> BlockSource:
    return BlockSource("store", str(store.folder), "the store", store.get)


def test_a_folder_gives_a_module_and_says_which_file(tmp_path: Path) -> None:
    found = modules_folder(tmp_path, CID, MODULE).read(CID, PLENTY)
    assert (found.data, found.kind, found.origin) == (MODULE, "file", str(tmp_path / "modules" / f"{CID}.wasm"))


def test_a_folder_gives_a_module_larger_than_a_block(tmp_path: Path) -> None:
    cid = file_cid(LARGE)
    assert cid.codec != CID.codec
    assert modules_folder(tmp_path, cid, LARGE).read(cid, PLENTY).data == LARGE


@pytest.mark.parametrize(("cid", "data"), [(CID, MODULE + b"\0"), (file_cid(LARGE), LARGE[:-1] + b"\1")])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, cid: Cid, data: bytes) -> None:
    source = modules_folder(tmp_path, cid, data)
    with pytest.raises(CheckFailedError) as refused:
        source.read(cid, PLENTY)
    assert refused.value.code == "block-mismatch"
    assert str(tmp_path / "modules" / f"{cid}.wasm") in refused.value.message


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    source = modules_folder(tmp_path, CID, MODULE)
    with pytest.raises(InputError) as refused:
        source.read(CID, len(MODULE) - 1)
    assert refused.value.code == "too-large"


def test_a_folder_without_modules_has_nothing(tmp_path: Path) -> None:
    for ask in (FolderSource(tmp_path).get, lambda cid: FolderSource(tmp_path).read(cid, PLENTY)):
        with pytest.raises(MissingBlockError):
            ask(CID)


def no_url(url: str, max_bytes: int) -> bytes:
    raise AssertionError(f"{url} was fetched")


def test_the_first_source_that_has_a_module_is_taken(tmp_path: Path, store: BlockStore) -> None:
    store.put(CID, MODULE)
    empty = FolderSource(tmp_path)
    fetched = Sources([empty, store_source(store)], no_url).fetch(CidRef(CID), PLENTY)
    assert (fetched.source, fetched.fetched_from, fetched.name) == ("store", str(store.folder), str(CID))


def test_a_damaged_copy_is_passed_over_for_a_sound_one(tmp_path: Path, store: BlockStore) -> None:
    damaged = modules_folder(tmp_path, CID, b"damaged")
    store.put(CID, MODULE)
    assert Sources([damaged, store_source(store)], no_url).fetch(CidRef(CID), PLENTY).source == "store"


def test_damage_is_what_is_said_when_no_sound_copy_is_left(tmp_path: Path, store: BlockStore) -> None:
    sources = Sources([modules_folder(tmp_path, CID, b"damaged"), store_source(store)], no_url)
    with pytest.raises(CheckFailedError) as refused:
        sources.fetch(CidRef(CID), PLENTY)
    assert refused.value.code == "block-mismatch"


def test_a_damaged_block_in_the_store_is_said(store: BlockStore) -> None:
    store.put(CID, MODULE)
    store.path(CID).write_bytes(b"damaged")
    with pytest.raises(CorruptBlockError):
        Sources([store_source(store)], no_url).fetch(CidRef(CID), PLENTY)


def test_a_module_that_nobody_has_is_refused_with_all_that_were_asked(tmp_path: Path, store: BlockStore) -> None:
    sources = Sources([FolderSource(tmp_path), store_source(store)], no_url)
    with pytest.raises(UnreachableError) as refused:
        sources.fetch(CidRef(CID), PLENTY)
    assert refused.value.code == "module-not-found"
    assert refused.value.message == f"{CID} is not available: it is not in `{tmp_path / 'modules'}`, the store"


def test_a_large_file_in_the_store_is_put_together_and_verified(store: BlockStore) -> None:
    dag = FileDag()
    cid = dag.add_bytes(LARGE).cid
    copy(dag, cid, store)
    assert Sources([store_source(store)], no_url).fetch(CidRef(cid), PLENTY).data == LARGE
    with pytest.raises(InputError) as refused:
        Sources([store_source(store)], no_url).fetch(CidRef(cid), len(LARGE) - 1)
    assert refused.value.code == "too-large"


def copy(dag: FileDag, root: Cid, store: BlockStore) -> None:
    from bacpack.content.ipld.links import read_dag

    for cid, block in read_dag(dag.get, [root]):
        store.put(cid, block)


def release(*names: str) -> tuple[FileDag, Cid]:
    dag = FileDag()
    entries = {name: dag.add_bytes(MODULE + b"\0\2\1" + bytes([index])) for index, name in enumerate(names)}
    modules = dag.add_directory({f"{CID}.wasm": dag.add_bytes(MODULE)})
    return dag, dag.add_directory({**entries, "modules": modules}).cid


def write_car(path: Path, *names: str) -> Cid:
    from bacpack.content.ipld.links import read_dag

    dag, root = release(*names)
    path.write_bytes(b"".join(car_chunks([root], read_dag(dag.get, [root]))))
    return root


def refused_by_open(ref: object, store: BlockStore) -> BacpackError:
    with pytest.raises(BacpackError) as refused:
        open_program(str(ref), store, Web(offline=True), LIMITS)
    return refused.value


def test_a_car_with_one_program_is_that_program(tmp_path: Path, store: BlockStore) -> None:
    write_car(tmp_path / "one.car", "app.wasm")
    program = open_program(str(tmp_path / "one.car"), store, Web(offline=True), LIMITS)
    assert (program.root.name, program.root.source) == ("app.wasm", "file")
    assert program.root.fetched_from == str(tmp_path / "one.car")
    assert program.sources.fetch(CidRef(CID), PLENTY).data == MODULE


def test_a_car_with_several_programs_asks_for_one(tmp_path: Path, store: BlockStore) -> None:
    car = tmp_path / "two.car"
    write_car(car, "a.wasm", "b.wasm")
    error = refused_by_open(car, store)
    assert (error.code, error.exit_status) == ("which-program", 2)
    assert error.hint == "name one of them after a slash: a.wasm, b.wasm"
    assert open_program(f"{car}/b.wasm", store, Web(offline=True), LIMITS).root.name == "b.wasm"


def test_a_name_that_is_not_in_the_car_is_refused(tmp_path: Path, store: BlockStore) -> None:
    write_car(tmp_path / "one.car", "app.wasm")
    assert refused_by_open(tmp_path / "one.car" / "other.wasm", store).code == "no-such-entry"


def test_a_cut_car_is_refused(tmp_path: Path, store: BlockStore) -> None:
    write_car(tmp_path / "cut.car", "app.wasm")
    (tmp_path / "cut.car").write_bytes((tmp_path / "cut.car").read_bytes()[:-3])
    error = refused_by_open(tmp_path / "cut.car", store)
    assert error.exit_status == 2 and error.hint


def test_a_car_beyond_the_limit_is_refused(tmp_path: Path, store: BlockStore) -> None:
    write_car(tmp_path / "one.car", "app.wasm")
    with pytest.raises(InputError) as refused:
        open_program(str(tmp_path / "one.car"), store, Web(offline=True), LoadLimits(total_bytes=40))
    assert refused.value.code == "too-large"


def test_a_car_without_a_root_does_not_say_what_to_run(tmp_path: Path, store: BlockStore) -> None:
    (tmp_path / "none.car").write_bytes(b"".join(car_chunks([], [(CID, MODULE)])))
    assert refused_by_open(tmp_path / "none.car", store).code == "car-roots"


def test_a_program_by_cid_and_by_path_below_a_cid(store: BlockStore) -> None:
    dag, root = release("app.wasm")
    copy(dag, root, store)
    for ref in (str(CID), f"ipfs://{CID}", f"{root}/modules/{CID}.wasm", f"ipfs://{root}/modules/{CID}.wasm"):
        program = open_program(ref, store, Web(offline=True), LIMITS)
        assert (program.root.data, program.root.source) == (MODULE, "store")
    assert open_program(str(root), store, Web(offline=True), LIMITS).root.name == "app.wasm"


def test_a_folder_on_disk_is_opened_as_one(tmp_path: Path, store: BlockStore) -> None:
    (tmp_path / "app.wasm").write_bytes(MODULE)
    opened = open_ref(str(tmp_path), store, Web(offline=True), LIMITS)
    assert isinstance(opened, Folder)
    assert opened.list_programs() == ["app.wasm"]
    assert isinstance(open_ref(str(tmp_path / "app.wasm"), store, Web(offline=True), LIMITS), Program)


def test_an_empty_folder_has_no_program(tmp_path: Path, store: BlockStore) -> None:
    (tmp_path / "empty").mkdir()
    error = refused_by_open(tmp_path / "empty", store)
    assert (error.code, error.message) == ("which-program", f"`{tmp_path / 'empty'}` holds no programs")


def test_a_program_beyond_the_limit_is_refused_unread(tmp_path: Path, store: BlockStore) -> None:
    (tmp_path / "app.wasm").write_bytes(MODULE)
    with pytest.raises(InputError) as refused:
        open_program(str(tmp_path / "app.wasm"), store, Web(), LoadLimits(module_bytes=10))
    assert refused.value.code == "too-large"
