"""From patterns to jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacnode.schedulers.submitted_jobs import Submitted, expand_inputs, submitted_jobs
from bacpack.errors import InputError
from node.harness import assemble
from node.schedulers.harness import closure


def test_a_job_says_which_of_several_files_of_one_name_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        Path("m", folder).mkdir(parents=True)
        Path("m", folder, "x.txt").write_text(folder)
    found = closure(tmp_path / "store", assemble('(module (func (export "_start")))'))
    jobs = submitted_jobs([found], expand_inputs(["m/*/x.txt"]), Submitted(["{}"]), send_files=True)
    assert [job.input for job in jobs] == ["m/a/x.txt", "m/b/x.txt"]
    assert [job.spec.args for job in jobs] == [["x.txt"], ["x.txt"]]
    assert [job.spec.files[-1].data for job in jobs] == [b"a", b"b"]


def test_a_pattern_that_only_folders_fit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for pattern in ("a", "*", "**", "none"):
        with pytest.raises(InputError, match="no file fits") as caught:
            expand_inputs([str(tmp_path / pattern)])
        assert caught.value.code == "no-input"
