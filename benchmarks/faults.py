"""A long soak: jobs run while everything is broken at random, and each ends as if nothing had happened.

    python benchmarks/faults.py [--faults 1000] [--seed 1] [--minutes 60] [--pause 1.5] [--jobs 6]
    python benchmarks/faults.py --walk    # each failpoint once, with each thing that can happen there

Kills and stalls processes, PostgreSQL and Redis among them, cuts the network, fills the disk, and arms failpoints
(HONE_FAILPOINTS), until so many faults have happened. Each job is compared value by value, and weight by weight, with
an undisturbed run of the same spec. Prints a table; the exit status is 1 when an invariant is violated.
"""

import argparse
import random
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from rig import faults, outcomes, walk
from rig.parts import Part
from rig.recovery import Watch
from rig.service import Service, serving
from rig.specs import SPECS
from rig.trial import References, Trial

from hone.documents.status import JobStatus

ARMED_SHARE = 0.5
"""Of the starts of a process: with failpoints."""
END_SECONDS = 300
CANCELLED_SHARE = 0.1
PAUSED_SHARE = 0.2
REPORT_SECONDS = 30


class Soak:
    """One run."""

    def __init__(self, service: Service, references: References, options: argparse.Namespace) -> None:
        self.service, self.options = service, options
        self.random = random.Random(options.seed)
        self.plans = random.Random(options.seed + 1)  # drawn from in another thread
        self.trial = Trial(references)
        self.watch = Watch(service.database)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()
        self.ended: dict[str, JobStatus] = {}
        self._lock = threading.Lock()
        service.plan = self.plan
        service.on_fired = lambda name, action: self.count(f"failpoint {action}")

    def plan(self, part: Part) -> None:
        """Called when a part starts: half of them get failpoints."""
        if part.name in ("postgres", "redis"):
            return
        armed = self.plans.random() < ARMED_SHARE and self.total < self.options.faults
        part.arm(faults.random_failpoints(self.service, self.plans, part) if armed else "")

    @property
    def total(self) -> int:
        """Faults so far."""
        return sum(self.counts.values())

    def count(self, kind: str) -> None:
        """One more happened, just now."""
        with self._lock:
            self.counts[kind] += 1
        self.watch.fault(kind)

    def run(self) -> None:
        """Break, submit and check until it is enough; then let everything end."""
        deadline = time.monotonic() + 60 * self.options.minutes
        told = time.monotonic()
        while self.total < self.options.faults and time.monotonic() < deadline:
            self.keep_busy()
            self.inject()
            self.check_ended()
            time.sleep(self.random.uniform(0.5, 1.5) * self.options.pause)
            if time.monotonic() - told > REPORT_SECONDS:
                told = time.monotonic()
                print(f"{self.total} faults, {sum(self.done.values())} jobs ended, {len(self.wrong)} wrong", flush=True)
        self.finish()

    def keep_busy(self) -> None:
        """As many jobs in flight as wanted; some will be cancelled."""
        while len(self.trial.jobs) < self.options.jobs:
            name = self.random.choice(sorted(SPECS))
            cancelled = self.random.random() < CANCELLED_SHARE
            endings = (JobStatus.SUCCEEDED, JobStatus.CANCELLED) if cancelled else (JobStatus.SUCCEEDED,)
            job_id = self.trial.submit(name, endings)
            if cancelled:
                self.later(self.random.uniform(0, 20), self.cancel, job_id)
            if self.random.random() < PAUSED_SHARE:
                self.later(self.random.uniform(0, 20), self.pause, job_id)

    def later(self, seconds: float, act: Callable[[str], object], job_id: str) -> None:
        """In a thread: the API may be dead or frozen when the time has come."""
        timer = threading.Timer(seconds, act, args=(job_id,))
        timer.daemon = True
        timer.start()

    def cancel(self, job_id: str) -> None:
        """Ask once; whether anybody heard is the service's affair."""
        self.service.post(f"/v1/jobs/{job_id}/cancel")

    def pause(self, job_id: str) -> None:
        """For some seconds; a pause that is heard late is ended by `wake`."""
        self.service.post(f"/v1/jobs/{job_id}/pause")

    def wake(self) -> None:
        """Resume what has been paused."""
        for job_id in outcomes.paused(self.service.database, list(self.trial.jobs)):
            self.service.post(f"/v1/jobs/{job_id}/resume")

    def inject(self) -> None:
        """One fault of a random kind."""
        kind = self.random.choice(sorted(set(faults.KINDS) - set(self.options.without)))
        what = faults.KINDS[kind](self.service, self.random)
        if what is not None:
            self.service.broke(what)
            self.count(kind)

    def check_ended(self) -> None:
        """Verdicts on the jobs that have ended, whose files are removed then; while something is broken: later."""
        try:
            ended = outcomes.ended(self.service.database, list(self.trial.jobs))
            for job_id in ended:
                self.judge(job_id)
            self.wake()
        except Exception as error:  # noqa: BLE001 - the database may be away: the next round tells
            self.service.broke(f"(no verdict now: {type(error).__name__})")

    def judge(self, job_id: str) -> None:
        """Against its undisturbed twin."""
        one = Trial(self.trial.references)
        one.jobs[job_id], one.endings[job_id] = self.trial.jobs[job_id], self.trial.endings[job_id]
        wrong = one.wrong()
        if wrong:
            print(one.verdict(self.options.seed, wrong), flush=True)
        self.wrong += wrong
        self.done[self.trial.jobs.pop(job_id)] += 1
        self.ended[job_id] = outcomes.read(self.service.database, job_id).status
        self.trial.endings.pop(job_id)
        if not wrong:
            self.service.forget(job_id)

    def finish(self) -> None:
        """Nothing is broken any more: all jobs end, and nothing is left over."""
        self.service.heal_all()
        deadline = time.monotonic() + END_SECONDS
        while self.trial.jobs and time.monotonic() < deadline:
            self.check_ended()
            time.sleep(1)
        self.wrong += [f"{job_id}: did not end within {END_SECONDS} s" for job_id in self.trial.jobs]
        left = self.trial.processes_left() + self.trial.files_left(self.options.garbage)
        left += self.trial.untold(self.ended)
        if left:
            print(self.trial.verdict(self.options.seed, left), flush=True)
        self.wrong += left
        self.watch.close()

    def table(self) -> str:
        """What benchmarks/README.md shows."""
        seconds: dict[str, list[float]] = {}
        for kind, value in self.watch.seconds:
            seconds.setdefault(kind, []).append(value)
        everything = [value for _, value in self.watch.seconds]
        lines = ["| fault | times | recovery: median | p99 |", "|---|---|---|---|"]
        lines += [_row(kind, count, seconds.get(kind, [])) for kind, count in sorted(self.counts.items())]
        jobs, duplicates = sum(self.done.values()), sum("twice" in one or "jobs for" in one for one in self.wrong)
        lost = sum("is not there" in one or " is failed" in one for one in self.wrong)
        return "\n".join(
            [
                *lines,
                _row("**all**", self.total, everything),
                "",
                f"{jobs} jobs ({', '.join(f'{count} {name}' for name, count in sorted(self.done.items()))}), "
                f"{lost} lost, {duplicates} duplicates, {len(self.wrong)} violations, seed {self.options.seed}",
            ]
        )


