"""What the operands of code name in one program, once it is set up."""

from __future__ import annotations

from bacpack.proof.code.bounded_growth import find_bounded_growth
from bacpack.proof.code.byte_matcher import SlotConstants
from bacpack.proof.code.constant_expressions import Value, literal
from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.code.instruction_forms import Operand
from bacpack.proof.code.module_view import Callee
from bacpack.proof.program.initial_state import State
from bacpack.proof.program.linked_program import Address, Instance, LinkedProgram
from bacpack.wasm import Kind

#: A function by the address where its work is done, or the kind of anything else and its address.
Named = int | tuple[str, Address] | tuple[str, Address, int]

_KINDS = {"table": Kind.TABLE, "memory": Kind.MEMORY, "global": Kind.GLOBAL, "tag": Kind.TAG}


class Linked:
    """A program set up: what calls through private tables reach, and where the work of a function is done.

    An entry of a private table counts as the function in it and a slot as the constant it holds. Both must stay what
    they are: `fixed` collects them, and nothing of the blob may stand for one of these.
    """

    def __init__(self, program: LinkedProgram, state: State, *, is_blob: bool) -> None:
        self.program = program
        self.state = state
        self._is_blob = is_blob
        self.fixed: set[tuple[str, Address]] = set()
        self._targets: dict[Address, Address] = {}

    def callee(self, instance: Instance, callee: Callee) -> Address:
        """The function that an instance calls."""
        if isinstance(callee, int):
            return instance.address(Kind.FUNCTION, callee)
        _, table, entry = callee
        address = instance.address(Kind.TABLE, table)
        self.fixed.add(("table", address))
        if self.state.last_copy(Kind.TABLE, address):
            raise not_equivalent(f"a private table of {instance.view.title} is filled from where only the host knows")
        content = self.state.tables[address]
        where = f"entry {entry} of the private table of {instance.view.title}"
        if not 0 <= entry < content.size:
            raise not_equivalent(f"{where} is called, and the table ends before it")
        function = function_of(self.state.entry(content, entry))
        if function is None:
            raise not_equivalent(f"{where} is called and holds no function")
        return self._not_of_host(function, where)

    def reference(self, function: Address, where: str) -> Address:
        """Where the work of a function is done that is referred to."""
        return self.target(self._not_of_host(function, where))

    def _not_of_host(self, function: Address, where: str) -> Address:
        # Who calls through a reference may be a module without the memory, and a host serves the module that calls it.
        if self.program.host(function) and not self._is_blob:
            raise not_equivalent(
                f"{where} is {self.program.function_name(function)}, which any module could call there"
            )
        return function

    def named(self, kind: Kind, address: Address) -> Named:
        """What stands at an address, as it is compared."""
        return self.target(address) if kind == Kind.FUNCTION else (kind.name.lower(), address)

    def target(self, function: Address) -> Address:
        """Where the work of a function is done: if it only passes its parameters on, where that one's is."""
        target = self._targets.get(function)
        if target is None:
            chain, target = self._follow(function)
            for passing in chain:
                self._targets[passing] = passing if target is None else target
        return self._targets[function]

    def _follow(self, function: Address) -> tuple[dict[Address, None], Address | None]:
        """The functions from `function` on that pass their parameters on, and where the work of all is done.

        None when they call each other for ever: that is what they do.
        """
        program, seen = self.program, {function: None}
        last = function
        while not program.host(last):
            instance, index = program.owner(last)
            callee = instance.view.forwards_to(index)
            if callee is None or (isinstance(callee, int) and find_bounded_growth(instance.view, callee)):
                break
            following = self.callee(instance, callee)
            if following in seen:
                return seen, None
            if program.function_key(following) != program.function_key(function):
                break  # this call traps
            if following in self._targets:
                return seen, self._targets[following]
            seen[following] = None
            last = following
        return seen, last


class Names(dict[Operand, Named]):
    """What the operands of an instance's code name, each looked up once."""

    def __init__(self, linked: Linked, instance: Instance) -> None:
        super().__init__()
        self._linked = linked
        self._instance = instance
        self.slots = _Slots(linked, instance)
        self.constants = SlotConstants(self.slots.__getitem__)

    def __missing__(self, operand: Operand) -> Named:
        named = self[operand] = self._look_up(operand)
        return named

    def _look_up(self, operand: Operand) -> Named:
        instance = self._instance
        if isinstance(operand, int) or len(operand) == 3:
            return self._linked.target(self._linked.callee(instance, operand))
        kind, index = operand
        if kind == "reference":
            return self._linked.reference(
                instance.address(Kind.FUNCTION, index), f"a reference in {instance.view.title}"
            )
        if kind in _KINDS:
            return kind, instance.address(_KINDS[kind], index)
        return kind, instance.number, index  # a segment


class _Slots(dict[int, int]):
    """The values of slots, by the number of their global."""

    def __init__(self, linked: Linked, instance: Instance) -> None:
        super().__init__()
        self._linked = linked
        self._instance = instance

    def __missing__(self, index: int) -> int:
        address = self._instance.address(Kind.GLOBAL, index)
        value = literal(self._linked.state.globals[address])
        if value is None:
            raise not_equivalent(f"slot {index} of {self._instance.view.title} holds no number")
        self._linked.fixed.add(("global", address))
        self[index] = value
        return value


def function_of(value: Value) -> Address | None:
    """The function that a reference refers to."""
    if len(value) == 1 and value[0][0] == "ref.func":
        address = value[0][1]
        assert isinstance(address, int)
        return address
    return None
