"""Guides say what they need, and wait for nothing without end; `test_installing` follows them."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[1]
FOLLOW = REPOSITORY / "docs" / "follow.py"
GUIDES = [*(REPOSITORY / "docs" / "guides").glob("*.md"), REPOSITORY / "README.md", *REPOSITORY.glob("examples/*/*.md")]
#: What every Debian has, the shell's own words, and what comes with bacpack or is set up by the line before.
EVERYWHERE = """
. apt-get bacpack bash cat cd cmp cp cut echo export grep kill ls make mkdir printf python3 sed sort stat timeout wait
"""
#: Commands for which an extra must be installed.
EXTRAS = {
    "node": r"bacpack node (?:serve|devstack)",
    "dask": r"bacpack submit (?!.*bacalhau)",
    "sign": r"bacpack .*--key ",
}


@pytest.fixture(scope="session")
def follow() -> ModuleType:
    spec = importlib.util.spec_from_file_location("follow", FOLLOW)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_command_that_never_ends_is_named(follow: ModuleType, tmp_path: Path) -> None:
    began = time.monotonic()
    with follow.Shell(tmp_path, Path(sys.executable).parent, 2) as shell:
        assert shell.run("sleep 1000 & echo $!; false") != []
        [process] = shell.run("echo $!")
        with pytest.raises(
            follow.TookTooLongError, match=r"(?s)^\$ echo one; until false.*\none\n.*did not end within 2 s"
        ):
            shell.run("echo one; until false; do sleep 0.1; done")
    assert time.monotonic() - began < 30
    # What the shell had begun in the background is gone, too.
    assert not Path(f"/proc/{process}").exists() or "Z" in Path(f"/proc/{process}/stat").read_text().split(")")[-1]


def test_a_shell_that_ends_is_named(follow: ModuleType, tmp_path: Path) -> None:
    with (
        follow.Shell(tmp_path, Path(sys.executable).parent, 20) as shell,
        pytest.raises(follow.TookTooLongError, match="ended the shell"),
    ):
        shell.run("exit 3")


def test_a_guide_without_what_it_needs_is_named_and_not_run(
    follow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bacpack without extras, and a machine without curl."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cat"):
        (programs / name).symlink_to(f"/bin/{name}")
    checks = '{"checks": [{"name": "node", "status": "optional"}, {"name": "sign", "status": "ok"}]}'
    (programs / "bacpack").write_text(f"#!/bin/bash\ncat <<'END'\n{checks}\nEND\n")
    (programs / "bacpack").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    with follow.Shell(tmp_path / "folder", programs, 20) as shell:
        lacking = {guide.name: shell.lacks(guide.read_text()) for guide in GUIDES}
    assert lacking["node-jobs.md"] == ["curl", "the extra node"]
    assert lacking["provenance.md"] == ["openssl"]
    assert lacking["split.md"] == ["wasm-tools"]
    assert lacking["getting-started.md"] == []


def commands(guide: Path) -> Iterator[str]:
    """What a guide has its reader type."""
    for block in re.findall(r"^```console\n(.*?)^```", guide.read_text(), re.DOTALL | re.MULTILINE):
        yield from re.findall(r"^\$ (.*?)$", block, re.MULTILINE)


def programs(command: str) -> set[str]:
    """The programs that a command runs: the first word of each of its parts."""
    unquoted = re.sub(r"'[^']*'|\"|<<.*", "", command)
    words = (re.sub(r"^(?:\w+=\S* )*", "", part.strip()).split(" ")[0] for part in re.split(r"\$\(|[|&;)]", unquoted))
    return {word for word in words if word and not re.match(r"-|\d|\w+=|\$", word)}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_guides_say_at_their_head_what_they_need(guide: Path) -> None:
    text = guide.read_text()
    needs = re.search(r"^\*\*Needs\*\* (.*?)\n\n", text, re.DOTALL | re.MULTILINE)
    head = needs[1] if needs else ""
    named = set(re.findall(r"`([\w-]+)`", head))
    used = {program for command in commands(guide) for program in programs(command)}
    assert {program for program in used if program not in EVERYWHERE.split()} - named == set()
    extras = set(re.findall(r"\[`(\w+)`\]\([^)]*#extras\)", head))
    needed = {extra for extra, pattern in EXTRAS.items() if any(re.search(pattern, line) for line in commands(guide))}
    assert needed <= extras


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_guides_wait_for_nothing_without_end(guide: Path) -> None:
    for command in commands(guide):
        assert not re.search(r"\b(until|while)\b", command) or re.match(r"timeout \d+ bash -c '(until|while) ", command)
        assert "http.server" not in command or "python3 -u -m http.server" in command, (
            "its first line waits in a buffer"
        )


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_guides_do_not_depend_on_who_reads_them(guide: Path) -> None:
    """Columns of `ls -l` move with the name of the owner, and `date` speaks the reader's language."""
    for command in commands(guide):
        assert not re.search(r"\bls -\w*l|\bdate\b|\bwhoami\b|\$USER|\$HOME|~/", command), command


def test_guides_are_followed_as_by_a_reader(
    follow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is set for bacpack or Python where they are written is not set where they are read."""
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    monkeypatch.setenv("BACPACK_TIMEOUT", "1")
    with follow.Shell(tmp_path, Path(sys.executable).parent, 60) as shell:
        assert shell.run("env | grep -cE '^(PYTHON|BACPACK_TIMEOUT)'") == ["0"]


def test_two_can_follow_at_once(follow: ModuleType, tmp_path: Path) -> None:
    """A port that a guide names is a free one, told as the guide's."""
    with follow.Shell(tmp_path, Path(sys.executable).parent, 60) as shell:
        assert shell.run("port=8311; echo $port $((port + 0)) | tee port") == ["8311 8311"]
        assert "8311" not in (tmp_path / "port").read_text()


def test_a_size_that_has_changed_is_seen(follow: ModuleType) -> None:
    """Times and ports may differ from machine to machine, sizes and counts not."""
    assert follow.is_stale("9 modules, 163.4 KB (34 %)", "9 modules, 163.5 KB (34 %)")
    assert follow.is_stale("9 modules, 163.4 KB (34 %)", "8 modules, 163.4 KB (34 %)")
    assert not follow.is_stale("wordcount  113.8 KB   12.1 KB", "wordcount   113.8 KB    12.1 KB")
    assert not follow.is_stale('"fetch_ms": 0.138, at tcp://127.0.0.1:44119', '"fetch_ms": 12.5, at tcp://127.0.0.1:2')
    assert follow.is_stale("ok: 196.4 KB, 17 blocks, signed by …", "ok: 196.1 KB, 17 blocks, signed by 23ab")
    assert not follow.is_stale("ok: 196.1 KB, 17 blocks, signed by …", "ok: 196.1 KB, 17 blocks, signed by 23ab 5 B")
    assert follow.renewed("ok: 196.4 KB, by …", "ok: 196.1 KB, by 23ab") == "ok: 196.1 KB, by …"
