"""What a doorbell does."""

from celery import Celery

from service.failpoints import failpoint
from service.persistence.outbox import TRAIN
from worker.station import Station


def register(app: Celery, station: Station) -> None:
    """Have the station answer the bell. Which job it rang for does not matter: the best one that fits is taken."""

    @app.task(name=TRAIN)
    def train(job_id: str | None = None) -> None:
        failpoint("bell.heard")
        station.answer()
