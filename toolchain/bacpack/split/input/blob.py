"""A blob to split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bacpack.errors import InputError
from bacpack.split.input.refusals import refuse_unsound
from bacpack.wasm import Module, WasmError


@dataclass(frozen=True)
class Input:
    """A blob to split: the name of its app, its bytes, and how messages call it."""

    name: str
    data: bytes
    path: str

    @cached_property
    def module(self) -> Module:
        """The sections of the blob; raises `InputError` when it is malformed or cannot be split soundly."""
        try:
            module = Module.parse(self.data)
            refuse_unsound(self.path, module)
        except WasmError as error:
            raise in_blob(self, error) from error
        return module


def in_blob(entry: Input, error: WasmError) -> InputError:
    """What to raise where a blob is malformed."""
    return InputError(
        error.code, f"`{entry.path}`: {error.message}", hint=error.hint, details={"blob": entry.path, **error.details}
    )
