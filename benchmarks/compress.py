"""What others make of the same bytes: zstd, each file by itself or all as one, and content-defined chunking."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from hashlib import sha256
from types import ModuleType

from measure import LeftOutError

ZSTD_LEVEL = 19
#: As `zstd --long` sets it: how far back a repetition is found, as a power of two.
WINDOW_LOG = 27
CHUNK_BYTES = 4096


def zstd_each(files: Iterable[bytes]) -> int:
    """Bytes of `zstd -19` on each file."""
    zstandard = _need("zstandard")
    return sum(len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)) for data in files)


def zstd_solid(files: Iterable[bytes]) -> int:
    """Bytes of `zstd -19 --long` on all files one after the other: small, but neither incremental nor runnable."""
    zstandard = _need("zstandard")
    parameters = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, window_log=WINDOW_LOG, enable_ldm=True)
    return len(zstandard.ZstdCompressor(compression_params=parameters).compress(b"".join(files)))


def chunks(data: bytes) -> dict[str, int]:
    """The chunks of a file, by hash with their sizes: FastCDC, 4 KiB on average."""
    fastcdc = _need("fastcdc")
    limits = {"min_size": CHUNK_BYTES // 4, "avg_size": CHUNK_BYTES, "max_size": CHUNK_BYTES * 8}
    found = fastcdc.fastcdc(data, hf=sha256, **limits)
    return {chunk.hash: chunk.length for chunk in found}


def chunked(files: Sequence[bytes]) -> int:
    """Bytes of all files with each chunk stored once."""
    known: dict[str, int] = {}
    for data in files:
        known |= chunks(data)
    return sum(known.values())


def _need(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise LeftOutError(f"{package} is not installed: `pip install {package}`") from error
