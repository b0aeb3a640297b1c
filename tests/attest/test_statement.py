"""What the statement says, and that it says the same wherever it is made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from attest.harness import Keys, statement
from bacpack import __version__
from content.harness import Bacpack

COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: What names a CI run; none of it may come from the machine that runs the tests.
CI = ("GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_SERVER_URL", "RUNNER_ENVIRONMENT", "CI_PROJECT_URL", "CI_COMMIT_SHA",
      "SOURCE_DATE_EPOCH")  # fmt: skip


@pytest.fixture(autouse=True)
def no_ci(bacpack: Bacpack) -> None:
    for name in CI:
        bacpack.environment.pop(name, None)


def sha256(path: Path) -> dict[str, str]:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_every_program_and_module_is_a_subject_and_every_blob_a_dependency(
    bacpack: Bacpack, blobs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = bacpack.ok("split", *blobs, "-o", out)
    said = statement(out)
    assert (said["_type"], said["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    files = sorted([*out.glob("*.wasm"), *out.glob("modules/*.wasm")], key=lambda path: str(path.relative_to(out)))
    assert [(entry["name"], entry["digest"]) for entry in said["subject"]] == [
        (str(path.relative_to(out)), sha256(path)) for path in files
    ]
    notes = {entry["name"]: entry["annotations"] for entry in said["subject"]}
    assert notes["first.wasm"] == {"kind": "app", "blob": "first.wasm"}
    for module in result["modules"]:
        name = str(Path(module["path"]).relative_to(out))
        assert notes[name] == {"kind": module["kind"], "reused": False, "users": ["first", "second"]}
    definition = said["predicate"]["buildDefinition"]
    assert definition["buildType"] == "urn:bacpack:split:v1"
    assert definition["externalParameters"] == {"blobs": ["first.wasm", "second.wasm"], "catalogs": []}
    assert definition["internalParameters"]["bacpack"] == __version__
    assert [(entry["name"], entry["digest"]) for entry in definition["resolvedDependencies"]] == [
        (path.name, sha256(path)) for path in blobs
    ]
    builder = {"id": "urn:bacpack:builder:local", "version": {"bacpack": __version__}}
    assert said["predicate"]["runDetails"] == {"builder": builder}


def test_it_is_part_of_the_release(bacpack: Bacpack, blobs: list[Path], keys: Keys, tmp_path: Path) -> None:
    out = tmp_path / "out"
    named = bacpack.ok("split", *blobs, "-o", out, "--key", keys["own"])["provenance"]
    assert [entry["path"] for entry in named] == ["provenance.dsse.json", "provenance.json"]
    for root in (bacpack.ok("publish", out)["root"], bacpack.ok("pack", out, "-o", tmp_path / "out.car")["root"]):
        for entry in named:
            assert bacpack.ok("verify", f"{root}/{entry['path']}", entry["cid"])["bytes"] == entry["bytes"]
    # Split again without a key, the signature of the other time goes away.
    assert [entry["path"] for entry in bacpack.ok("split", *blobs, "-o", out)["provenance"]] == ["provenance.json"]
    assert not (out / "provenance.dsse.json").exists()
    (out / "provenance.json").unlink()
    assert bacpack.fails(1, "missing-file", "publish", out)["details"]["path"].endswith("provenance.json")


def test_modules_of_a_catalog_are_marked_and_the_catalog_named(
    bacpack: Bacpack, blobs: list[Path], tmp_path: Path
) -> None:
    bacpack.ok("split", *blobs, "-o", tmp_path / "earlier")
    bacpack.ok("split", blobs[0], "-o", tmp_path / "next", "--catalog", tmp_path / "earlier")
    said = statement(tmp_path / "next")
    definition = said["predicate"]["buildDefinition"]
    digest = sha256(tmp_path / "earlier" / "catalog" / "modules")
    assert definition["externalParameters"]["catalogs"] == [digest["sha256"]]
    assert {"name": "catalog/modules", "digest": digest} in definition["resolvedDependencies"]
    assert True in [entry["annotations"].get("reused") for entry in said["subject"]]
    # By CID it is the same catalog, and so the same statement.
    root = bacpack.ok("publish", tmp_path / "earlier")["root"]
    bacpack.ok("split", blobs[0], "-o", tmp_path / "again", "--catalog", root, "--offline")
    assert statement(tmp_path / "again") == said


@pytest.mark.parametrize(
    ("given", "uri", "digest"),
    [
        (f"https://git.example/o/r@{COMMIT}", f"git+https://git.example/o/r@{COMMIT}", COMMIT),
        ("https://git.example/o/r.git@v1.2", "git+https://git.example/o/r.git@v1.2", None),
        (f"git@git.example:o/r@{COMMIT}", f"git+ssh://git@git.example/o/r@{COMMIT}", COMMIT),
    ],
)
def test_the_source_is_as_said(
    bacpack: Bacpack, blobs: list[Path], tmp_path: Path, given: str, uri: str, digest: str | None
) -> None:
    bacpack.ok("split", *blobs, "-o", tmp_path / "out", "--source", given, "--builder", "https://ci.example/b")
    said = statement(tmp_path / "out")["predicate"]
    entry = said["buildDefinition"]["resolvedDependencies"][-1]
    assert entry == ({"uri": uri, "digest": {"gitCommit": digest}} if digest else {"uri": uri})
    assert said["buildDefinition"]["externalParameters"]["source"] == uri
    assert said["runDetails"]["builder"]["id"] == "https://ci.example/b"


def test_a_ci_run_says_itself_what_it_builds(bacpack: Bacpack, blobs: list[Path], tmp_path: Path) -> None:
    github = {"GITHUB_REPOSITORY": "o/r", "GITHUB_SHA": COMMIT, "GITHUB_SERVER_URL": "https://github.example",
              "RUNNER_ENVIRONMENT": "github-hosted"}  # fmt: skip
    gitlab = {"CI_PROJECT_URL": "https://gitlab.example/g/r", "CI_COMMIT_SHA": COMMIT}
    expected = [
        (github, f"git+https://github.example/o/r@{COMMIT}", "https://github.com/actions/runner/github-hosted"),
        (gitlab, f"git+https://gitlab.example/g/r@{COMMIT}", "https://gitlab.example"),
    ]
    before = dict(bacpack.environment)
    for variables, uri, builder in expected:
        bacpack.environment = {**before, **variables}
        bacpack.ok("split", *blobs, "-o", tmp_path / "out")
        said = statement(tmp_path / "out")["predicate"]
        assert said["buildDefinition"]["resolvedDependencies"][-1]["uri"] == uri
        assert said["runDetails"]["builder"]["id"] == builder
        bacpack.ok("split", *blobs, "-o", tmp_path / "none", "--source", "none")
        said = statement(tmp_path / "none")["predicate"]
        assert "source" not in said["buildDefinition"]["externalParameters"]
        assert said["runDetails"]["builder"]["id"] == "urn:bacpack:builder:local"


@pytest.mark.parametrize(
    "given",
    ["", "@", "https://git.example/o/r", "https://git.example/o/r@", f"/home/me/r@{COMMIT}", f"file:///r@{COMMIT}",
     f"https://me:secret@git.example/o/r@{COMMIT}", f"https://token@git.example/o/r@{COMMIT}", "https://g.ex/r@a b"],
)  # fmt: skip
def test_a_source_that_is_none_is_refused_and_secrets_stay_out(
    bacpack: Bacpack, blobs: list[Path], tmp_path: Path, given: str
) -> None:
    error = bacpack.fails(2, "bad-source", "split", *blobs, "-o", tmp_path / "out", "--source", given)
    assert "secret" not in json.dumps(error)
    assert "token@" not in json.dumps(error)
    assert not (tmp_path / "out").exists()


def test_no_builder_that_is_no_uri(bacpack: Bacpack, blobs: list[Path], tmp_path: Path) -> None:
    bacpack.fails(2, "bad-source", "split", *blobs, "-o", tmp_path / "out", "--builder", "my laptop")


def test_a_time_is_named_only_when_asked_for(bacpack: Bacpack, blobs: list[Path], tmp_path: Path) -> None:
    bacpack.environment["SOURCE_DATE_EPOCH"] = "86400"
    bacpack.ok("split", *blobs, "-o", tmp_path / "out")
    details = statement(tmp_path / "out")["predicate"]["runDetails"]
    assert details["metadata"] == {"finishedOn": "1970-01-02T00:00:00Z"}
    bacpack.environment["SOURCE_DATE_EPOCH"] = "yesterday"
    bacpack.fails(2, "bad-source-date", "split", *blobs, "-o", tmp_path / "out")


def test_it_is_written_in_one_form(bacpack: Bacpack, blobs: list[Path], tmp_path: Path) -> None:
    bacpack.ok("split", *blobs, "-o", tmp_path / "out")
    written = (tmp_path / "out" / "provenance.json").read_text()
    assert written == json.dumps(json.loads(written), sort_keys=True, separators=(",", ":")) + "\n"
    assert str(tmp_path) not in written
