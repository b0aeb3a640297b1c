"""The one error of this library: what is wrong with the bytes, and at which offset."""

from __future__ import annotations

from bacpack.errors import InputError

_HINT = "`wasm-tools validate` says more about a broken module"


class WasmError(InputError):
    """A module is malformed, cut short or beyond a limit. `offset` is the byte where it was noticed."""

    def __init__(self, code: str, message: str, offset: int, *, hint: str = _HINT) -> None:
        super().__init__(code, f"{message} (at offset 0x{offset:x})", hint=hint, details={"offset": offset})
        self.offset = offset
