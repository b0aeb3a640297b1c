"""What all commands share: options by variable, names, and where options stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bacpack.cli import cli
from node.harness import Command, assemble


def all_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


COMMANDS = {" ".join(path): command for path, command in all_commands(cli)}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_has_its_name_and_each_option_the_variable_named_after_both(line: str) -> None:
    command = COMMANDS[line]
    assert command.name == line.rsplit(maxsplit=1)[-1]
    for option in command.params:
        # What is hidden is between processes of bacpack.
        if isinstance(option, click.Option) and not option.hidden:
            (long,) = (name for name in option.opts if name.startswith("--"))
            assert option.envvar == f"BACPACK {line} {long[2:]}".replace(" ", "_").replace("-", "_").upper()
            assert option.show_envvar


def test_the_variables_of_options_whose_values_have_other_names_inside(command: Command, tmp_path: Path) -> None:
    (tmp_path / "app.wasm").write_bytes(assemble("(module)"))
    variables = {"BACPACK_PACK_OUTPUT": "packed.car", "BACPACK_PACK_JSON": "1"}
    assert json.loads(command("pack", "app.wasm", cwd=tmp_path, env=variables).stdout)["car"] == "packed.car"
    variables = {"BACPACK_PUBLISH_TO": "car:a.car store", "BACPACK_PUBLISH_JSON": "true"}
    published = json.loads(command("publish", "app.wasm", cwd=tmp_path, env=variables).stdout)
    assert [pin["target"] for pin in published["pins"]] == ["store", "car:a.car"]


@pytest.mark.parametrize("line", [("verify", "none.wasm"), ("split", "--nonsense"), ("pin", "rm", "none.wasm")])
def test_json_asked_for_by_a_variable_holds_for_failures_too(command: Command, line: tuple[str, ...]) -> None:
    words = line[:2] if line[0] == "pin" else line[:1]
    name = "_".join(["BACPACK", *words, "JSON"]).upper()
    done = command(*line, env={name: "1"})
    assert (done.returncode, done.stderr) == (2, b"")
    assert json.loads(done.stdout)["error"]["code"] in ("usage", "not-pinned", "nothing-to-verify")
    for value in ("0", "", "perhaps"):
        assert command(*line, env={name: value}).stdout == b""


def test_options_before_the_command_are_told_where_they_belong(command: Command) -> None:
    text = command.fails(2, "usage", "--quiet", "gc")
    assert "hint: options follow the command, as in `bacpack split --json`; see `bacpack --help`\n" in text
    assert "options follow" not in command.fails(2, "usage", "gc", "--nonsense")
