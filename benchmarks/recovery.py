"""Seconds from the death of a worker until its job runs again, with the lease that operators have by default.

    python benchmarks/recovery.py [RUNS]

A worker is killed (SIGKILL) while it trains; it is started again at once, and waits, as any other would, until the
job's lease has run out. Told is the time until the new attempt has done its first step.
"""

import signal
import sys
import time
from statistics import median

from rig.service import Service, serving
from rig.specs import COMMON

from hone.documents.status import JobStatus
from service.persistence import jobs

LEASE_SECONDS = 30.0  # the default of HONE_LEASE_SECONDS
LONG = {"algorithm": {"type": "sft", "batch_size": 4}, "steps": 1_000_000, "checkpoint": {"every": 20}}


def recovery(service: Service) -> float:
    """Of one job."""
    job_id = service.submit(COMMON | LONG)
    service.until(lambda: _at(service, job_id) >= (1, 30), 120, "the job trains")
    service.parts["worker-1"].send(signal.SIGKILL)
    killed = time.monotonic()
    service.until(lambda: _at(service, job_id) > (2, 20), 120, "the job trains again")
    seconds = time.monotonic() - killed
    service.post(f"/v1/jobs/{job_id}/cancel")
    service.until(lambda: _status(service, job_id) == JobStatus.CANCELLED, 60, "the job has stopped")
    return seconds


def _at(service: Service, job_id: str) -> tuple[int, int]:
    """The attempt, and the step that it has done."""
    with service.database.transaction() as session:
        job = jobs.get(session, job_id, None)
        return job.attempt, job.progress["step"] if job.progress["phase"] == "training" else 0


def _status(service: Service, job_id: str) -> JobStatus:
    with service.database.transaction() as session:
        return JobStatus(jobs.get(session, job_id, None).status)


def main() -> None:
    """The median."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with serving(workers=1, lease_seconds=LEASE_SECONDS) as service:
        seconds = [recovery(service) for _ in range(runs)]
    print(f"a killed worker's job runs again after {median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})")


if __name__ == "__main__":
    main()
