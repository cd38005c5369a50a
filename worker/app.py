"""The worker process: `celery -A worker.app worker`. Wiring only; it never imports torch."""

import logging
import os
import secrets
import socket
import threading
import time
from typing import Any

from celery.signals import worker_init, worker_shutdown, worker_shutting_down

from service import logs, settings
from service.failpoints import failpoint
from service.messaging import broker
from service.messaging.wakeups import Publisher
from service.persistence.database import Database
from service.persistence.outbox import TRAIN
from service.storage.store import Storage
from worker.runtime import WorkerRuntime

config = settings.load()
logs.configure(config.log_level)
logs.catch_errors()
app = broker.celery(config.redis_url)
app.conf.update(
    worker_pool="threads",  # a doorbell only sets an event; the jobs run in threads of the runtime
    worker_concurrency=1,
    worker_cancel_long_running_tasks_on_connection_loss=True,  # there are none; without it Celery warns each time
)
app.set_current()
app.set_default()

HANDING_BACK_SECONDS = 10.0  # to move the last checkpoints, beside the time that jobs have to save
CELERY_SECONDS = 3.0
log = logs.get(__name__)
host = socket.gethostname()


def open_storage() -> Storage:
    """The storage, or an exit: a worker that cannot store would claim jobs only to fail them."""
    try:
        storage = Storage(
            config.storage_url,
            config.data_dir / "cache",
            cache_bytes=config.cache_bytes,
            retry_seconds=config.storage_patience_seconds,
        )
        if storage.is_directory and not storage.answers():
            raise PermissionError(f"user {os.getuid()} cannot write there; it must be shared with the other hosts")
    except OSError as error:
        raise SystemExit(f"hone: cannot start\n  STORAGE_URL={config.storage_url}: {error}") from None
    return storage


runtime = WorkerRuntime(
    config=config,
    worker_id=f"{host}-{os.getpid()}-{secrets.token_hex(3)}",
    host=host,
    database=Database(
        config.database_url,
        after_commit=Publisher(config.redis_url).publish,
        pool_size=config.worker_slots + 2,
        stall_seconds=config.lease_seconds,  # a worker that freezes in a transaction must not keep its jobs locked
    ),
    storage=open_storage(),
)


@app.task(name=TRAIN)
def train(job_id: str | None = None) -> None:
    """A doorbell. It does not matter which job it was sent for: the worker claims the best ones that fit."""
    failpoint("doorbell.received")
    runtime.look_for_jobs()


@worker_init.connect  # not worker_ready: that waits for Redis, and a worker works without
def _init(**_: Any) -> None:
    runtime.open()


@worker_shutting_down.connect
def _shutting_down(**_: Any) -> None:
    runtime.stop()
    threading.Thread(target=_end_in_time, name="end", daemon=True).start()


def _end_in_time() -> None:
    """Hand the jobs back and end, whatever hangs: Celery waits for the broker when it stops, for more than a minute."""
    closing = threading.Thread(target=runtime.close, daemon=True)
    closing.start()
    closing.join(config.grace_seconds + HANDING_BACK_SECONDS)
    time.sleep(CELERY_SECONDS)  # in which Celery ends by itself, if nothing hangs
    log.warning("the worker ends although something hangs", jobs_handed_back=not closing.is_alive())
    logging.shutdown()
    os._exit(0)


@worker_shutdown.connect
def _shutdown(**_: Any) -> None:
    runtime.close()
