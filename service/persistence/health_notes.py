"""Health notes of a job: a list in its row, and an event for each new one."""

from typing import Any

from sqlalchemy.orm import Session

from hone.documents.health_notes import HealthNote
from service.domain.webhooks import WARNING
from service.persistence import deliveries, events
from service.persistence.tables import Job

MAX_NOTES = 100
"""Per job. There are fewer codes and fields than that; a job of another version may have others."""
Stored = dict[str, Any]


def add(session: Session, job: Job, note: HealthNote) -> None:
    """Record a note in a locked job. What is new, or is said in other words, becomes an event and a line of the log."""
    document: Stored = events.storable(note.model_dump())
    earlier = next((each for each in job.health_notes if _subject(each) == _subject(document)), None)
    if earlier is None and len(job.health_notes) >= MAX_NOTES:
        return
    if earlier is None:
        job.health_notes = [*job.health_notes, document]
        if note.severity != "info":
            deliveries.announce(session, job, WARNING)
    else:
        document["first_step"] = min(earlier["first_step"], note.first_step)
        document["last_step"] = max(earlier["last_step"], note.last_step)
        job.health_notes = [document if each is earlier else each for each in job.health_notes]
    if earlier is None or earlier["message"] != document["message"]:
        _log(session, job, document, note.last_step)


def rewind(job: Job, step: int) -> None:
    """Keep what was seen up to a step."""
    kept = [note for note in job.health_notes if note["first_step"] <= step]
    job.health_notes = [note | {"last_step": min(note["last_step"], step)} for note in kept]


def _log(session: Session, job: Job, note: Stored, step: int) -> None:
    line = f"{note['message']}; {note['remedy']}" if note["remedy"] else note["message"]
    events.add(session, job, "log", {"stream": "hone", "line": line, "level": note["severity"]}, step or None)
    events.add(session, job, "note", note, step or None)


def _subject(note: Stored) -> tuple[str, str | None]:
    return note["code"], note["param"]
