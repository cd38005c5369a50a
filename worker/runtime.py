"""What one worker process does: claims jobs while a slot is free, runs each in a thread, polls and sends heartbeats.

A lost doorbell costs one poll interval; a superfluous one costs one query.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import partial

from hone.errors import HoneError, LeaseLost, Unavailable
from service import health_files, logs
from service.failpoints import failpoint
from service.persistence import claims, workers
from service.persistence.database import Database
from service.settings import Settings
from service.storage.store import Storage
from service.threads import LoopThread
from worker import host
from worker.assignment import prepare
from worker.attempt import Attempt, Claim
from worker.capacity import Capacity, Device
from worker.fork_server import FORKS, ForkServer
from worker.reporter import Reporter
from worker.scratch import Scratch, sweep
from worker.supervisor import Timeouts, supervise
from worker.trainer_process import TrainerProcess

log = logs.get(__name__)
GB = 10**9
HANGING_LEASES = 10  # for which the poll loop stands still before the worker ends: far beyond its deadlines


class WorkerRuntime:
    """The slots of one worker process. `look_for_jobs` may be called from any thread."""

    def __init__(self, config: Settings, worker_id: str, host: str, database: Database, storage: Storage) -> None:
        self._config = config
        self._id = worker_id
        self._host = host
        self._database = database
        self._storage = storage
        self._slots = threading.Semaphore(config.worker_slots)
        self._lock = threading.Lock()
        self._capacity = _capacity(config.worker_gpus)
        self._spare: TrainerProcess | None = None
        self._fork_server: ForkServer | None = None
        self._stopping = threading.Event()
        self._wakeup = threading.Event()
        self._timeouts = Timeouts(config.grace_seconds, config.silence_seconds)
        self._jobs: list[threading.Thread] = []
        self._polled_at = time.monotonic()
        self._threads = [
            LoopThread(self._poll, "poll"),
            LoopThread(self._send_heartbeats, "heartbeat"),
        ]

    def open(self) -> None:
        """Start to look for jobs and to send heartbeats."""
        sweep(self._config.data_dir)
        self._import_ahead()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Claim nothing more and hand back the running jobs: every supervisor sees this within a second."""
        self._stopping.set()
        self._wakeup.set()

    def close(self) -> None:
        """Wait for the supervisors, end what waits with torch imported, remove the worker's row."""
        self.stop()
        for thread in [*self._threads, *self._jobs]:
            if thread.is_alive():
                thread.join()
        if self._spare is not None:
            self._spare.kill()
        if self._fork_server is not None:
            self._fork_server.close()
        try:
            with self._database.transaction() as session:
                workers.remove(session, self._id)
        except HoneError as error:
            log.warning("the worker's row could not be removed", error=str(error))
        self._database.close()

    def look_for_jobs(self) -> None:
        """Wake the poll loop: a doorbell has come, or a slot is free again."""
        self._wakeup.set()

    def _start_jobs(self) -> None:
        """Start the best job that fits, then the next, until there is none or no slot. Each has a thread of its own."""
        while not self._stopping.is_set() and self._slots.acquire(blocking=False):
            started = False
            try:
                claim = self._claim_job()
                if claim is None:
                    return
                failpoint("claim.committed")
                self._start_job(claim)
                started = True
            finally:
                if not started:
                    self._slots.release()

    def _start_job(self, claim: Claim) -> None:
        thread = threading.Thread(target=self._run_job, args=(claim,), name=claim.job_id, daemon=True)
        self._jobs = [job for job in self._jobs if job.is_alive()] + [thread]
        thread.start()

    def _run_job(self, claim: Claim) -> None:
        try:
            self._run_attempt(claim)
        finally:
            with self._lock:
                self._capacity.give_back(claim.name)
            self._slots.release()
        self.look_for_jobs()

    def _claim_job(self) -> Claim | None:
        """One claim at a time, so that two threads do not both count the same GPUs as free."""
        with self._lock:
            with self._database.transaction() as session:
                if workers.is_draining(session, self._id):
                    return None
                free, unreadable = self._capacity.free_gpus, list[str]()
                claimed = claims.claim(
                    session, self._id, free, self._config.lease_seconds, self._capacity.fits, unreadable
                )
            claim = self._with_devices(claimed) if claimed else None
        for job_id in unreadable:
            self._guarded(partial(self._end_unreadable, job_id))
        return claim

    def _with_devices(self, claimed: claims.Claimed) -> Claim:
        job = claimed.job
        claim = Claim(job.id, job.attempt, claimed.spec, job.owner, [], job.ran_seconds)
        claim.devices.extend(self._capacity.take(claim.name, claimed.spec.resources))
        return claim

    def _end_unreadable(self, job_id: str) -> None:
        with self._database.transaction() as session:
            claims.end_unreadable(session, job_id)

    def _run_attempt(self, claim: Claim) -> None:
        log.info("claimed", job=claim.job_id, attempt=claim.attempt)
        scratch = Scratch(self._config.data_dir, claim.job_id, claim.attempt)
        attempt = Attempt(claim, self._database, self._storage, scratch, self._config.lease_seconds, self._stopping)
        reporter = Reporter(attempt, self._config.max_log_bytes)
        try:
            assignment = prepare(attempt, self._config.model_roots, reporter.end_unless_running)
            if assignment is None:
                return
            with self._start_trainer() as trainer:
                failpoint("trainer.spawned")
                supervise(trainer, assignment, reporter, self._timeouts, near_end=self._import_ahead)
        except LeaseLost as error:
            log.warning("stopped: this attempt no longer holds the job", job=claim.job_id, error=str(error))
        except Unavailable as error:
            log.warning("stopped: no database; the lease will run out", job=claim.job_id, error=str(error))
        except Exception as error:
            log.error("internal error", job=claim.job_id, exc_info=error)
            self._report_lost(reporter, f"internal error of the worker: {type(error).__name__}: {error}")
        finally:
            scratch.close()
            sweep(self._config.data_dir)
            self._import_ahead()

    def _report_lost(self, reporter: Reporter, reason: str) -> None:
        try:
            reporter.lost(reason)
        except (HoneError, LeaseLost) as error:
            log.error("could not be reported; the lease will run out", error=str(error))

    def _start_trainer(self) -> TrainerProcess:
        with self._lock:
            if self._fork_server is not None and not self._fork_server.ended:
                return TrainerProcess(self._fork_server)
            spare, self._spare = self._spare, None
        if spare is not None and spare.alive:
            return spare
        return TrainerProcess()

    def _import_ahead(self) -> None:
        """A process that has already imported torch waits for jobs, so that they start at once: it forks a trainer for
        each, or is itself the next one where trainers use devices, whose libraries do not survive a fork.
        """
        with self._lock:
            if not self._config.spare_trainer or self._stopping.is_set():
                return
            if FORKS and not self._config.worker_gpus:
                if self._fork_server is None or self._fork_server.ended:
                    self._fork_server = ForkServer()
            elif self._spare is None or not self._spare.alive:
                self._spare = TrainerProcess()

    def _poll(self) -> None:
        """All claims are made in this thread; `look_for_jobs` only wakes it."""
        while not self._stopping.is_set():
            self._wakeup.clear()
            self._guarded(self._start_jobs)
            self._polled_at = time.monotonic()
            if not self._stopping.is_set():  # read after `clear`: `stop` sets the wake-up too, which `clear` may undo
                self._wakeup.wait(self._config.poll_seconds)

    def _send_heartbeats(self) -> None:
        while not self._stopping.is_set():
            self._guarded(self._send_heartbeat)
            self._stopping.wait(self._config.lease_seconds / 3)

    def _send_heartbeat(self) -> None:
        """Not while the poll loop hangs: such a worker claims nothing and must not count as ready. It ends once no job
        runs that would lose steps; its supervisor starts another.
        """
        since_poll = time.monotonic() - self._polled_at
        if since_poll > HANGING_LEASES * self._config.lease_seconds and not any(job.is_alive() for job in self._jobs):
            raise RuntimeError(f"the poll loop hangs for {since_poll:.0f} s")
        if since_poll > self._config.poll_seconds + self._config.lease_seconds:
            log.error("the poll loop hangs; no heartbeat is sent", seconds=round(since_poll))
            return
        devices = [f"cuda:{index}" for index in self._config.worker_gpus] or ["cpu"]
        with self._database.transaction() as session:
            process = workers.Process(self._host, os.getpid(), self._config.worker_slots, devices)
            workers.beat(session, self._id, process, host.describe(tuple(self._config.worker_gpus)))
        health_files.touch(self._config.data_dir, "worker")

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do it; without the database, the next round tries again. Any other error ends the process, and a new one
        takes over (`service/threads.py`).
        """
        try:
            work()
        except HoneError as error:
            log.warning("will try again", error=str(error))


def _capacity(indices: list[int]) -> Capacity:
    gpus = [Device(gpu["index"], gpu["memory_bytes"] / GB or None) for gpu in host.gpus(indices)]
    return Capacity(gpus, host.memory_bytes() / GB)
