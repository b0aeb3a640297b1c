"""Jobs as they are now: those that have not ended from memory, the others from the database."""

from __future__ import annotations

from bacnode.jobs.database import Record, Use
from bacnode.jobs.queue import JobQueue, Live


class JobQueries:
    """Answers about the jobs of a queue."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def live(self, job: str) -> Live | None:
        """Return a job that has not ended."""
        return self._queue.live.get(job)

    async def find(self, job: str) -> Record | None:
        """Return a job."""
        live = self.live(job)
        return live.record if live else await self._queue.write(lambda: self._queue.database.get(job))

    async def page(self, state: str | None, before: int | None, count: int) -> list[Record]:
        """Return jobs, the newest first; see `JobDatabase.page`."""
        live = self._queue.live
        if state in ("queued", "fetching", "running"):
            found = [one.record for one in live.values() if one.record.state == state]
            found = [record for record in found if before is None or record.number < before]
            return sorted(found, key=lambda record: -record.number)[:count]
        records = await self._queue.write(lambda: self._queue.database.page(state, before, count))
        return [live[record.id].record if record.id in live else record for record in records]

    def unfinished(self) -> dict[str, int]:
        """Return how many jobs have not ended, by state."""
        counts = {"queued": 0, "fetching": 0, "running": 0}
        for live in self._queue.live.values():
            counts[live.record.state] = counts.get(live.record.state, 0) + 1
        return counts

    async def counts(self) -> dict[str, int]:
        """Return how many jobs there are, by state."""
        kept = await self._queue.write(self._queue.database.counts)
        # What is under way is in memory before it is on the disk.
        return {**kept, **self.unfinished()}

    async def uses(self) -> dict[str, Use]:
        """Return how often each module was used, by CID."""
        return await self._queue.write(self._queue.database.uses)
