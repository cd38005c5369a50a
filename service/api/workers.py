"""Workers over HTTP: who is there, what they run, and drains."""

from datetime import UTC, datetime

from fastapi import APIRouter

from service.api.dependencies import Admin, Reader, Services, ServicesDep, SessionDep
from service.persistence import workers
from service.persistence.database import Session
from service.persistence.tables import Worker
from service.schemas import Page, WorkerRead

router = APIRouter(prefix="/v1/workers", tags=["workers"])


def read(session: Session, parts: Services, found: list[Worker]) -> list[WorkerRead]:
    """Rows as documents; of a dead worker the jobs are those that it held last."""
    now = datetime.now(UTC)
    silent = {w.id: (now - w.beat_at).total_seconds() > parts.settings.lease_seconds for w in found}
    held = workers.runs(session, [worker for worker in found if not silent[worker.id]])
    held |= workers.last_runs(session, [worker for worker in found if silent[worker.id]])
    columns = [name for name in WorkerRead.model_fields if name not in ("object", "alive", "jobs")]
    return [
        WorkerRead.model_validate(
            {n: getattr(worker, n) for n in columns} | {"alive": not silent[worker.id], "jobs": held.get(worker.id, [])}
        )
        for worker in found
    ]


@router.get("")
def list_workers(_: Reader, session: SessionDep, parts: ServicesDep) -> Page[WorkerRead]:
    """Workers and what they run; one that fell silent is shown as dead for an hour. One that ended is gone."""
    found = read(session, parts, workers.remembered(session))
    return Page.of(found, len(found))


@router.get("/{worker_id}")
def get_worker(worker_id: str, _: Reader, session: SessionDep, parts: ServicesDep) -> WorkerRead:
    """A worker: machine, devices, versions, jobs."""
    return read(session, parts, [workers.get(session, worker_id)])[0]


@router.post("/{worker_id}/drain")
def drain_worker(worker_id: str, _: Admin, session: SessionDep, parts: ServicesDep) -> WorkerRead:
    """Let a worker finish what it runs and claim nothing more: once this has answered, it does not."""
    return read(session, parts, [workers.set_draining(session, worker_id, True)])[0]


@router.post("/{worker_id}/undrain")
def undrain_worker(worker_id: str, _: Admin, session: SessionDep, parts: ServicesDep) -> WorkerRead:
    """Let a drained worker claim again."""
    return read(session, parts, [workers.set_draining(session, worker_id, False)])[0]
