"""Trying many changes, and the score of the proof."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random

import wasmtime

from bacpack.wasm import WasmError
from differential.harness import cid_of
from mutation.attacks import ATTACKS
from mutation.judge import Judge, Verdict
from mutation.oracles.behaviour import differences
from mutation.parts import Parts
from mutation.places import CHANGES, manifest
from mutation.release import REMAINDER, Release
from mutation.subjects import GROUPS, Made, Subject
from split.harness import engine

#: How many of a hundred changes are attacks.
_ATTACKS = 25
#: How many of a hundred other changes are made in the blob: it is the split then that must be refused.
_BLOBS = 8
#: How many of a hundred changes come together with another one.
_TWICE = 6
BLOB = "the blob"
#: How often another change is tried where one finds no place.
_TRIES = 8


@dataclass(frozen=True)
class Changed:
    """A release with one thing changed."""

    number: int
    subject: Subject
    #: Which change, where, and what it did.
    change: str
    place: str
    words: str
    release: Release
    #: The files of its folder by path, where one of these was changed.
    files: Mapping[str, bytes] | None = None

    def __str__(self) -> str:
        return f"change {self.number} of {self.subject.name}: {self.change} ({self.place or 'remainder'}): {self.words}"


@dataclass(frozen=True)
class Finding:
    """A change that the proof should not have accepted, or that it could not cope with."""

    changed: Changed
    why: str
    #: How to see it again.
    again: str

    def __str__(self) -> str:
        return f"{self.changed}\n{self.why}\nsee it again, in the folder `tests`: {self.again}"


@dataclass
class Score:
    """How many changes there were, and what became of them."""

    tried: int = 0
    invalid: int = 0
    refused: int = 0
    #: By class.
    harmless: Counter[str] = field(default_factory=Counter)
    #: By the name of the change: tried, and accepted.
    by_change: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    #: The longest proof, in seconds of processor time.
    longest: tuple[float, str] = 0.0, ""

    @property
    def counts(self) -> dict[str, int]:
        """Everything that can be counted, by name."""
        counts = {
            "tried": self.tried,
            "invalid": self.invalid,
            "refused": self.refused,
            "not explained": len(self.findings),
        }
        return counts | {f"accepted and harmless: {name}": count for name, count in self.harmless.items()}

    def __str__(self) -> str:
        accepted = sum(self.harmless.values())
        lines = [
            f"{self.tried} changes: {self.invalid} invalid, {self.refused} refused, {accepted} accepted and harmless, "
            f"{len(self.findings)} not explained",
            f"the longest proof took {self.longest[0]:.2f} s: {self.longest[1]}",
            *(f"{count:6} {name}" for name, count in self.harmless.most_common()),
        ]
        return "\n".join(lines)


class Campaign:
    """Changes by number: the same seed and number give the same change, whichever were tried before."""

    def __init__(self, seed: int, groups: Sequence[str] = tuple(GROUPS), only: str | None = None) -> None:
        self.seed = seed
        self._groups = list(groups)
        self._only = only

    def change(self, number: int) -> Changed | None:
        """The change with a number; None when nothing was found to change."""
        chance = Random(f"{self.seed} {number}")
        group = chance.choices(self._groups, [GROUPS[name][1] for name in self._groups])[0]
        made = subjects(group)
        if not made:
            return None
        subject = chance.choice(made)
        for _ in range(_TRIES):
            if found := self._one(number, subject, chance):
                return found
        return None

    def _one(self, number: int, subject: Subject, chance: Random) -> Changed | None:
        if subject.files:
            return self._file(number, subject, subject.files, chance)
        first = self._step(subject.release, chance)
        if first is None or self._only is not None or chance.randrange(100) >= _TWICE or BLOB in first[1]:
            return first and Changed(number, subject, *first)
        try:
            second = self._step(first[3], chance, may_be_blob=False)
        except WasmError:  # the first one left no module that could be read
            return Changed(number, subject, *first)
        return second and Changed(
            number, subject, *map(" and ".join, zip(first[:3], second[:3], strict=True)), second[3]
        )

    def _step(
        self, release: Release, chance: Random, *, may_be_blob: bool = True
    ) -> tuple[str, str, str, Release] | None:
        """One change: its name, where it is, what it did, and the release that comes out."""
        if self._only in ATTACKS or (self._only is None and chance.randrange(100) < _ATTACKS):
            name = self._only or chance.choice([*ATTACKS])
            attack = ATTACKS[name](release, chance)
            return attack and (name, *attack)
        name = self._only or chance.choice([*CHANGES])
        place = chance.choice([REMAINDER, *release.modules]) if chance.random() < 0.7 else REMAINDER
        in_blob = may_be_blob and chance.randrange(100) < _BLOBS
        before = release.blob if in_blob else release[place]
        parts = Parts.of(before)
        words = CHANGES[name](parts, chance)
        data = parts.encode()
        if words is None or data == before:
            return None
        return (
            (name, BLOB, words, replace(release, blob=data))
            if in_blob
            else (name, place, words, release.changed(place, data))
        )

    def _file(self, number: int, subject: Subject, files: Mapping[str, bytes], chance: Random) -> Changed | None:
        name, changed = self._only or chance.choice([*manifest.CHANGES]), dict(files)
        words = manifest.CHANGES[name](changed, chance)
        if words is None or changed == files:
            return None
        remainder, modules = manifest.needed_files(changed, cid_of(subject.release.blob)) or (b"", {})
        return Changed(
            number, subject, name, "files", words, Release(subject.release.blob, remainder, modules), changed
        )

    def run(self, numbers: Iterable[int], show: Callable[[str], None] = lambda line: None) -> Score:
        """Try the changes with these numbers."""
        score = Score()
        with Judge() as judge:
            for number in numbers:
                changed = self.change(number)
                if changed is not None:
                    self._try(changed, judge, score)
                if (number + 1) % 100 == 0:
                    show(f"{number + 1}: {str(score).splitlines()[0]}")
        return score

    def _again(self, changed: Changed) -> str:
        groups = "" if self._groups == [*GROUPS] else "".join(f" --group {name}" for name in self._groups)
        only = f' --change "{self._only}"' if self._only else ""
        return f"python -m mutation --seed {self.seed} --number {changed.number}{groups}{only}"

    def _try(self, changed: Changed, judge: Judge, score: Score) -> None:
        score.tried += 1
        score.by_change[changed.change, "tried"] += 1
        release = changed.release
        verdict = (
            judge.split(release.blob, release.remainder, release.modules)
            if changed.files is None
            else _folder(judge, changed.files, release.blob)
        )
        score.longest = max(score.longest, (verdict.seconds, str(changed)))
        is_answer = verdict.answer in ("accepted", "refused")
        if is_answer and changed.files is None and not is_valid(release, changed.subject.release):
            score.invalid += 1
            return
        if verdict.answer == "refused":
            score.refused += 1
            return
        score.by_change[changed.change, verdict.answer] += 1
        class_, why = explain(changed, verdict)
        if class_ is None:
            score.findings.append(Finding(changed, why, self._again(changed)))
        else:
            score.harmless[class_] += 1


def _folder(judge: Judge, files: Mapping[str, bytes], blob: bytes) -> Verdict:
    with tempfile.TemporaryDirectory() as scratch:
        folder, path = Path(scratch, "release"), Path(scratch, "blob.wasm")
        path.write_bytes(blob)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return judge.folder(folder, [path])


def explain(changed: Changed, verdict: Verdict) -> tuple[str | None, str]:
    """The class of harmless changes that one belongs to; None when there is none, and what is wrong."""
    if verdict.answer != "accepted":
        return None, f"{verdict.answer}: {verdict.message}"
    subject = changed.subject
    if changed.files is not None and _has_all_of(changed.release, subject.release):
        return "files and words about what is the same", ""
    release, expected = changed.release, subject.expected
    if release.blob != subject.release.blob:
        expected = subject.inputs.observe(release.blob, {})
        class_, why = subject.blob_explainer.explain(Release(release.blob, release.blob))
        class_ = class_ and f"in the blob: {class_}"
    else:
        class_, why = subject.explainer.explain(release)
    seen = [*differences(release, subject.inputs, expected)]
    if seen:
        return None, f"accepted, and it behaves otherwise: {seen[0]}\nthan the blob: {str(expected)[:600]}"
    return (class_, why) if class_ else (None, f"accepted, behaves alike, and in no class of harmless changes: {why}")


def _has_all_of(changed: Release, before: Release) -> bool:
    """Whether a program and all that it needs is there as before."""
    return changed.remainder == before.remainder and changed.modules.items() >= before.modules.items()


def is_valid(changed: Release, before: Release) -> bool:
    """Whether all modules are valid that were not there before."""
    known = {before.blob, *before.outputs()}
    return all(_is_valid(data) for data in (changed.blob, *changed.outputs()) if data not in known)


@cache
def _engine() -> wasmtime.Engine:
    return engine()


def _is_valid(data: bytes) -> bool:
    try:
        wasmtime.Module.validate(_engine(), data)
    except wasmtime.WasmtimeError:
        return False
    return True


_subjects: dict[str, Made] = {}


def subjects(group: str) -> Made:
    """The subjects of a group, made once."""
    if group not in _subjects:
        _subjects[group] = GROUPS[group][0]()
    return _subjects[group]


def forget() -> None:
    """Remove what was made, and its folders."""
    for made in _subjects.values():
        for subject in made:
            subject.inputs.close()
    _subjects.clear()
