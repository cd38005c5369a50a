"""Forgetting, a little at a time: a duty of the dispatcher, at its start and every hour."""

import time

from service.persistence import retention
from service.persistence.database import Database
from service.persistence.retention import Ended

EVERY_SECONDS = 3600.0
JOBS, ROWS = 20, 2000  # of one round: other duties wait no longer than that takes


class Retention:
    """Removes what is older than it must be. A round does little, and is followed by others until all is done."""

    def __init__(self, database: Database, days: float | None) -> None:
        self._database = database
        self._days = days
        self._due = 0.0
        self._seen: Ended | None = None
        """Up to here nothing is left: jobs that have ended get no new events."""

    def tidy(self) -> None:
        """The next round, if one is due."""
        if time.monotonic() < self._due:
            return
        with self._database.transaction() as session:
            done = retention.forget_spent(session, ROWS)
        if self._days is not None:
            done = self._forget_jobs(self._days) and done
        if done:
            self._due = time.monotonic() + EVERY_SECONDS

    def _forget_jobs(self, days: float) -> bool:
        with self._database.transaction() as session:
            found, seen = retention.ended(session, days, self._seen, JOBS), self._seen
            for job in found:
                if not retention.forget(session, job.id, ROWS):
                    break  # this one goes on in the next round
                seen = job
        self._seen = seen
        return len(found) < JOBS and seen == (found[-1] if found else seen)
