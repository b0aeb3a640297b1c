"""What every scheduler does for `bacpack submit`, whoever runs the jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bacnode.schedulers.job_message import JobResult
from bacnode.schedulers.placement import Verdict
from bacnode.schedulers.submitted_jobs import SubmittedJob


@dataclass(slots=True, kw_only=True)
class Engine(ABC):
    """Runs jobs."""

    #: Seconds that a job waits for a module that nobody offers, where the engine knows who offers what.
    wait_seconds: float = 300
    #: Told what a person may want to know.
    on_note: Callable[[str], object] = lambda text: None
    #: Told of each job just before it is sent.
    on_send: Callable[[SubmittedJob], object] = lambda job: None

    @abstractmethod
    def run(self, jobs: Sequence[SubmittedJob]) -> Iterator[JobResult]:
        """Run jobs; yield the result of each once, as they come. Raises `BacpackError` when nobody can run them."""

    @abstractmethod
    def explain(self, job: SubmittedJob) -> list[Verdict] | None:
        """Say of each node whether a job that is sent now would run there, and why not; None where nobody knows."""
