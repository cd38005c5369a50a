"""One row whose spec this version does not understand, among healthy ones: it harms nobody but itself."""

from collections.abc import Callable
from json import dumps
from typing import Any

import pytest
from sqlalchemy import text

from hone.documents.status import JobStatus
from hone.errors import Invalid, UnreadableSpec
from service import commands, queue_view
from service.api.jobs import read
from service.commands import Requester
from service.domain.jobs import JobEvent
from service.domain.specs import JobSpec
from service.domain.stored import SPEC_VERSION, StoredSpec
from service.persistence import checkpoints, claims, events, jobs, leases, workers
from service.persistence.database import Database
from service.persistence.tables import Job

Make = Callable[..., JobSpec]
PLACES = ["", "algorithm", "dataset", "optimizer", "resources", "rewards,0", "evaluation", "checkpoint"]
BLOCKS = {"rewards": [{"type": "exact"}], "eval_dataset": {"source": "linear-algebra", "size": 8}}
WRONG = {
    "steps": "many",
    "algorithm": 3,
    "algorithm,type": "alchemy",
    "algorithm,batch_size": "four",
    "dataset,size": [],
    "optimizer,learning_rate": "fast",
    "resources": "a",
    "resources,gpus": "two",
    "resources,gpu_memory_gb": "much",
    "resources,memory_gb": {"of": "the host"},
    "rewards,0": "exact",
    "rewards,0,weight": "heavy",
    "evaluation,every": "often",
    "checkpoint,every": "often",
    "model": None,
}
NEEDED = ["algorithm", "dataset", "algorithm,type", "rewards,0,type"]


def submit(database: Database, spec: JobSpec) -> str:
    with database.transaction() as session:
        return commands.submit(session, Requester("ada"), spec, []).id


def change(database: Database, job_id: str, assignment: str, **values: Any) -> None:
    """Of the row, behind the service's back."""
    with database.transaction() as session:
        session.execute(text(f"UPDATE jobs SET {assignment} WHERE id = :id"), {"id": job_id, **values})


def put(database: Database, job_id: str, place: str, value: Any, version: int = SPEC_VERSION) -> None:
    """A value into the stored spec."""
    assignment = f"spec = jsonb_set(spec, '{{{place}}}', CAST(:value AS jsonb)), spec_version = :version"
    change(database, job_id, assignment, value=dumps(value), version=version)


def take_out(database: Database, job_id: str, place: str) -> None:
    change(database, job_id, f"spec = spec #- '{{{place}}}'")


def claim(database: Database, unreadable: list[str] | None = None) -> claims.Claimed | None:
    with database.transaction() as session:
        return claims.claim(session, "worker-1", 0, 30, lambda _: True, unreadable)


def shown(database: Database, *job_ids: str) -> list[Any]:
    """As GET answers."""
    with database.transaction() as session:
        rows = [jobs.get(session, job_id, None) for job_id in job_ids]
        return [read(session, queue_view.QueueView(reuse=0), row).model_dump(mode="json") for row in rows]


def stored(database: Database, job_id: str) -> Any:
    with database.transaction() as session:
        return jobs.get(session, job_id, None).spec


def log_lines(database: Database, job_id: str) -> list[str]:
    with database.transaction() as session:
        return [event.data["line"] for event in events.page(session, job_id, 0, 100, ["log"])]


def ended(database: Database, job_id: str) -> None:
    """The job has failed for a reason of its own."""
    change(database, job_id, "status = 'failed', finished_at = now()")


@pytest.fixture
def odd(database: Database, spec: Make) -> str:
    """Before a healthy one in the queue."""
    return submit(database, spec(**BLOCKS, priority=9))


@pytest.fixture
def healthy(odd: str, database: Database, spec: Make) -> str:
    return submit(database, spec())


def below(place: str, name: str) -> str:
    return f"{place},{name}" if place else name


@pytest.mark.parametrize("place", PLACES)
def test_a_job_with_an_unknown_key_runs_without_it_and_logs_that(
    database: Database, odd: str, healthy: str, place: str
) -> None:
    key = below(place, "zone")
    put(database, odd, key, "a")
    assert shown(database, odd, healthy)[0]["spec"] == stored(database, odd)
    unreadable: list[str] = []
    taken = claim(database, unreadable)
    assert taken is not None and taken.job.id == odd and taken.spec.rewards[0].type == "exact" and not unreadable
    [line] = log_lines(database, odd)
    assert line.startswith(f"this version ignores unknown fields of the spec: {dotted(key)}; clone")


