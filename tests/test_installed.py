"""The line that adds an extra names where this bacpack came from, and never the index's project of the same name."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from bacpack.installed import line_for_extra

WHEEL = "file:///home/me/my%20wheels/bacpack_wasm-0.1.0-py3-none-any.whl"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIT = {"url": "https://git.example/me/bacpack", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
PIP = [sys.executable, "-m", "pip", "install"]


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that holds nothing but what installers note of bacpack."""
    prefix = tmp_path / "archive-v0" / "environment"
    noted = prefix / "lib" / "bacpack_wasm-0.1.0.dist-info"
    noted.mkdir(parents=True)
    (noted / "METADATA").write_text("Metadata-Version: 2.1\nName: bacpack-wasm\nVersion: 0.1.0\n")
    (noted / "INSTALLER").write_text("pip\n")
    monkeypatch.syspath_prepend(str(noted.parent))
    monkeypatch.setattr(sys, "prefix", str(prefix))
    return prefix


def note(prefix: Path, **files: object) -> None:
    for name, content in files.items():
        path = prefix / "lib" / "bacpack_wasm-0.1.0.dist-info" / name.replace("_json", ".json")
        path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("noted", "words"),
    [
        ({"url": WHEEL, "archive_info": {}}, [f"bacpack-wasm[node] @ {WHEEL}"]),
        ({"url": "file:///home/me/bacpack", "dir_info": {}}, ["bacpack-wasm[node] @ file:///home/me/bacpack"]),
        (
            {"url": "file:///home/me/my%20clone", "dir_info": {"editable": True}},
            ["--editable", "/home/me/my clone[node]"],
        ),
        (GIT, [f"bacpack-wasm[node] @ git+https://git.example/me/bacpack@{COMMIT}"]),
        (
            {**GIT, "url": "file:///home/me/bacpack"},
            [f"bacpack-wasm[node] @ git+file://localhost/home/me/bacpack@{COMMIT}"],
        ),
        ({**GIT, "subdirectory": "a"}, [f"bacpack-wasm[node] @ git+{GIT['url']}@{COMMIT}#subdirectory=a"]),
    ],
    ids=["wheel", "folder", "editable", "git", "git of this machine", "below a repository"],
)
def test_an_extra_comes_from_where_bacpack_did(prefix: Path, noted: object, words: list[str]) -> None:
    note(prefix, direct_url_json=noted)
    assert shlex.split(line_for_extra("node")) == [*PIP, *words]


def test_an_extra_from_an_index_has_the_version_that_is_here(prefix: Path) -> None:
    assert shlex.split(line_for_extra("sign")) == [*PIP, "bacpack-wasm[sign]==0.1.0"]


def test_the_line_is_of_the_program_that_installed(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(prefix, direct_url_json={"url": WHEEL, "archive_info": {}}, INSTALLER="uv")
    everything = f"bacpack-wasm[all] @ {WHEEL}"
    assert shlex.split(line_for_extra("node")) == ["uvx", "--from", everything, "bacpack"]
    (prefix / "uv-receipt.toml").touch()
    assert shlex.split(line_for_extra("node")) == ["uv", "tool", "install", "--force", everything]
    (prefix / "pipx_metadata.json").touch()
    assert shlex.split(line_for_extra("node")) == ["pipx", "install", "--force", everything]
    monkeypatch.setattr(sys, "prefix", "/home/me/venv")
    line = ["uv", "pip", "install", "--python", "/home/me/venv", f"bacpack-wasm[node] @ {WHEEL}"]
    assert shlex.split(line_for_extra("node")) == line


def test_sources_that_are_not_installed_name_their_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bacpack.installed.DISTRIBUTION", "not-installed-here")
    assert shlex.split(line_for_extra("dask")) == [*PIP, "--editable", f"{Path(__file__).parents[1]}[dask]"]
