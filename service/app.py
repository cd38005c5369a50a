"""The HTTP application: wiring only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.types import ASGIApp

from service import logs, settings
from service.api import problems, uploads
from service.api.cookies import SessionCookie
from service.api.dependencies import Services
from service.api.description import describe
from service.api.methods import HeadAsGet
from service.api.middleware import BodyLimit, Compression, RequestId, SecurityHeaders
from service.api.page import add_page
from service.api.root_path import RootPath
from service.api.routers import ALL
from service.messaging.wakeups import Listener, Publisher
from service.persistence.database import STALL_SECONDS, Database
from service.persistence.events import channel
from service.storage.store import Storage
from service.threads import Watchdog, end_process_on_error


class Application(FastAPI):
    """FastAPI whose outermost layers also see the answers of status 500, which no added middleware does."""

    def build_middleware_stack(self) -> ASGIApp:
        """All middleware, from the outside in."""
        return SecurityHeaders(RequestId(super().build_middleware_stack()))


def create_app() -> FastAPI:
    """The application with the settings of this process; uvicorn calls this."""
    config = settings.load()
    logs.configure(config.log_level)
    publisher = Publisher(config.redis_url)
    parts = Services(
        settings=config,
        database=Database(
            config.database_url, after_commit=publisher.publish, pool_size=10, stall_seconds=STALL_SECONDS
        ),
        storage=Storage(config.storage_url, config.data_dir / "cache", cache_bytes=config.cache_bytes),
        publisher=publisher,
        listener=Listener(config.redis_url),
    )
    app = described(_lifespan)
    app.state.services = parts
    app.add_middleware(BodyLimit, max_upload_bytes=config.max_upload_bytes)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RootPath, root_path=config.root_path, trust_forwarded=config.trust_forwarded_prefix)
    return app


def described(lifespan: object = None) -> FastAPI:
    """The application with its routes only, which is enough for the OpenAPI document."""
    app = Application(
        title="Hone",
        summary="Post-training of language models as durable jobs.",
        lifespan=lifespan,  # type: ignore[arg-type]  # FastAPI's alias for it is private
        docs_url=None,  # FastAPI's own pages run scripts of a CDN
        redoc_url=None,
        version="1",
        redirect_slashes=False,  # to an address made of the Host header
    )
    app.add_middleware(Compression)
    app.add_middleware(SessionCookie)
    problems.install(app)
    describe(app)
    for router in ALL:
        app.include_router(router)
    add_page(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Services = app.state.services
    uploads.sweep(parts.settings.data_dir)
    uploads.spool_into(parts.settings.data_dir)
    listening = asyncio.create_task(parts.listener.run(channel("*")), name="wake-ups")
    sweeping = asyncio.create_task(parts.streams.run(parts.database, parts.admissions.streams.run), name="streams")
    watching = asyncio.create_task(Watchdog().watch_event_loop(), name="watchdog")
    for task in (listening, sweeping, watching):
        end_process_on_error(task)
    try:
        yield
    finally:
        for task in (listening, sweeping, watching):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await parts.listener.close()
        parts.publisher.close()
        parts.database.close()
