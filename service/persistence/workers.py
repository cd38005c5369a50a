"""Workers: who is there and when they were last heard of."""

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from service.persistence.tables import Worker


def beat(session: Session, worker_id: str, host: str, pid: int, slots: int, devices: list[str]) -> None:
    """Say that a worker lives."""
    row = {"id": worker_id, "host": host, "pid": pid, "slots": slots, "devices": devices}
    statement = insert(Worker).values(row)
    session.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"beat_at": func.clock_timestamp()}))


def alive(session: Session, seconds: float) -> list[Worker]:
    """Those that have beaten within `seconds`."""
    recent = func.now() - timedelta(seconds=seconds)
    return list(session.scalars(select(Worker).where(Worker.beat_at > recent).order_by(Worker.id)))


def remove(session: Session, worker_id: str) -> None:
    """A worker said goodbye."""
    session.execute(delete(Worker).where(Worker.id == worker_id))
