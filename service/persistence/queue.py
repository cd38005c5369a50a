"""The queue, read: who is before whom, what each job waits for, and an estimate of when it starts.

The order is that of `claims.claim`, if nothing changed: claims are played one after the other, each counting for its
owner as many times as it has devices. Greedy choice by (priority, owner's load, age) is the same as one sort, because
an owner's load only grows along its own jobs: `turn` is what the owner would run before. What waits for more than a
worker comes last.
"""

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Double, case, cast, func, select, text
from sqlalchemy.orm import Session

from service.domain.jobs import HELD, JobStatus
from service.domain.queue import GB, Demand, Machine, Running, Waiting, starts
from service.persistence import workers
from service.persistence.tables import Job, Worker

HORIZON = 1000  # places; the start of a job further back is not estimated
HEARD_SECONDS = 60.0  # a worker that was silent for longer is not counted on
RECENT = 500  # ended jobs whose lengths tell how long others will take
REST = 8.0  # a line serves for so many times as long as it took to read: however many poll, that is little work

LINE = """
WITH of_owner AS (
    SELECT owner, sum(greatest(gpus, 1)) AS load
    FROM jobs WHERE status IN ('running', 'pausing', 'cancelling') GROUP BY owner
), of_key AS (
    SELECT key_id, count(*) AS jobs, sum(gpus) AS gpus
    FROM jobs WHERE status IN ('running', 'pausing', 'cancelling') GROUP BY key_id
), queued AS MATERIALIZED (
    SELECT id, owner, key_id, priority, gpus, created_at,
        CASE
            WHEN cardinality(depends_on) > 0 AND EXISTS (
                SELECT FROM jobs parent WHERE parent.id = ANY(job.depends_on) AND parent.status <> 'succeeded'
            ) THEN 'parent'
            WHEN not_before > now() THEN 'backoff'
        END AS reason
    FROM jobs job WHERE status = 'queued'
), limited AS (
    SELECT queued.id, CASE
        WHEN coalesce(of_key.jobs, 0) + row_number() OVER before > max_running THEN 'max_running'
        WHEN queued.gpus > 0 AND coalesce(of_key.gpus, 0) + sum(queued.gpus) OVER before > max_gpus THEN 'max_gpus'
    END AS reason
    FROM queued JOIN keys ON keys.id = queued.key_id LEFT JOIN of_key ON of_key.key_id = keys.id
    WHERE reason IS NULL AND (max_running IS NOT NULL OR max_gpus IS NOT NULL)
    WINDOW before AS (PARTITION BY keys.id ORDER BY priority DESC, queued.created_at, queued.id)
), turns AS (
    SELECT id, owner, priority, created_at, reason, coalesce(of_owner.load, 0) + sum(greatest(gpus, 1)) OVER (
        PARTITION BY owner ORDER BY reason IS NOT NULL, priority DESC, created_at, id
    ) - greatest(gpus, 1) AS turn
    FROM (
        SELECT queued.id, owner, priority, queued.gpus, created_at, coalesce(queued.reason, limited.reason) AS reason
        FROM queued LEFT JOIN limited USING (id)
    ) job LEFT JOIN of_owner USING (owner)
)
SELECT coalesce(json_agg(id), '[]') AS ids, coalesce(json_agg(owner), '[]') AS owners,
    coalesce(json_agg(reason), '[]') AS reasons  -- one row: ten thousand take longer to arrive than to be sorted
FROM (SELECT * FROM turns ORDER BY reason IS NOT NULL, priority DESC, turn, created_at, id) line
"""
DETAILS = """
SELECT job.id, job.name, job.owner, job.algorithm, job.priority, job.gpus, job.created_at, job.not_before,
    CAST(job.spec #>> '{resources,gpu_memory_gb}' AS double precision) AS gpu_memory_gb,
    CAST(job.spec #>> '{resources,memory_gb}' AS double precision) AS memory_gb, keys.max_running, keys.max_gpus,
    ARRAY(SELECT id FROM jobs WHERE id = ANY(job.depends_on) AND status <> 'succeeded') AS parents
FROM jobs job LEFT JOIN keys ON keys.id = job.key_id
WHERE job.id = ANY(:ids)
"""


