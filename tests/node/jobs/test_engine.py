"""The engine of a node: versions of it with a known hole run no jobs of others, and what few programs need is off."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from bacnode.runtime import engine_config as engine
from bacnode.runtime.engine_config import RARE, engine_config
from bacpack.advisories import HOLES, known_holes
from bacpack.errors import InputError
from commands import command, environment
from node.harness import assemble
from node.jobs import programs
from node.jobs.harness import JobNode
from node.jobs.programs import endless, hello

#: A program for each feature that is off.
PROGRAMS = {
    "gc": '(module (type $s (struct)) (func (export "_start") (drop (struct.new $s))))',
    "function_references": '(module (type $t (func)) (func $g) (elem declare func $g)'
    ' (func (export "_start") (call_ref $t (ref.func $g))))',
    "threads": '(module (memory 1) (func (export "_start") (drop (i32.atomic.load (i32.const 0)))))',
    "memory64": '(module (memory i64 1) (func (export "_start")))',
    "wide_arithmetic": '(module (func (export "_start")'
    " (i64.add128 (i64.const 1) (i64.const 0) (i64.const 2) (i64.const 0)) (drop) (drop)))",
}  # fmt: skip
THROWING = """(module (tag $t) (func (export "_start")
  (block $out (try_table (catch $t $out) (throw $t)) (unreachable))))"""
#: Has the node take itself for one that others can reach, though tests listen on loopback.
REACHED = "from bacnode.app.serve import Address; Address.is_loopback = False"


def installed(folder: Path, version: str) -> str:
    """A line of Python with which another version of the engine seems to be installed."""
    about = folder / f"wasmtime-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: wasmtime\nVersion: {version}\n")
    return f"import sys; sys.path.insert(0, {str(folder)!r})"


@pytest.mark.parametrize("version", ["40.0.0", "43.0.0", "46.0.1", "47.0.1", "48.0.0", "49.0.0"])
def test_every_release_before_the_floor_is_known_to_have_a_hole(version: str) -> None:
    for machine in ("x86_64", "aarch64"):
        assert known_holes(version, machine)


def test_releases_from_the_floor_on_have_none_that_is_known() -> None:
    assert not [hole for version in ("50.0.1", "50.0.2", "51.0.0") for hole in known_holes(version, "aarch64")]
    assert not known_holes(), "the version installed here has a hole: raise the floor in pyproject.toml"


def test_a_fix_in_one_line_of_releases_says_nothing_of_the_next() -> None:
    (links,) = [hole for hole in HOLES if hole.advisory == "GHSA-vqjp-4c8c-hfgg"]
    given = ["36.0.13", "36.0.14", "37.0.0", "46.0.2", "46.0.3", "47.0.3", "47.0.4", "48.0.0rc1"]
    assert [links.is_in(version, "x86_64") for version in given] == [True, False, True, True, False, True, False, False]


def test_a_hole_of_one_processor_is_none_elsewhere() -> None:
    (jumps,) = [hole for hole in HOLES if hole.advisory == "GHSA-mghf-wjfp-p5xm"]
    assert [jumps.is_in("49.0.0", machine) for machine in ("x86_64", "aarch64", "arm64")] == [False, True, True]


def test_with_a_hole_jobs_of_others_are_refused(tmp_path: Path, folder: Path) -> None:
    with JobNode(folder, "--workers", 1) as node:
        waiting = node.submit(endless())
        node.until(waiting, "running")
        node.die()
    first = f"{installed(tmp_path, '49.0.0')}; {REACHED}"
    with JobNode(folder, "--workers", 1, first=first) as node:
        refused = node.post("/api/v1/jobs", {"ref": node.add(hello())})
        assert (refused.status, refused.code) == (503, "unsafe-engine")
        assert "wasmtime 49.0.0" in refused.json["error"]["message"]
        assert "wasmtime>=50.0.1" in refused.json["error"]["hint"]
        bid = node.post("/api/v1/bids", {"ref": node.add(hello())}).json
        assert (bid["can_run"], bid["reason"]) == (False, "unsafe-engine")
        # What was taken in before is not run either.
        ended = node.get(f"/api/v1/jobs/{waiting}?wait=10", Authorization=f"Bearer {node.token}").json
        assert (ended["state"], ended["error"]["code"]) == ("failed", "unsafe-engine")
        holes = node.get("/healthz").json["known_holes"]
        assert any(hole.endswith("/GHSA-897f-g5gm-fmxm") for hole in holes)
        _, said = node.stop()
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    (logged,) = [line for line in lines if "holes" in line]
    assert (logged["level"], logged["message"], logged["holes"]) == ("warning", "the engine has known holes", holes)


def test_with_a_hole_jobs_of_this_machine_are_run(tmp_path: Path, folder: Path) -> None:
    with JobNode(folder, "--workers", 1, first=installed(tmp_path, "49.0.0")) as node:
        assert node.run(hello())["state"] == "done"
        assert node.get("/healthz").json["known_holes"]


def test_with_a_hole_no_node_works_for_a_scheduler(tmp_path: Path) -> None:
    start = f"{installed(tmp_path, '49.0.0')}\nfrom bacpack.cli import main; main()"
    line = [
        "node",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        tmp_path / "store",
        "--scheduler",
        "tcp://127.0.0.1:9",
    ]
    done = subprocess.run(
        [sys.executable, "-c", start, *line], env=environment(tmp_path), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert b"no jobs of a scheduler are run: wasmtime 49.0.0 lets programs reach" in done.stderr


@pytest.mark.parametrize("feature", RARE)
def test_what_few_programs_need_is_off(node: JobNode, feature: str) -> None:
    ended = node.run(assemble(PROGRAMS[feature]))
    assert (ended["state"], ended["error"]["code"]) == ("failed", "feature-off"), ended
    assert "--all-features" in ended["error"]["hint"]


@pytest.mark.parametrize("options", [(), ("--timeout", "60", "--max-memory", "64MiB")])
def test_bacpack_run_takes_them_all(tmp_path: Path, options: tuple[str, ...]) -> None:
    for feature, text in PROGRAMS.items():
        program = tmp_path / f"{feature}.wasm"
        program.write_bytes(assemble(text))
        line = command("run", *options, program)
        done = subprocess.run(line, env=environment(tmp_path), capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, b""), (feature, done.stderr)


def test_exceptions_are_on(node: JobNode) -> None:
    assert node.run(assemble(THROWING))["state"] == "done"


def test_what_no_engine_takes_is_no_question_of_features(node: JobNode) -> None:
    ended = node.run(assemble('(module (func (export "_start") (i64.const 0)))'))
    assert ended["error"]["code"] == "invalid-module"


def test_all_features_are_on_when_it_is_asked_for(folder: Path) -> None:
    with JobNode(folder, "--workers", 1, "--all-features") as node:
        states = {feature: node.run(assemble(program))["state"] for feature, program in PROGRAMS.items()}
    assert set(states.values()) == {"done"}, states


def test_a_new_engine_that_lacks_what_is_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    about = installed(tmp_path, "99.0.0")
    monkeypatch.syspath_prepend(about.rpartition(", ")[2].strip("')"))
    monkeypatch.setattr(engine, "RARE", ("no_such_feature",))
    with pytest.raises(InputError, match=r"wasmtime 99\.0\.0: it has no switch for `no_such_feature`") as error:
        engine_config(all_features=False)
    assert error.value.code == "unknown-engine"
    monkeypatch.delattr(engine.calls, "_wasmtime_store_epoch_deadline_callback")
    with wasmtime.Store() as store, pytest.raises(InputError, match=r"99\.0\.0: it has no call for programs"):
        engine.at_epochs(store, lambda: True, 1)


def test_the_engine_that_is_installed_has_all_that_is_used() -> None:
    config = engine_config(all_features=False)
    config.epoch_interruption = True
    with wasmtime.Store(wasmtime.Engine(config)) as store:
        assert engine.at_epochs(store, lambda: True, 1)


def test_plans_that_are_used_are_remembered(folder: Path) -> None:
    first = "import bacnode.execution.executor as executor; executor._PLANS = 2"
    with JobNode(folder, first=first) as node:
        used, others = programs.hello(), [programs.user_of(node.add(programs.library(number))) for number in (3, 4)]
        for program in (used, others[0], used, others[1]):
            node.run(program)
        assert [node.run(program)["report"]["load_ms"] == 0 for program in (used, others[0])] == [True, False]
