"""The dispatcher: sends what the outbox holds, returns lost jobs to the queue, ends jobs that can never start.

Beside these, in a thread of its own, it sends webhooks.

`python -m service.dispatcher`. Several may run: one leads, the others wait to take over. Even two that both believe to
lead do no harm, since each takes only rows that no other has locked.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from celery import Celery
from redis import Redis
from redis.exceptions import RedisError

from service import beats, broker, logs, settings
from service.bells import Listener, Ringer
from service.domain.jobs import Failure
from service.failpoints import failpoint
from service.garbage import Broom
from service.persistence import jobs, leases, outbox, workers
from service.persistence.database import STALL_SECONDS, Database
from service.persistence.leadership import Leadership
from service.retention import Retention
from service.storage import Storage
from service.webhooks import Sender

log = logs.get(__name__)
ROUND_SECONDS = 1.0
HEARD_SECONDS = 60.0  # a worker that was silent for longer hears no bell
LOST = Failure(
    category="lost",
    message="its worker was not heard of for a whole lease",
    hint="look at the worker's host: it may have crashed, lost its network or run out of memory",
)


class Dispatcher:
    """What is due, in parts that do not depend on each other: without Redis lost jobs must still be recovered."""

    def __init__(self, database: Database, celery: Celery, also: Sequence[Callable[[], None]] = ()) -> None:
        self._database = database
        self._celery = celery
        self._also = also
        self._round_at = 0.0

    def due(self) -> list[Callable[[], None]]:
        """What is to be done now: bells at any time, the rest once a round; last what waits for Redis when that is
        away.
        """
        if time.monotonic() < self._round_at:
            return [self.send]
        self._round_at = time.monotonic() + ROUND_SECONDS
        return [self.recover, self.end_orphans, *self._also, self.send]

    def send(self) -> None:
        """Outbox to broker. A message may be sent twice: the rows are deleted after the broker took it.

        Every bell means the same, so one for each worker is enough, however many jobs have come; what waits in the
        broker for a worker to start would only have to be heard there.
        """
        with self._database.transaction() as session:
            messages = outbox.take(session)
            bells = messages[: max(1, len(workers.alive(session, HEARD_SECONDS)))] if messages else []
            for bell in bells:
                failpoint("outbox.taken")
                self._celery.send_task(bell.topic, kwargs=bell.payload, retry=False, ignore_result=True)
                failpoint("outbox.sent")
            outbox.sent(session, messages)
            if messages:
                failpoint("outbox.deleted")
        if messages:
            failpoint("outbox.committed")

    def recover(self) -> None:
        """Jobs whose worker is silent run again."""
        with self._database.transaction() as session:
            lost = leases.expired(session)
            for job in lost:
                failpoint("lost.found")
                log.warning("a lease ran out", job=job.id, attempt=job.attempt, worker=job.lease_owner)
                leases.lose(session, job, LOST)
        if lost:
            failpoint("lost.committed")

    def end_orphans(self) -> None:
        """Jobs that wait for one that will never succeed."""
        with self._database.transaction() as session:
            for job, parent in jobs.orphans(session):
                message = f"it depends on job {parent.id}, which has {parent.status}"
                jobs.fail(session, job, Failure(category="user", message=message, hint="retry the parent, then submit"))


class Doze:
    """Waits for news of the outbox, at most a round long."""

    def __init__(self, redis_url: str, stop: threading.Event) -> None:
        self._stop = stop
        client = Redis.from_url(redis_url, socket_connect_timeout=1)
        self._subscription = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]

    def __call__(self) -> None:
        """Return when there is news, or after a while."""
        try:
            if not self._subscription.subscribed:
                self._subscription.subscribe(outbox.CHANNEL)
            self._subscription.get_message(timeout=ROUND_SECONDS)
        except (RedisError, OSError):
            self._stop.wait(ROUND_SECONDS)


def run(
    dispatcher: Dispatcher,
    doze: Callable[[], object],
    stop: threading.Event,
    beat: Callable[[], None],
    leads: Callable[[], bool],
) -> None:
    """Rounds until told to stop; a beat after each that did all that was due, which for a standby is nothing."""
    while not stop.is_set():
        undone = [duty for duty in dispatcher.due() if not _done(duty, leads)]
        if undone:
            stop.wait(ROUND_SECONDS)
        else:
            beat()
        doze()


def _done(duty: Callable[[], None], leads: Callable[[], bool]) -> bool:
    """Before each duty it is asked anew who leads: the one before may have taken long."""
    try:
        if leads():
            duty()
    except Exception as error:  # noqa: BLE001 - whatever a duty meets, the others and the next round must be tried
        log.error("will try again", duty=duty.__name__, error=str(error), kind=type(error).__name__)
        return False
    return True


def main() -> None:
    """The process: until SIGTERM or SIGINT."""
    config = settings.load()
    logs.configure(config.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ringer = Ringer(config.redis_url)
    database = Database(config.database_url, ring=ringer, pool_size=2, stall_seconds=STALL_SECONDS)
    leadership = Leadership(config.database_url)
    broom = Broom(database, partial(Storage, config.storage_url, config.data_dir / "cache"), config.sweep_seconds)
    also = [broom.collect_garbage, Retention(database, config.retention_days).tidy]
    dispatcher = Dispatcher(database, broker.celery(config.redis_url), also)
    doze = Doze(config.redis_url, stop)
    sending = _sending(config, leadership, stop)
    sending.start()
    run(dispatcher, doze, stop, partial(beats.beat, config.data_dir, "dispatcher"), leadership)
    sending.join(5)
    broom.close()
    leadership.close()
    database.close()


def _sending(config: settings.Settings, leads: Leadership, stop: threading.Event) -> threading.Thread:
    """Webhooks go out in a thread of their own, with connections of their own: endpoints may take their time."""

    def send() -> None:
        database = Database(config.database_url, pool_size=2, stall_seconds=STALL_SECONDS)
        private = config.webhook_allow_private
        try:
            Sender(database, Listener(config.redis_url), leads, private=private).run(stop)
        finally:
            stop.set()  # whoever supervises us starts all of it again
            database.close()

    return threading.Thread(target=send, name="webhooks", daemon=True)


if __name__ == "__main__":
    main()
