"""A worker's slots: claims jobs while one is free, sees each through, and looks for work by itself.

A lost bell costs one poll interval; a bell too many costs one query.
"""

import os
import threading
from collections.abc import Callable

from service import beats, logs
from service.domain.errors import HoneError, LeaseLost, Unavailable
from service.domain.room import Gpu, Room
from service.domain.specs import ResourcesSpec
from service.failpoints import failpoint
from service.persistence import claims, workers
from service.persistence.database import Database
from service.settings import Settings
from service.storage import Storage
from worker import host
from worker.assignment import Claim, prepare
from worker.reporter import Reporter
from worker.scratch import Scratch, sweep
from worker.supervisor import Patience, supervise
from worker.trainer_process import TrainerProcess

log = logs.get(__name__)
GB = 10**9


class Station:
    """All that one worker process does. `answer` may be called from any thread."""

    def __init__(self, config: Settings, worker_id: str, host: str, database: Database, storage: Storage) -> None:
        self._config = config
        self._id = worker_id
        self._host = host
        self._database = database
        self._storage = storage
        self._slots = threading.Semaphore(config.worker_slots)
        self._lock = threading.Lock()
        self._room = _room(config.worker_gpus)
        self._spare: TrainerProcess | None = None
        self._stopping = threading.Event()
        self._patience = Patience(config.grace_seconds, config.silence_seconds)
        self._jobs: list[threading.Thread] = []
        self._threads = [
            threading.Thread(target=self._poll, name="poll", daemon=True),
            threading.Thread(target=self._beat, name="beat", daemon=True),
        ]

    def open(self) -> None:
        """Start looking for work, and say that this worker lives."""
        sweep(self._config.data_dir)
        self._refill_spare()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Claim nothing more and hand back what runs: every supervisor sees this within a second."""
        self._stopping.set()

    def close(self) -> None:
        """Wait for the supervisors, end the spare trainer, say goodbye."""
        self.stop()
        for thread in [*self._threads, *self._jobs]:
            if thread.is_alive():
                thread.join()
        if self._spare is not None:
            self._spare.kill()
        try:
            with self._database.transaction() as session:
                workers.remove(session, self._id)
        except HoneError as error:
            log.warning("could not say goodbye", error=str(error))
        self._database.close()

    def answer(self) -> None:
        """Start the best job that fits, then the next, until there is none or no slot."""
        self._guarded(self._fill)

    def _fill(self) -> None:
        """Each job has a thread of its own, so that neither bells nor polls wait for one."""
        while not self._stopping.is_set() and self._slots.acquire(blocking=False):
            started = False
            try:
                claim = self._claim()
                if claim is None:
                    return
                failpoint("claim.committed")
                self._start(claim)
                started = True
            finally:
                if not started:
                    self._slots.release()

    def _start(self, claim: Claim) -> None:
        thread = threading.Thread(target=self._see_through, args=(claim,), name=claim.job_id, daemon=True)
        self._jobs = [job for job in self._jobs if job.is_alive()] + [thread]
        thread.start()

    def _see_through(self, claim: Claim) -> None:
        try:
            self._run(claim)
        finally:
            with self._lock:
                self._room.give_back(claim.name)
            self._slots.release()
        self.answer()

    def _claim(self) -> Claim | None:
        """One claim at a time, so that two threads do not both count the same GPUs as free."""
        with self._lock:
            with self._database.transaction() as session:
                if workers.is_draining(session, self._id):
                    return None
                job = claims.claim(session, self._id, self._room.free_gpus, self._config.lease_seconds, self._room.fits)
            if job is None:
                return None
            claim = Claim(job.id, job.attempt, dict(job.spec), job.owner, [], job.ran_seconds)
            claim.devices.extend(self._room.take(claim.name, ResourcesSpec.model_validate(job.spec["resources"])))
            return claim

    def _run(self, claim: Claim) -> None:
        log.info("claimed", job=claim.job_id, attempt=claim.attempt)
        lease_seconds = self._config.lease_seconds
        scratch = Scratch(self._config.data_dir, claim.job_id, claim.attempt)
        reporter = Reporter(
            claim,
            self._database,
            self._storage,
            scratch.path,
            lease_seconds,
            self._stopping,
            self._config.max_log_bytes,
        )
        try:
            roots = self._config.model_roots
            assignment = prepare(
                claim, self._database, self._storage, scratch, roots, lease_seconds, reporter.ends_early
            )
            if assignment is None:
                return
            with self._trainer() as trainer:
                failpoint("trainer.spawned")
                supervise(trainer, assignment, reporter, self._stopping, self._patience, near_end=self._refill_spare)
        except LeaseLost as error:
            log.warning("stopped: another worker has the job, or nobody should", job=claim.job_id, error=str(error))
        except Unavailable as error:
            log.warning("stopped without the database; the lease will run out", job=claim.job_id, error=str(error))
        except Exception as error:
            log.error("an error of ours", job=claim.job_id, exc_info=error)
            self._give_up(reporter, f"an error of ours in the worker: {type(error).__name__}: {error}")
        finally:
            scratch.close()
            sweep(self._config.data_dir)
            self._refill_spare()

    def _give_up(self, reporter: Reporter, how: str) -> None:
        try:
            reporter.lost(how)
        except (HoneError, LeaseLost) as error:
            log.error("the job waits for its lease to run out", error=str(error))

    def _trainer(self) -> TrainerProcess:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare.alive:
            return spare
        return TrainerProcess()

    def _refill_spare(self) -> None:
        """A trainer that has already imported torch waits for the next job, so that it starts at once."""
        with self._lock:
            wanted = self._config.spare_trainer and not self._stopping.is_set()
            if wanted and (self._spare is None or not self._spare.alive):
                self._spare = TrainerProcess()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self.answer()
            self._stopping.wait(self._config.poll_seconds)

    def _beat(self) -> None:
        while not self._stopping.is_set():
            self._guarded(self._say_alive)
            self._stopping.wait(self._config.lease_seconds / 3)

    def _say_alive(self) -> None:
        devices = [f"cuda:{index}" for index in self._config.worker_gpus] or ["cpu"]
        with self._database.transaction() as session:
            slots, facts = self._config.worker_slots, host.describe(tuple(self._config.worker_gpus))
            workers.beat(session, self._id, self._host, os.getpid(), slots, devices, facts)
        beats.beat(self._config.data_dir, "worker")

    def _guarded(self, act: Callable[[], None]) -> None:
        """A database that is away must not end the thread."""
        try:
            act()
        except HoneError as error:
            log.warning("will try again", error=str(error))


def _room(indices: list[int]) -> Room:
    gpus = [Gpu(one["index"], one["memory_bytes"] / GB or None) for one in host.gpus(indices)]
    return Room(gpus, host.memory_bytes() / GB)
