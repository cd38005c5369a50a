"""Sends doorbells, the messages of the outbox, to the workers through Celery.

In a thread of its own and outside transactions: a broker that hangs must keep neither lost jobs from returning to the
queue nor rows locked.
"""

from celery import Celery

from service.failpoints import failpoint
from service.persistence import outbox, workers
from service.persistence.database import Database


class Doorbells:
    """What a thread of the dispatcher does."""

    def __init__(self, database: Database, celery: Celery) -> None:
        self._database = database
        self._celery = celery

    def send(self) -> None:
        """Outbox to broker. A message may be sent twice: the rows are deleted after the broker took it.

        All doorbells mean the same, so one for each worker is enough, however many jobs were submitted; more would
        queue up in the broker for workers that start later.
        """
        with self._database.transaction() as session:
            messages = outbox.oldest(session)
            doorbells = messages[: max(1, len(workers.alive(session)))] if messages else []
        for doorbell in doorbells:
            failpoint("outbox.taken")
            self._celery.send_task(doorbell.topic, kwargs=doorbell.payload, retry=False, ignore_result=True)
            failpoint("outbox.sent")
        if messages:
            with self._database.transaction() as session:
                outbox.sent(session, messages)
                failpoint("outbox.deleted")
            failpoint("outbox.committed")
