"""The rounds of the dispatcher: which duties are due, and who may do them.

Several dispatchers may run: one leads, the others wait to take over. Two that both believe to lead do no harm, since
each takes only rows that no other has locked.
"""

import threading
import time
from collections.abc import Callable, Sequence

from celery import Celery

from hone.errors import HoneError
from service import logs
from service.dispatcher.doorbells import Doorbells
from service.dispatcher.recovery import Recovery
from service.persistence.database import Database

log = logs.get(__name__)
ROUND_SECONDS = 1.0
Duty = Callable[[], None]


class Dispatcher:
    """The duties, which do not depend on each other: without Redis lost jobs must still return to the queue."""

    def __init__(self, database: Database, celery: Celery, other_duties: Sequence[Duty] = ()) -> None:
        self.doorbells = Doorbells(database, celery)
        self.recovery = Recovery(database)
        self._other_duties = other_duties
        self._next_round_at = 0.0

    def due(self) -> list[Duty]:
        """The duties that are due now: doorbells at any time, the others once a round. Doorbells come last: they wait
        while Redis does not answer.
        """
        if time.monotonic() < self._next_round_at:
            return [self.doorbells.send]
        self._next_round_at = time.monotonic() + ROUND_SECONDS
        recovery = [self.recovery.return_lost_jobs, self.recovery.fail_unstartable_jobs]
        return [*recovery, *self._other_duties, self.doorbells.send]


def run(
    dispatcher: Dispatcher,
    wait: Callable[[], object],
    stop: threading.Event,
    report_health: Callable[[bool], None],
    leads: Callable[[], bool],
) -> None:
    """Rounds until `stop` is set. After each, `report_health` gets whether all duties succeeded; a standby has none."""
    while not stop.is_set():
        failed = [duty for duty in dispatcher.due() if not _succeeds(duty, leads)]
        report_health(not failed)
        if failed:
            stop.wait(ROUND_SECONDS)
        wait()


def _succeeds(duty: Duty, leads: Callable[[], bool]) -> bool:
    """Asks who leads before each duty, because the one before may have taken long."""
    try:
        if leads():
            duty()
    except Exception as error:  # whatever a duty meets, the others and the next round must be tried
        log.error(
            "a duty failed and will be tried again",
            duty=duty.__name__,
            error=str(error),
            kind=type(error).__name__,
            exc_info=None if isinstance(error, HoneError) else error,  # one that nobody expected: where it comes from
        )
        return False
    return True
