"""What holds after each rule, in the rows and in what the API answers."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis.stateful import invariant
from sqlalchemy import exists, select

from hone.errors import LeaseLost
from machine import model
from machine.model import ENDED, HELD
from machine.world import World
from service.persistence import leases
from service.persistence.tables import Checkpoint, Event, Garbage, Job, Metric, Outbox

JOB = (Job.id, Job.status, Job.attempt, Job.restarts, Job.version, Job.lease_owner, Job.lease_expires_at)
EVENT = (Event.job_id, Event.seq, Event.kind, Event.attempt, Event.step, Event.data)
CHECKPOINT = (Checkpoint.job_id, Checkpoint.step, Checkpoint.promoted, Checkpoint.storage_key)
OF_OTHERS = ("blocked_by", "queue_position", "waits_for", "why")
"""What a job's document says of other jobs: it changes without a new version."""


class Truths(World):
    """Nothing is lost, nothing happens twice, and everybody is told the same."""

    @invariant()
    def the_rows_are_what_the_model_says(self) -> None:
        with self.service.database.transaction() as session:
            rows = {row.id: row for row in session.execute(select(*JOB))}
            told = _by_job(session.execute(select(*EVENT).order_by(Event.seq)))
            values = _by_job(session.execute(select(Metric.job_id, Metric.step, Metric.value)))
            saved = _by_job(session.execute(select(*CHECKPOINT)))
            garbage = set(session.scalars(select(Garbage.storage_key)))
        assert set(rows) == set(self.jobs)
        for job_id, job in self.jobs.items():
            _check_row(rows[job_id], job)
            _check_events(rows[job_id], job, told[job_id])
            assert {row.step: row.value for row in values[job_id]} == job.reports
            assert sorted(job.reports) == list(range(1, len(job.reports) + 1)), "neither gaps nor duplicates"
            assert {row.step: row.promoted for row in saved[job_id]} == job.checkpoints
        named = {row.storage_key for found in saved.values() for row in found}
        assert self.stored == named | garbage, "files that nobody will delete, or that nobody wrote"

    @invariant()
    def only_the_newest_attempt_may_write(self) -> None:
        with self.service.database.transaction() as session:
            for job_id, attempt in self.claims[-3:]:
                job = self.jobs.get(job_id)
                if job and job.status in HELD and job.attempt == attempt:
                    assert leases.peek(session, job_id, attempt) == job.status
                else:
                    with pytest.raises(LeaseLost):
                        leases.peek(session, job_id, attempt)

    @invariant()
    def whatever_became_startable_has_a_doorbell(self) -> None:
        """Any: they all mean that there is something to look for."""
        startable = {job.id for job in self.jobs.startable()}
        self.with_doorbell &= startable
        with self.service.database.transaction() as session:
            assert startable == self.with_doorbell or session.scalar(select(exists(select(Outbox.id))))

    @invariant()
    def the_api_lists_what_the_model_says(self) -> None:
        listed = self.service.ask("root", "GET", "/v1/jobs?limit=100").json()["data"]
        assert [shown["id"] for shown in listed] == list(reversed(self.jobs)), "newest first"
        places = {job.id: place for place, job in enumerate(self.jobs.line(), 1)}
        for shown in listed:
            self.agrees(shown, self.jobs[shown["id"]])
            assert shown["queue_position"] == places.get(shown["id"])
            del shown["estimated_start_at"]  # that goes with the clock
        self._check_changes({shown["id"]: shown for shown in listed})

    def _check_changes(self, listed: dict[str, dict[str, Any]]) -> None:
        """Since the rule before: none by what was refused, and none that an ETag would hide."""
        if self.refused_all:
            assert listed == self.shown, "a refused request changed something"
        self.refused_all = False
        for job_id in listed.keys() & self.shown.keys():
            before, now = self.shown[job_id], listed[job_id]
            assert now["version"] >= before["version"]
            if now["version"] == before["version"]:
                assert now == before | {name: now[name] for name in OF_OTHERS}, "a change without a new version"
        self.shown = listed

    def the_queue_is_the_line_of_the_model(self) -> None:
        """Its places are looked at after each rule, by the list."""
        queue = self.service.ask("root", "GET", "/v1/queue").json()
        line = [(job.id, self.jobs.waits_for(job)) for job in self.jobs.line()]
        assert [(place["id"], place["waits_for"]) for place in queue["data"]] == line
        assert [place["position"] for place in queue["data"]] == list(range(1, len(line) + 1))
        statuses = [job.status for job in self.jobs.values()]
        held = sum(status in HELD for status in statuses)
        assert (queue["running"], queue["queued"], queue["paused"]) == (held, len(line), statuses.count("paused"))


def _check_row(row: Any, job: model.Job) -> None:
    assert (row.status, row.attempt, row.restarts) == (job.status, job.attempt, job.restarts)
    assert (row.lease_owner is not None) == (job.status in HELD) == (row.lease_expires_at is not None)


def _check_events(row: Any, job: model.Job, told: list[Any]) -> None:
    """One sequence without duplicates, which tells each attempt and the end once."""
    numbers = [event.seq for event in told]
    assert numbers == sorted(set(numbers)) and numbers[-1] <= row.version
    assert [event.attempt for event in told] == sorted(event.attempt for event in told)
    statuses = [event.data["status"] for event in told if event.kind == "status"]
    assert statuses[-1] == job.status
    assert [status for status in statuses if status in ENDED] == [job.status] * (job.status in ENDED)
    assert statuses.count("running") == job.attempt
    reported = [event.step for event in told if event.kind == "metrics"]
    assert reported == [step for step in job.reports if step > job.inherited]


def _by_job(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.job_id].append(row)
    return found
