"""Deletes old rows in small rounds: a duty of the dispatcher, at its start and every hour."""

import time
from itertools import takewhile

from service.persistence import retention
from service.persistence.database import Database
from service.persistence.retention import Ended

EVERY_SECONDS = 3600.0
JOBS, ROWS = 20, 2000  # limits of one round, because other duties wait for it


class Retention:
    """Deletes what exceeds the retention times. A round does a little; others follow until all is done."""

    def __init__(self, database: Database, days: float | None) -> None:
        self._database = database
        self._days = days
        self._due = 0.0
        self._cleared_up_to: Ended | None = None
        """Up to this job nothing is left to delete: jobs that have ended get no new events."""

    def tidy(self) -> None:
        """The next round, if one is due."""
        if time.monotonic() < self._due:
            return
        with self._database.transaction() as session:
            done = retention.delete_expired(session, ROWS)
        if self._days is not None:
            done = self._forget_jobs(self._days) and done
        if done:
            self._due = time.monotonic() + EVERY_SECONDS

    def _forget_jobs(self, days: float) -> bool:
        """One round over the jobs that ended `days` ago, oldest first; whether nothing is left to delete."""
        with self._database.transaction() as session:
            ended = retention.ended(session, days, self._cleared_up_to, JOBS)
            empty = list(takewhile(lambda job: retention.delete_of_job(session, job.id, ROWS), ended))
        if empty:
            self._cleared_up_to = empty[-1]
        more_jobs = len(ended) == JOBS  # the limit was reached
        more_rows = len(empty) < len(ended)  # the next round continues with the first job that has some
        return not more_jobs and not more_rows
