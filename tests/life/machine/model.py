"""What should be, as plain values. It says in its own words what each move leads to and asks nothing of the product."""

from collections import Counter
from dataclasses import dataclass, field

ENDED = ("succeeded", "failed", "cancelled")
HELD = ("running", "pausing", "cancelling")
BAD = ("failed", "cancelled")
LEADS = {
    "pause": {"queued": "paused", "paused": "paused", "running": "pausing", "pausing": "pausing"},
    "resume": {"queued": "queued", "paused": "queued"},
    "cancel": {
        "queued": "cancelled",
        "paused": "cancelled",
        "running": "cancelling",
        "pausing": "cancelling",
        "cancelling": "cancelling",
    },
}
"""What becomes of a job when a user asks; any other status forbids it."""
KEPT = 2
"""The newest checkpoints that stay, as the spec says."""


@dataclass(frozen=True)
class Spec:
    """What a user asked for; a retry asks for the same, whatever has been changed of the job since."""

    priority: int = 0
    max_restarts: int = 3
    parent: str | None = None
    reads: bool = False
    """Whether it starts from its parent's checkpoint."""


@dataclass
class Job:
    """A job as its owner and its workers should find it."""

    owner: str
    spec: Spec
    priority: int = 0
    retry_of: str | None = None
    clone_of: str | None = None
    id: str = ""
    """Given by the service."""
    status: str = "queued"
    attempt: int = 0
    restarts: int = 0
    backing_off: bool = False
    reports: dict[int, int] = field(default_factory=dict)
    """For each step with metrics, the attempt whose they are."""
    inherited: int = 0
    """The last step that is another job's."""
    checkpoints: dict[int, bool] = field(default_factory=dict)
    """The steps of its checkpoints, and whether they are promoted."""

    @property
    def saved(self) -> int:
        """Where the next attempt starts."""
        return max(self.checkpoints, default=0)

    def rewind(self) -> None:
        """What is beyond the newest checkpoint is computed again."""
        self.reports = {step: attempt for step, attempt in self.reports.items() if step <= self.saved}

    def lose(self) -> None:
        """Its attempt came to nothing."""
        if self.status == "running" and self.restarts >= self.spec.max_restarts:
            self.status = "failed"
            return
        self.status = {"running": "queued", "pausing": "paused", "cancelling": "cancelled"}[self.status]
        self.restarts += 1
        self.backing_off = self.restarts > 1

    def save(self, step: int) -> None:
        """A checkpoint more; of the old ones the promoted stay."""
        self.checkpoints.setdefault(step, False)
        newest = sorted(self.checkpoints)[-KEPT:]
        self.checkpoints = {at: kept for at, kept in self.checkpoints.items() if at in newest or kept}
        self.restarts = 0

    def inherit(self, earlier: "Job") -> None:
        """Start where another has come to."""
        self.checkpoints = dict.fromkeys(earlier.checkpoints, False)
        self.inherited = self.saved
        self.reports = dict(earlier.reports)
        self.rewind()


class Jobs(dict[str, Job]):
    """All jobs, oldest first."""

    def children(self, job: Job) -> list[Job]:
        """Those that still need it."""
        return [one for one in self.values() if one.spec.parent == job.id and one.status not in ENDED]

    def blocked_by(self, job: Job) -> list[str]:
        """The parent that must succeed before the job can start."""
        parent = self.get(job.spec.parent or "")
        return [parent.id] if job.status == "queued" and parent and parent.status != "succeeded" else []

    def waits_for(self, job: Job) -> str:
        """What a queued job waits for."""
        return "parent" if self.blocked_by(job) else "backoff" if job.backing_off else "worker"

    def unstartable(self) -> list[Job]:
        """Those that wait for one that will never succeed."""
        return [job for job in self.values() for name in self.blocked_by(job) if self[name].status in BAD]

    def line(self) -> list[Job]:
        """Queued jobs in the order in which they would be claimed: again and again the best of the rest, where an
        owner's turn comes later with each that runs. What cannot start is last.
        """
        runs = Counter(job.owner for job in self.values() if job.status in HELD)
        rest = [job for job in self.values() if job.status == "queued"]
        line: list[Job] = []
        while rest:
            best = min(rest, key=lambda job: (self.waits_for(job) != "worker", -job.priority, runs[job.owner]))
            rest.remove(best)
            line.append(best)
            runs[best.owner] += 1
        return line

    def startable(self) -> list[Job]:
        """Those that a worker may claim now, the best one first."""
        return [job for job in self.line() if self.waits_for(job) == "worker"]
