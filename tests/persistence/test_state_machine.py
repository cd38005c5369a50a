"""A job's life as a model checker sees it: whatever happens in whatever order, on a real PostgreSQL.

The model is a few plain values and says in its own words what each move leads to; it does not ask `MOVES`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select, text, update

from service import commands
from service.commands import Requester
from service.domain.errors import HoneError, IllegalMove, LeaseLost
from service.domain.jobs import Failure, JobEvent
from service.domain.specs import JobSpec
from service.persistence import checkpoints, claims, events, jobs, leases, metrics, outbox
from service.persistence.database import Database, Session
from service.persistence.tables import Checkpoint, Event, Job, Metric, Outbox

LOST = Failure(category="lost", message="silence")
BAD = Failure(category="user", message="wrong")
LEASE = 60.0
WORK = ["report", "report", "save", "finish", "fail", "stop", "trainer_dies"]
Holder = tuple[str, int]
"""A worker that once claimed a job, and its attempt; it may not know that it was given up."""
ENDED = {"succeeded", "failed", "cancelled"}
HELD = {"running", "pausing", "cancelling"}


@dataclass
class Model:
    """What a job should be."""

    priority: int
    max_restarts: int
    parent: str | None
    status: str = "queued"
    attempt: int = 0
    restarts: int = 0
    saved: int = 0
    """The step of its newest checkpoint."""
    steps: list[int] = field(default_factory=list)
    """Whose metrics are there."""
    backing_off: bool = False

    def lost(self) -> str:
        if self.status == "cancelling":
            return "cancelled"
        if self.status == "pausing":
            return "paused"
        return "failed" if self.restarts >= self.max_restarts else "queued"


class Life(RuleBasedStateMachine):
    """Users, workers, the dispatcher and death, in any order."""

    database: Database
    spec: Callable[..., JobSpec]
    holders = Bundle("holders")

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Model] = {}
        self.claims: list[Holder] = []
        self.made = 0
        self.asked_priority: dict[str, int] = {}
        """Of the spec, which a retry repeats, whatever the priority is now."""
        with self.database.transaction() as session:
            session.execute(text("DELETE FROM jobs"))
            session.execute(text("DELETE FROM outbox"))

    # -- users ------------------------------------------------------------------------------------------------------

    @initialize()
    def two_jobs(self) -> None:
        for priority in (0, 1):
            self._submit(priority, 3, None, key=False)

    @rule(priority=st.integers(0, 2), restarts=st.integers(0, 2), data=st.data(), key=st.booleans())
    def submit(self, priority: int, restarts: int, data: st.DataObject, key: bool) -> None:
        parents = [job_id for job_id, job in self.jobs.items() if job.status not in ("failed", "cancelled")]
        self._submit(priority, restarts, data.draw(st.sampled_from([None, None, *parents])), key)

    def _submit(self, priority: int, restarts: int, parent: str | None, key: bool) -> None:
        spec = self.spec(priority=priority, max_restarts=restarts, depends_on=[parent] if parent else [])
        by = Requester("ada", idempotency_key=f"key-{self.made}" if key else None)
        self.made += 1
        with self.database.transaction() as session:
            job_id = commands.submit(session, by, spec, []).id
        if key:
            with self.database.transaction() as session:
                assert commands.submit(session, by, spec, []).id == job_id
        self.jobs[job_id] = Model(priority, restarts, parent)
        self.asked_priority[job_id] = priority

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[job_id]
        leads = {"queued": "cancelled", "paused": "cancelled", "running": "cancelling", "pausing": "cancelling"}
        self._ask(commands.cancel, job_id, leads | {"cancelling": "cancelling"})
        assert job.status in ENDED | {"cancelling"}

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), wanted=st.sampled_from(["pause", "resume", "urge", "retry", "delete"]))
    def ask(self, data: st.DataObject, wanted: str) -> None:
        getattr(self, wanted)(data.draw(st.sampled_from(sorted(self.jobs))))

    def pause(self, job_id: str) -> None:
        leads = {"queued": "paused", "running": "pausing", "pausing": "pausing", "paused": "paused"}
        self._ask(commands.pause, job_id, leads)

    def resume(self, job_id: str) -> None:
        self._ask(commands.resume, job_id, {"paused": "queued", "queued": "queued"})

    def urge(self, job_id: str) -> None:
        with self.database.transaction() as session:
            commands.change(session, "ada", job_id, {"priority": 2})
        self.jobs[job_id].priority = 2

    def retry(self, job_id: str) -> None:
        earlier = self.jobs[job_id]
        parent_is_bad = earlier.parent and self.jobs[earlier.parent].status in ("failed", "cancelled")
        with self.database.transaction() as session:
            if earlier.status not in ("failed", "cancelled") or parent_is_bad:
                with pytest.raises(HoneError):
                    commands.retry(session, Requester("ada"), job_id, "ada", [])
                return
            made = commands.retry(session, Requester("ada"), job_id, "ada", []).id
        priority = self.asked_priority[job_id]
        self.asked_priority[made] = priority
        steps = [step for step in earlier.steps if step <= earlier.saved]
        self.jobs[made] = Model(priority, earlier.max_restarts, earlier.parent, saved=earlier.saved, steps=steps)

    def delete(self, job_id: str) -> None:
        waiting = any(job.parent == job_id and job.status not in ENDED for job in self.jobs.values())
        has_children = any(job.parent == job_id for job in self.jobs.values())
        with self.database.transaction() as session:
            if self.jobs[job_id].status not in ENDED or waiting:
                with pytest.raises(HoneError):
                    commands.delete(session, "ada", job_id)
            elif not has_children:  # one that ended may name a parent that is gone
                commands.delete(session, "ada", job_id)
                del self.jobs[job_id]

    def _ask(self, command: Callable[[Session, str, str], Job], job_id: str, leads: dict[str, str]) -> None:
        """The command does what the model says, or is refused and changes nothing."""
        job = self.jobs[job_id]
        with self.database.transaction() as session:
            if job.status in leads:
                command(session, "ada", job_id)
            else:
                with pytest.raises(IllegalMove):
                    command(session, "ada", job_id)
        job.status = leads.get(job.status, job.status)

    # -- workers ----------------------------------------------------------------------------------------------------

    def _startable(self) -> list[str]:
        return [
            job_id
            for job_id, job in self.jobs.items()
            if job.status == "queued"
            and not job.backing_off
            and (job.parent is None or self.jobs[job.parent].status == "succeeded")
        ]

    @rule(target=holders)
    def claim(self) -> Any:
        return self.claim_best()

    def claim_best(self) -> Any:
        startable = self._startable()
        with self.database.transaction() as session:
            claimed = claims.claim(session, "worker", 0, LEASE)
            found = (claimed.id, claimed.attempt) if claimed else ("", 0)
        if not startable:
            assert claimed is None
            return multiple()
        assert claimed, "a job could start and none was claimed"
        job = self.jobs[found[0]]
        best = max(self.jobs[job_id].priority for job_id in startable)
        assert found[0] == next(job_id for job_id in startable if self.jobs[job_id].priority == best)
        job.status, job.attempt = "running", job.attempt + 1
        job.steps = [step for step in job.steps if step <= job.saved]
        assert found[1] == job.attempt
        self.claims.append(found)
        return found

    def _write(self, holder: Holder, act: Callable[[Session, Job], None]) -> Model | None:
        """A worker's write: refused, and without effect, unless it still holds the job."""
        job_id, attempt = holder
        model = self.jobs.get(job_id)
        if model is None:
            with pytest.raises(LeaseLost), self.database.transaction() as session:
                act(session, leases.hold(session, job_id, attempt, LEASE))
            return None
        fresh = model.status in HELD and model.attempt == attempt
        if not fresh:
            with pytest.raises(LeaseLost), self.database.transaction() as session:
                act(session, leases.hold(session, job_id, attempt, LEASE))
            return None
        with self.database.transaction() as session:
            act(session, leases.hold(session, job_id, attempt, LEASE))
        return model

    @rule(holder=holders, acts=st.lists(st.sampled_from(WORK), min_size=1, max_size=4))
    def work(self, holder: Holder, acts: list[str]) -> None:
        """All that a worker does with what it has claimed; few rules, so that hypothesis comes to deep lives."""
        for act in acts:
            getattr(self, act)(holder)

    def _steps(self, holder: Holder) -> list[int]:
        return self.jobs[holder[0]].steps if holder[0] in self.jobs else []

    def report(self, holder: Holder) -> None:
        step = max(self._steps(holder), default=0) + 1

        def act(session: Session, job: Job) -> None:
            metrics.put(session, job.id, step, {"train/loss": float(job.attempt)})
            events.add(session, job, "metrics", {"step": step, "metrics": {}}, step)

        model = self._write(holder, act)
        if model:
            model.steps.append(step)

    def save(self, holder: Holder) -> None:
        step = max(self._steps(holder), default=0)
        files = [{"name": "model.safetensors", "bytes": 1, "sha256": "0"}]

        def act(session: Session, job: Job) -> None:
            checkpoints.put(session, job, step, f"checkpoints/{job.id}/step-{step}-attempt-{job.attempt}", files, {})

        model = self._write(holder, act)
        if model:
            model.saved = step

    def finish(self, holder: Holder) -> None:
        self._end(holder, JobEvent.FINISH)

    def fail(self, holder: Holder) -> None:
        self._end(holder, JobEvent.FAIL)

    def stop(self, holder: Holder) -> None:
        self._end(holder, JobEvent.STOP)

    def _end(self, holder: Holder, event: JobEvent) -> None:
        status = self.jobs[holder[0]].status if holder[0] in self.jobs else ""
        if event == JobEvent.STOP and status not in ("cancelling", "pausing"):
            event = JobEvent.RELEASE  # what a reporter makes of a trainer that stops unasked
        model = self._write(holder, lambda session, job: _move(session, job, event))
        if model:
            stopped = {"running": "queued", "pausing": "paused", "cancelling": "cancelled"}[status]
            model.status = {JobEvent.FINISH: "succeeded", JobEvent.FAIL: "failed"}.get(event, stopped)

    def trainer_dies(self, holder: Holder) -> None:
        self._count_loss(self._write(holder, lambda session, job: leases.lose(session, job, LOST)))

    def _count_loss(self, model: Model | None) -> None:
        if model:
            before, model.status = model.status, model.lost()
            model.restarts += model.status != "failed" or before != "running"
            model.backing_off = model.restarts > 1

    # -- the dispatcher ---------------------------------------------------------------------------------------------

    @precondition(lambda self: any(job.status in HELD for job in self.jobs.values()))
    @rule(target=holders, data=st.data(), claimed_again=st.booleans())
    def lease_runs_out(self, data: st.DataObject, claimed_again: bool) -> Any:
        """Its worker is frozen: it wakes up later and writes on, perhaps beside the next one."""
        job_id = data.draw(st.sampled_from([one for one, job in sorted(self.jobs.items()) if job.status in HELD]))
        with self.database.transaction() as session:
            past = func.clock_timestamp() - timedelta(seconds=1)
            session.execute(update(Job).where(Job.id == job_id).values(lease_expires_at=past))
        with self.database.transaction() as session:
            found = leases.expired(session)
            assert [job.id for job in found] == [job_id]
            leases.lose(session, found[0], LOST)
        self._count_loss(self.jobs[job_id])
        self.time_passes()
        return self.claim_best() if claimed_again else multiple()

    @rule(duty=st.sampled_from(["orphans_end", "bells_are_sent", "time_passes", "time_passes"]))
    def dispatch(self, duty: str) -> None:
        getattr(self, duty)()

    def orphans_end(self) -> None:
        with self.database.transaction() as session:
            for orphan, _ in jobs.orphans(session):
                jobs.fail(session, orphan, BAD)
        for job in self.jobs.values():
            parent = self.jobs.get(job.parent or "")
            if job.status == "queued" and parent and parent.status in ("failed", "cancelled"):
                job.status = "failed"
                break
        else:
            return
        self.orphans_end()  # the children of those

    def bells_are_sent(self) -> None:
        with self.database.transaction() as session:
            for message in outbox.take(session):
                outbox.sent(session, [message])

    def time_passes(self) -> None:
        """Enough of it for every back-off."""
        with self.database.transaction() as session:
            session.execute(update(Job).values(not_before=None))
        for job in self.jobs.values():
            job.backing_off = False

    # -- always -----------------------------------------------------------------------------------------------------

    @invariant()
    def the_rows_are_what_the_model_says(self) -> None:
        with self.database.transaction() as session:
            rows = {row.id: row for row in session.scalars(select(Job))}
            assert {job_id: (str(row.status), row.attempt, row.restarts) for job_id, row in rows.items()} == {
                job_id: (job.status, job.attempt, job.restarts) for job_id, job in self.jobs.items()
            }
            told = _by_job(session.scalars(select(Event).order_by(Event.seq)))
            values = _by_job(session.scalars(select(Metric).order_by(Metric.step)))
            saved = _by_job(session.scalars(select(Checkpoint)))
        for job_id, row in rows.items():
            self._check(row, self.jobs[job_id], told[job_id])
            assert [value.step for value in values[job_id]] == self.jobs[job_id].steps, "neither gaps nor duplicates"
            assert max((row.step for row in saved[job_id]), default=0) == self.jobs[job_id].saved

    def _check(self, row: Job, job: Model, told: list[Any]) -> None:
        statuses = [event.data["status"] for event in told if event.kind == "status"]
        assert statuses[-1] == job.status
        assert not ENDED & set(statuses) - {job.status}, "a terminal status never changes"
        assert [event.attempt for event in told] == sorted(event.attempt for event in told)
        assert all(event.seq <= row.version for event in told)
        assert (row.lease_owner is not None) == (job.status in HELD) == (row.lease_expires_at is not None)
        assert (row.finished_at is not None) == (job.status in ENDED)
        assert (row.failure is not None) == (job.status == "failed")

    @invariant()
    def only_the_newest_attempt_may_write(self) -> None:
        with self.database.transaction() as session:
            for job_id, attempt in self.claims[-3:]:
                job = self.jobs.get(job_id)
                if job and job.status in HELD and job.attempt == attempt:
                    assert leases.peek(session, job_id, attempt) == job.status
                else:
                    with pytest.raises(LeaseLost):
                        leases.peek(session, job_id, attempt)


