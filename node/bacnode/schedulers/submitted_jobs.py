"""From what a person submits to single jobs: programs, and the files that each is run over."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bacnode.programs.closure import Closure
from bacnode.schedulers.job_message import GivenFile, JobSpec
from bacpack.errors import InputError

#: Stands for the name of the input file in an argument.
INPUT_NAME = "{}"
#: Bytes of input files that travel with one job.
MAX_SENT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """A job, and what it needs."""

    spec: JobSpec
    closure: Closure
    #: The file that it is run over, as the pattern found it; the program sees its name alone.
    input: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A file that one job of each program is run over."""

    path: Path
    #: What the program finds it as.
    name: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """What is the same for all jobs."""

    args: Sequence[str] = ()
    template: JobSpec = field(default_factory=lambda: JobSpec(number=0, ref="", target="", name=""))


def expand_refs(given: Sequence[str]) -> list[str]:
    """Return the programs that are meant: a pattern of paths stands for all that fit it."""
    refs: list[str] = []
    for ref in given:
        if any(mark in ref for mark in "*?[") and not Path(ref).exists() and "://" not in ref:
            refs += _fitting(ref, only_files=False)
        else:
            refs.append(ref)
    return refs


def expand_inputs(patterns: Sequence[str]) -> list[Input]:
    """Return the files that fit; raises `InputError` (`no-input`) for a pattern that no file fits."""
    paths = dict.fromkeys(Path(path) for pattern in patterns for path in _fitting(pattern, only_files=True))
    return [Input(path, path.name) for path in paths]


def submitted_jobs(
    closures: Sequence[Closure], inputs: Sequence[Input], submitted: Submitted, *, send_files: bool
) -> list[SubmittedJob]:
    """Return the jobs: each program over each input, or once where there are none.

    The name of the input takes the place of `{}` in the arguments, or comes after them. `send_files` has the bytes of
    files travel with the jobs; without it, workers read them where they are.
    """
    jobs: list[SubmittedJob] = []
    for closure in closures:
        for one in list[Input | None](inputs) or [None]:
            args, files = list(submitted.args), list(submitted.template.files)
            if one is not None:
                filled = [argument.replace(INPUT_NAME, one.name) for argument in args]
                args = filled if filled != args else [*args, one.name]
                files.append(_given(one, send=send_files))
            spec = msgspec.structs.replace(
                submitted.template, number=len(jobs), ref=closure.ref, target=closure.target, name=closure.name,
                args=args, files=files,
            )  # fmt: skip
            jobs.append(SubmittedJob(spec, closure, None if one is None else str(one.path)))
    return jobs


def closures_of(refs: Sequence[str], close: Callable[[str], Closure]) -> list[Closure]:
    """Return the closure of each program; one that is named twice is looked at once."""
    known: dict[str, Closure] = {}
    return [known.setdefault(ref, close(ref)) if ref not in known else known[ref] for ref in refs]


def _given(one: Input, *, send: bool) -> GivenFile:
    if not send:
        return GivenFile(path=one.name, host=str(one.path.absolute()))
    size = one.path.stat().st_size
    if size > MAX_SENT_BYTES:
        raise InputError(
            "too-large",
            f"`{one.path}` has {size} bytes, more than the {MAX_SENT_BYTES} that travel with a job",
            hint="put it where the workers are, or split it",
            details={"bytes": size, "max_bytes": MAX_SENT_BYTES},
        )
    return GivenFile(path=one.name, data=one.path.read_bytes())


def _fitting(pattern: str, *, only_files: bool) -> list[str]:
    named = [pattern] if Path(pattern).is_file() else glob.glob(pattern, recursive=True)  # noqa: PTH207 - may be absolute
    found = sorted(path for path in named if not only_files or Path(path).is_file())
    if not found:
        raise InputError(
            "no-input", f"no file fits `{pattern}`", hint="check the pattern, and quote it so that the shell leaves it"
        )
    return found
