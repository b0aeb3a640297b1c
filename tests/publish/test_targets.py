"""Choosing targets, and publishing to several of which some fail."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacpack.content.store.pins import Pins
from content.harness import Bacpack
from publish.kubo_stand import KuboStand
from publish.releases import write_release


@pytest.fixture
def kubo() -> Iterator[KuboStand]:
    with KuboStand() as kubo:
        yield kubo


@pytest.fixture
def nobody() -> str:
    """A URL at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    write_release(folder)
    return folder


def test_one_target_that_fails_does_not_stop_the_others(
    bacpack: Bacpack, kubo: KuboStand, folder: Path, tmp_path: Path, nobody: str
) -> None:
    car = tmp_path / "release.car"
    targets = [f"node:{nobody}", f"kubo:{kubo.url}", f"car:{car}", "store"]
    error = bacpack.fails(3, "publish-failed", "publish", folder, *(part for one in targets for part in ("--to", one)))
    assert "1 of 4 targets failed" in error["message"]
    assert f"`node:{nobody}`" in error["message"]
    published = error["details"]["published"]
    assert [(pin["target"], pin["status"]) for pin in published["pins"]] == [
        ("store", "pinned"),
        (f"node:{nobody}", "failed"),
        (f"kubo:{kubo.url}", "pinned"),
        (f"car:{car}", "written"),
    ]
    assert published["pins"][1]["error"]["code"] == "target-unreachable"
    assert [pin.get("new_bytes") for pin in published["pins"]] == [published["bytes"], 0, published["bytes"], None]
    assert published["new_bytes"] == 2 * published["bytes"]
    assert car.exists()
    assert len(kubo.pins) == len(Pins(bacpack.home).all()) == 1


def test_a_store_that_cannot_be_written_does_not_stop_the_others(kubo: KuboStand, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bacpack = Bacpack(tmp_path / "file")
    error = bacpack.fails(3, "publish-failed", "publish", folder, "--to", "store", "--to", f"kubo:{kubo.url}")
    assert [pin["status"] for pin in error["details"]["published"]["pins"]] == ["failed", "pinned"]
    assert len(kubo.pins) == 1


def test_a_car_file_that_cannot_be_written_stops_all(
    bacpack: Bacpack, kubo: KuboStand, folder: Path, tmp_path: Path
) -> None:
    """It comes first: nothing was sent, and nothing has to be taken back."""
    (tmp_path / "file").touch()
    car = f"car:{tmp_path}/file/x.car"
    bacpack.fails(2, "not-a-folder", "publish", folder, "--to", f"kubo:{kubo.url}", "--to", car)
    assert kubo.requests == []


def test_a_target_named_twice_is_one(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    result = bacpack.ok("publish", folder, "--to", f"kubo:{kubo.url}", "--to", f"kubo:{kubo.url}/")
    assert len(result["pins"]) == 1
    assert kubo.count("POST", "/api/v0/dag/import") == 1


def test_targets_come_from_the_configuration_unless_they_are_given(
    bacpack: Bacpack, kubo: KuboStand, folder: Path
) -> None:
    (folder.parent / "bacpack.toml").write_text(f'[publish]\nto = ["store", "kubo:{kubo.url}"]\n')

    def targets(*arguments: object) -> list[str]:
        done = bacpack.run("publish", folder, "--dry-run", "--json", *arguments, cwd=folder)
        assert done.returncode == 0, done.stdout
        return [pin["target"] for pin in json.loads(done.stdout)["pins"]]

    assert targets() == ["store", f"kubo:{kubo.url}"]
    assert targets("--to", "store") == ["store"]


def test_the_text_says_what_went_where(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    done = bacpack.run("publish", folder, "--to", "store", "--to", f"kubo:{kubo.url}")
    assert f"\n      kubo:{kubo.url}: pinned; 13.7 KB new to it\n" in done.stdout
    assert " new to the store\n" in done.stdout


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nowhere", "unknown-target"),
        ("kubo", "unknown-target"),
        ("kubo:", "unknown-target"),
        ("kobo:http://127.0.0.1:5001", "unknown-target"),
        ("kubo:127.0.0.1:5001", "bad-url"),
        ("kubo:ftp://127.0.0.1", "bad-url"),
        ("kubo:http://", "bad-url"),
        ("kubo:http://127.0.0.1:notaport", "bad-url"),
        ("node:http://127.0.0.1:1/?token=hidden-word", "bad-url"),
        ("node:http://hidden-word@127.0.0.1:1", "secret-in-url"),
        ("node:http://user:hidden-word@127.0.0.1:1/x", "secret-in-url"),
        ("node:http://hidden-word@[::1", "secret-in-url"),
        ("nodes:http://user:hidden-word@127.0.0.1:1", "unknown-target"),
    ],
)
def test_targets_that_cannot_be(bacpack: Bacpack, folder: Path, text: str, code: str) -> None:
    error = bacpack.fails(2, code, "publish", folder, "--to", text)
    assert "hidden-word" not in str(error)


def test_a_near_target_is_proposed(bacpack: Bacpack, folder: Path) -> None:
    error = bacpack.fails(2, "unknown-target", "publish", folder, "--to", "kobo:http://127.0.0.1:5001")
    assert "did you mean `kubo`?" in error["hint"]


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe"])
def test_a_file_that_holds_no_token(bacpack: Bacpack, kubo: KuboStand, folder: Path, content: bytes) -> None:
    file = folder.parent / "token"
    file.write_bytes(content)
    error = bacpack.fails(2, "bad-token", "publish", folder, "--to", f"kubo:{kubo.url}", "--token-file", f"kubo={file}")
    assert str(file) in error["message"]
    assert "lines" not in error["message"]


def test_token_files_that_are_wrongly_named(bacpack: Bacpack, kubo: KuboStand, folder: Path) -> None:
    target = ("publish", folder, "--to", f"kubo:{kubo.url}", "--token-file")
    for text in ("hidden-word", "kubo=", "kobo=file"):
        error = bacpack.fails(2, "usage", *target, text)
        assert "hidden-word" not in error["message"]
    bacpack.fails(2, "not-found", *target, f"kubo={folder / 'absent'}")


def test_a_token_in_the_open_is_pointed_out(bacpack: Bacpack, folder: Path, nobody: str) -> None:
    """`127.1` means 127.0.0.1 to the system; to bacpack it is a name, which may lead anywhere."""
    bacpack.environment["BACPACK_NODE_TOKEN"] = "hidden-word"
    done = bacpack.run("publish", folder, "--to", "node:" + nobody.replace("127.0.0.1", "127.1"))
    assert done.returncode == 3
    assert "goes over the network unencrypted" in done.stderr
    assert "hidden-word" not in done.stderr
