"""The extra `dask` alone: jobs go to a cluster, and are run on it, without what a node needs."""

from __future__ import annotations

import subprocess
import sys

#: As where the extra `node` is not installed.
_WITHOUT_NODE = """
import importlib, sys
for name in ("starlette", "uvicorn", "httptools", "prometheus_client", "zeroconf", "cryptography", "cachetools"):
    sys.modules[name] = None
for name in ("local_cluster", "remote_cluster", "worker_main", "worker_plugin", "worker_job"):
    importlib.import_module(f"bacnode.schedulers.dask.{name}")
for name in ("executor", "prepare_process", "worker_process"):
    importlib.import_module(f"bacnode.execution.{name}")
"""


def test_jobs_of_dask_need_nothing_of_the_extra_for_nodes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_NODE], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
