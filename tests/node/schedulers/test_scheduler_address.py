"""Schedulers that are not there, that go away, or that speak TLS; and this machine's address on the way to them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
from distributed import Client

from bacnode.schedulers.dask import remote_cluster
from bacnode.schedulers.dask.address import check_scheduler
from bacnode.schedulers.dask.client import DaskEngine
from bacpack.errors import UnreachableError
from cli.running import write
from inprocess import call
from node.harness import assemble
from node.schedulers.harness import closure, program, submitted_jobs
from waiting import joined, started, until

pytestmark = pytest.mark.filterwarnings("default")

EMPTY = assemble('(module (func (export "_start")))')


@contextmanager
def scheduler(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler in a process of its own, which says where it listens."""
    told = tmp_path / "scheduler.json"
    line = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
            "--no-dashboard", "--scheduler-file", str(told)]  # fmt: skip
    # It is killed, and leaves its scratch folder.
    own = os.environ | {"TMPDIR": str(tmp_path)}
    with started(line, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: told.is_file() and told.read_text(), "the scheduler says where it listens")
        yield json.loads(told.read_text())["address"], process


def test_a_scheduler_that_goes_away_is_told_with_what_is_not_known(tmp_path: Path) -> None:
    settings = {"distributed.comm.timeouts.connect": "1s", "distributed.comm.retry.count": 0}
    with scheduler(tmp_path) as (address, process), dask.config.set(settings):
        client = Client(address, timeout="5s", set_as_default=False)
        try:
            found = closure(tmp_path / "client", program())
            killing = threading.Timer(1, process.kill)
            killing.start()
            with pytest.raises(UnreachableError) as caught:
                list(DaskEngine(client, ensure=None).run(submitted_jobs(found, 3)))
            joined(killing, "the scheduler is killed")
        finally:
            client.close(timeout=1)
    assert caught.value.code == "no-scheduler" and "of 3 jobs 0 ended" in caught.value.message
    assert caught.value.details["unknown"] == [0, 1, 2]


@pytest.mark.parametrize("address", ["tls://127.0.0.1:20111", "tls://127.0.0.1", "foo://127.0.0.1:1", "", "host:port"])
def test_what_cannot_be_a_scheduler_is_told_at_once(tmp_path: Path, address: str) -> None:
    app = write(tmp_path / "app.wasm", EMPTY)
    began = time.monotonic()
    done = call(tmp_path / "home", "submit", app, "--engine", "dask", "--scheduler", address)
    assert (done.status, done.stderr.partition("]")[0]) == (3, "error[no-scheduler"), done.stderr
    assert time.monotonic() - began < 15
    if address.startswith("tls:"):
        assert "CA_FILE" in done.stderr and "CLIENT__CERT" in done.stderr.splitlines()[1]


@pytest.mark.parametrize("kind", ["tcp", "ws"])
def test_what_listens_and_is_no_scheduler_is_told(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_cluster, "_CONNECTING_SECONDS", 1)
    monkeypatch.setattr(remote_cluster, "_GREETING_SECONDS", 2)
    app = write(tmp_path / "app.wasm", EMPTY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{kind}://127.0.0.1:{silent.getsockname()[1]}"
        done = call(tmp_path / "home", "submit", app, "--engine", "dask", "--scheduler", address)
    assert (done.status, done.stderr.partition("]")[0]) == (3, "error[no-scheduler"), done.stderr


def test_certificates_that_are_not_there_are_told(tmp_path: Path) -> None:
    wrong = {"distributed.comm.tls.ca-file": str(tmp_path / "nothing.pem")}
    with dask.config.set(wrong), pytest.raises(UnreachableError, match="no file that is there"):
        check_scheduler("tls://127.0.0.1:1")
    given = dict.fromkeys(("distributed.comm.tls.ca-file", "distributed.comm.tls.client.cert"), str(__file__))
    with dask.config.set(given):
        check_scheduler("tls://127.0.0.1:1")
        with pytest.raises(UnreachableError, match="WORKER__CERT"):
            check_scheduler("tls://127.0.0.1:1", "worker")


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.1:8786", "10.0.0.1:8786", "tcp://10.0.0.1", "10.0.0.1", "tls://10.0.0.1:1"]
)
def test_workers_are_told_an_address_that_they_reach(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    asked = []
    monkeypatch.setattr(remote_cluster, "get_ip", lambda host="", port=0: asked.append(host) or "10.0.0.2")
    assert remote_cluster._own_address(address) == "10.0.0.2"
    assert asked == ["10.0.0.1"]


def test_a_node_is_told_the_same_before_it_starts(tmp_path: Path) -> None:
    done = call(tmp_path / "home", "node", "serve", "--listen", "127.0.0.1:0", "--scheduler", "tls://127.0.0.1:1")
    assert done.status == 3 and done.stdout == "" and "WORKER__CERT" in done.stderr, done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "99999", "-1"])
def test_a_port_that_is_none_is_told_and_never_wraps(port: str) -> None:
    with pytest.raises(UnreachableError, match="is no port"):
        check_scheduler(f"tcp://127.0.0.1:{port}")
    check_scheduler("tcp://127.0.0.1:65535")
