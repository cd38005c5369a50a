"""The order in which queued jobs are claimed. A claim takes the first one that fits, the queue view shows all of them.

    ORDER BY priority DESC, load, created_at, id

`load` counts what the job's owner runs already, so that the owner who runs least comes first. A claim reads it from the
running jobs. The queue view adds what the owner's jobs further ahead will run by then.
"""

from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, Subquery, and_, func, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from hone.documents.status import JobStatus
from service.domain.jobs import HELD
from service.persistence.tables import Job

Jobs = type[Job] | ReadOnlyColumnCollection[str, Any]
"""The table, or the columns of a query over it."""


def startable() -> ColumnElement[bool]:
    """Queued, and nothing but the lack of a worker holds it back. The limits of its key are checked separately."""
    return and_(Job.status == JobStatus.QUEUED, ~is_backing_off(), ~has_unfinished_parent())


def is_backing_off() -> ColumnElement[bool]:
    """The job was lost, and its next attempt is not due yet."""
    return and_(Job.not_before.is_not(None), Job.not_before > func.now())


def has_unfinished_parent() -> ColumnElement[bool]:
    """A job that this one depends on has not succeeded."""
    has_parents = func.cardinality(Job.depends_on) > 0  # cheap to check, and most jobs have none
    return and_(has_parents, unfinished_parents().exists())


def unfinished_parents() -> Select[str]:
    """The jobs that this one depends on and that have not succeeded."""
    parent = aliased(Job)
    return select(parent.id).where(parent.id == func.any(Job.depends_on), parent.status != JobStatus.SUCCEEDED)


def weight(jobs: Jobs) -> ColumnElement[int]:
    """What one job adds to its owner's load: its GPUs, and 1 for a job without."""
    return func.greatest(jobs.gpus, 1)


def load_by_owner() -> Subquery:
    """The columns `owner` and `load`; an owner who runs nothing has no row."""
    load = func.sum(weight(Job)).label("load")
    return select(Job.owner, load).where(Job.status.in_(HELD)).group_by(Job.owner).subquery("load_by_owner")


def by_claim(jobs: Jobs, load: ColumnElement[Any]) -> list[SQLColumnExpression[Any]]:
    """What to order by, as claims do."""
    return [jobs.priority.desc(), load, jobs.created_at, jobs.id]


def by_claim_within_owner(jobs: Jobs) -> list[SQLColumnExpression[Any]]:
    """The same among jobs of one owner, whose load is the same for all of them."""
    return [jobs.priority.desc(), jobs.created_at, jobs.id]
