"""A release that is set up: what is constant in it, and where the work of a function is done."""

from __future__ import annotations

from bacpack.wasm import Kind
from mutation.oracles.linked import HOST, LinkedRelease, Thing
from mutation.oracles.snapshot import Snapshot
from mutation.parts import Instruction

#: More bytes than a function has that only passes its parameters on.
_LONGEST = 3_000
#: The kind of what a call reaches that traps.
TRAP = "trap"


class Side:
    """A release, set up."""

    def __init__(self, linked: LinkedRelease, snapshot: Snapshot) -> None:
        self.linked = linked
        self.snapshot = snapshot
        #: Globals and tables whose content counted as constant, and all that was named as itself.
        self.constant: set[Thing] = set()
        self.named: set[Thing] = set()
        #: Those that were both, and so can change.
        self.varying: set[Thing] = set()

    def is_constant(self, thing: Thing) -> bool:
        """Whether what a global or table holds is known, and so far nothing that is reached can change it."""
        known = thing in self.snapshot.tables if thing.kind == Kind.TABLE.name else thing in self.snapshot.globals
        return known and thing.place != HOST and thing not in self.varying

    def target(self, function: Thing | None) -> Thing | None:
        """Where the work of a function is done; of the host's also who calls it."""
        seen = set[Thing]()
        while function and function.place != HOST and function not in seen:
            seen.add(function)
            following = self._passes_on_to(function)
            if following is None:
                break
            if following.place == HOST:
                return called_by(following, function.place)
            function = following
        return function

    def _passes_on_to(self, function: Thing) -> Thing | None:
        parts, position = self.linked.defined(function)
        if len(parts.bodies[position]) > _LONGEST:
            return None
        body, type_ = self.linked.body(function), self.linked.parameters(function)
        if body.locals or type_ is None or not len(type_.params) < len(body.code) <= len(type_.params) + 3:
            return None
        count = len(type_.params)
        if [(part.row.name, *part.values) for part in body.code[:count]] != [("local.get", n) for n in range(count)]:
            return None
        match body.code[count:]:
            case [Instruction() as call, Instruction()] if call.row.name == "call":
                callee = self.linked.thing(function.place, Kind.FUNCTION, call.values[0])
            case [Instruction() as number, Instruction() as call, _] if self.calls_entry(function.place, number, call):
                callee = self.called(function.place, number, call)
            case _:
                return None
        alike = callee.place == HOST or self._type(callee) == self._type(function)
        return callee if alike and callee.kind != TRAP else None

    def _type(self, function: Thing) -> bytes:
        return self.linked.function_type(function)

    def calls_entry(self, place: str, number: Instruction, call: Instruction) -> bool:
        """Whether two instructions are a call through an entry of a table that is known."""
        return (
            number.row.name == "i32.const"
            and call.row.name in ("call_indirect", "return_call_indirect")
            and self.is_constant(self.linked.thing(place, Kind.TABLE, call.values[1]))
        )

    def called(self, place: str, number: Instruction, call: Instruction) -> Thing:
        """What such a call reaches, or how it traps."""
        table = self.linked.thing(place, Kind.TABLE, call.values[1])
        self.constant.add(table)
        entries, at = self.snapshot.tables[table], number.values[0] & 0xFFFFFFFF
        function = entries[at] if at < len(entries) else None
        if function is None:
            return Thing(HOST, TRAP, "null" if at < len(entries) else "beyond the end")
        if function.place != HOST and self._type(function) != self.linked.type_of(place, call.values[0]):
            return Thing(HOST, TRAP, "another type")
        return function


def called_by(function: Thing, caller: str) -> Thing:
    """A function of the host as a module calls it."""
    return Thing(function.place, f"{function.kind} called by {caller or 'the remainder'}", function.index)
