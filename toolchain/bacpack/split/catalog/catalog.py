"""The catalog: an index of shared modules, by which the next blob finds those that hold its functions and data.

It lies beside the modules in a release, in the folder `catalog`, and so is content-addressed with it:

- `catalog.json`: the schema, the CID of the environment, how many digits name a shard
- `modules`: the CIDs in binary form, 36 bytes each; a module is known by its number here
- a file for each shard, named by the first digits of the *features* in it: sorted records of a feature, 8 bytes, and
  the number of a module that has it, 4 bytes, little-endian

A feature is the beginning of a function's shape, or the hash of a few bytes of data. There are as many shards as keep
them small, so a look-up reads one small file however large the catalog is. What a module holds it says itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b, sha256
from heapq import heapify, heappop, heappush
from typing import Annotated, Literal

import msgspec

from bacpack.content.cid.cid import BadCidError, Cid
from bacpack.content.unixfs.writer import cid_of_bytes
from bacpack.decode import DecodeError, decode_json
from bacpack.errors import BacpackError, InputError
from bacpack.manifest import MANIFEST_NAME, App, Manifest, ModuleKind, decode_manifest
from bacpack.split.abi.environment import environment_cid
from bacpack.split.catalog.release_files import ReadFile
from bacpack.split.data.copies import windows
from bacpack.split.data.image import Image
from bacpack.split.model.costs import IMPORT_COST
from bacpack.split.model.records import Split
from bacpack.split.shapes.fingerprint import Blob

CATALOG_FOLDER = "catalog"
_META = f"{CATALOG_FOLDER}/catalog.json"
_MODULES = f"{CATALOG_FOLDER}/modules"
_FEATURE_BYTES, _NUMBER_BYTES, _CID_BYTES = 8, 4, 36
_RECORD_BYTES = _FEATURE_BYTES + _NUMBER_BYTES
#: A shard holds about so many records.
_SHARD_RECORDS = 2048
#: Of data, one window in so many counts, and of those one for so many bytes.
_SAMPLE = 8
_BYTES_PER_FEATURE = 512
#: What finding a window of data promises, in bytes.
_WORTH_OF_WINDOW = 256

#: A feature of more modules than this tells little; so many are looked at.
_MOST_MODULES = 64


class _Meta(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal[1] = 1
    environment: str
    digits: Annotated[int, msgspec.Meta(ge=0, le=2 * _FEATURE_BYTES)]


def shape_features(shapes: Iterable[bytes]) -> list[bytes]:
    """The features of a module with functions of these shapes."""
    return [shape[:_FEATURE_BYTES] for shape in shapes]


def data_features(contents: Iterable[bytes]) -> list[bytes]:
    """The features of a module with these pieces of data: a few each, the same for equal contents."""
    features: list[bytes] = []
    for content in contents:
        # Chosen by their ends, since a shard is named by the beginnings, and all are to be of one size.
        chosen = sorted(_sampled(content), key=lambda feature: feature[::-1])
        features += chosen[: 1 + len(content) // _BYTES_PER_FEATURE]
    return features


def _sampled(content: bytes) -> set[bytes]:
    hashes = {blake2b(window, digest_size=_FEATURE_BYTES).digest() for _, window in windows(content)}
    return {digest for digest in hashes if digest[-1] % _SAMPLE == 0}


def catalog_files(split: Split) -> dict[str, bytes]:
    """The files of the catalog of a split's modules, by path."""
    features = {cid: split.features[cid] for cid in split.modules if cid in split.features}
    return index(features) if features else {}


def index(modules: Mapping[str, Sequence[bytes]]) -> dict[str, bytes]:
    """The files of a catalog of modules, given by CID with their features, by path in the release."""
    cids = sorted(modules)
    records = sorted({(feature, number) for number, cid in enumerate(cids) for feature in modules[cid]})
    digits = 0
    while len(records) > _SHARD_RECORDS * 16**digits:
        digits += 1
    shards: dict[str, list[bytes]] = defaultdict(list)
    for feature, number in records:
        shards[_shard(feature, digits)].append(feature + number.to_bytes(_NUMBER_BYTES, "little"))
    meta = msgspec.json.encode(_Meta(environment=environment_cid(), digits=digits)) + b"\n"
    files = {_META: meta, _MODULES: b"".join(bytes(Cid.parse(cid)) for cid in cids)}
    return files | {name: b"".join(found) for name, found in shards.items()}


def _record(records: bytes, place: int) -> bytes:
    return records[place * _RECORD_BYTES : (place + 1) * _RECORD_BYTES]


def _shard(feature: bytes, digits: int) -> str:
    return f"{CATALOG_FOLDER}/{feature.hex()[:digits] or 'all'}"


