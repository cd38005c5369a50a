"""The queue as rows: which jobs wait, in the order in which they would be claimed, and what an estimate needs to know.

Claims take the first job of `order.by_claim` again and again, and after each one its owner's load has grown. One sort
gives the same sequence: the load of an owner grows along the owner's own jobs alone, so the load at the moment of a
job's claim is what the owner runs now plus the owner's queued jobs before it (`load_then`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import CTE, ColumnElement, Double, Select, Text, and_, bindparam, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, JSONPATH
from sqlalchemy.orm import Session, load_only

from hone.documents.status import JobStatus
from service.domain.jobs import HELD
from service.domain.queue import GB, Demand
from service.domain.waiting import Facts, Hold
from service.persistence import order
from service.persistence.tables import Job, Key

RECENT = 500  # ended jobs from whose lengths the usual length is computed


class QueueOrder(NamedTuple):
    """The queued jobs in the order of claims, as three columns of equal length; held-back jobs come last."""

    ids: list[str]
    owners: list[str]
    holds: list[Hold | None]


class QueuedDemand(NamedTuple):
    """What a queued job needs of a worker."""

    id: str
    algorithm: str
    demand: Demand


@dataclass(frozen=True)
class QueuedJob:
    """A queued job, with the facts that explain why it waits."""

    job: Job
    """Its spec and other large columns are not loaded."""
    facts: Facts


class RunningJob(NamedTuple):
    """A job that a worker holds, and its progress."""

    worker: str
    gpus: int
    algorithm: str
    eta_seconds: float | None
    ran_seconds: float | None


def in_order(session: Session) -> QueueOrder:
    """All queued jobs."""
    ids, owners, holds = (column or [] for column in session.execute(_in_order()).one())  # NULL if there are no rows
    return QueueOrder(ids, owners, [None if hold is None else Hold(hold) for hold in holds])


def demands(session: Session, ids: Sequence[str]) -> dict[str, QueuedDemand]:
    """What these jobs need, by id."""
    query = select(Job.id, Job.algorithm, Job.gpus, *_gigabytes(), Job.spec_version).where(_is_one_of_ids())
    rows = session.execute(query, {"ids": list(ids)})
    return {row[0]: QueuedDemand(row[0], row[1], _demand(*row[2:])) for row in rows}


def details(session: Session, ids: Sequence[str]) -> dict[str, QueuedJob]:
    """What the API shows of these jobs, by id."""
    rows = session.execute(_details(), {"ids": list(ids)})
    return {
        job.id: QueuedJob(job, Facts(_demand(job.gpus, gpu_gb, gb, job.spec_version), parents, job.not_before, *limits))
        for job, gpu_gb, gb, parents, *limits in rows
    }


def running(session: Session) -> list[RunningJob]:
    """All jobs that workers hold."""
    since = func.coalesce(Job.attempt_started_at, Job.started_at)
    ran = cast(func.extract("epoch", func.now() - since), Double)
    eta = cast(Job.progress["eta_seconds"].astext, Double)
    query = select(Job.lease_owner, Job.gpus, Job.algorithm, eta, ran).where(Job.status.in_(HELD))
    return [RunningJob(str(worker), *rest) for worker, *rest in session.execute(query)]


def paused(session: Session) -> int:
    """How many jobs are paused."""
    unfinished = Job.finished_at.is_(None)  # an index knows those; there may be a million others
    return session.scalar(select(func.count()).where(Job.status == JobStatus.PAUSED, unfinished)) or 0


def usual_seconds(session: Session) -> dict[str, float]:
    """By algorithm, the median running time of jobs that succeeded recently."""
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


@cache
def _in_order() -> Select[Any]:
    """Cached. The answer is one row, because ten thousand rows take longer to arrive than to be sorted."""
    jobs = _with_load(_held_back(_queued()))
    ranked = select(jobs).order_by(jobs.c.hold.is_not(None), *order.by_claim(jobs.c, jobs.c.load_then)).subquery()
    return select(*(func.json_agg(column) for column in (ranked.c.id, ranked.c.owner, ranked.c.hold)))


def _queued() -> CTE:
    """Queued jobs, with what holds each back, except the limits of its key."""
    hold = case((order.has_unfinished_parent(), Hold.PARENT), (order.is_backing_off(), Hold.BACKOFF)).label("hold")
    columns = (Job.id, Job.owner, Job.key_id, Job.priority, Job.gpus, Job.created_at, hold)
    queued = select(*columns).where(Job.status == JobStatus.QUEUED).cte("queued")
    return queued.prefix_with("MATERIALIZED")  # read twice


def _held_back(queued: CTE) -> CTE:
    """The same jobs; those that exceed a limit of their key are held back too."""
    over = _over_limit(queued)
    hold = func.coalesce(queued.c.hold, over.c.hold).label("hold")
    columns = [column for column in queued.c if column.name not in ("key_id", "hold")]
    return select(*columns, hold).outerjoin_from(queued, over, over.c.id == queued.c.id).cte("held_back")


def _over_limit(queued: CTE) -> CTE:
    """Queued jobs of limited keys that exceed a limit: the key's running jobs and its queued jobs before them count."""
    runs = (
        select(Job.key_id, func.count().label("jobs"), func.sum(Job.gpus).label("gpus"))
        .where(Job.status.in_(HELD))
        .group_by(Job.key_id)
        .cte("runs")
    )
    turn = order.by_claim_within_owner(queued.c)
    jobs = func.coalesce(runs.c.jobs, 0) + func.row_number().over(partition_by=Key.id, order_by=turn)
    gpus = func.coalesce(runs.c.gpus, 0) + func.sum(queued.c.gpus).over(partition_by=Key.id, order_by=turn)
    hold = case(
        (jobs > Key.max_running, Hold.MAX_RUNNING), (and_(queued.c.gpus > 0, gpus > Key.max_gpus), Hold.MAX_GPUS)
    )
    return (
        select(queued.c.id, hold.label("hold"))
        .join_from(queued, Key, Key.id == queued.c.key_id)
        .outerjoin(runs, runs.c.key_id == Key.id)
        .where(queued.c.hold.is_(None), or_(Key.max_running.is_not(None), Key.max_gpus.is_not(None)))
        .cte("over_limit")
    )


