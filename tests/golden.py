"""What must stay as it is, whatever is moved or renamed in the source: CIDs, help texts and error codes.

`tests/data/golden` holds it, beside the CIDs of small programs that `test_reproducible.py` has. A change there needs a
reason of its own; `PYTHONPATH=tests python tests/golden.py` writes all of it anew.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from commands import command, environment
from corpus import image_blobs, rust_programs

REPOSITORY = Path(__file__).parents[1]
GOLDEN = REPOSITORY / "tests" / "data" / "golden"
HELP, CODES, DEMO = GOLDEN / "help.txt", GOLDEN / "codes.txt", GOLDEN / "demo.json"


def help_texts() -> str:
    """The help of every command, one after the other, as a terminal of 80 columns shows it."""
    from bacpack.cli import cli

    return "\n".join(_help(cli, "bacpack", None))


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    settings = {**command.context_settings, "terminal_width": 80}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield f"$ {context.command_path} --help\n{command.get_help(context)}\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _help(found, below, context)


def error_codes() -> str:
    """All codes of errors, one a line: docs/reference/errors.md lists them, which is held against the source."""
    page = (REPOSITORY / "docs" / "reference" / "errors.md").read_text()
    return "".join(f"{code}\n" for code in sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)))


def release(folder: Path, report: dict[str, Any]) -> dict[str, Any]:
    """The root of a release, its programs and its modules by CID."""
    with tempfile.TemporaryDirectory() as home:
        line = command("publish", folder, "--to", f"car:{home}/out.car", "--json", "--quiet")
        done = subprocess.run(line, env=environment(Path(home)), capture_output=True, text=True, check=True)
    published = json.loads(done.stdout)
    modules = sorted(module["cid"] for module in report["modules"])
    return {"root": published["root"], "apps": published["apps"], "modules": modules}


def main() -> None:
    """Write all of it."""
    HELP.write_text(help_texts())
    CODES.write_text(error_codes())
    made = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, blobs in (("images", image_blobs()), ("rust", rust_programs())):
            folder = Path(scratch, name)
            line = command("split", *blobs.values(), "-o", folder, "--json", "--quiet")
            done = subprocess.run(line, env=environment(Path(scratch)), capture_output=True, text=True, check=True)
            made[name] = release(folder, json.loads(done.stdout))
    DEMO.write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main()