@dataclass(frozen=True)
class Place:
    """A queued job's place in the line."""

    id: str
    name: str | None
    owner: str
    algorithm: str
    priority: int
    gpus: int
    created_at: datetime
    position: int
    waits_for: str
    why: str
    estimated_start_at: datetime | None


@dataclass(frozen=True)
class Counts:
    """How full the service is; of workers that live and may claim."""

    running: int
    queued: int
    paused: int
    slots: int
    free_slots: int
    gpus: int
    free_gpus: int


@dataclass(frozen=True)
class Line:
    """The queue as it was a moment ago."""

    ids: list[str]  # in order
    owners: list[str]
    reasons: dict[str, str]
    positions: dict[str, int]
    starts: dict[str, datetime]
    machines: list[Machine]
    counts: Counts


class _Latest:
    """The last line that was read from one database. One thread reads it anew, the others take what there is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._good_until = 0.0

    def get(self, session: Session) -> Line:
        """A line that is hardly older than it took to read."""
        if self._line is not None and (time.monotonic() < self._good_until or self._lock.locked()):
            return self._line
        with self._lock:
            if self._line is None or time.monotonic() >= self._good_until:
                began = time.monotonic()
                self._line = _read(session)
                self._good_until = time.monotonic() + REST * (time.monotonic() - began)
            return self._line


_latest: WeakKeyDictionary[Any, _Latest] = WeakKeyDictionary()


def line(session: Session) -> Line:
    """The queue; one that is long may be a second old."""
    return _latest.setdefault(session.get_bind(), _Latest()).get(session)


def page(session: Session, owner: str | None, after: int, limit: int) -> list[Place]:
    """The line beyond the position `after`, as `owner` may see it (None: all of it)."""
    found = line(session)
    seen = (name for name, whose in zip(found.ids[after:], found.owners[after:], strict=True) if owner in (None, whose))
    ids = list(islice(seen, limit))
    rows = {row.id: row for row in session.execute(text(DETAILS), {"ids": ids})}
    return [_place(rows[name], found) for name in ids if name in rows]


def _read(session: Session) -> Line:
    ids, owners, whys = session.execute(text(LINE)).one()
    reasons = {name: why for name, why in zip(ids, whys, strict=True) if why is not None}
    ready = [name for name in ids[:HORIZON] if name not in reasons]
    lengths = _lengths(session)
    running = _running(session, lengths)
    machines = _machines(session, running)
    details = {row.id: row for row in session.execute(text(DETAILS), {"ids": ready})}
    waiting = [Waiting(name, _demand(row), lengths.get(row.algorithm)) for name in ready if (row := details.get(name))]
    now = session.execute(select(func.clock_timestamp())).scalar_one()
    return Line(
        ids=ids,
        owners=owners,
        reasons=reasons,
        positions=dict(zip(ids, range(1, len(ids) + 1), strict=True)),
        starts={name: now + timedelta(seconds=after) for name, after in starts(machines, running, waiting).items()},
        machines=machines,
        counts=_counts(session, len(ids), len(running), machines),
    )


def _counts(session: Session, queued: int, running: int, machines: list[Machine]) -> Counts:
    unfinished = Job.finished_at.is_(None)  # an index knows those; there may be a million others
    paused = session.scalar(select(func.count()).where(Job.status == JobStatus.PAUSED, unfinished)) or 0
    return Counts(
        running=running,
        queued=queued,
        paused=paused,
        slots=sum(machine.slots for machine in machines),
        free_slots=sum(max(0, machine.free_slots) for machine in machines),
        gpus=sum(len(machine.gpus) for machine in machines),
        free_gpus=sum(max(0, machine.free_gpus) for machine in machines),
    )


def _place(row: Any, found: Line) -> Place:
    waits_for, why = _why(row, found.reasons.get(row.id), found.machines)
    facts = {name: getattr(row, name) for name in ("id", "name", "owner", "algorithm", "priority", "gpus")}
    return Place(
        **facts,
        created_at=row.created_at,
        position=found.positions[row.id],
        waits_for=waits_for,
        why=why,
        estimated_start_at=found.starts.get(row.id),
    )


def _why(row: Any, reason: str | None, machines: list[Machine]) -> tuple[str, str]:
    """What a job waits for, as one word and as a sentence."""
    match reason:
        case "parent":
            return "parent", f"{' and '.join(row.parents)} must succeed first"
        case "backoff":
            return "backoff", f"it was lost and is tried again at {row.not_before:%H:%M:%S} UTC"
        case "max_running":
            return "limit", f"its key runs at most {row.max_running} jobs at a time (max_running)"
        case "max_gpus":
            return "limit", f"its key uses at most {row.max_gpus} GPUs at a time (max_gpus)"
    if not machines:
        return "capacity", "no worker is alive that claims jobs"
    demand = _demand(row)
    if any(machine.could_run(demand) for machine in machines):
        return "worker", "it waits for nothing but a free worker"
    return "capacity", f"no worker that is alive has {_told(demand)}"


def _told(demand: Demand) -> str:
    gpus = "1 GPU" if demand.gpus == 1 else f"{demand.gpus} GPUs"
    sized = f"{gpus} of {demand.gpu_bytes / GB:g} GB" if demand.gpu_bytes else gpus
    memory = f"{demand.memory_bytes / GB:g} GB of memory"
    return " and ".join([sized] * bool(demand.gpus) + [memory] * bool(demand.memory_bytes))


def _demand(row: Any) -> Demand:
    return Demand(row.gpus, int((row.gpu_memory_gb or 0) * GB), int((row.memory_gb or 0) * GB))


def _machines(session: Session, running: list[Running]) -> list[Machine]:
    """The workers that live and may claim."""
    held = {name: [job for job in running if job.machine == name] for name in {job.machine for job in running}}
    return [
        _machine(worker, held.get(worker.id, []))
        for worker in workers.alive(session, HEARD_SECONDS)
        if not worker.draining
    ]


def _machine(worker: Worker, held: list[Running]) -> Machine:
    sizes = tuple(int(gpu["memory_bytes"]) for gpu in worker.gpus)
    free = worker.slots - len(held)
    free_gpus = len(sizes) - sum(job.gpus for job in held)
    return Machine(worker.id, worker.slots, sizes, worker.memory_bytes, free, free_gpus)


def _running(session: Session, lengths: dict[str, float]) -> list[Running]:
    since = func.coalesce(Job.attempt_started_at, Job.started_at)
    ran = cast(func.extract("epoch", func.now() - since), Double)
    eta = Job.progress["eta_seconds"].astext
    query = select(Job.lease_owner, Job.gpus, Job.algorithm, eta.label("eta"), ran.label("ran"))
    rows = session.execute(query.where(Job.status.in_(HELD))).all()
    return [Running(str(row.lease_owner), row.gpus, _left(row, lengths.get(row.algorithm))) for row in rows]


def _left(row: Any, length: float | None) -> float | None:
    """As its trainer says; before it has said anything, what is left of the usual length."""
    if row.eta is not None:
        return float(row.eta)
    return None if length is None or row.ran is None else max(0.0, length - row.ran)


def _lengths(session: Session) -> dict[str, float]:
    """The median seconds that jobs of each algorithm took lately."""
    whole = cast(func.extract("epoch", Job.finished_at - Job.started_at), Double)
    took = case((Job.ran_seconds > 0, Job.ran_seconds), else_=whole)
    lately = (
        select(Job.algorithm, Job.status, took.label("took"))
        .where(Job.finished_at.is_not(None))
        .order_by(Job.finished_at.desc())
        .limit(RECENT)
        .subquery()
    )
    median = func.percentile_cont(0.5).within_group(lately.c.took)
    query = select(lately.c.algorithm, median).where(lately.c.status == JobStatus.SUCCEEDED)
    rows = session.execute(query.group_by(lately.c.algorithm))
    return {algorithm: float(seconds) for algorithm, seconds in rows if seconds is not None}
