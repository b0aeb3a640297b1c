"""`bacpack ci`: green on a project that keeps its budgets, red with the line that is at fault."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacpack.cli.projects.pipelines import markdown_text
from node.harness import Command, assemble
from project.conftest import CONFIG, change_module

ABSENT = "bafkreie4lcpob2kne2tdvnsudyugzfohfqs5mvglow5rrq6mis3t42ou3a"


@pytest.fixture
def runner(command: Command, c_project: Path, tmp_path: Path) -> Command:
    """The command in the pipeline of a push to GitHub."""
    for name in ("output", "summary"):
        (tmp_path / name).touch()
    command.environment |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_WORKSPACE": str(c_project),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    return command


def outputs(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "output").read_text().splitlines())


def annotations(text: str) -> Iterator[tuple[str, int, str]]:
    for found in re.finditer(r"^::error file=(.*?),line=(\d+),title=(.*?)::", text, re.MULTILINE):
        yield found[1], int(found[2]), found[3]


def configure(project: Path, text: str) -> None:
    (project / "bacpack.toml").write_text(CONFIG + text)


def test_green(runner: Command, c_project: Path, tmp_path: Path) -> None:
    configure(c_project, "\n[budgets]\nmax-new-bytes = 100000\nmax-closure-bytes = 50000\n")
    done = runner("ci", cwd=c_project)
    assert done.returncode == 0, done.stderr
    assert list(annotations(done.stdout.decode())) == []
    found = outputs(tmp_path)
    assert set(found) == {"root-cid", "car-path", "report-json", "new-bytes"}
    assert 20_000 < int(found["new-bytes"]) < 100_000
    report = json.loads(Path(found["report-json"]).read_text())
    assert (report["root"], report["exceeded"]) == (found["root-cid"], [])
    assert report["published"][0]["target"] == "store"
    summary = (tmp_path / "summary").read_text()
    assert found["root-cid"] in summary
    assert f"| job | `{report['apps']['job']}` |" in summary
    assert runner("verify", found["car-path"]).returncode == 0
    assert runner("run", "--offline", report["apps"]["job"], "ab").stdout == b"AB! 1 2 2\n"


def test_a_pull_request_is_only_computed(runner: Command, c_project: Path, tmp_path: Path) -> None:
    runner.environment["GITHUB_EVENT_NAME"] = "pull_request"
    done = runner("ci", cwd=c_project)
    assert done.returncode == 0, done.stderr
    found = outputs(tmp_path)
    assert json.loads(Path(found["report-json"]).read_text())["published"] == []
    assert Path(found["car-path"]).is_file()
    assert runner("inspect", "--offline", found["root-cid"]).returncode == 3
    assert runner("ci", "--publish", cwd=c_project).returncode == 0
    assert runner("inspect", "--offline", found["root-cid"]).returncode == 0


@pytest.mark.parametrize(("key", "allowed"), [("max-new-bytes", 1000), ("max-closure-bytes", 2000)])
def test_a_budget_that_is_exceeded(runner: Command, c_project: Path, tmp_path: Path, key: str, allowed: int) -> None:
    configure(c_project, f"\n[budgets]\n{key} = {allowed}\n")
    done = runner("ci", cwd=c_project)
    assert done.returncode == 1
    line = (c_project / "bacpack.toml").read_text().splitlines().index(f"{key} = {allowed}") + 1
    assert list(annotations(done.stdout.decode())) == [("bacpack.toml", line, "budget exceeded")]
    assert "error[budget-exceeded]" in done.stderr.decode()
    assert f"**`{key}` exceeded**" in (tmp_path / "summary").read_text()
    # Nothing was published.
    assert runner("inspect", "--offline", outputs(tmp_path)["root-cid"]).returncode == 3


def test_a_lock_that_is_stale(runner: Command, c_project: Path, tmp_path: Path) -> None:
    configure(c_project, "\n[budgets]\nrequire-locked = true\n")
    done = runner("ci", cwd=c_project)
    assert done.returncode == 1
    assert list(annotations(done.stdout.decode())) == [("bacpack.toml", 2, "lock-stale")]
    assert "lock-stale" in (tmp_path / "summary").read_text()
    assert runner("build", cwd=c_project).returncode == 0
    assert runner("ci", cwd=c_project).returncode == 0
    root = outputs(tmp_path)["root-cid"]
    # What the module is has changed since.
    change_module(c_project)
    done = runner("ci", cwd=c_project)
    assert done.returncode == 1
    assert list(annotations(done.stdout.decode())) == [("bacpack.toml", 2, "lock-stale")]
    assert b"run `bacpack build`, and commit `bacpack.lock`" in done.stdout
    assert outputs(tmp_path)["root-cid"] == root
    assert runner("build", cwd=c_project).returncode == 0
    assert runner("ci", cwd=c_project).returncode == 0
    # A name that the project has no longer: no line of it is left, so that which asks for the lock is marked.
    lock = json.loads((c_project / "bacpack.lock").read_text())
    lock["modules"]["gone"] = lock["modules"]["greet"]
    (c_project / "bacpack.lock").write_text(json.dumps(lock))
    done = runner("ci", cwd=c_project)
    line = (c_project / "bacpack.toml").read_text().splitlines().index("require-locked = true") + 1
    assert list(annotations(done.stdout.decode())) == [("bacpack.toml", line, "lock-stale")]
    assert done.returncode == 1


def test_a_copy_of_a_project_is_built_by_itself(runner: Command, c_project: Path, tmp_path: Path) -> None:
    assert runner("build", cwd=c_project).returncode == 0
    copy = tmp_path / "copy"
    shutil.copytree(c_project, copy)
    change_module(copy)
    answer = json.loads(runner("build", "--json", cwd=copy).stdout)
    assert (answer["folder"], answer["unchanged"]) == (str(copy / "out"), False)
    assert json.loads(runner("build", "--json", cwd=copy).stdout)["unchanged"] is True
    assert json.loads(runner("build", "--json", cwd=c_project).stdout)["unchanged"] is True


def test_a_module_that_cannot_be_reached(runner: Command, c_project: Path) -> None:
    (c_project / "bacpack.toml").write_text(CONFIG.replace("greet.wasm", ABSENT))
    done = runner("ci", "--offline", cwd=c_project)
    assert done.returncode == 3
    [(file, line, title)] = annotations(done.stdout.decode())
    assert (file, line) == ("bacpack.toml", 2)
    assert title in done.stderr.decode()
    assert ABSENT in done.stdout.decode()


def test_a_configuration_that_cannot_be_read(runner: Command, c_project: Path) -> None:
    (c_project / "bacpack.toml").write_text("[budget]\n")
    done = runner("ci", cwd=c_project)
    assert done.returncode == 2
    assert list(annotations(done.stdout.decode())) == [("bacpack.toml", 1, "bad-config")]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_change_is_compared_with_its_base(runner: Command, c_project: Path, tmp_path: Path) -> None:
    (c_project / ".gitignore").write_text("out*\n*.lock\n")
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "First"]):
        git(c_project, *arguments)
    (c_project / "two.wasm").write_bytes(assemble('(module (memory (export "memory") 1) (func (export "_start")))'))
    (c_project / "bacpack.toml").write_text(CONFIG.replace('"job.wasm"', '"job.wasm", "two.wasm"'))
    done = runner("ci", "--base", "main", "--dry-run", cwd=c_project)
    assert done.returncode == 0, done.stderr
    summary = (tmp_path / "summary").read_text()
    assert "beyond `main`" in summary
    assert re.search(r"\| job \|.*\| unchanged \|", summary)
    assert re.search(r"\| two \|.*\| new \|", summary)
    # The program that was there, and its module, are no part of what is new.
    assert int(outputs(tmp_path)["new-bytes"]) < 8_000
    runner.environment |= {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_BASE_REF": "nowhere"}
    done = runner("ci", cwd=c_project)
    assert done.returncode == 0
    assert b"nothing to compare with at `origin/nowhere`" in done.stderr


def test_gitlab_gets_files(runner: Command, c_project: Path) -> None:
    configure(c_project, "\n[budgets]\nmax-new-bytes = 10\n")
    done = runner("ci", "--format", "gitlab", "--dry-run", cwd=c_project)
    assert done.returncode == 1
    [entry] = json.loads((c_project / "gl-code-quality-report.json").read_text())
    assert entry["location"] == {"path": "bacpack.toml", "lines": {"begin": 9}}
    assert entry["severity"] == "major"
    variables = dict(line.split("=", 1) for line in (c_project / "bacpack.env").read_text().splitlines())
    assert set(variables) == {
        "BACPACK_ROOT_CID", "BACPACK_CAR_PATH", "BACPACK_REPORT_JSON", "BACPACK_NEW_BYTES",
    }  # fmt: skip
    assert b"### bacpack" in done.stdout


def test_what_a_message_says_stays_on_its_line(c_project: Path) -> None:
    from bacpack.cli.projects.pipelines import _data, _property

    assert _data("a%\nb") == "a%25%0Ab"
    assert _property("a:b,c") == "a%3Ab%2Cc"


def test_a_name_is_no_markup(runner: Command, c_project: Path, tmp_path: Path) -> None:
    name = "a|b`c<i>_d_ [e](f)"
    (c_project / "job.wasm").rename(c_project / f"{name}.wasm")
    (c_project / "bacpack.toml").write_text(CONFIG.replace("job.wasm", f"{name}.wasm"))
    assert runner("ci", cwd=c_project).returncode == 0
    row = "| a&#124;b&#96;c&#60;i&#62;&#95;d&#95; &#91;e&#93;(f) | `baf"
    assert row in (tmp_path / "summary").read_text()


def test_a_plain_name_stays_as_it_is() -> None:
    assert markdown_text("my_program-1.2 größer") == "my_program-1.2 größer"
    assert markdown_text("a\nb") == "a\N{REPLACEMENT CHARACTER}b"


def test_json(runner: Command, c_project: Path) -> None:
    done = runner("ci", "--format", "text", "--json", cwd=c_project)
    assert json.loads(done.stdout)["apps"].keys() == {"job"}
