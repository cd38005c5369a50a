"""The Celery application: how a doorbell gets from the dispatcher to a worker. A message carries no truth."""

from celery import Celery

QUEUE = "hone"


def celery(redis_url: str, *, send_seconds: float | None = None) -> Celery:
    """An application on a Redis broker, without results: the row is the result. `send_seconds`, for who only sends: a
    broker that has not answered for so long counts as away.
    """
    app = Celery("hone", broker=_broker_url(redis_url), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,  # a lost doorbell does no harm: workers also poll
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": 2,
            "socket_timeout": send_seconds or 30,
            "retry_on_timeout": send_seconds is None,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,  # it would make a log line of every line of a traceback
        worker_send_task_events=False,
    )
    return app


def _broker_url(redis_url: str) -> str:
    """redis-py writes a socket as `unix:///path`, kombu as `redis+socket:///path`. Kombu verifies certificates only
    where it is told to.
    """
    scheme, separator, rest = redis_url.partition("://")
    if scheme == "rediss" and "ssl_cert_reqs=" not in rest:
        return f"{redis_url}{'&' if '?' in rest else '?'}ssl_cert_reqs=required"
    return f"redis+socket{separator}{rest}" if scheme == "unix" else redis_url
