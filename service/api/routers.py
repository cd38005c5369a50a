"""All routers, in the order in which the documentation shows them."""

from service.api import (
    checkpoints,
    events,
    files,
    health,
    jobs,
    keys,
    metrics,
    presets,
    queue,
    samples,
    sessions,
    webhooks,
    workers,
)

ALL = (
    jobs.router,
    events.router,
    metrics.router,
    samples.router,
    checkpoints.router,
    files.router,
    presets.router,
    webhooks.router,
    keys.router,
    sessions.router,
    queue.router,
    workers.router,
    health.router,
)
