"""Finding and reading `bacpack.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacpack.errors import InputError
from bacpack.project.settings.config import Project, find_config, load_project


def test_the_nearest_file_above_is_read(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "bacpack.toml").write_text('[publish]\nto = ["store", "kubo:http://127.0.0.1:5001"]\n')
    assert load_project(below).publish.to == ["store", "kubo:http://127.0.0.1:5001"]
    (tmp_path / "a" / "bacpack.toml").write_text("")
    project = load_project(below)
    assert project.path == tmp_path / "a" / "bacpack.toml"
    assert project.publish.to == []
    assert project.resolve("token") == tmp_path / "a" / "token"


def test_a_folder_of_that_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "bacpack.toml").mkdir()
    assert find_config(tmp_path) != tmp_path / "bacpack.toml"


def test_every_key(tmp_path: Path) -> None:
    (tmp_path / "bacpack.toml").write_text(
        """
        [publish]
        to = ["node:http://127.0.0.1:4817"]
        origins = ["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW"]
        token-files = { node = "secret/token" }

        [fetch]
        peers = ["http://127.0.0.1:4817"]
        gateways = ["http://127.0.0.1:8080"]
        kubo = "http://127.0.0.1:5001"
        order = ["kubo", "peers"]
        """
    )
    project = load_project(tmp_path)
    assert project.publish.token_files == {"node": "secret/token"}
    assert project.fetch.peers == ["http://127.0.0.1:4817"]
    assert project.fetch.kubo == "http://127.0.0.1:5001"
    assert project.fetch.order == ["kubo", "peers"]


def test_without_a_file_all_is_as_usual() -> None:
    assert Project().publish.to == []
    assert Project().fetch.order == ["peers", "gateways", "kubo"]


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("[publsh]\n", "`publsh` is not known", "did you mean `publish`?"),
        ("[publish]\ntoken-file = {}\n", "`publish.token-file` is not known", "did you mean `token-files`?"),
        ("[fetch]\npeer = []\n", "`fetch.peer` is not known", "did you mean `peers`?"),
        ("[fetch]\npeers = 'http://one'\n", "`fetch.peers`", "correct"),
        ("[fetch]\norder = ['store']\n", "`fetch.order[0]`", "correct"),
        ("[fetch\n", "line 1", "toml.io"),
        ("fetch = 1\n", "`fetch`", "correct"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, says: str, hint: str) -> None:
    (tmp_path / "bacpack.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_project(tmp_path)
    assert caught.value.code == "bad-config"
    assert says in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bacpack.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"bacpack\.toml"):
        load_project(tmp_path)
