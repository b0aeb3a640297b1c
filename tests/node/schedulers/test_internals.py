"""What of Dask is used beyond its documented interface stands in one file."""

from __future__ import annotations

import re
from pathlib import Path

from bacnode.schedulers.dask import internals

INTERNAL = re.compile(
    r"worker_state_machine|threadpoolexecutor|decide_worker|(worker|client\.scheduler)"
    r"\.(state|startstops|active_keys|handle_stimulus|update_data|amm_handler|bandwidth|memory_manager|who_has)\b"
)


def test_internals_of_dask_stand_in_one_file_with_the_versions_that_they_were_tested_with() -> None:
    file = Path(internals.__file__)
    sources = {path.name: path.read_text() for path in file.parent.rglob("*.py")}
    uses = {name for name, text in sources.items() if "distributed" in text and INTERNAL.search(text)}
    assert uses == {file.name}
    assert re.search(r"Tested with `distributed` [\d.]+", internals.__doc__ or "")
