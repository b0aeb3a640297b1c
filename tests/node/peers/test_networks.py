"""Two nodes in separate networks: they find each other, one runs what the other has, and goes on alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wanting import wanting

TESTS = Path(__file__).parents[2]


def _may_make_networks() -> bool:
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    line = ["unshare", "--map-root-user", "-n", "ip", "link", "add", "near", "type", "veth", "peer", "name", "far"]
    return subprocess.run(line, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _may_make_networks(), reason=wanting("the right to make networks"))
def test_a_node_runs_what_one_in_another_network_has(tmp_path: Path) -> None:
    line = ["unshare", "--map-root-user", "-n", sys.executable, "-m", "node.peers.two_networks", str(tmp_path)]
    done = subprocess.run(line, cwd=TESTS, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    first, again = said["first"], said["again"]
    assert (first["state"], first["exit_code"]) == ("done", 3), first
    assert [module["fetched_from"] for module in first["report"]["modules"]] == [said["a"]["url"]] * 4
    assert (again["state"], again["exit_code"]) == ("done", 3), again
    assert {module["source"] for module in again["report"]["modules"]} == {"store"}
    # It left the network, and said so.
    (peer,) = said["peers"]
    assert (peer["told"], peer["peer_id"], peer["present"]) == ("mdns", said["a"]["peer_id"], False)
    assert said["ended"] == [0, 0]