class Bells(Life):
    """The same, and no bell is sent: whatever became startable since the start has its bell in the outbox."""

    def bells_are_sent(self) -> None:
        """Nobody sends them."""

    @invariant()
    def a_startable_job_has_a_bell(self) -> None:
        with self.database.transaction() as session:
            bells: list[dict[str, Any]] = list(session.scalars(select(Outbox.payload)))
        named, unnamed = {bell.get("job_id") for bell in bells}, any("job_id" not in bell for bell in bells)
        for job_id in self._startable():
            assert job_id in named and (self.jobs[job_id].parent is None or unnamed)


def _by_job(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.job_id].append(row)
    return found


def _move(session: Session, job: Job, event: JobEvent) -> None:
    if event == JobEvent.FAIL:
        jobs.fail(session, job, BAD)
    else:
        jobs.move(session, job, event)


def explore(machine: type[Life], database: Database, spec: Callable[..., JobSpec], lives: int) -> None:
    """Seeded by hypothesis from the test's name: each run explores the same lives."""
    machine.database, machine.spec = database, staticmethod(spec)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=lives,
            stateful_step_count=30,
            phases=[Phase.generate],  # shrinking would take longer than the test may
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_order_of_events_breaks_the_life_of_a_job(database: Database, spec: Callable[..., JobSpec]) -> None:
    explore(Life, database, spec, lives=25)


def test_every_job_that_can_start_has_a_bell(database: Database, spec: Callable[..., JobSpec]) -> None:
    explore(Bells, database, spec, lives=6)
