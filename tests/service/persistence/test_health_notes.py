"""Health notes of a job: each once, with the steps at which it was seen."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from hone.documents.health_notes import HealthNote
from service import commands
from service.domain.health_notes import Note
from service.domain.specs import JobSpec
from service.persistence import claims, deliveries, events, health_notes, jobs, webhooks
from service.persistence.database import Database
from service.persistence.tables import Delivery, Job

Make = Callable[..., JobSpec]
CUT = Note("responses_cut", "many are cut off", "raise the limit", "policy/truncated")
IDLE = Note("no_effect", "it is 1, so it has no effect", None, "optimizer.warmup_steps")


@pytest.fixture
def job_id(database: Database, spec: Make) -> str:
    with database.transaction() as session:
        return commands.submit(session, commands.Requester("ada"), spec(), []).id


def add(database: Database, job_id: str, *notes: HealthNote) -> None:
    with database.transaction() as session:
        job = jobs.get(session, job_id, None, lock=True)
        for note in notes:
            health_notes.add(session, job, note)


def stored(database: Database, job_id: str) -> list[HealthNote]:
    with database.transaction() as session:
        return [HealthNote.model_validate(note) for note in jobs.get(session, job_id, None).health_notes]


def logged(database: Database, job_id: str) -> list[tuple[str, int | None]]:
    with database.transaction() as session:
        return [(event.kind, event.step) for event in events.page(session, job_id, 0, 100, ["log", "note"])]


def test_a_note_that_holds_for_some_steps_is_one_note_one_event_and_one_line(database: Database, job_id: str) -> None:
    add(database, job_id, *[CUT.at(step) for step in (5, 6, 7)], IDLE.at(0))
    first, second = stored(database, job_id)
    assert (first.code, first.severity, first.first_step, first.last_step) == ("responses_cut", "warning", 5, 7)
    assert (second.param, second.first_step, second.last_step) == ("optimizer.warmup_steps", 0, 0)
    assert logged(database, job_id) == [("log", 5), ("note", 5), ("log", None), ("note", None)]


def test_one_code_about_two_fields_is_two_notes(database: Database, job_id: str) -> None:
    other = Note("no_effect", "it has no effect either", None, "checkpoint.every")
    add(database, job_id, IDLE.at(0), other.at(0), IDLE.at(0))
    assert [note.param for note in stored(database, job_id)] == ["optimizer.warmup_steps", "checkpoint.every"]


def test_other_words_about_the_same_are_told_again(database: Database, job_id: str) -> None:
    halved = [Note("out_of_memory", f"now at most {size}", None, "micro_batch_tokens") for size in (4096, 2048)]
    add(database, job_id, halved[0].at(3), halved[1].at(9))
    [note] = stored(database, job_id)
    assert (note.message, note.first_step, note.last_step) == ("now at most 2048", 3, 9)
    assert logged(database, job_id) == [("log", 3), ("note", 3), ("log", 9), ("note", 9)]


def test_text_that_the_database_cannot_hold_is_replaced(database: Database, job_id: str) -> None:
    add(database, job_id, Note("rows_too_long", "row \x00 1", "without \x00", "dataset").at(0))
    assert stored(database, job_id)[0].message == "row \ufffd 1"


def test_a_job_has_a_bounded_number_of_them(database: Database, job_id: str) -> None:
    many = [Note("no_effect", "it has no effect", None, f"field{number}").at(0) for number in range(300)]
    add(database, job_id, *many)
    assert len(stored(database, job_id)) == health_notes.MAX_NOTES
    assert len(logged(database, job_id)) == 100  # of two hundred; the page of this test ends there


def test_a_new_attempt_forgets_what_was_seen_after_its_checkpoint(database: Database, job_id: str) -> None:
    add(database, job_id, IDLE.at(0), CUT.at(5), Note("kl_high", "far", None, "policy/kl").at(2), CUT.at(8))
    with database.transaction() as session:
        job = jobs.get(session, job_id, None, lock=True)
        health_notes.rewind(job, 6)
    assert [(note.code, note.first_step, note.last_step) for note in stored(database, job_id)] == [
        ("no_effect", 0, 0),
        ("responses_cut", 5, 6),
        ("kl_high", 2, 2),
    ]
    with database.transaction() as session:  # there is no checkpoint: it starts again
        assert claims.claim(session, "worker-1", 0, lease_seconds=30)
    assert [note.code for note in stored(database, job_id)] == ["no_effect"]
    assert logged(database, job_id) == [("log", None), ("note", None)]


def test_a_job_of_before_health_notes_has_none(database: Database, job_id: str) -> None:
    assert stored(database, job_id) == []


def test_webhooks_that_ask_for_warnings_get_each_new_one_and_no_information(database: Database, job_id: str) -> None:
    with database.transaction() as session:
        asked = webhooks.add(session, "ada", "https://example.com/a", ["fine_tuning.job.warning"]).id
        webhooks.add(session, "ada", "https://example.com/b", ["fine_tuning.job.succeeded"])
    add(database, job_id, IDLE.at(0), CUT.at(5), CUT.at(6))
    with database.transaction() as session:
        sent = session.scalars(select(Delivery)).all()
        assert [(each.webhook_id, each.type, each.job_id) for each in sent] == [
            (asked, "fine_tuning.job.warning", job_id)
        ]
        assert len(deliveries.page(session, asked, None, 10)) == 1
        assert session.scalars(select(Job.id)).all() == [job_id]
