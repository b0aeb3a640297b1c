"""What an import's namespace means."""

import pytest
import wasmtime

from bacpack.content.cid.cid import Cid
from bacpack.content.cid.import_namespace import (
    HOST_MODULES,
    WASI,
    WASI_UNSTABLE,
    HostModule,
    UnlinkedNamespace,
    parse_namespace,
)
from bacpack.content.cid.reference import CidRef, UrlRef
from bacpack.errors import InputError

CID = Cid.of_raw(b"a module")


@pytest.mark.parametrize("text", [str(CID), f"ipfs://{CID}"])
def test_a_cid_with_or_without_scheme_is_content(text: str) -> None:
    assert parse_namespace(text) == CidRef(CID)


@pytest.mark.parametrize("text", [f"{CID}/lib/a.wasm", f"ipfs://{CID}/lib/a.wasm"])
def test_a_path_below_a_cid_is_content(text: str) -> None:
    assert parse_namespace(text) == CidRef(CID, ("lib", "a.wasm"))


@pytest.mark.parametrize("text", ["http://example.org/a.wasm", "https://example.org/a.wasm"])
def test_a_url_is_a_url(text: str) -> None:
    assert parse_namespace(text) == UrlRef(text)


@pytest.mark.parametrize("name", [WASI, WASI_UNSTABLE])
def test_wasi_is_of_the_host(name: str) -> None:
    assert parse_namespace(name) == HostModule(name)


@pytest.mark.parametrize("text", ["", "env", "GOT.mem", "./lib.wasm", "/etc/passwd", "wasi_snapshot_preview2"])
def test_a_name_or_path_is_never_a_file(text: str) -> None:
    assert parse_namespace(text) == UnlinkedNamespace(text)


def test_what_looks_like_a_cid_but_is_none_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        parse_namespace(str(CID)[:-1] + "1")
    assert refused.value.code == "bad-cid"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        parse_namespace("file:///etc/passwd")
    assert refused.value.code == "bad-ref"


def test_the_engine_has_every_function_that_is_said_to_be_the_hosts() -> None:
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    for name in HOST_MODULES[WASI]:
        assert isinstance(linker.get(store, WASI, name), wasmtime.Func)
