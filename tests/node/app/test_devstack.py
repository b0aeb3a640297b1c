"""`bacpack node devstack`: several nodes that know each other, and that never outlive the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from commands import command
from waiting import PATIENCE, line_of, started, until


@contextmanager
def stack(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], list[dict[str, Any]]]]:
    """Run the command until all its nodes are there; kill what is left of it at the end."""
    line = command("node", "devstack", *arguments)
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    nodes: list[dict[str, Any]] = []
    try:
        for _ in range(int(arguments[arguments.index("-n") + 1]) if "-n" in arguments else 3):
            said = line_of(process.stdout, "the next node is there")
            assert said, process.communicate(timeout=PATIENCE)[1]
            nodes.append(json.loads(said))
        yield process, nodes
    finally:
        for pid in (process.pid, *(node["pid"] for node in nodes)):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    until(lambda: not any(map(is_running, pids)), "all nodes end")


def below(pid: int) -> list[int]:
    """The processes that one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid:
            found.append(int(folder.name))
    return found


def ask(node: dict[str, Any], path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {Path(node['token_file']).read_text().strip()}"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(node["url"] + path, data, headers), timeout=20) as answer:
        return json.load(answer)


def test_nodes_know_each_other_and_end_together(tmp_path: Path) -> None:
    with stack("-n", 3, "--folder", tmp_path) as (process, nodes):
        assert len({node["peer_id"] for node in nodes}) == len({node["store"] for node in nodes}) == 3
        for node in nodes:
            assert node["url"].startswith("http://127.0.0.1:") and node["schema"] == 1
            assert Path(node["token_file"]).parent.parent == tmp_path
            others = {other["url"] for other in nodes if other is not node}
            assert {peer["url"] for peer in ask(node, "/api/v1/peers")["peers"]} == others
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "", "")
        assert not any(is_running(node["pid"]) for node in nodes)
    # With a folder of the user's, the stores stay.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node-1", "node-2", "node-3"]


def test_nodes_end_with_a_command_that_is_killed(tmp_path: Path) -> None:
    with stack("-n", 2, "--folder", tmp_path) as (process, nodes):
        # A process of the node's own as well, which a bid starts.
        ask(nodes[0], "/api/v1/bids", {"modules": ["bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"]})
        pids = [pid for node in nodes for pid in (node["pid"], *below(node["pid"]))]
        assert len(pids) > 2
        process.kill()
        process.wait(PATIENCE)
        wait_until_gone(pids)


def test_nodes_end_with_a_command_that_is_killed_before_they_are_there(tmp_path: Path) -> None:
    line = command("node", "devstack", "-n", "2", "--folder", tmp_path)
    with started(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: len(below(process.pid)) == 2, "both nodes start", pause=0.01)
        pids = below(process.pid)
        process.kill()
    wait_until_gone(pids)


def test_one_node_may_end_and_the_others_go_on(tmp_path: Path) -> None:
    with stack("-n", 2, "--folder", tmp_path) as (process, (first, second)):
        os.kill(first["pid"], signal.SIGKILL)
        assert f"node 1 ({first['url']}) ended" in line_of(process.stderr, "it says that a node ended")
        assert ask(second, "/api/v1/node")["peer_id"] == second["peer_id"]
        with pytest.raises(urllib.error.URLError):
            ask(first, "/healthz")


def test_without_a_folder_nothing_is_left() -> None:
    with stack("-n", 1) as (process, (node,)):
        assert Path(node["store"]).is_dir()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert not Path(node["store"]).parent.exists()


def test_a_node_that_does_not_start_ends_all(tmp_path: Path) -> None:
    (tmp_path / "node-2").mkdir()
    (tmp_path / "node-2" / "node-token").write_text("short")
    (tmp_path / "node-2" / "node-token").chmod(0o600)
    line = command("node", "devstack", "-n", "2", "--folder", tmp_path)
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bad-node-token" in done.stderr and "devstack-failed" in done.stderr
