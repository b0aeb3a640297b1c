"""The list of real programs is one that can be fetched: exact versions, and enough toolchains."""

from __future__ import annotations

import re

from real.check import read_list


def test_the_list_names_each_program_once_and_exactly() -> None:
    blobs = read_list()
    assert len({blob.name for blob in blobs}) == len(blobs) >= 60
    assert len({blob.toolchain.partition(",")[0] for blob in blobs}) >= 16
    for blob in blobs:
        assert blob.registry in ("npm", "pypi", "go")
        assert re.fullmatch(r"v?\d[\w.+-]*", blob.version), blob
        assert re.fullmatch(r"[0-9a-f]{64}", blob.sha256), blob
        assert blob.path.endswith(".wasm")
    assert sum(map(len, (blob.run for blob in blobs))) >= 10
