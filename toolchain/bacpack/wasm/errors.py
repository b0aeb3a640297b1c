"""The one error of this library: what is wrong with the bytes, and at which offset."""

from __future__ import annotations

from bacpack.errors import InputError


class WasmError(InputError):
    """A module is malformed, cut short or beyond a limit. `offset` is the byte where it was noticed."""

    def __init__(self, code: str, message: str, offset: int, *, hint: str | None = None) -> None:
        super().__init__(code, f"{message} (at offset 0x{offset:x})", hint=hint, details={"offset": offset})
        self.offset = offset
