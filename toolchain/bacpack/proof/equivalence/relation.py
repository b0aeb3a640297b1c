"""The relation between what a blob defines and what its split puts in its place.

Pairs start from what can be reached from outside: exports, the start function, tables. Two functions are equivalent
when their code is equal and everything it names is in the relation too; so each pair adds more, until there are no new
ones. This is sound for recursive functions as well: a difference would show after some number of steps, in some pair.
What is equivalent to a third is equivalent, so of functions that are each other's already no pair is compared again:
there are no more comparisons than functions (Hopcroft and Karp, 1971).
Memories, tables, globals, tags and segments pair one to one, and must hold the same when the blob's code first runs.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from bacpack.errors import CheckFailedError
from bacpack.proof.code.byte_matcher import match_pattern
from bacpack.proof.code.comparison import Side, find_difference
from bacpack.proof.code.constant_expressions import ALLOCATION, NULL, Atom, Value
from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.equivalence.pairing import Alike, OneToOne
from bacpack.proof.program.linked_program import Address, Instance, LinkedProgram
from bacpack.proof.program.operand_targets import Linked, Named, Names, function_of
from bacpack.wasm import Kind, Limits

#: Where a pair comes from: a function of the blob, or words that say it.
Origin = Address | str
#: What a value has where another one goes on.
_NOTHING: Atom = ("nothing", 0)


class Relation:
    """Pairs of the blob's things and the split's, checked one after the other."""

    def __init__(self, program: LinkedProgram, blob: Instance, before: Linked, after: Linked) -> None:
        self._program = program
        self._blob = blob
        self._before = before
        self._after = after
        self._blob_state = before.state
        self._split_state = after.state
        self._blob_names = Names(before, blob)
        self._names: dict[int, Names] = {}
        self._seen: set[tuple[Named, Named]] = set()
        self._queue: list[tuple[Named, Named, Origin]] = []
        self._things_paired = OneToOne[Named]()
        self._allocations = OneToOne[int | bytes]()
        self._alike = Alike()

    def add(self, pairs: Iterable[tuple[Named, Named]], origin: Origin) -> None:
        """Pairs that must be equivalent."""
        for pair in dict.fromkeys(pairs):
            if pair not in self._seen:
                self._seen.add(pair)
                self._queue.append((*pair, origin))

    def check(self) -> None:
        """Check all pairs that were added, and all that follow from them."""
        while self._queue:
            named, other, origin = self._queue.pop()
            if isinstance(named, int) and isinstance(other, int):
                self._functions(named, other, origin)
            elif isinstance(named, tuple) and isinstance(other, tuple) and named[0] == other[0]:
                self._things(named, other, origin)
            else:
                raise AssertionError("operands of equal shapes are of one kind")
        if changed := self._after.fixed & self._things_paired.to_blob.keys():
            kind, address = min(changed)
            owner, index = self._program.owner(address)
            raise not_equivalent(f"{kind} {index} of {owner.view.title} counts as constant and can be changed")

    def _names_of(self, instance: Instance) -> Names:
        names = self._names.get(instance.number)
        if names is None:
            names = self._names[instance.number] = Names(self._after, instance)
            # Loads and stores do not name the memory: it is the first one, here and there.
            memories = self._blob.spaces[Kind.MEMORY], instance.spaces[Kind.MEMORY]
            if all(memories):
                self.add(
                    [(("memory", memories[0][0]), ("memory", memories[1][0]))], f"the memory of {instance.view.title}"
                )
        return names

    def _functions(self, function: Address, other: Address, origin: Origin) -> None:
        program = self._program
        if program.host(function) or program.host(other):
            if function != other:
                raise self._failed(function, f"became {program.function_name(other)}", origin)
            return
        if not self._alike.join(function, other):
            return
        if program.function_key(function) != program.function_key(other):
            raise self._failed(function, f"has another type than {program.function_name(other)}", origin)
        (_, index), (instance, other_index) = program.owner(function), program.owner(other)
        names = self._names_of(instance)
        blob = self._blob
        pattern = instance.codes.pattern(other_index)
        operands = pattern and match_pattern(
            pattern, blob.view.module.data, blob.view.span(index), names.constants, blob.codes.token_reader
        )
        if pattern and operands is not None:
            others = pattern.operands
        else:
            code, other_code = blob.codes.code(index), instance.codes.code(other_index)
            operands, others = code.operands, other_code.operands
            sides = Side(blob.view, index, code), Side(instance.view, other_index, other_code)
            if difference := find_difference(*sides, names.slots.__getitem__):
                where = f"at byte {difference.position} of its code"
                what = f"is not {program.function_name(other)}: {difference.what} {where}"
                raise self._failed(function, what, origin, offset=difference.position)
        pairs = zip(map(self._blob_names.__getitem__, operands), map(names.__getitem__, others), strict=True)
        self.add(pairs, function)

    def _things(self, named: Named, other: Named, origin: Origin) -> None:
        """Pair what is no function: one to one, and equal."""
        if not self._things_paired.pair(named, other):
            raise self._differs(named, "stands for two different ones", origin)
        assert isinstance(named, tuple) and isinstance(other, tuple)
        kind, address, other_address = named[0], named[1], other[1]
        if kind in ("data", "elem"):
            self._segments(named, other, origin)
        elif self._program.host(address) or self._program.host(other_address):
            if address != other_address:
                raise self._differs(named, "is the host's in one and not in the other", origin)
        elif kind == "memory":
            self._memories(named, address, other_address, origin)
        elif kind == "table":
            self._tables(named, address, other_address, origin)
        elif kind == "global":
            self._globals(named, address, other_address, origin)
        else:
            (owner, index), (other_owner, other_index) = (
                self._program.owner(address),
                self._program.owner(other_address),
            )
            if owner.view.tag_key(index) != other_owner.view.tag_key(other_index):
                raise self._differs(named, "has another type", origin)

    def _memories(self, named: Named, address: Address, other_address: Address, origin: Origin) -> None:
        memory, other = self._blob_state.memories[address], self._split_state.memories[other_address]
        if memory.pages != other.pages:
            raise self._differs(named, f"has {memory.pages} pages and became one of {other.pages}", origin)
        if not _may_stand_for(memory.limits, other.limits):
            raise self._differs(named, "has other limits", origin)
        at = memory.content.first_difference(other.content)
        if at is not None:
            change = f"0x{memory.content.byte(at):02x} and became 0x{other.content.byte(at):02x}"
            raise self._differs(named, f"holds at address {at} the byte {change}", origin, address=at)

    def _tables(self, named: Named, address: Address, other_address: Address, origin: Origin) -> None:
        table, other = self._blob_state.tables[address], self._split_state.tables[other_address]
        if table.size != other.size:
            raise self._differs(named, f"has {table.size} entries and became one of {other.size}", origin)
        if table.type.element != other.type.element or not _may_stand_for(table.type.limits, other.type.limits):
            raise self._differs(named, "has another type", origin)
        what = self._describe(named)
        first = table.entries.pairs(other.entries)
        for (number, other_number), entry in first.items():
            value = self._blob_state.values[number] if number else table.initial
            other_value = self._split_state.values[other_number] if other_number else other.initial
            self._values(value, other_value, f"entry {entry} of {what}")
        if table.entries.leaves_out(other.entries, table.size):
            self._values(table.initial, other.initial, f"an entry of {what}")

    def _globals(self, named: Named, address: Address, other_address: Address, origin: Origin) -> None:
        (owner, index), (other_owner, other_index) = self._program.owner(address), self._program.owner(other_address)
        if owner.view.global_type(index) != other_owner.view.global_type(other_index):
            raise self._differs(named, "has another type", origin)
        self._values(self._blob_state.globals[address], self._split_state.globals[other_address], self._describe(named))

    def _segments(self, named: Named, other: Named, origin: Origin) -> None:
        assert isinstance(named, tuple) and isinstance(other, tuple) and len(named) == len(other) == 3
        key, other_key = named[1:], other[1:]
        if named[0] == "data":
            if self._blob_state.data.get(key) != self._split_state.data.get(other_key):
                raise self._differs(named, "holds other bytes", origin)
            return
        values = self._blob_state.elements.get(key, array("I"))
        others = self._split_state.elements.get(other_key, array("I"))
        if len(values) != len(others):
            raise self._differs(named, "has another length", origin)
        self._numbered(dict.fromkeys(zip(values, others, strict=True)), self._describe(named))

    def _numbered(self, pairs: Iterable[tuple[int, int]], where: str) -> None:
        """Values that must be equal, by their numbers."""
        for number, other in pairs:
            self._values(self._blob_state.values[number], self._split_state.values[other], where)

    def _values(self, value: Value, other: Value, where: str) -> None:
        """Two values that must be equal; functions referred to must be equivalent."""
        if value == other == NULL:
            return
        for atom, other_atom in zip_longest(value, other, fillvalue=_NOTHING):
            if atom[0] == other_atom[0] == ALLOCATION:
                if not self._allocations.pair(atom[1], other_atom[1]):
                    raise not_equivalent(f"{where} is one object with another value in one and not in the other")
                continue
            function, other_function = function_of((atom,)), function_of((other_atom,))
            if function is not None and other_function is not None:
                self.add([(self._before.target(function), self._after.reference(other_function, where))], where)
            elif atom != other_atom:
                raise not_equivalent(f"{where} is {self._show(atom)} and became {self._show(other_atom)}")

    def log(self) -> None:
        """Compare the copies whose outcome only the host knows."""
        copies, others = self._blob_state.log, self._split_state.log
        if len(copies) != len(others):
            raise not_equivalent("segments are copied to other places that only the host knows")
        for copy, other in zip(copies, others, strict=True):
            if copy.kind != other.kind or copy.to != other.to or len(copy.content) != len(other.content):
                raise not_equivalent(
                    "segments are copied to other places that only the host knows, or in another order"
                )
            kind = copy.kind.name.lower()
            where = f"a segment that is copied to a {kind} of the host or to where the host says"
            self.add([((kind, copy.target), (kind, other.target))], where)
            if copy.kind == Kind.MEMORY:
                if (copy.content, copy.later) != (other.content, other.later):
                    raise not_equivalent(f"{where} holds other bytes, or what is copied after it does")
                continue
            later = copy.later.entries.pairs(other.later.entries)
            if any(not number or not other_number for number, other_number in later):
                raise not_equivalent(f"after {where}, other entries are filled")
            self._numbered(dict.fromkeys(zip(copy.content, other.content, strict=True)), where)
            self._numbered(later, where)

    def _show(self, atom: Atom) -> str:
        function = function_of((atom,))
        return f"`{atom[0]} {atom[1]!r}`" if function is None else self._program.function_name(function)

    def _describe(self, named: Named) -> str:
        if isinstance(named, int):
            return self._program.function_name(named)
        if len(named) == 3:
            return f"{named[0]} {named[2]} of the blob"
        if key := self._program.host(named[1]):
            return f"{named[0]} `{key.module}.{key.name}` of the host"
        return f"{named[0]} {self._program.owner(named[1])[1]} of the blob"

    def _differs(self, named: Named, what: str, origin: Origin, **details: Any) -> CheckFailedError:
        return not_equivalent(f"{self._describe(named)} {what} ({self._origin(origin)})", **details)

    def _failed(self, function: Address, what: str, origin: Origin, **details: Any) -> CheckFailedError:
        if not self._program.host(function):
            details["function"] = self._program.owner(function)[1]
        return not_equivalent(f"{self._describe(function)} {what} ({self._origin(origin)})", **details)

    def _origin(self, origin: Origin) -> str:
        return origin if isinstance(origin, str) else f"used by {self._describe(origin)}"


def _may_stand_for(blob: Limits, split: Limits) -> bool:
    """Whether a memory or table may stand for the blob's: it may lack a maximum, since code is compared."""
    return (blob.shared, blob.is_64) == (split.shared, split.is_64) and split.maximum in (None, blob.maximum)
