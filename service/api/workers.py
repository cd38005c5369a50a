"""Workers over HTTP: list them with their jobs, and drain them."""

from datetime import UTC, datetime

from hone.documents import Page, WorkerGpu, WorkerJob, WorkerRead
from service.api.dependencies import Admin, Reader, Services, ServicesDep, SessionDep
from service.api.routing import Router
from service.persistence import workers
from service.persistence.database import Session
from service.persistence.tables import Worker
from service.persistence.workers import Run

router = Router(prefix="/v1/workers", tags=["workers"])


def read(session: Session, parts: Services, rows: list[Worker]) -> list[WorkerRead]:
    """Rows as documents; a dead worker has the jobs that it held when it died."""
    now = datetime.now(UTC)
    is_dead = {worker.id: (now - worker.beat_at).total_seconds() > parts.settings.lease_seconds for worker in rows}
    runs = workers.runs(session, [worker for worker in rows if not is_dead[worker.id]])
    runs |= workers.last_runs(session, [worker for worker in rows if is_dead[worker.id]])
    return [_document(worker, runs.get(worker.id, []), alive=not is_dead[worker.id]) for worker in rows]


def _document(worker: Worker, runs: list[Run], *, alive: bool) -> WorkerRead:
    return WorkerRead(
        id=worker.id,
        host=worker.host,
        pid=worker.pid,
        alive=alive,
        draining=worker.draining,
        slots=worker.slots,
        devices=worker.devices,
        gpus=[WorkerGpu.model_validate(gpu) for gpu in worker.gpus],
        memory_bytes=worker.memory_bytes,
        versions=worker.versions,
        jobs=[WorkerJob(id=run.id, attempt=run.attempt, since=run.since) for run in runs],
        started_at=worker.started_at,
        beat_at=worker.beat_at,
    )


@router.get("")
def list_workers(_: Reader, session: SessionDep, parts: ServicesDep) -> Page[WorkerRead]:
    """List workers and their jobs. One without heartbeats is shown as dead for an hour; one that ended is not shown."""
    documents = read(session, parts, workers.remembered(session))
    return Page.of(documents, len(documents))


@router.get("/{worker_id}")
def get_worker(worker_id: str, _: Reader, session: SessionDep, parts: ServicesDep) -> WorkerRead:
    """Show a worker: machine, devices, versions, jobs."""
    return read(session, parts, [workers.get(session, worker_id)])[0]


@router.post("/{worker_id}/drain")
def drain_worker(worker_id: str, _: Admin, session: SessionDep, parts: ServicesDep) -> WorkerRead:
    """Drain a worker: it finishes its jobs, and once this has answered it claims no more."""
    return read(session, parts, [workers.set_draining(session, worker_id, draining=True)])[0]


@router.post("/{worker_id}/undrain")
def undrain_worker(worker_id: str, _: Admin, session: SessionDep, parts: ServicesDep) -> WorkerRead:
    """Let a drained worker claim jobs again."""
    return read(session, parts, [workers.set_draining(session, worker_id, draining=False)])[0]
