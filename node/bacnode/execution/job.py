"""What a client sends to have a program run, and what it is told of it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from bacpack.content.cid.cid import Cid
from bacpack.content.cid.reference import PathRef, parse_ref
from bacpack.errors import InputError, Problem

MIB = 1 << 20

MAX_ARGUMENTS, MAX_TEXT_BYTES, MAX_FILES, MAX_PATH_BYTES = 1024, 256 << 10, 1024, 1024
#: A submission with all that it carries inline.
MAX_SUBMISSION_BYTES = 16 * MIB

_VARIABLE = re.compile(r"[^=\0]+")


#: As large as the database and the engine take them.
_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Content(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Bytes: as text, in base64, or what a CID names. One of the three is given."""

    text: str | None = None
    base64: str | None = None
    cid: str | None = None

    def inline(self) -> bytes | None:
        """Return the bytes, or None for those of a CID."""
        if self.text is not None:
            return self.text.encode()
        return None if self.base64 is None else base64.b64decode(self.base64, validate=True)


class InputFile(Content, kw_only=True):
    """A file that the program finds at `path` below its root."""

    path: str


class Limits(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What the program may use; what is not given is up to the node, which also has the last word."""

    #: Seconds from the first instruction on.
    seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None
    #: Bytes of each memory.
    memory_bytes: _Count | None = None
    #: Instructions, roughly; counting them costs time, so none are counted unless this is given.
    fuel: _Count | None = None
    #: Bytes of standard output and standard error together.
    output_bytes: _Count | None = None
    #: Bytes of all files that it leaves, and how many they are.
    file_bytes: _Count | None = None
    files: _Count | None = None


class Submission(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The body of `POST /api/v1/jobs`."""

    ref: str
    args: list[str] = []
    env: dict[str, str] = {}
    stdin: Content | None = None
    files: list[InputFile] = []
    #: Files and folders, below the program's root, that are kept when it ends.
    outputs: list[str] = []
    invoke: str | None = None
    limits: Limits = msgspec.field(default_factory=Limits)
    #: Whether it may be run again when the node or a worker ended under it.
    rerun: bool = True


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that hold for one job."""

    seconds: float
    memory_bytes: int
    fuel: int | None
    output_bytes: int
    file_bytes: int
    files: int


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a job left."""

    path: str
    bytes: int


class JobSources(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked for the modules of a job, where it is not the peers of the node."""

    #: URLs of those who hold a module, by its CID; then those who are asked for any.
    holders: dict[str, list[str]] = {}
    peers: list[str] = []
    offline: bool = False
    allow_private: bool = False
    #: The size of each module that the program needs, by CID, as far as that is known.
    sizes: dict[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A program that is to be run, as an executor takes it. Its inline files are in its folder already."""

    id: str
    #: What names the program, and what its report calls it.
    ref: str
    shown_ref: str
    #: Its first argument; None for the name that the program has.
    name: str | None = None
    args: Sequence[str] = ()
    env: Sequence[tuple[str, str]] = ()
    #: What it is given by CID.
    stdin: Content | None = None
    files: Sequence[InputFile] = ()
    #: Folders of this machine, each with the path under which the program sees it: for jobs that a person here sends.
    folders: Sequence[tuple[str, str]] = ()
    outputs: Sequence[str] = ()
    invoke: str | None = None
    granted: Granted
    #: Whether it may be run again when a worker ended under it.
    reruns: bool = True
    #: How often it was started before.
    attempts: int = 0
    sources: JobSources | None = None
    #: Whether it ends once its modules are here and compiled.
    only_prepares: bool = False

    @property
    def program(self) -> tuple[str, str | None, bool]:
        """What its plan depends on."""
        return self.ref, self.invoke, self.granted.fuel is not None


class JobEnd(msgspec.Struct, kw_only=True):
    """How a job ended, with what it left."""

    exit_code: int | None = None
    error: Problem | None = None
    results: list[str] = []
    files: list[OutputFile] = []
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    report: dict[str, Any] | None = None


def check_submission(submission: Submission) -> None:
    """Raise `InputError` (`bad-job`) for what no node could run, and as `parse_ref` does."""
    if isinstance(parse_ref(submission.ref), PathRef):
        raise bad_job(f"`{submission.ref[:200]}` names a file of this machine", "name the program by CID or URL")
    texts = [submission.ref, *submission.args, *(text for pair in submission.env.items() for text in pair)]
    texts += [submission.invoke or "", *submission.outputs, *(file.path for file in submission.files)]
    if any("\0" in text for text in texts):
        raise bad_job("a text holds a null character", "programs cannot be given one")
    if not all(_is_utf8(text) for text in texts):
        raise bad_job("a text is not Unicode", "half of a surrogate pair has no UTF-8")
    if len(submission.args) + len(submission.env) > MAX_ARGUMENTS or sum(map(len, texts)) > MAX_TEXT_BYTES:
        raise bad_job("the arguments and variables are too many", "give the program a file")
    if not all(_VARIABLE.fullmatch(name) for name in submission.env):
        raise bad_job("a variable has a name that none can have", "a name is not empty and holds no `=`")
    if len(submission.files) > MAX_FILES or len(submission.outputs) > MAX_FILES:
        raise bad_job(f"there are more than {MAX_FILES} files", "pack them into one")
    paths = [safe_path(file.path) for file in submission.files]
    taken = set(paths)
    if len(taken) < len(paths) or any(path[:end] in taken for path in paths for end in range(1, len(path))):
        raise bad_job("two files have one path", "give each its own")
    for path in submission.outputs:
        safe_path(path)
    for content in (submission.stdin, *submission.files):
        if content is not None:
            _check_content(content)


def safe_path(path: str) -> tuple[str, ...]:
    """Return the names on a path below a program's root; raises `InputError` (`bad-job`)."""
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if not names or ".." in names or "\0" in path or len(path.encode("utf-8", "replace")) > MAX_PATH_BYTES:
        raise bad_job(f"`{path[:200]}` is no path of a file", "write names with slashes between them, without `..`")
    if any(len(name.encode("utf-8", "replace")) > 255 for name in names):
        raise bad_job("a name on a path is too long", "255 bytes is as long as one may be")
    return names


def bad_job(message: str, hint: str) -> InputError:
    """The answer to a submission that cannot be meant so."""
    return InputError("bad-job", message, hint=hint)


def _check_content(content: Content) -> None:
    if [content.text, content.base64, content.cid].count(None) != 2:
        raise bad_job("some content is not given in one way", "give `text`, `base64` or `cid`")
    if content.cid is not None:
        Cid.parse(content.cid)
    try:
        content.inline()
    except (binascii.Error, ValueError):
        raise bad_job("some content is no base64", "pad it with `=`, and put no line breaks in") from None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
