"""Attacks by what names a module: other spellings, a copy that is another instance, bytes that are not what it says."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from bacpack.content.cid.cid import Cid, encode_base58
from bacpack.wasm import FuncType, Import, Kind, writer
from bacpack.wasm.leb128 import encode_unsigned
from mutation.attacks.attack import Attack, add_function, add_type, imports_from, redirected
from mutation.parts import Parts
from mutation.places.change import other
from mutation.release import REMAINDER, Release, namespaces


def _spellings(cid: str) -> list[str]:
    """Other names of one module."""
    binary = bytes(Cid.parse(cid))
    return ["z" + encode_base58(binary), cid.upper(), "f" + binary.hex(), f"ipfs://{cid}", f"/ipfs/{cid}", f"{cid}/"]


def _some(release: Release, place: str, cid: str, chance: Random) -> set[str] | None:
    """Names that a module imports from another: all, or some."""
    names = [entry.name for entry in Parts.of(release[place]).imports if entry.module == cid]
    return None if chance.random() < 0.3 else {name for name in names if chance.random() < 0.5}


def _where(release: Release, chance: Random) -> tuple[str, str] | None:
    """A module, the remainder or another, and one that it imports from."""
    pairs = [(place, cid) for place in [REMAINDER, *release.modules] for cid in imports_from(release, place)]
    return chance.choice(pairs) if pairs else None


def _spelled(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """Some imports name the module in another way."""
    where = _where(release, chance)
    if where is None:
        return None
    place, cid = where
    name = chance.choice(_spellings(cid))
    release = replace(release, modules={**release.modules, name: release[cid]})
    return (
        place,
        f"{cid[-6:]} is also called {name[:12]}",
        redirected(release, place, cid, name, _some(release, place, cid, chance)),
    )


def _copied(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """Some imports come from a copy of the module that differs in what is never run, and so is another instance."""
    where = _where(release, chance)
    if where is None:
        return None
    place, cid = where
    parts = Parts.of(release[cid])
    if chance.random() < 0.5:
        parts.custom.append(writer.custom_section("copy", b""))
    else:
        type_ = add_type(parts, FuncType((), ()))
        if type_ is None:
            return None
        add_function(parts, type_, b"\0")
    release, own = release.with_module(parts.encode())
    names = _some(release, place, cid, chance)
    return place, f"some of {cid[-6:]} comes from a copy", redirected(release, place, cid, own, names)


def _wrong_bytes(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """A module has the bytes of another, or a byte more."""
    cid = chance.choice(release.needed())
    second = other(chance, release.needed(), cid)
    data = release[second] if second and chance.random() < 0.5 else release[cid] + writer.custom_section("more", b"")
    return cid, "its bytes are not what its name says", replace(release, modules={**release.modules, cid: data})


def _missing(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    cid = chance.choice(release.needed())
    return (
        cid,
        "it is missing",
        replace(release, modules={name: data for name, data in release.modules.items() if name != cid}),
    )


def _another(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """What is imported from one module is imported from another."""
    where = _where(release, chance)
    if where is None:
        return None
    place, cid = where
    second = other(chance, [name for name in release.needed() if place not in _needs(release, name)], cid)
    if second is None:
        return None
    return (
        place,
        f"it imports from {second[-6:]} in place of {cid[-6:]}",
        redirected(release, place, cid, second, _some(release, place, cid, chance)),
    )


def _needs(release: Release, cid: str) -> set[str]:
    """A module and all that it needs."""
    found, pending = set[str](), [cid]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += [entry for entry in namespaces(release[name]) if entry in release.modules]
    return found


def _host_twice(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """The remainder calls another function of the host where one of the same type is."""
    parts = Parts.of(release.remainder)
    hosts = [
        at
        for at, entry in enumerate(parts.imports)
        if entry.module not in release.modules and entry.kind == Kind.FUNCTION
    ]
    if not hosts:
        return None
    at = chance.choice(hosts)
    second = other(chance, hosts, at)
    if second is None or parts.imports[at].type != parts.imports[second].type:
        return None
    one, two = parts.imports[at], parts.imports[second]
    parts.imports[at] = Import(two.module, two.name, one.kind, one.type)
    if chance.random() < 0.5:
        parts.imports[second] = Import(one.module, one.name, two.kind, two.type)
    return REMAINDER, f"host functions {one.name} and {two.name}", release.changed(REMAINDER, parts.encode())


def _bits(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """Bytes that are no longer what they were, nor perhaps a module: counts and numbers without end."""
    place = chance.choice([REMAINDER, *release.needed()])
    data = bytearray(release[place])
    # The header and what stands first count most; strings are long and count least.
    at = chance.randrange(8, len(data) if chance.random() < 0.5 else min(len(data), 200))
    data[at] = chance.choice((data[at] ^ 1 << chance.randrange(8), 0xFF, 0x7F, 0x80, 0))
    return place, f"byte {at}", release.changed(place, bytes(data))


def _hostile_names(release: Release, chance: Random) -> tuple[str, str, Release] | None:
    """Names of functions that no person gave, in a program that is to be refused."""
    parts = Parts.of(release.remainder)
    name = chance.choice(("\x1b[2J", "\n" * 9, "x" * 100_000, "\u202e", "`"))
    functions = range(parts.count(Kind.FUNCTION))
    entries = writer.vector(encode_unsigned(index) + writer.name(name) for index in functions[:50])
    parts.custom.append(writer.custom_section("name", b"\1" + writer.sized(entries)[: chance.choice((None, -1))]))
    parts.bodies = [b"\0\0\x0b" if chance.random() < 0.2 else body for body in parts.bodies]
    return REMAINDER, f"functions are called {name[:9]!r}", release.changed(REMAINDER, parts.encode())


ATTACKS: dict[str, Attack] = {
    "another spelling": _spelled,
    "a copy of a module": _copied,
    "other bytes": _wrong_bytes,
    "a module missing": _missing,
    "another module": _another,
    "another host function": _host_twice,
    "a byte": _bits,
    "hostile names": _hostile_names,
}
