"""The rounds of the dispatcher: which duties are due, and who may do them.

Several dispatchers may run: one leads, the others wait to take over. Two that both believe to lead do no harm, since
each takes only rows that no other has locked.
"""

import threading
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

    def __init__(
        self, database: Database, celery: Celery, other_duties: Sequence[Duty] = (), *, lease_seconds: float = 0.0
    ) -> None:
        self.doorbells = Doorbells(database, celery)
        self.recovery = Recovery(database, lease_seconds)
        self._other_duties = other_duties

    def due(self) -> list[Duty]:
        """The duties of a round; doorbells have a loop of their own."""
        return [self.recovery.return_lost_jobs, self.recovery.fail_unstartable_jobs, *self._other_duties]


def run(
    dispatcher: Dispatcher,
    wait: Callable[[], object],
    stop: threading.Event,
    report_health: Callable[[bool], None],
    leads: Callable[[], bool],
) -> None:
    """Rounds until `stop` is set. After each, `report_health` gets whether all duties succeeded; a standby has none."""

    def asked() -> bool:
        leading = leads()
        dispatcher.recovery.database_answered()
        return leading

    while not stop.is_set():
        failed = [duty for duty in dispatcher.due() if not _succeeds(duty, asked)]
        report_health(not failed)
        if failed:
            stop.wait(ROUND_SECONDS)
        wait()


def send_doorbells(
    doorbells: Doorbells,
    wait: Callable[[], object],
    stop: threading.Event,
    report_health: Callable[[bool], None],
    leads: Callable[[], bool],
) -> None:
    """The same for doorbells: at each wake-up, and once a round."""
    while not stop.is_set():
        sent = _succeeds(doorbells.send, leads)
        report_health(sent)
        if not sent:
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
