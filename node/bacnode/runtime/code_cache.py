"""Compiled modules on disk, so that each is compiled once on a machine, whoever runs it.

    compiled/<engine>/<cid>     machine code as the engine wrote it, then a seal of 32 bytes
    compiled-key                the secret that seals are made with, readable by its owner alone

Machine code is not checked by the engine when it is loaded: whoever can choose it can do whatever this user can. So it
is only ever made here, and each file is sealed with a secret that never leaves the machine: a file from a backup, from
another machine or from somebody who may write to the folder has no seal that fits, and is compiled anew. A list of
hashes would do as much against damage, but whoever can write files could write the list too, and it would have to be
kept in step by every process.

`<engine>` stands for the version of wasmtime, how it is configured, and the processor: whatever changes the code.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import platform
import secrets
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bacpack.errors import BacpackError
from bacpack.files import placed
from bacpack.secret_file import private_file

# Imported where it is used: a node asks what is compiled, and runs nothing itself.
if TYPE_CHECKING:
    import wasmtime

#: Bytes that the folder may take.
MAX_BYTES = 4 << 30
#: When there is too much, so much of it stays.
_KEPT_SHARE = 0.8

_SEAL_BYTES = 32
_KEY_BYTES = 32
#: Seconds after which a file that was never finished is what a killed process left.
_ABANDONED_SECONDS = 3600
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Configuration:
    """What of the engine's configuration changes the code that it makes."""

    interruptible: bool
    fueled: bool
    #: Whether modules may use what few programs need; see `bacnode.runtime.engine_config`.
    all_features: bool = True

    @property
    def name(self) -> str:
        """The same for all engines that make the same code."""
        return _name_of(self)


@cache
def _name_of(configuration: Configuration) -> str:
    text = f"wasmtime {version('wasmtime')}; {_processor()}; {configuration}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@cache
def _processor() -> str:
    """Name the processor with what it can do: the engine uses all of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    able = next((line for line in lines if line.startswith(("flags", "Features", "isa"))), "")
    return f"{platform.machine()}; {able}"


class CompileCache:
    """The compiled modules below `folder`. What cannot be read or written is as if it were not there."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder / "compiled"
        self._max_bytes = max_bytes
        self._key = private_file(folder / "compiled-key", lambda: secrets.token_bytes(_KEY_BYTES))

    def has(self, cid: str, configuration: Configuration) -> bool:
        """Whether there is code for a module; it is not checked."""
        return self._path(cid, configuration).is_file()

    def get(self, cid: str, configuration: Configuration, engine: wasmtime.Engine) -> wasmtime.Module | None:
        """Return a module, mapped into memory from disk; None if it is not here, or not as it was written."""
        import wasmtime

        path = self._path(cid, configuration)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            if not self._is_sealed(descriptor, cid, configuration):
                path.unlink(missing_ok=True)
                return None
            # By the descriptor, so that what is loaded is the file that was checked.
            module = wasmtime.Module.deserialize_file(engine, f"/proc/self/fd/{descriptor}")
            os.utime(descriptor)
        except (OSError, wasmtime.WasmtimeError):
            return None
        finally:
            os.close(descriptor)
        return module

    def put(self, cid: str, configuration: Configuration, module: wasmtime.Module) -> bool:
        """Keep a module that was compiled just now; return whether that went well."""
        code = module.serialize()
        path = self._path(cid, configuration)
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        try:
            for folder in (self._folder, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            # Not forced to disk: code that a power cut damages has no seal that fits.
            with (
                placed(path, temporary, 0o600, durable=False) as descriptor,
                os.fdopen(descriptor, "wb", closefd=False) as file,
            ):
                file.write(code)
                seal = self._sealing(cid, configuration)
                seal.update(code)
                file.write(seal.digest())
            self.trim()
        except OSError:
            return False
        return True

    def trim(self) -> None:
        """Delete what was not used for longest, if all is more than it may be."""
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        newest = max((entry[0] for entry in found), default=0)
        for when, _, path in found:
            if path.name.startswith(".") and newest - when > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in found)
        if total <= self._max_bytes:
            return
        for _, size, path in sorted(found):
            if total <= self._max_bytes * _KEPT_SHARE:
                break
            # A process that has it mapped keeps it.
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, cid: str, configuration: Configuration) -> Path:
        return self._folder / configuration.name / cid

    def _sealing(self, cid: str, configuration: Configuration) -> hashlib.blake2b:
        # What it is the code of is sealed too: renaming a file must not make it another module's.
        seal = hashlib.blake2b(key=self._key[:64], digest_size=_SEAL_BYTES)
        seal.update(f"{cid}\n{configuration.name}\n".encode())
        return seal

    def _is_sealed(self, descriptor: int, cid: str, configuration: Configuration) -> bool:
        rest = os.fstat(descriptor).st_size - _SEAL_BYTES
        seal = self._sealing(cid, configuration)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            while rest > 0 and (piece := file.read(min(rest, _PIECE_BYTES))):
                seal.update(piece)
                rest -= len(piece)
            return rest == 0 and hmac.compare_digest(file.read(), seal.digest())


def open_cache(folder: Path) -> CompileCache | None:
    """Return the cache in `folder`, or None where its key cannot be had: then all is compiled anew."""
    try:
        return CompileCache(folder)
    except BacpackError:
        return None