@dataclass
class Catalog:
    """A catalog that was written before."""

    #: What messages call it.
    name: str
    _read: ReadFile
    _digits: int
    _cids: bytes
    _shards: dict[str, bytes]

    @classmethod
    def open(cls, name: str, read: ReadFile) -> Catalog:
        """Open the catalog of a release; raises `InputError` (`no-catalog`) when it has none that can be used."""
        meta, cids = read(_META), read(_MODULES)
        try:
            if meta is None or cids is None:
                raise DecodeError(f"there is no `{_MODULES if meta else _META}`")
            if len(cids) % _CID_BYTES:
                raise DecodeError(f"`{_MODULES}` is cut short")
            described = decode_json(meta, _Meta)
        except DecodeError as error:
            raise InputError(
                "no-catalog",
                f"`{name}` has no catalog that can be read: {error}",
                hint="name a folder that `bacpack split` wrote, or the CID of such a release",
                details={"ref": name},
            ) from error
        if described.environment != environment_cid():
            raise InputError(
                "no-catalog",
                f"the modules of `{name}` use the environment {described.environment}, which this version does not",
                hint="split its programs again with this version of bacpack",
                details={"ref": name},
            )
        return cls(name, read, described.digits, cids, {})

    def apps(self) -> list[App]:
        """The programs of the release; none if it has no manifest that can be read."""
        return self._manifest.apps if self._manifest else []

    def kinds(self) -> dict[str, ModuleKind]:
        """The kind of each module of the release, by CID, as its manifest says."""
        return {module.cid: module.kind for module in self._manifest.modules} if self._manifest else {}

    @cached_property
    def _manifest(self) -> Manifest | None:
        data = self._read(MANIFEST_NAME)
        try:
            return None if data is None else decode_manifest(data, self.name)
        except InputError:
            return None

    def file(self, path: str) -> bytes | None:
        """A file of the release; None when it is not there."""
        return self._read(path)

    def features(self) -> dict[str, list[bytes]]:
        """What the catalog knows each module by, by CID: all of it is read."""
        found: dict[int, list[bytes]] = defaultdict(list)
        for shard in range(16**self._digits):
            first = (shard << 4 * (2 * _FEATURE_BYTES - self._digits)).to_bytes(_FEATURE_BYTES, "big")
            records = self._shard(_shard(first, self._digits))
            for place in range(0, len(records), _RECORD_BYTES):
                feature = records[place : place + _FEATURE_BYTES]
                number = int.from_bytes(records[place + _FEATURE_BYTES : place + _RECORD_BYTES], "little")
                found[number].append(feature)
        return {self._cid(number): features for number, features in found.items()}

    @property
    def digest(self) -> str:
        """The sha2-256, in hexadecimal, of the list of its modules."""
        return sha256(self._cids).hexdigest()

    def modules_with(self, features: Iterable[bytes]) -> dict[str, set[bytes]]:
        """The modules that have any of the features, with those that each has."""
        found: dict[int, set[bytes]] = defaultdict(set)
        for feature in features:
            for number in self._numbers(feature):
                found[number].add(feature)
        return {self._cid(number): has for number, has in found.items()}

    def module(self, cid: str) -> bytes:
        """The bytes of a module; raises `InputError` (`no-catalog`) when they are not those that the CID names."""
        data = self._read(f"modules/{cid}.wasm")
        if data is None or str(cid_of_bytes(data)) != cid:
            what = "is missing" if data is None else "has other bytes than its name says"
            raise InputError(
                "no-catalog",
                f"module {cid} of the catalog of `{self.name}` {what}",
                hint="fetch the release again",
                details={"ref": self.name, "cid": cid},
            )
        return data

    def _numbers(self, feature: bytes) -> list[int]:
        records = self._shard(_shard(feature, self._digits))
        count = len(records) // _RECORD_BYTES
        place = bisect_left(range(count), feature, key=lambda place: _record(records, place)[:_FEATURE_BYTES])
        numbers: list[int] = []
        while (
            place < count and len(numbers) < _MOST_MODULES and (record := _record(records, place)).startswith(feature)
        ):
            numbers.append(int.from_bytes(record[_FEATURE_BYTES:], "little"))
            place += 1
        return numbers

    def _shard(self, name: str) -> bytes:
        if name not in self._shards:
            self._shards[name] = self._read(name) or b""
        return self._shards[name]

    def _cid(self, number: int) -> str:
        binary = self._cids[number * _CID_BYTES : (number + 1) * _CID_BYTES]
        try:
            return str(Cid.from_bytes(binary))
        except BadCidError as error:
            raise InputError(
                "no-catalog",
                f"the catalog of `{self.name}` is damaged: it names a module that it does not list",
                hint="fetch the release again",
                details={"ref": self.name},
            ) from error


def find_module(catalogs: Sequence[Catalog], cid: str) -> bytes:
    """The bytes of a module, from the first catalog that has it; raises what the last has to say when none has."""
    failure: BacpackError | None = None
    for catalog in catalogs:
        try:
            return catalog.module(cid)
        except BacpackError as error:
            failure = error
    assert failure is not None
    raise failure


def candidates(catalogs: Sequence[Catalog], blob: Blob, image: Image | None) -> dict[str, bytes]:
    """The modules of the catalogs that seem to hold much of a blob, each for something that those before it lack."""
    worth: Counter[bytes] = Counter()
    for function in blob.functions:
        if function.shape is not None:
            worth[function.shape[:_FEATURE_BYTES]] += function.size
    for feature in _sampled(image.content) if image else ():
        worth[feature] += _WORTH_OF_WINDOW
    features: dict[str, set[bytes]] = defaultdict(set)
    for catalog in catalogs:
        for cid, has in catalog.modules_with(worth).items():
            features[cid] |= has
    chosen: dict[str, bytes] = {}
    missing = set(worth)
    # What a module is worth only falls, so the one on top is the best if its worth is still right.
    heap = [(-sum(worth[feature] for feature in has), cid) for cid, has in features.items()]
    heapify(heap)
    while heap:
        known, cid = heappop(heap)
        value = sum(worth[feature] for feature in features[cid] & missing)
        if value < -known:
            heappush(heap, (-value, cid))
        elif value > IMPORT_COST:
            chosen[cid] = find_module(catalogs, cid)
            missing -= features[cid]
    return chosen
