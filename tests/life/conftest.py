"""The application in this process, on real servers: a thousand requests take seconds."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from machine.refusals import MOST_WAITING
from machine.world import Service
from starlette.testclient import TestClient

from service import commands, settings
from service.app import create_app
from service.dispatcher.rounds import Dispatcher
from service.local.embedded import Servers
from service.messaging import broker
from service.persistence.database import Database
from service.queue_view import QueueView


@pytest.fixture
def service(
    embedded: Servers, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """What uvicorn runs, its lifespan included, and keys for two users."""
    environment = {
        "DATABASE_URL": embedded.database_url,
        "REDIS_URL": embedded.redis_url,
        "STORAGE_URL": str(tmp_path / "storage"),
        "HONE_DATA_DIR": str(tmp_path),
        "HONE_LOG_LEVEL": "ERROR",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.load.cache_clear()
    with database.transaction() as session:
        keys = {"root": commands.create_key(session, "root", "admin")[1]}
    app = create_app()
    app.state.services = replace(app.state.services, queue=QueueView(reuse=0))  # every look reads it anew
    with TestClient(app) as http:
        made = Service(http, keys, database, Dispatcher(database, broker.celery(embedded.redis_url)))
        for owner in ("ada", "bob"):
            wanted = {"owner": owner, "max_queued": MOST_WAITING.get(owner)}
            keys[owner] = made.ask("root", "POST", "/v1/keys", wanted).json()["secret"]
        yield made
    settings.load.cache_clear()
    logging.root.handlers.clear()  # the application's; pytest adds its own for each test