def dotted(place: str) -> str:
    return place.replace(",", ".")


@pytest.mark.parametrize("place", ["optimizer", "resources", "evaluation", "checkpoint", "tags", "steps", "seed"])
def test_a_job_from_before_a_field_was_there_runs_with_its_default(database: Database, odd: str, place: str) -> None:
    take_out(database, odd, place)
    assert place not in shown(database, odd)[0]["spec"]
    taken = claim(database)
    assert taken is not None and getattr(taken.spec, place) is not None and log_lines(database, odd) == []


@pytest.mark.parametrize("place", [*WRONG, *NEEDED, "everything"])
def test_a_job_that_cannot_be_read_is_passed_over_and_fails_saying_which_field(
    database: Database, odd: str, healthy: str, place: str
) -> None:
    unread(database, odd, place)
    with database.transaction() as session:
        workers.beat(session, "worker-1", workers.Process("host", 1, 1, ["cpu"]))
    with database.transaction() as session:
        assert [job.id for job in queue_view.page(session, queue_view.read(session), None, 0, 10)] == [odd, healthy]
    assert [job["status"] for job in shown(database, odd, healthy)] == ["queued", "queued"]
    unreadable: list[str] = []
    taken = claim(database, unreadable)
    assert taken is not None and taken.job.id == healthy and unreadable == [odd]
    for _ in range(2):  # another worker has noticed as well
        with database.transaction() as session:
            claims.end_unreadable(session, odd)
    [job] = shown(database, odd)
    assert job["status"] == "failed" and job["failure"]["category"] == "infra" and job["attempt"] == 0
    assert (
        f"the stored spec (version {SPEC_VERSION}) cannot be read: " in job["failure"]["message"]
        and job["failure"]["hint"]
    )
    if place != "everything":
        assert dotted(place).partition(".")[0] in job["failure"]["message"]
    assert claim(database) is None
    with database.transaction() as session:
        kinds = [event.data["status"] for event in events.page(session, odd, 0, 100, ["status"])]
    assert kinds == ["queued", "failed"]


def unread(database: Database, job_id: str, place: str) -> None:
    if place == "everything":
        change(database, job_id, "spec = '[1]'")
    elif place in WRONG:
        put(database, job_id, place, WRONG[place])
    else:
        take_out(database, job_id, place)


@pytest.mark.parametrize("place", [*WRONG, *NEEDED, "everything"])
def test_a_job_that_cannot_be_read_is_not_repeated_and_the_refusal_says_why(
    database: Database, odd: str, healthy: str, place: str
) -> None:
    unread(database, odd, place)
    ended(database, odd)
    with pytest.raises(UnreadableSpec, match=rf"the stored spec \(version {SPEC_VERSION}\) cannot be read: "):
        retry(database, odd)
    with pytest.raises(ValueError if place != "everything" else Invalid):  # as the door refuses what is submitted
        clone(database, odd, {})
    assert [job["status"] for job in shown(database, odd, healthy)] == ["failed", "queued"]


def retry(database: Database, job_id: str) -> str:
    with database.transaction() as session:
        return commands.retry(session, Requester("ada"), job_id, None, []).id


def clone(database: Database, job_id: str, changes: dict[str, Any]) -> str:
    with database.transaction() as session:
        return commands.clone(session, Requester("ada"), job_id, None, [], changes).id


def test_a_clone_may_correct_what_cannot_be_read(database: Database, odd: str) -> None:
    put(database, odd, "algorithm,batch_size", "four")
    cloned = clone(database, odd, {"algorithm": {"batch_size": 4}})
    assert shown(database, cloned)[0]["spec_version"] == SPEC_VERSION and claim(database) is not None


@pytest.mark.parametrize("place", PLACES)
def test_a_retry_or_a_clone_does_not_drop_an_unknown_key_silently(database: Database, odd: str, place: str) -> None:
    put(database, odd, below(place, "zone"), "a")
    ended(database, odd)
    with pytest.raises(UnreadableSpec, match="zone set to null to leave it out"):
        retry(database, odd)
    with pytest.raises(ValueError, match="zone"):
        clone(database, odd, {})


def test_a_clone_may_leave_an_unknown_key_out(database: Database, odd: str) -> None:
    put(database, odd, "resources,zone", "a")
    assert "zone" not in stored(database, clone(database, odd, {"resources": {"zone": None}}))["resources"]


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_key_that_is_null_asks_for_nothing_and_stops_no_clone(
    database: Database, odd: str, place: str
) -> None:
    put(database, odd, below(place, "zone"), None)
    assert "zone" not in str(stored(database, clone(database, odd, {})))


