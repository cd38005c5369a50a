"""The dispatcher as a process: `python -m service.dispatcher`. Wiring only."""

import signal
import threading
from functools import partial

from service import health_files, logs, settings
from service.dispatcher.garbage import GarbageCollector
from service.dispatcher.retention import Retention
from service.dispatcher.rounds import ROUND_SECONDS, Dispatcher, run, send_doorbells
from service.dispatcher.webhook_sender import Sender
from service.messaging import broker
from service.messaging.wakeups import Listener, Publisher, Subscriber
from service.persistence import outbox
from service.persistence.database import STALL_SECONDS, Database
from service.persistence.leadership import Leadership
from service.storage.store import Storage
from service.threads import LoopThread, Watchdog

SEND_SECONDS = 3.0  # within which the broker takes a doorbell, or it waits for the next round


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    config = settings.load()
    logs.configure(config.log_level)
    logs.catch_errors()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    publisher = Publisher(config.redis_url)
    database = Database(config.database_url, after_commit=publisher.publish, pool_size=3, stall_seconds=STALL_SECONDS)
    leadership = Leadership(config.database_url)
    open_storage = partial(Storage, config.storage_url, config.data_dir / "cache")
    collector = GarbageCollector(database, open_storage, config.sweep_seconds)
    other_duties = [collector.collect_garbage, Retention(database, config.retention_days).tidy]
    wakeups = Subscriber(config.redis_url, outbox.CHANNEL)
    webhooks = _webhook_thread(config, leadership, stop)
    webhooks.start()

    health, watchdog = {"rounds": True, "doorbells": True}, Watchdog()

    def report_health(name: str, healthy: bool) -> None:  # noqa: FBT001 - the one thing that is reported
        if name == "rounds":
            watchdog.alive()
        health[name] = healthy
        leadership.report(healthy=all(health.values()))
        if all(health.values()):
            health_files.touch(config.data_dir, "dispatcher")

    watchdog.alive()
    celery = broker.celery(config.redis_url, send_seconds=SEND_SECONDS)
    dispatcher = Dispatcher(database, celery, other_duties, lease_seconds=config.lease_seconds)
    ring = partial(
        send_doorbells,
        dispatcher.doorbells,
        wait=partial(wakeups.wait, ROUND_SECONDS, stop),
        stop=stop,
        report_health=partial(report_health, "doorbells"),
        leads=leadership,
    )
    doorbells = LoopThread(ring, "doorbells")
    doorbells.start()
    run(
        dispatcher,
        wait=partial(stop.wait, ROUND_SECONDS),
        stop=stop,
        report_health=partial(report_health, "rounds"),
        leads=partial(leadership, acts=True),
    )
    watchdog.close()
    doorbells.join(5)
    webhooks.join(5)
    collector.close()
    leadership.close()
    database.close()


def _webhook_thread(config: settings.Settings, leads: Leadership, stop: threading.Event) -> LoopThread:
    """Webhooks have a thread and database connections of their own, because endpoints may be slow."""

    def send() -> None:
        database = Database(config.database_url, pool_size=2, stall_seconds=STALL_SECONDS)
        private = config.webhook_allow_private
        try:
            Sender(database, Listener(config.redis_url), leads, private=private).run(stop)
        finally:
            database.close()

    return LoopThread(send, "webhooks")


if __name__ == "__main__":
    main()
