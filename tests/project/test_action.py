"""The action for GitHub and the template for GitLab: checked by linters, and run step by step as a runner would."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from project.conftest import CONFIG, REPOSITORY
from wanting import needed

ACTION = REPOSITORY / "action.yml"
WORKFLOW = REPOSITORY / "templates" / "project" / "_github" / "workflows" / "bacpack.yml"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


class Runner:
    """Runs the steps of a composite action: inputs and outputs by expressions, scripts by bash."""

    def __init__(self, folder: Path, workspace: Path) -> None:
        self._folder, self._workspace = folder, workspace
        self.outputs: dict[str, dict[str, str]] = {}
        self.log = ""

    def run(self, inputs: Mapping[str, str], event: str = "push") -> int:
        action = load(ACTION)
        given = {name: entry.get("default", "") for name, entry in action["inputs"].items()} | dict(inputs)
        status = 0
        for number, step in enumerate(action["runs"]["steps"]):
            assert "${{" not in step["run"], "values reach a script by its environment only"
            assert step["shell"] == "bash"
            script, output = self._folder / f"{number}.sh", self._folder / f"{number}.output"
            script.write_text(step["run"])
            output.touch()
            environment = {name: self._value(value, given) for name, value in step.get("env", {}).items()}
            known = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB", "BACPACK"))}
            known |= {
                "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": event, "GITHUB_WORKSPACE": str(self._workspace),
                "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self._folder / "summary"),
                "RUNNER_TEMP": str(self._folder / "temp"), "BACPACK_HOME": str(self._folder / "home"),
            }  # fmt: skip
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script], cwd=self._workspace,
                env=known | environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            self.log += done.stdout + done.stderr
            if "id" in step:
                self.outputs[step["id"]] = dict(line.split("=", 1) for line in output.read_text().splitlines())
            status = done.returncode
            if status:
                break
        return status

    def results(self) -> dict[str, str]:
        return {name: self._value(entry["value"], {}) for name, entry in load(ACTION)["outputs"].items()}

    def _value(self, text: str, inputs: Mapping[str, str]) -> str:
        def replace(found: re.Match[str]) -> str:
            match found[1].split("."):
                case ["inputs", name]:
                    return inputs[name]
                case ["github", "action_path"]:
                    return str(REPOSITORY)
                case ["steps", step, "outputs", name]:
                    return self.outputs[step][name]
            raise AssertionError(f"the driver does not know `{found[1]}`")

        return re.sub(r"\$\{\{\s*([\w.-]+)\s*\}\}", replace, text)


@pytest.fixture
def runner(tmp_path: Path, c_project: Path) -> Runner:
    """A runner on which the first step finds bacpack installed: installing it takes the network."""
    runner_ = Runner(tmp_path / "runner", c_project)
    installed = tmp_path / "runner" / "temp" / "bacpack" / "bin"
    installed.mkdir(parents=True)
    for name, words in (("python", ""), ("bacpack", " -m bacpack.cli")):
        script = installed / name
        script.write_text(
            f'#!/bin/sh\ncase "$*" in "-m pip "*) exit 0;; esac\nexec {shlex.quote(sys.executable)}{words} "$@"\n'
        )
        script.chmod(0o755)
    fake = tmp_path / "runner" / "python3"
    fake.write_text('#!/bin/sh\n[ "$1 $2" = "-m venv" ]\n')
    fake.chmod(0o755)
    return runner_


def test_the_action_runs(runner: Runner, c_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'runner'}:{os.environ['PATH']}")
    assert runner.run({}) == 0, runner.log
    results = runner.results()
    assert results["root-cid"].startswith("baf")
    assert Path(results["car-path"]).is_file()
    assert Path(results["report-json"]).is_file()
    assert int(results["new-bytes"]) > 0
    assert "### bacpack" in (tmp_path / "runner" / "summary").read_text()

    # A dry run, asked for; and a folder below the workspace.
    below = c_project / "below"
    below.mkdir()
    for name in ("job.wasm", "greet.wasm", "bacpack.toml"):
        shutil.copy(c_project / name, below / name)
    assert runner.run({"folder": "below", "publish": "false"}) == 0, runner.log
    assert "below" in runner.results()["car-path"]

    (below / "bacpack.toml").write_text(CONFIG + "\n[budgets]\nmax-closure-bytes = 1\n")
    assert runner.run({"folder": "below"}) == 1
    assert "::error file=below/bacpack.toml,line=9,title=budget exceeded::" in runner.log


ABSENT = "bafkreie4lcpob2kne2tdvnsudyugzfohfqs5mvglow5rrq6mis3t42ou3a"


@pytest.mark.parametrize(
    ("config", "line", "title", "status"),
    [
        (CONFIG + "\n[budgets]\nmax-new-bytes = 1000\n", 9, "budget exceeded", 1),
        (CONFIG + "\n[budgets]\nmax-closure-bytes = 1000\n", 9, "budget exceeded", 1),
        (CONFIG + "\n[budgets]\nrequire-locked = true\n", 2, "lock-stale", 1),
        (CONFIG.replace("greet.wasm", ABSENT), 2, "module-not-found", 3),
    ],
    ids=["new bytes", "closure", "lock", "module"],
)
def test_a_red_step_marks_the_line(
    runner: Runner, c_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    config: str, line: int, title: str, status: int,
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", f"{tmp_path / 'runner'}:{os.environ['PATH']}")
    (c_project / "bacpack.toml").write_text(config)
    assert runner.run({}) == status, runner.log
    [marked] = re.findall(r"^::error file=bacpack\.toml,line=(\d+),title=([^:]*)::", runner.log, re.MULTILINE)
    assert (int(marked[0]), marked[1]) == (line, title)
    summary = (tmp_path / "runner" / "summary").read_text()
    assert title in summary or "exceeded" in summary
    assert "Published" not in summary


def test_an_input_is_no_script(runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'runner'}:{os.environ['PATH']}")
    mark = tmp_path / "mark"
    assert runner.run({"base": f"$(touch {mark})", "to": f"store;touch {mark}", "publish": f"`touch {mark}`"}) != 0
    assert not mark.exists()


def test_nothing_that_is_fetched_goes_without_a_revision() -> None:
    for path in (ACTION, WORKFLOW):
        for used in re.findall(r"uses:\s*(\S+)", path.read_text()):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", used), used
    for text in (ACTION.read_text(), WORKFLOW.read_text(), (REPOSITORY / "ci" / "gitlab.yml").read_text()):
        assert not re.search(r"\b(curl|wget)\b", text)


@pytest.fixture
def workflows(tmp_path: Path) -> Path:
    """A repository with the workflow of a new project, and with one that uses the action."""
    folder = tmp_path / "repository" / ".github" / "workflows"
    folder.mkdir(parents=True)
    from bacpack.project.template import Wanted, render

    files = dict(render(Wanted("workspace", "hello")))
    (folder / "bacpack.yml").write_bytes(files[".github/workflows/bacpack.yml"])
    shutil.copy(ACTION, tmp_path / "repository" / "action.yml")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "repository", check=True)
    return tmp_path / "repository"


def test_actionlint_finds_nothing(workflows: Path) -> None:
    done = subprocess.run(
        [needed("actionlint"), "-no-color"], cwd=workflows, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_zizmor_finds_nothing(workflows: Path) -> None:
    command = [needed("zizmor"), "--offline", "--no-progress", "--persona", "pedantic", "."]
    done = subprocess.run(command, cwd=workflows, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_template_for_gitlab_is_yaml_with_the_job() -> None:
    job = load(REPOSITORY / "ci" / "gitlab.yml")["bacpack"]
    assert job["script"][-1].endswith("bacpack ci --format gitlab".removeprefix("bacpack "))
    assert set(job["artifacts"]["reports"]) == {"dotenv", "codequality"}
