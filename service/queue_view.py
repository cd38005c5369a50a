"""The queue as the API shows it: each job's position, why it waits, and the estimated time of its start."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from hone.documents import QueuedRead, Usage
from hone.documents.queue import WaitsFor
from service.domain.queue import ClaimedJob, Machine, WaitingJob, estimate_starts
from service.domain.waiting import Facts, Hold, explain
from service.persistence import clock, queue, workers
from service.persistence.database import Session
from service.persistence.queue import QueuedJob, RunningJob
from service.persistence.tables import Worker

ESTIMATED = 1000  # the starts of jobs behind this position are not estimated
REUSE = 8.0


@dataclass(frozen=True)
class QueueSnapshot:
    """The queue, and how busy the workers are, at the moment when they were read."""

    ids: list[str]
    """Of all queued jobs, in the order of the claims."""
    owners: list[str]
    holds: dict[str, Hold]
    positions: dict[str, int]
    starts: dict[str, datetime]
    machines: list[Machine]
    """Live workers that may claim jobs."""
    running: int
    paused: int

    @property
    def slots(self) -> Usage:
        """Of all machines."""
        return Usage(
            free=sum(max(0, machine.free_slots) for machine in self.machines),
            all=sum(machine.slots for machine in self.machines),
        )

    @property
    def gpus(self) -> Usage:
        """Of all machines."""
        return Usage(
            free=sum(max(0, machine.free_gpus) for machine in self.machines),
            all=sum(len(machine.gpus) for machine in self.machines),
        )


class QueueView:
    """Reads the queue of one database, and serves a snapshot `reuse` times as long as it took to read.

    However many clients poll, reading a long queue then takes a small share of the time. One thread at a time reads a
    new snapshot; meanwhile the other threads serve the old one.
    """

    def __init__(self, reuse: float = REUSE) -> None:
        self._reuse = reuse
        self._reading = threading.Lock()
        self._snapshot: QueueSnapshot | None = None
        self._valid_until = 0.0

    @property
    def latest(self) -> QueueSnapshot | None:
        """The snapshot that was read last; it may be old."""
        return self._snapshot

    def snapshot(self, session: Session) -> QueueSnapshot:
        """The queue; the snapshot of a long queue may be some seconds old."""
        latest = self._snapshot
        if latest is not None and (self._is_valid() or self._reading.locked()):
            return latest
        with self._reading:
            if self._snapshot is None or not self._is_valid():  # no other thread read it meanwhile
                began = time.monotonic()
                self._snapshot = read(session)
                ended = time.monotonic()
                self._valid_until = ended + self._reuse * (ended - began)
            return self._snapshot

    def _is_valid(self) -> bool:
        return time.monotonic() < self._valid_until


def page(session: Session, snapshot: QueueSnapshot, owner: str | None, after: int, limit: int) -> list[QueuedRead]:
    """The queued jobs behind the position `after` that `owner` may see (None: every owner's)."""
    behind = zip(snapshot.ids[after:], snapshot.owners[after:], strict=True)
    ids = list(islice((job_id for job_id, job_owner in behind if owner in (None, job_owner)), limit))
    jobs = queue.details(session, ids)
    return [_document(jobs[job_id], snapshot) for job_id in ids if job_id in jobs]


def waiting_reasons(session: Session, snapshot: QueueSnapshot, ids: Sequence[str]) -> dict[str, tuple[WaitsFor, str]]:
    """What these queued jobs wait for, also those that the snapshot does not know yet."""
    queued = queue.details(session, ids)
    return {
        job_id: explain(_hold(snapshot, job_id, job.facts), job.facts, snapshot.machines)
        for job_id, job in queued.items()
    }


def _hold(snapshot: QueueSnapshot, job_id: str, facts: Facts) -> Hold | None:
    if job_id in snapshot.positions:
        return snapshot.holds.get(job_id)
    return Hold.PARENT if facts.unfinished_parents else None


def _document(queued: QueuedJob, snapshot: QueueSnapshot) -> QueuedRead:
    job = queued.job
    waits_for, why = explain(snapshot.holds.get(job.id), queued.facts, snapshot.machines)
    return QueuedRead(
        id=job.id,
        name=job.name,
        owner=job.owner,
        algorithm=job.algorithm,
        priority=job.priority,
        gpus=job.gpus,
        created_at=job.created_at,
        position=snapshot.positions[job.id],
        waits_for=waits_for,
        why=why,
        estimated_start_at=snapshot.starts.get(job.id),
    )


def read(session: Session) -> QueueSnapshot:
    """The queue as it is now."""
    ids, owners, holds = queue.in_order(session)
    held_back = {job_id: hold for job_id, hold in zip(ids, holds, strict=True) if hold is not None}
    running = queue.running(session)
    machines = _machines(workers.alive(session), running)
    startable = [job_id for job_id in ids[:ESTIMATED] if job_id not in held_back]
    return QueueSnapshot(
        ids=ids,
        owners=owners,
        holds=held_back,
        positions={job_id: position for position, job_id in enumerate(ids, 1)},
        starts=_starts(session, machines, running, startable),
        machines=machines,
        running=len(running),
        paused=queue.paused(session),
    )


def _starts(
    session: Session, machines: list[Machine], running: list[RunningJob], startable: list[str]
) -> dict[str, datetime]:
    """The estimated start of each job; jobs whose start is unknown are missing."""
    usual = queue.usual_seconds(session)
    demands = queue.demands(session, startable)
    waiting = [
        WaitingJob(job.id, job.demand, usual.get(job.algorithm))
        for job in (demands[job_id] for job_id in startable if job_id in demands)
    ]
    claimed = [ClaimedJob(job.worker, job.gpus, _seconds_left(job, usual.get(job.algorithm))) for job in running]
    now = clock.now(session)
    starts = estimate_starts(machines, claimed, waiting)
    return {job_id: now + timedelta(seconds=seconds) for job_id, seconds in starts.items()}


def _seconds_left(job: RunningJob, usual: float | None) -> float | None:
    """The time that its trainer reports; before the first report, the rest of the usual length."""
    if job.eta_seconds is not None:
        return job.eta_seconds
    return None if usual is None or job.ran_seconds is None else max(0.0, usual - job.ran_seconds)


def _machines(alive: Sequence[Worker], running: list[RunningJob]) -> list[Machine]:
    """Workers that may claim jobs, with their free capacity."""
    jobs = Counter(job.worker for job in running)
    gpus: dict[str, int] = defaultdict(int)
    for job in running:
        gpus[job.worker] += job.gpus
    return [_machine(worker, jobs[worker.id], gpus[worker.id]) for worker in alive if not worker.draining]


def _machine(worker: Worker, jobs: int, gpus: int) -> Machine:
    sizes = tuple(int(gpu["memory_bytes"]) for gpu in worker.gpus)
    return Machine(
        id=worker.id,
        slots=worker.slots,
        gpus=sizes,
        memory_bytes=worker.memory_bytes,
        free_slots=worker.slots - jobs,
        free_gpus=len(sizes) - gpus,
        spec_version=int(worker.versions.get("spec", 1)),  # workers of the first version do not report it
    )
