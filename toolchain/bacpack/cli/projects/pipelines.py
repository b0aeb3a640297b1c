"""How a pipeline is told what came: annotations on lines of `bacpack.toml`, a summary, and outputs for later steps."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

import click

from bacpack.cli.terminal.streams import printable, say

Format: TypeAlias = Literal["github", "gitlab", "text"]
#: What Markdown takes for more than text; an underscore inside a word is none of it.
_MARKUP = re.compile(r"[&<>|`*~\[\]\\]|(?<![^\W_])_|_(?![^\W_])")
#: What later jobs of GitLab read variables from, and what it shows beside the lines of a change.
GITLAB_OUTPUTS, GITLAB_QUALITY = "bacpack.env", "gl-code-quality-report.json"


@dataclass(frozen=True, slots=True)
class Annotation:
    """Something to say about a line of a file."""

    level: Literal["error", "warning", "notice"]
    file: str
    line: int
    title: str
    message: str


def detected() -> Format:
    """The kind of pipeline that this runs in."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return "github"
    return "gitlab" if os.environ.get("GITLAB_CI") == "true" else "text"


def is_change() -> bool:
    """Whether the pipeline is that of a change which is only proposed."""
    event = os.environ.get("GITHUB_EVENT_NAME", "")
    return event.startswith("pull_request") or bool(os.environ.get("CI_MERGE_REQUEST_IID"))


def annotate(kind: Format, annotations: Sequence[Annotation]) -> None:
    """Say what there is to say about lines: on stdout as GitHub reads it, in a file for GitLab, or on stderr."""
    if kind == "github":
        for entry in annotations:
            place = f"file={_property(entry.file)},line={entry.line},title={_property(entry.title)}"
            say(f"::{entry.level} {place}::{_data(entry.message)}")
        return
    if kind == "gitlab":
        Path(GITLAB_QUALITY).write_text(json.dumps([_quality(entry) for entry in annotations], indent=2) + "\n")
    for entry in annotations:
        say(f"{entry.file}:{entry.line}: {entry.level}: {entry.title}: {entry.message}", err=True)


def summarise(kind: Format, markdown: str) -> None:
    """Show a table: on the page of the run for GitHub, else on stdout."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if kind == "github" and path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown + "\n")
    else:
        say(markdown)


def hand_over(kind: Format, outputs: Mapping[str, str]) -> None:
    """Give values to later steps."""
    path = os.environ.get("GITHUB_OUTPUT")
    if kind == "github" and path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={_one_line(value)}\n" for name, value in outputs.items())
    elif kind == "gitlab":
        lines = [f"BACPACK_{name.replace('-', '_').upper()}={_one_line(value)}\n" for name, value in outputs.items()]
        Path(GITLAB_OUTPUTS).write_text("".join(lines), encoding="utf-8")


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A table, the first row as its heading."""
    lines = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def markdown_text(text: str) -> str:
    """`text` on one line, as Markdown shows it: nothing in it is markup."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def markdown_code(text: str) -> str:
    """`text` on one line, as Markdown shows what is to be copied."""
    return f"`{printable(text).replace('`', chr(39))}`"


def _one_line(value: str) -> str:
    """A value that cannot be taken for another: GitHub and GitLab read these files line by line."""
    if "\n" in value or "\r" in value:
        raise click.UsageError("a path with a line break in it cannot be handed over")
    return value


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _quality(entry: Annotation) -> dict[str, object]:
    severity = {"error": "major", "warning": "minor", "notice": "info"}[entry.level]
    return {
        "description": f"{entry.title}: {entry.message}",
        "check_name": entry.title,
        "fingerprint": sha256(f"{entry.file}:{entry.title}:{entry.message}".encode()).hexdigest(),
        "severity": severity,
        "location": {"path": entry.file, "lines": {"begin": entry.line}},
    }