def _with_load(jobs: CTE) -> CTE:
    """The same jobs, with the load that the owner will have when the job is claimed."""
    now, weight = order.load_by_owner(), order.weight(jobs.c)
    turn = (jobs.c.hold.is_not(None), *order.by_claim_within_owner(jobs.c))
    up_to_this = func.sum(weight).over(partition_by=jobs.c.owner, order_by=turn)
    load_then = func.coalesce(now.c.load, 0) + up_to_this - weight
    return (
        select(jobs, load_then.label("load_then")).outerjoin_from(jobs, now, now.c.owner == jobs.c.owner).cte("turns")
    )


@cache
def _details() -> Select[Any]:
    """Cached, because building it takes longer than running it."""
    parents = func.array(order.unfinished_parents().scalar_subquery(), type_=ARRAY(Text))
    listed = (Job.id, Job.name, Job.owner, Job.algorithm, Job.priority, Job.gpus, Job.created_at)
    shown = load_only(*listed, Job.not_before, Job.spec_version)
    query = select(Job, *_gigabytes(), parents, Key.max_running, Key.max_gpus).options(shown)
    return query.outerjoin(Key, Key.id == Job.key_id).where(_is_one_of_ids())


def _is_one_of_ids() -> ColumnElement[bool]:
    """One parameter for any number of ids."""
    return Job.id == func.any(bindparam("ids", type_=ARRAY(Text)))


def _gigabytes() -> list[ColumnElement[Any]]:
    """Memory of each GPU and of the host; null if the spec, which may be unreadable, has no such number."""
    numbers = (f"$.resources.{name} ? (@ >= 0 && @ < 1e9)" for name in ("gpu_memory_gb", "memory_gb"))
    return [cast(func.jsonb_path_query_first(Job.spec, cast(number, JSONPATH)), Double) for number in numbers]


def _demand(gpus: int, gpu_memory_gb: float | None, memory_gb: float | None, spec_version: int) -> Demand:
    return Demand(gpus, int((gpu_memory_gb or 0) * GB), int((memory_gb or 0) * GB), spec_version)
