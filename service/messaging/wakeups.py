"""Wake-ups over Redis pub/sub. They save waiting and carry no truth: a lost one costs a poll interval."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
import redis.asyncio
from redis.exceptions import RedisError

from service.logs import get

log = get(__name__)
RETRY_SECONDS = 1.0
AWAY_SECONDS = 5.0  # for which a Redis that did not answer is left alone


class Publisher:
    """Publishes wake-ups after commits. A Redis that does not answer is logged once until it is back."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1)
        self._away = False
        self._retry_at = 0.0

    def publish(self, channels: set[str]) -> None:
        """Wake whoever subscribes to these channels. A Redis that hangs costs a second at times, not at each commit."""
        if time.monotonic() < self._retry_at:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for channel in channels:
                    pipeline.publish(channel, b"")
                pipeline.execute()
            self._away = False
        except RedisError as error:
            if not self._away:
                log.warning("Redis does not answer; wake-ups wait for the next poll", error=str(error))
            self._away = True
            self._retry_at = time.monotonic() + AWAY_SECONDS

    def answers(self) -> bool:
        """Whether Redis can be asked."""
        try:
            return bool(self._redis.ping())
        except RedisError:
            return False

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()


class Subscriber:
    """A subscription to one channel, for a thread that waits for its wake-ups."""

    def __init__(self, redis_url: str, channel: str) -> None:
        self._channel = channel
        client = redis.Redis.from_url(redis_url, socket_connect_timeout=1, socket_timeout=5)
        self._subscription = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait for a wake-up, at most `seconds`; without Redis, for all of them or until `stop` is set."""
        try:
            if not self._subscription.subscribed:
                self._subscription.subscribe(self._channel)
            self._subscription.get_message(timeout=seconds)
        except (RedisError, OSError):
            stop.wait(seconds)


class Listener:
    """One subscription for a whole process, shared by all coroutines of its event loop."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(redis_url, socket_connect_timeout=1)
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @asynccontextmanager
    async def subscribed(self, channel: str, news: asyncio.Event) -> AsyncIterator[None]:
        """`news` is set at each wake-up of the channel."""
        self._waiting.setdefault(channel, set()).add(news)
        try:
            yield
        finally:
            self._waiting[channel].discard(news)
            if not self._waiting[channel]:
                del self._waiting[channel]

    async def run(self, pattern: str) -> None:
        """Listen until cancelled; connect again for as long as Redis is away."""
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.psubscribe(pattern)
                    async for message in subscription.listen():
                        self._wake(message.get("channel"))
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)

    def _wake(self, channel: object) -> None:
        name = channel.decode() if isinstance(channel, bytes) else str(channel)
        for news in self._waiting.get(name, ()):
            news.set()

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()
