"""The worker process: `celery -A worker.app worker`. Wiring only; it never imports torch."""

import os
import secrets
import socket
from typing import Any

from celery.signals import worker_init, worker_shutdown, worker_shutting_down

from service import broker, logs, settings
from service.bells import Ringer
from service.persistence.database import Database
from service.storage import Storage
from worker import tasks
from worker.station import Station

config = settings.load()
logs.configure(config.log_level)
app = broker.celery(config.redis_url)
app.conf.update(
    worker_pool="threads",  # answering a bell is one query; the jobs run in threads of the station
    worker_concurrency=1,
    worker_cancel_long_running_tasks_on_connection_loss=True,  # there are none; without it Celery warns each time
)
app.set_current()
app.set_default()

host = socket.gethostname()
station = Station(
    config=config,
    worker_id=f"{host}-{os.getpid()}-{secrets.token_hex(3)}",
    host=host,
    database=Database(
        config.database_url,
        ring=Ringer(config.redis_url),
        pool_size=config.worker_slots + 2,
        stall_seconds=config.lease_seconds,  # a worker that freezes in a transaction must not keep its jobs locked
    ),
    storage=Storage(
        config.storage_url,
        config.data_dir / "cache",
        cache_bytes=config.cache_bytes,
        patience_seconds=config.storage_patience_seconds,
    ),
)
tasks.register(app, station)


@worker_init.connect  # not worker_ready: that waits for Redis, and a worker works without
def _init(**_: Any) -> None:
    station.open()


@worker_shutting_down.connect
def _shutting_down(**_: Any) -> None:
    station.stop()


@worker_shutdown.connect
def _shutdown(**_: Any) -> None:
    station.close()
