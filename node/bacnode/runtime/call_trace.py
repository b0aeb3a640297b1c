"""The calls that led to a trap: in which module each is, and in which function.

The engine says where in a module's bytes a call is, and of which function by number, but not of which module: a split
program has many. So a call is in the module that has that function at that place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import wasmtime

from bacpack.errors import BacpackError
from bacpack.wasm import Kind, Module
from bacpack.wasm.custom_sections import read_names

#: Calls that are kept, from the innermost on.
MAX_CALLS = 64
#: A call in the engine's message, and how names begin that linkers made of others.
_SAID, _MANGLED = re.compile(r"^ *[0-9]+: +0x[0-9a-f]+ - [^!\n]*!(.*)$", re.MULTILINE), ("_Z", "_R", "__Z", "$s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. `offset` is in bytes, from the beginning of the module; `body` is where the function's code begins."""

    function: int
    offset: int
    body: int
    #: What the function is called, as far as the name section says.
    name: str | None = None
    #: The module that it is in, by CID or URL, and what people call that; None where it cannot be told.
    module: str | None = None
    module_name: str | None = None

    def __str__(self) -> str:
        return f"{self.module_name or 'a module'}!{self.name or f'function {self.function}'} at 0x{self.offset:x}"


@dataclass(frozen=True, slots=True)
class Place:
    """A module in which calls may be."""

    identity: str
    name: str
    data: bytes


def calls_of(error: wasmtime.Trap | wasmtime.WasmtimeError) -> list[Call]:
    """Return the calls that led to an error, innermost first, as far as the engine tells them."""
    if not isinstance(error, wasmtime.Trap):
        return []
    said = _SAID.findall(error.message)
    frames = error.frames[:MAX_CALLS]
    shown = said if len(said) >= len(frames) else [""] * len(frames)
    return [
        Call(
            function=frame.func_index,
            offset=frame.module_offset,
            body=frame.module_offset - frame.func_offset,
            # The engine's message has names as the language writes them.
            name=text if (frame.func_name or "").startswith(_MANGLED) and text else frame.func_name,
        )
        for frame, text in zip(frames, shown, strict=False)
    ]


def locate(calls: Sequence[Call], places: Iterable[Place]) -> list[Call]:
    """Return the calls with the modules that they are in; where several would do, the first."""
    found = list(calls)
    for place in places:
        left = [position for position, call in enumerate(found) if call.module is None]
        if not left:
            break
        try:
            module = Module.parse(place.data)
            imported, bodies = len(module.imported(Kind.FUNCTION)), module.bodies
            names = read_names(module)[1]
        except BacpackError:
            continue
        for position in left:
            call = found[position]
            own = call.function - imported
            if 0 <= own < len(bodies) and bodies[own].start == call.body:
                name = call.name or names.get(call.function)
                found[position] = replace(call, name=name, module=place.identity, module_name=place.name)
    return found


def located(trap: dict[str, Any], places: Iterable[Place]) -> dict[str, Any]:
    """Return a trap, as a report has it, with the modules that its calls are in."""
    calls = locate([Call(**call) for call in trap["calls"]], places)
    return {**trap, "backtrace": list(map(str, calls)) or trap["backtrace"], "calls": [asdict(call) for call in calls]}
