"""Proving that a remainder and the modules that it imports behave as the blob they were split from, for every input.

This re-links the output and compares it with the blob: translation validation. It knows nothing of how a split is made,
and shares no code with what makes it but the reader of the binary format, so a mistake must be made twice to pass.

What is assumed: all modules are valid WebAssembly, the host instantiates each module once and links by name, and
memory that the blob's start would get is also there for the remainder's. Not compared are the depth of the call stack,
custom sections, and the maximum that the type of an exported memory or table shows to the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from bacpack.content.cid.cid import RAW, Cid, is_cid
from bacpack.content.cid.import_namespace import HOST_MODULES, parse_namespace
from bacpack.content.cid.reference import CidRef
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.errors import InputError
from bacpack.proof.code.errors import not_equivalent, not_provable
from bacpack.proof.code.function_code import Codes, Room
from bacpack.proof.code.module_view import ModuleView
from bacpack.proof.equivalence.relation import Relation
from bacpack.proof.program.effort import EffortError
from bacpack.proof.program.initial_state import StartTrapError, State
from bacpack.proof.program.linked_program import Address, Instance, LinkedProgram, in_order
from bacpack.proof.program.operand_targets import Linked
from bacpack.proof.program.set_up_effects import refuse_effects
from bacpack.proof.program.start_interpreter import run_start
from bacpack.wasm import Kind, Module, SectionId


def prove(blob: bytes, remainder: bytes, modules: Mapping[str, bytes]) -> None:
    """Raise `CheckFailedError` unless `remainder` with `modules`, by CID, behaves as `blob`.

    The code is `not-equivalent`, and the message names what differs. Modules that are not needed are not looked at.
    """
    Prover(modules).prove(blob, remainder)


class Prover:
    """Proves programs that share modules. What is found out about a module's code is kept for the next program.

    `linked` has the CIDs that stand in a remainder for namespaces of the blob. Both import those modules, and the proof
    knows no more of them than of the host; nor of those that the blob imports by CID. Without it there are none.
    """

    def __init__(self, modules: Mapping[str, bytes], linked: Mapping[str, str] | None = None) -> None:
        self._modules = modules
        self._linked = linked
        self._codes: dict[str, Codes] = {}
        self._room = Room()

    def prove(self, blob: bytes, remainder: bytes) -> None:
        """Raise `CheckFailedError` unless `remainder` behaves as `blob`."""
        if remainder == blob:
            return
        blob_view = ModuleView.of_blob(blob)
        if _same_but_custom(blob_view.module, Module.parse(remainder)):
            return
        linked = self._linked_in(blob_view)
        remainder_view = ModuleView.of_remainder(remainder, blob_view, frozenset(linked.values()))
        program = LinkedProgram(linked)
        original = program.add(Codes(blob_view), {})
        known = len(program.host_keys)
        shared: dict[str, Instance] = {}
        for cid, codes in in_order(remainder_view, self._provide, frozenset(linked.values())):
            shared[cid] = program.add(codes, shared)
        split = program.add(Codes(remainder_view), shared)
        for key in program.host_keys[known:]:
            raise not_equivalent(f"the remainder imports `{key.module}.{key.name}` from the host, unlike the blob")
        self._refuse_common(linked, shared, _first_memory(program, split))
        _prove_linked(program, original, [*shared.values(), split])
        for key in program.not_imported_by(split):
            raise not_equivalent(f"the blob imports `{key.module}.{key.name}` from the host, unlike the remainder")

    def _linked_in(self, blob: ModuleView) -> dict[str, str]:
        """The CIDs of modules that the blob imports, by its name for each."""
        known = {name: cid for name, cid in (self._linked or {}).items() if name not in HOST_MODULES}
        linked = {name: known.get(name, name) for name in blob.namespaces if name in known or is_cid(name)}
        if self._linked is None and linked:
            raise not_equivalent(f"the blob itself imports module {min(linked)}: it was split before")
        for name in blob.namespaces:
            if name not in linked and _names_content(name):
                raise not_equivalent(f"the blob imports `{name}`, and which module that is only its CID alone can say")
        return linked

    def _refuse_common(
        self, linked: Mapping[str, str], shared: Mapping[str, Instance], memory: Instance | None
    ) -> None:
        """Raise if a module of the split is one that modules of the blob use too, and could change in its back.

        But for the one with the program's `memory`, on which those are there to work.
        """
        pending, seen = [*linked.values()], set[str]()
        while pending:
            cid = pending.pop()
            data = self._modules.get(cid)
            if cid in seen or data is None:
                continue
            seen.add(cid)
            if cid in shared and shared[cid] is not memory:
                raise not_equivalent(
                    f"module {cid} of the split is used by a module that the blob imports too", cid=cid
                )
            pending += dict.fromkeys(entry.module for entry in Module.parse(data).imports)

    def _provide(self, cid: str) -> Codes:
        """The module that a namespace names, read once."""
        codes = self._codes.get(cid)
        if codes is None:
            data = self._modules.get(cid)
            if data is None:
                raise not_equivalent(f"module {cid} is missing", cid=cid)
            parsed = Cid.parse(cid)
            if not parsed.matches(data) if parsed.codec == RAW else parsed != cid_of_bytes(data):
                raise not_equivalent(f"module {cid} has other bytes than its name says", cid=cid)
            codes = Codes(ModuleView.of_shared(data, cid), self._room)
            refuse_effects(codes.view)
            self._codes[cid] = codes
        return codes


def _same_but_custom(one: Module, other: Module) -> bool:
    """Whether two modules differ in custom sections at most: a program that shares nothing loses its debug sections."""
    return all(section == another for section, another in zip_longest(_sections(one), _sections(other)))


def _sections(module: Module) -> Iterator[tuple[int, bytes]]:
    for section in module.sections:
        if section.id != SectionId.CUSTOM:
            yield section.id, module.data[section.content : section.end]


def _names_content(namespace: str) -> bool:
    """Whether a host takes a namespace for content, by whatever spelling of its CID and whatever path in it."""
    try:
        return isinstance(parse_namespace(namespace), CidRef)
    except InputError:
        return False


def _first_memory(program: LinkedProgram, instance: Instance) -> Instance | None:
    """The instance that defines the first memory of another; None when there is none, or the host does."""
    memories = instance.spaces[Kind.MEMORY][:1]
    return program.owner(memories[0])[0] if memories and not program.host(memories[0]) else None


def _prove_linked(program: LinkedProgram, blob: Instance, instances: Sequence[Instance]) -> None:
    """Compare the blob with the instances that are to replace it, the remainder last."""
    remainder = instances[-1]
    before, after = State(program), State(program)
    blob_start = blob.view.module.start
    own_start = None
    trap = split_trap = None
    try:
        before.instantiate(blob)
    except StartTrapError as error:
        trap = error
    except EffortError as error:
        raise not_provable("instantiating the blob does more than can be followed for its size") from error
    try:
        for instance in instances:
            after.instantiate(instance)
        own_start = run_start(program, after, remainder, calls_own=blob_start is not None)
    except StartTrapError as error:
        split_trap = error
    except EffortError as error:
        raise not_equivalent("the start function does more than can be followed for modules of this size") from error
    linked, split_linked = Linked(program, before, is_blob=True), Linked(program, after, is_blob=False)
    relation = Relation(program, blob, linked, split_linked)
    if trap or split_trap:
        _compare_traps(trap, split_trap)
        if not any(program.host(copy.target) for copy in before.log + after.log):
            return  # nobody ever sees anything of it
    relation.log()
    if not trap:
        _compare_names(blob.view, remainder.view)
        if blob_start is not None and own_start is not None:
            target = linked.target(blob.address(Kind.FUNCTION, blob_start))
            relation.add([(target, split_linked.target(own_start))], "the start function")
        for name, entry in remainder.view.exports.items():
            addresses = _exported(blob, name), _exported(remainder, name)
            _compare_hosts(program, addresses, name)
            pair = linked.named(entry.kind, addresses[0]), split_linked.named(entry.kind, addresses[1])
            relation.add([pair], f"exported as `{name}`")
    # Code names the tables it uses, but not the memory: nearly every access is to the first.
    if blob.spaces[Kind.MEMORY] and remainder.spaces[Kind.MEMORY]:
        memories = ("memory", blob.spaces[Kind.MEMORY][0]), ("memory", remainder.spaces[Kind.MEMORY][0])
        relation.add([memories], "the first memory")
    relation.check()
    _compare_room(before, after, sum(len(instance.view.module.data) for instance in instances))


def _compare_room(before: State, after: State, size: int) -> None:
    """A split of `size` bytes may take no more memory than its blob, and entries of tables as its code may need."""
    pages, split_pages = (sum(memory.pages for memory in state.memories.values()) for state in (before, after))
    if split_pages > max(pages, 1):  # what sets modules up lies in memory for a moment
        raise not_equivalent(f"the split has {split_pages} pages of memory in all, and the blob has {pages}")
    entries, split_entries = (sum(table.size for table in state.tables.values()) for state in (before, after))
    if split_entries > entries + size:  # each that an honest split adds takes a byte of some module, at least
        raise not_equivalent(f"the split has {split_entries} entries of tables in all, and the blob has {entries}")


def _compare_traps(trap: StartTrapError | None, split_trap: StartTrapError | None) -> None:
    """A blob that traps when it is instantiated never runs, and the same must be true of its split."""
    if trap is None or split_trap is None:
        which = "the remainder, unlike the blob," if trap is None else "the blob, unlike the remainder,"
        raise not_equivalent(f"{which} traps when it is instantiated: {trap or split_trap}")


def _compare_names(blob: ModuleView, remainder: ModuleView) -> None:
    """Both must export the same names, each of the same kind."""
    for name in [*blob.exports, *remainder.exports]:
        entry, other = blob.exports.get(name), remainder.exports.get(name)
        if entry is None or other is None or entry.kind != other.kind:
            raise not_equivalent(f"the export `{name}` is missing, was added, or is of another kind", export=name)


def _compare_hosts(program: LinkedProgram, exported: tuple[Address, Address], name: str) -> None:
    """A function of the host that is exported itself serves whoever calls it; one that calls it, who exports that."""
    if bool(program.host(exported[0])) != bool(program.host(exported[1])):
        raise not_equivalent(f"the export `{name}` is the host's own in one and not in the other", export=name)


def _exported(instance: Instance, name: str) -> Address:
    entry = instance.view.exports[name]
    return instance.address(entry.kind, entry.index)