@pytest.mark.parametrize("value", [[], None, "linear-algebra", 3])
def test_a_block_that_is_none_is_named_as_its_author_wrote_it(database: Database, odd: str, value: Any) -> None:
    put(database, odd, "dataset", value)
    with pytest.raises(UnreadableSpec, match=r"dataset: must be a block of fields|dataset: .*") as refused:
        StoredSpec(stored(database, odd), SPEC_VERSION).spec  # noqa: B018 - reading is the test
    assert refused.value.param == "dataset" and "another value of dataset" in refused.value.remedy


def test_a_number_of_hundreds_of_digits_is_cut_in_the_reason(database: Database, odd: str) -> None:
    put(database, odd, "steps", 10**400)
    with pytest.raises(UnreadableSpec) as refused:
        StoredSpec(stored(database, odd), SPEC_VERSION).spec  # noqa: B018 - reading is the test
    assert len(refused.value.reason) < 300


@pytest.mark.parametrize("place", PLACES)
def test_a_job_of_a_newer_version_waits_for_a_newer_worker_and_lets_others_pass(
    database: Database, odd: str, healthy: str, place: str
) -> None:
    put(database, odd, below(place, "zone"), "a", version=SPEC_VERSION + 1)
    with database.transaction() as session:
        workers.beat(session, "worker-1", workers.Process("host", 1, 1, ["cpu"]))
    with database.transaction() as session:
        first, _ = queue_view.page(session, queue_view.read(session), None, 0, 10)
    assert (first.id, first.waits_for) == (odd, "capacity")
    assert first.why == f"it needs a newer worker, which reads version {SPEC_VERSION + 1} of the spec"
    unreadable: list[str] = []
    taken = claim(database, unreadable)
    assert taken is not None and taken.job.id == healthy and unreadable == []
    with database.transaction() as session:
        claims.end_unreadable(session, odd)
    assert shown(database, odd)[0]["status"] == "queued" and claim(database) is None


def test_a_job_of_a_newer_version_is_estimated_on_a_newer_worker(database: Database, odd: str) -> None:
    put(database, odd, "zone", "a", version=SPEC_VERSION + 1)
    with database.transaction() as session:
        facts = workers.Host(versions={"spec": str(SPEC_VERSION + 1)})
        workers.beat(session, "worker-2", workers.Process("host", 1, 1, ["cpu"]), facts)
    with database.transaction() as session:
        [queued] = queue_view.page(session, queue_view.read(session), None, 0, 10)
    assert queued.waits_for == "worker" and queued.estimated_start_at is not None


def test_a_job_of_a_newer_version_that_says_nothing_new_runs(database: Database, odd: str) -> None:
    put(database, odd, "resources,zone", None, version=SPEC_VERSION + 1)
    assert claim(database) is not None


def test_code_that_does_not_say_writes_the_first_version(database: Database, odd: str) -> None:
    names = "id, owner, status, algorithm, model, spec, tags, priority, gpus, depends_on, max_restarts, progress"
    values = names.replace("id,", "'ftjob-old',", 1)
    with database.transaction() as session:
        session.execute(text(f"INSERT INTO jobs ({names}) SELECT {values} FROM jobs WHERE id = :id"), {"id": odd})
        assert session.get_one(Job, "ftjob-old").spec_version == 1


@pytest.mark.parametrize("place", [*WRONG, "everything"])
def test_a_parent_whose_spec_cannot_be_read_is_still_one(database: Database, odd: str, spec: Make, place: str) -> None:
    unread(database, odd, place)
    child = submit(database, spec(model=f"job:{odd}"))
    assert shown(database, child)[0]["blocked_by"] == [odd]


@pytest.mark.parametrize("version", [SPEC_VERSION, SPEC_VERSION + 1])
def test_what_an_odd_child_starts_from_stays(database: Database, spec: Make, version: int) -> None:
    parent = submit(database, spec())
    assert claim(database) is not None
    with database.transaction() as session:
        job = leases.hold(session, parent, 1, 30)
        saved = checkpoints.put(session, job, 1, "checkpoints/1", [], {}).id
        jobs.move(session, job, JobEvent.FINISH)
    child = submit(database, spec(model=f"job:{parent}@step-1"))
    put(database, child, "steps", "many", version=version)
    with database.transaction() as session:
        assert checkpoints.readers(session, parent) == {saved: child}
        assert jobs.get(session, child, None).status == JobStatus.QUEUED
