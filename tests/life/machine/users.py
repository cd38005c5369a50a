"""What people do, over HTTP, whatever state their jobs are in."""

from dataclasses import replace
from typing import Any

from hypothesis.stateful import initialize

from machine import refusals
from machine.model import BAD, ENDED, LEADS, Job, Spec
from machine.refusals import NOT_YOURS, Refusal
from machine.world import World

TINY = {"algorithm": {"type": "sft", "batch_size": 4}, "dataset": {"source": "linear-algebra"}, "steps": 1000}
OWNERS = ["ada", "bob"]
WISHES = ["pause", "pause", "resume", "cancel", "cancel", "retry", "clone", "urge", "delete", "delete", "meddle"]
REPEATED = ["never", "by its key", "by its count"]
"""How a client that got no answer says that it asks again: with an Idempotency-Key, or as OpenAI's SDKs do."""


def document(spec: Spec) -> dict[str, Any]:
    """The spec as it is sent."""
    parent: dict[str, Any] = {"model": f"job:{spec.parent}"} if spec.reads else {"depends_on": [spec.parent]}
    made = TINY | {"priority": spec.priority, "max_restarts": spec.max_restarts}
    return made | parent if spec.parent else made


class Users(World):
    """Two of them; they ask for what is allowed and for what is not."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, Job] = {}
        """The Idempotency-Keys of submits, and what they made."""
        self.asked = 0

    @initialize()
    def first_jobs(self) -> None:
        for owner, priority in (("ada", 0), ("ada", 1), ("bob", 0)):
            self._submit(Job(owner, Spec(priority)), "never")

    def submit(self) -> None:
        owner = self.choose(OWNERS)
        own = [job.id for job in self.jobs.values() if job.owner == owner and job.status not in BAD]
        parent = self.choose([None, *3 * own, *self.jobs])
        reads = parent is not None and self.choose([False, True])
        spec = Spec(self.choose(range(3)), self.choose(range(3)), parent, reads)
        self._submit(Job(owner, spec), self.choose(REPEATED))

    def _submit(self, job: Job, repeated: str) -> None:
        self._make(job, "/v1/jobs", document(job.spec), refusals.of_a_new_job(self.jobs, job.owner, job.spec), repeated)

    def _make(self, job: Job, path: str, body: Any, refusal: Refusal | None, repeated: str = "never") -> None:
        """There is one job more, however often the request comes; or none."""
        self.asked += 1
        key = {"idempotency_key": f"key-{self.asked}"} if repeated == "by its key" else {}
        answer = self.service.ask(job.owner, "POST", path, body, **key)
        if refusal:
            self.refused(answer, refusal)
            return
        assert answer.status_code == 201, answer.text
        job.id, job.priority = answer.json()["id"], job.spec.priority
        assert job.id not in self.jobs
        self.jobs[job.id] = job
        self.agrees(answer.json(), job)
        if repeated != "never":
            again = self.service.ask(job.owner, "POST", path, body, **(key or {"x_stainless_retry_count": "1"}))
            assert (again.status_code, again.json()["id"]) == (201, job.id)
        if key and path == "/v1/jobs":
            self.keys[key["idempotency_key"]] = job

    def ask_again(self) -> None:
        """A request of long ago, or another with its key."""
        jobs = {key: job for key, job in self.keys.items() if job.id in self.jobs}  # a key goes with its job
        if not jobs:
            return
        key, job = self.choose(jobs.items())
        changed = self.choose([True, False])
        body = document(job.spec) | ({"seed": 1} if changed else {})
        answer = self.service.ask(job.owner, "POST", "/v1/jobs", body, idempotency_key=key)
        if changed:
            self.refused(answer, Refusal(409, "idempotency_key_reused", "Idempotency-Key", job.id))
        else:
            self.agrees(answer.json(), job)

    def ask(self) -> None:
        """For what is allowed more often than not."""
        if not self.jobs:
            return
        wish = self.choose(WISHES)
        likely = [job for job in self.jobs.values() if (job.status in ENDED) == (wish in ("retry", "delete"))]
        job = self.choose([*self.jobs.values(), *3 * likely])
        if wish in LEADS:
            self.ask_for(job, wish)
        else:
            getattr(self, wish)(job)

    def ask_for(self, job: Job, verb: str) -> None:
        """A pause, a resumption or a cancellation."""
        answer = self.service.ask(job.owner, "POST", f"/v1/jobs/{job.id}/{verb}")
        refusal = refusals.of_a_verb(job, verb)
        if refusal:
            self.refused(answer, refusal)
            return
        job.status = LEADS[verb][job.status]
        if verb == "resume":
            job.restarts, job.backing_off = 0, False
        assert answer.status_code == 200
        self.agrees(answer.json(), job)

    def retry(self, job: Job) -> None:
        made = Job(job.owner, job.spec, retry_of=job.id)
        made.inherit(job)
        self._make(made, f"/v1/jobs/{job.id}/retry", None, refusals.of_a_retry(self.jobs, job), "by its key")

    def clone(self, job: Job) -> None:
        made = Job(job.owner, replace(job.spec, max_restarts=1), clone_of=job.id)
        refusal = refusals.of_a_new_job(self.jobs, made.owner, made.spec)
        self._make(made, f"/v1/jobs/{job.id}/clone", {"max_restarts": 1}, refusal, "by its count")

    def urge(self, job: Job) -> None:
        answer = self.service.ask(job.owner, "PATCH", f"/v1/jobs/{job.id}", {"priority": 2})
        job.priority = 2
        self.agrees(answer.json(), job)

    def delete(self, job: Job) -> None:
        answer = self.service.ask(job.owner, "DELETE", f"/v1/jobs/{job.id}")
        refusal = refusals.of_deleting(self.jobs, job)
        if refusal:
            self.refused(answer, refusal)
            return
        assert answer.status_code == 204
        del self.jobs[job.id]
        assert self.service.ask(job.owner, "GET", f"/v1/jobs/{job.id}").status_code == 404

    def meddle(self, job: Job) -> None:
        """With what is another's."""
        stranger = "bob" if job.owner == "ada" else "ada"
        self.refused(self.service.ask(stranger, "POST", f"/v1/jobs/{job.id}/cancel"), NOT_YOURS)

    def ask_for_a_checkpoint(self) -> None:
        """To be kept, not to be kept, to be gone."""
        saved = [(job, step) for job in self.jobs.values() for step in job.checkpoints]
        if not saved:
            return
        (job, step), wish = self.choose(saved), self.choose(["promote", "demote", "delete"])
        path = f"/v1/checkpoints/{self.checkpoints(job)[step]['id']}"
        if wish == "delete":
            self._delete_checkpoint(job, step, path)
            return
        answer = self.service.ask(job.owner, "POST", f"{path}/{wish}")
        job.checkpoints[step] = wish == "promote"
        assert answer.json()["promoted"] == job.checkpoints[step]

    def _delete_checkpoint(self, job: Job, step: int, path: str) -> None:
        answer = self.service.ask(job.owner, "DELETE", path)
        refusal = refusals.of_deleting_a_checkpoint(self.jobs, job, step)
        if refusal:
            self.refused(answer, refusal)
            return
        assert answer.status_code == 204
        del job.checkpoints[step]
        assert self.service.ask(job.owner, "GET", path).status_code == 404

    def checkpoints(self, job: Job) -> dict[int, dict[str, Any]]:
        """As the list shows them to the owner, by step."""
        shown = self.service.ask(job.owner, "GET", f"/v1/jobs/{job.id}/checkpoints").json()["data"]
        assert [one["step"] for one in shown] == sorted(job.checkpoints, reverse=True)
        assert {one["step"]: one["promoted"] for one in shown} == job.checkpoints
        return {one["step"]: one for one in shown}
