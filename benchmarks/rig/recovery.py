"""How long jobs stand still after a fault: watched from outside, ten times a second."""

import threading
import time
from dataclasses import dataclass

from sqlalchemy import select

from service.domain.jobs import HELD
from service.persistence.database import Database
from service.persistence.tables import Job

LOOK_SECONDS = 0.1
BUSY = {"training", "evaluating", "saving"}
Place = tuple[int, int, str]
"""Attempt, step and phase of a job."""


@dataclass
class Open:
    """A fault, and the jobs that have not moved since."""

    kind: str
    at: float
    waiting: dict[str, Place]


class Watch:
    """Notes for each fault, and each job that ran at that moment, when the job has moved on."""

    def __init__(self, database: Database) -> None:
        self.seconds: list[tuple[str, float]] = []
        """Of each such pair, with the kind of the fault."""
        self._database = database
        self._running: dict[str, Place] = {}
        self._open: list[Open] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def fault(self, kind: str) -> None:
        """It happened now; without a job that runs there is nothing to wait for."""
        with self._lock:
            if self._running:
                self._open.append(Open(kind, time.monotonic(), dict(self._running)))

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                with self._database.transaction() as session:
                    rows = session.execute(select(Job.id, Job.attempt, Job.progress).where(Job.status.in_(HELD)))
                    now = {row.id: (row.attempt, row.progress["step"], row.progress["phase"]) for row in rows}
                    ended = self._ended(session)
            except Exception:  # noqa: BLE001 - a killed server: the next look tells
                continue
            with self._lock:
                self._running = now
                self._settle(now, ended)

    def _ended(self, session: object) -> set[str]:
        waiting = {job_id for fault in self._open for job_id in fault.waiting}
        query = select(Job.id).where(Job.id.in_(waiting), Job.finished_at.is_not(None))
        return set(session.scalars(query)) if waiting else set()  # type: ignore[attr-defined]

    def _settle(self, now: dict[str, Place], ended: set[str]) -> None:
        for fault in self._open:
            for job_id, before in list(fault.waiting.items()):
                place = now.get(job_id)
                if job_id in ended or (place is not None and place[:2] != before[:2] and place[2] in BUSY):
                    del fault.waiting[job_id]
                    self.seconds.append((fault.kind, time.monotonic() - fault.at))
        self._open = [fault for fault in self._open if fault.waiting]