def walk_all(service: Service, references: References) -> list[str]:
    """By every failpoint with everything that can happen there, of which the tests do a sixth."""
    wrong: list[str] = []
    for action in walk.WAYS:
        trial, chosen = Trial(references), walk.whole(action)
        walk.arm(service, chosen.plan)
        found = chosen.run(trial, END_SECONDS, rounds=2)
        print(f"{action}: {len(chosen.names)} failpoints, {len(trial.jobs)} jobs, {len(found)} wrong", flush=True)
        print(trial.verdict(f"--walk, {action}", found), flush=True)
        wrong += found
    walk.arm(service, "")
    return wrong


def _row(kind: str, count: int, seconds: list[float]) -> str:
    if not seconds:
        return f"| {kind} | {count} | | |"
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"| {kind} | {count} | {statistics.median(seconds):.1f} s | {p99:.1f} s |"


def soak(service: Service, references: References, options: argparse.Namespace) -> list[str]:
    """What was wrong; prints the table."""
    made = Soak(service, references, options)
    made.run()
    print(made.table())
    return made.wrong


def main() -> int:
    """0 when every invariant held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between two faults, on average")
    parser.add_argument("--jobs", type=int, default=6, help="in flight")
    parser.add_argument("--without", nargs="*", default=[], choices=sorted(faults.KINDS), help="kinds to leave out")
    parser.add_argument("--garbage", type=float, default=30, help="seconds for orphan files to be collected")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--walk", action="store_true", help="instead: each failpoint once with all that can happen there"
    )
    options = parser.parse_args()
    wrong: list[str] = []
    with serving(lambda: bool(wrong), workers=options.workers, disk_mb=400) as service:
        references = References(service)
        references.make(sorted(SPECS))
        began = time.monotonic()
        wrong += walk_all(service, references) if options.walk else soak(service, references, options)
        print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
