"""Which of the given programs can be split: found out of all of them before any work begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bacpack.errors import InputError
from bacpack.split.input.blob import Input, in_blob
from bacpack.split.input.validation import invalid, invalid_blob
from bacpack.split.pipeline.components import Program, take_apart
from bacpack.split.shapes.fingerprint import fingerprint
from bacpack.verdict import told_apart
from bacpack.wasm import WasmError


@dataclass(frozen=True, slots=True)
class Refused:
    """A program that is not split, and why."""

    name: str
    error: InputError


def admit(inputs: Sequence[Input], show: Callable[[str], None]) -> tuple[list[Program], list[Refused]]:
    """Take apart what can be split, and tell why the rest cannot be."""
    reasons = invalid({entry.name: entry.data for entry in inputs}, show)
    programs: list[Program] = []
    refused: list[Refused] = []
    for entry in inputs:
        try:
            programs.append(_admitted(entry, reasons.get(entry.name)))
        except InputError as error:
            refused.append(Refused(entry.name, told_apart(error, entry.data)))
    return programs, refused


def _admitted(entry: Input, invalid_because: str | None) -> Program:
    """What a program is made of. Where it is invalid, the reason that we find ourselves says more: it has an offset."""
    program = take_apart(entry)
    for part in program.parts.values():
        module = part.module
        if invalid_because:
            try:
                fingerprint(module)
            except WasmError as error:
                raise in_blob(part, error) from error
    if invalid_because:
        raise invalid_blob(entry.path, invalid_because)
    return program


def refusal(refused: Sequence[Refused], count: int) -> InputError:
    """The error that names all of `refused`, of `count` programs that were given."""
    facts = [{"name": entry.name, "code": entry.error.code, "message": entry.error.message} for entry in refused]
    first = refused[0].error
    if len(refused) == 1:
        hint = first.hint if count == 1 else f"{first.hint}; or split the others without it, with --skip-refused"
        return InputError(first.code, first.message, hint=hint, details={**first.details, "refused": facts})
    hints = list(dict.fromkeys(entry.error.hint for entry in refused if entry.error.hint))
    if len(refused) < count:
        hints.append("split the others without them, with --skip-refused")
    codes = {entry.error.code for entry in refused}
    return InputError(
        codes.pop() if len(codes) == 1 else "cannot-split",
        f"{len(refused)} of {count} programs cannot be split",
        reasons=[entry.error.message for entry in refused],
        hint="; ".join(hints),
        details={"refused": facts},
    )
