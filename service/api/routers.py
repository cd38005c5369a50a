"""All routers, in the order in which the documentation shows them."""

from service.api import checkpoints, events, files, health, jobs, keys, metrics, presets, samples, webhooks

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
    health.router,
)
