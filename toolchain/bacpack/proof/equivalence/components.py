"""Components: a split is the same component, and each core module that differs is proved equal to what was there.

What is added must be there for one instance of one such core module alone, and be linked as its import names say. All
else must be the same, instances counted without those added. This shares nothing with what puts components together but
the finding of sections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bacpack.component.binary import Component, is_component, module_imports
from bacpack.proof.code.errors import not_equivalent
from bacpack.proof.equivalence.prover import Prover
from bacpack.wasm import limits
from bacpack.wasm.reader import Reader

_CUSTOM, _CORE_MODULE, _CORE_INSTANCE, _CORE_TYPE, _ALIAS, _IMPORT = 0, 1, 2, 3, 6, 10
_CORE, _MODULE, _INSTANCE = 0, 0x11, 0x12
_OF_CORE_INSTANCE, _OUTER = 1, 2


def prove_program(prover: Prover, blob: bytes, split: bytes) -> None:
    """Prove that `split` behaves as `blob`, be they core modules or components; raises `CheckFailedError`."""
    if not is_component(blob) or not is_component(split):
        prover.prove(blob, split)
    elif blob != split:
        before, after = _read(blob), _read(split)
        if before.families or before.imported or before.has_types:
            raise not_equivalent("the component imports core modules or has types of them, before it was split")
        if len(before.modules) != len(after.modules):
            raise not_equivalent(f"it holds {len(before.modules)} core modules, its split {len(after.modules)}")
        if before.rest != after.rest:
            raise not_equivalent("the component differs in more than its core modules")
        for position, (one, other) in enumerate(zip(before.modules, after.modules, strict=True)):
            if one != other:
                prover.prove(one, other)
            elif position in after.families:
                raise not_equivalent(f"core module {position} is given modules and was not split")


@dataclass
class _Reading:
    """What a component is, without what a split adds to it."""

    #: The core modules that it holds.
    modules: list[bytes] = field(default_factory=list)
    #: All other sections, numbers of core instances and of held core modules counted without what was added.
    rest: list[object] = field(default_factory=list)
    #: Positions of core modules that are given instances of imported ones.
    families: set[int] = field(default_factory=set)
    #: Imported core modules by number: the CIDs that name them.
    imported: dict[int, str] = field(default_factory=dict)
    #: The position among held core modules, by number.
    held: dict[int, int] = field(default_factory=dict)
    #: For each core instance its number without those added, or what it was added as.
    instances: list[int | _Added] = field(default_factory=list)

    #: Whether it defines types of core modules.
    has_types: bool = False
    #: How many of the instances were there before.
    originals: int = 0

    def add_original(self) -> None:
        """Note a core instance that was there before."""
        self.instances.append(self.originals)
        self.originals += 1

    def original(self, reader: Reader) -> int:
        """Read the number of a core instance that was there before."""
        instance = self.instance(reader)
        if isinstance(instance, _Added):
            raise not_equivalent(f"something else than its own core module uses an instance of `{instance.cid}`")
        return instance

    def instance(self, reader: Reader) -> int | _Added:
        number = reader.u32("a core instance")
        if number >= len(self.instances):
            raise not_equivalent(f"there is no core instance {number}")
        return self.instances[number]


@dataclass(eq=False)
class _Added:
    """An instance of a core module that a split imports."""

    cid: str
    given: dict[str, _Added]
    #: All instances that the core module has which it was added for.
    family: dict[str, _Added] | None = None


def _read(data: bytes) -> _Reading:
    token_reader = _Reading()
    for section_id, content in Component.parse(data).sections:
        reader = Reader(content)
        if section_id == _CORE_MODULE:
            if token_reader.imported:  # what else is done with core modules, by their numbers, is not looked at
                raise not_equivalent("a core module comes after imported ones, and so has another number")
            token_reader.held[len(token_reader.held) + len(token_reader.imported)] = len(token_reader.modules)
            token_reader.modules.append(content)
        elif section_id == _CORE_INSTANCE:
            token_reader.rest.append((section_id, list(_instances(token_reader, reader))))
        elif section_id == _ALIAS:
            token_reader.rest.append((section_id, list(_aliases(token_reader, reader))))
        elif section_id == _IMPORT and (names := module_imports(content)):
            for name in names:
                token_reader.imported[len(token_reader.held) + len(token_reader.imported)] = name
        elif section_id == _CUSTOM and reader.name("a custom section's name") == "component-name":
            continue
        elif section_id == _CORE_TYPE:
            token_reader.has_types = True  # they only say what the imported modules are, which their CIDs do as well
        else:
            token_reader.rest.append((section_id, content))
    for instance in token_reader.instances:
        if isinstance(instance, _Added) and instance.family is None:
            raise not_equivalent(f"no core module has the instance of `{instance.cid}`")
    return token_reader


def _instances(token_reader: _Reading, reader: Reader) -> Iterator[object]:
    for _ in range(reader.count("core instances", limits.MAX_FUNCTIONS)):
        if reader.byte():
            yield "exports", [_export(token_reader, reader) for _ in range(reader.count("exports", limits.MAX_EXPORTS))]
            token_reader.add_original()
            continue
        number = reader.u32("a core module")
        given = [_argument(token_reader, reader) for _ in range(reader.count("arguments", limits.MAX_IMPORTS))]
        added = {name: instance for name, instance in given if isinstance(instance, _Added)}
        for name, instance in added.items():
            if instance.cid != name:
                raise not_equivalent(f"`{name}` is given an instance of `{instance.cid}`")
        if number in token_reader.imported:
            if len(added) != len(given):
                raise not_equivalent(f"`{token_reader.imported[number]}` is given what is no imported core module")
            token_reader.instances.append(_Added(token_reader.imported[number], added))
            continue
        if number not in token_reader.held:
            raise not_equivalent(f"there is no core module {number}")
        if added:
            token_reader.families.add(token_reader.held[number])
            _take(added)
        yield "module", token_reader.held[number], [entry for entry in given if isinstance(entry[1], int)]
        token_reader.add_original()


def _take(added: dict[str, _Added]) -> None:
    """Give instances to one core module: each module once, and none that another core module has."""
    family: dict[str, _Added] = {}
    pending = list(added.values())
    while pending:
        instance = pending.pop()
        if (other := family.setdefault(instance.cid, instance)) is not instance:
            raise not_equivalent(f"one core module has two instances of `{other.cid}`")
        if instance.family is None:
            instance.family = family
            pending += instance.given.values()
        elif instance.family is not family:
            raise not_equivalent(f"two core modules have one instance of `{instance.cid}`")


def _argument(token_reader: _Reading, reader: Reader) -> tuple[str, int | _Added]:
    name = reader.name("an argument's name")
    reader.byte()
    return name, token_reader.instance(reader)


def _export(token_reader: _Reading, reader: Reader) -> object:
    name, sort = reader.name("an export's name"), reader.byte()
    return name, sort, token_reader.original(reader) if sort == _INSTANCE else reader.u32("an index")


def _aliases(token_reader: _Reading, reader: Reader) -> Iterator[object]:
    for _ in range(reader.count("aliases", limits.MAX_FUNCTIONS)):
        sort = reader.byte()
        core_sort = reader.byte() if sort == _CORE else None
        target = reader.byte()
        if core_sort == _MODULE:
            raise not_equivalent("the component takes core modules from elsewhere")
        number = token_reader.original(reader) if target == _OF_CORE_INSTANCE else reader.u32("an index")
        what = reader.u32("an index") if target == _OUTER else reader.name("an export's name")
        yield sort, core_sort, target, number, what
