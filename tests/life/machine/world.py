"""What users, workers and the dispatcher share: the service, what it should be like, and a way to ask it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import httpx2
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from sqlalchemy import text

from machine.model import ENDED, Job, Jobs
from machine.refusals import Refusal
from service.dispatcher.rounds import Dispatcher
from service.persistence import workers
from service.persistence.database import Database

Holder = tuple[str, int]
"""A worker that once claimed a job, and its attempt."""
WORKER = "worker"
T = TypeVar("T")
HAPPENINGS = [
    *10 * ["work"],
    *2 * ["claim"],
    *9 * ["ask"],
    *2 * ["ask_again"],
    *3 * ["ask_for_a_checkpoint"],
    *5 * ["submit"],
    *3 * ["a_lease_runs_out"],
    "unstartable_jobs_fail",
    *4 * ["doorbells_are_sent"],
    "time_passes",
]
"""As often as they are named; hypothesis's first life is nothing but the first of them."""
FACTS = ("id", "owner", "status", "attempt", "restarts", "priority", "retry_of", "clone_of")


@dataclass(frozen=True)
class Service:
    """The application, and the database beneath it."""

    http: httpx2.Client
    keys: dict[str, str]
    """Of each owner; of `root`, who sees everything."""
    database: Database
    dispatcher: Dispatcher

    def ask(self, owner: str, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """A request with the key of its owner."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["authorization"] = f"Bearer {self.keys[owner]}"
        return self.http.request(method, path, json=body, headers=sent)

    def clear(self) -> None:
        """Forget all jobs. A worker lives."""
        with self.database.transaction() as session:
            for table in ("jobs", "outbox", "garbage"):
                session.execute(text(f"DELETE FROM {table}"))
            workers.beat(session, WORKER, workers.Process("host", 1, 100, ["cpu"]))


class World(RuleBasedStateMachine):
    """The service as it is, and as it should be."""

    service: ClassVar[Service]
    data: st.DataObject

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Jobs()
        self.claims: list[Holder] = []
        self.stored: set[str] = set()
        """Every key of the storage that was ever written."""
        self.with_doorbell: set[str] = set()
        """Jobs that could start when doorbells were sent or when time passed: they need no other doorbell."""
        self.shown: dict[str, dict[str, Any]] = {}
        """The list of jobs after the rule before."""
        self.refused_all = False
        """Whether this rule did nothing but ask for what was refused."""
        self.service.clear()

    @rule(data=st.data(), what=st.sampled_from(HAPPENINGS))
    def something_happens(self, data: st.DataObject, what: str) -> None:
        """One rule for all: of several hypothesis would leave some out of a life, and one without workers is none."""
        self.data = data
        getattr(self, what)()

    def choose(self, among: Iterable[T]) -> T:
        """Hypothesis's choice."""
        return self.data.draw(st.sampled_from(list(among)))

    def refused(self, answer: httpx2.Response, refusal: Refusal) -> None:
        """In the one shape, with a reason, and worth no retry; that it changed nothing is looked at after the rule."""
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (refusal.status, refusal.code, refusal.param)
        assert refusal.names in error["message"]
        assert answer.headers.get("x-should-retry") == ("false" if refusal.status in (409, 429) else None)
        self.refused_all = True

    def agrees(self, shown: dict[str, Any], job: Job) -> None:
        """A job's document is what the model says."""
        assert {name: shown[name] for name in FACTS} == {name: getattr(job, name) for name in FACTS}
        assert shown["blocked_by"] == self.jobs.blocked_by(job)
        assert (shown["finished_at"] is not None) == (job.status in ENDED)
        assert (shown["failure"] is not None) == (job.status == "failed")
