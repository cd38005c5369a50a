"""Jobs that go through faults, and the verdict on them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hone.documents.status import JobStatus
from rig import invariants, outcomes, specs
from rig.outcomes import Outcome
from rig.service import Service

GRACE_SECONDS = 60.0
"""In which leftovers may go after the last job's end."""
ENDINGS = (JobStatus.SUCCEEDED,)


@dataclass
class References:
    """The undisturbed run of each spec, made when it is first needed."""

    service: Service
    known: dict[str, Outcome] = field(default_factory=dict)

    def make(self, names: list[str]) -> None:
        """Run what is missing, all at once, while nothing is broken."""
        ids = {name: self.service.submit(specs.SPECS[name]) for name in names if name not in self.known}
        wait(self.service, list(ids.values()), 300)
        for name, job_id in ids.items():
            self.known[name] = outcomes.read(self.service.database, job_id)
            assert self.known[name].status == JobStatus.SUCCEEDED, self.known[name].failure


class Trial:
    """Jobs in flight, each with its spec and with how it may end."""

    def __init__(self, references: References) -> None:
        self.service = references.service
        self.references = references
        self.jobs: dict[str, str] = {}
        self.endings: dict[str, tuple[JobStatus, ...]] = {}

    def submit(self, name: str, endings: tuple[JobStatus, ...] = ENDINGS, **changes: Any) -> str:
        """One more job of a spec; `changes` must not change what it computes."""
        job_id = self.service.submit(specs.SPECS[name] | changes)
        self.jobs[job_id], self.endings[job_id] = name, endings
        return job_id

    def wait(self, seconds: float) -> None:
        """Until all have ended."""
        wait(self.service, list(self.jobs), seconds)

    def wrong(self) -> list[str]:
        """What is violated, of each job and of the whole service; nothing may be broken at the moment."""
        service, storage = self.service, self.service.storage
        found = [
            sentence
            for job_id, name in self.jobs.items()
            for sentence in invariants.of_job(
                outcomes.read(service.database, job_id), self.references.known[name], storage, self.endings[job_id]
            )
        ]
        return [*found, *invariants.of_database(service.database, self.jobs)]

    def processes_left(self, seconds: float = GRACE_SECONDS) -> list[str]:
        """Orphans that are still there after a grace: asked once all jobs have ended."""
        service = self.service

        def found() -> list[str]:
            return invariants.orphan_processes(service.data, [part.pid for part in service.parts.values()])

        return _after(found, seconds)

    def files_left(self, seconds: float = GRACE_SECONDS) -> list[str]:
        """The same of files."""
        service = self.service
        return _after(lambda: invariants.orphan_files(service.database, service.data, service.storage), seconds)

    def untold(self, ended: dict[str, JobStatus], seconds: float = 60.0) -> list[str]:
        """Ends that webhooks have not told of: one message of five is refused at first, and comes again."""
        return _after(lambda: invariants.untold(self.service.receiver, ended), seconds)

    def verdict(self, seed: object, wrong: list[str]) -> str:
        """Empty when all is well; else all that is needed to look into it."""
        jobs = {sentence.split(":")[0] for sentence in wrong} & set(self.jobs)
        return f"seed {seed}\n" + "\n".join(wrong) + "\n" + self.service.told(*jobs) if wrong else ""


def _after(found: Callable[[], list[str]], seconds: float) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := found()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def wait(service: Service, job_ids: list[str], seconds: float) -> None:
    """Until all are terminal; the database may be away meanwhile."""

    def over() -> bool:
        try:
            return len(outcomes.ended(service.database, job_ids)) == len(job_ids)
        except Exception:  # noqa: BLE001 - whatever a killed server makes of a query: asked again
            return False

    try:
        service.until(over, seconds, "all jobs have ended")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{_states(service, job_ids)}") from None


def _states(service: Service, job_ids: list[str]) -> str:
    found = [outcomes.read(service.database, job_id) for job_id in job_ids]
    lines = [f"{job.job_id} {job.status} attempt {job.attempt} {job.events[-1]}" for job in found]
    return "\n".join(lines)
