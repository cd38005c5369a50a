"""Wake-ups over Redis pub/sub. They save waiting and carry no truth: a lost one costs a poll interval."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
import redis.asyncio
from redis.exceptions import RedisError

from service.logs import get

log = get(__name__)
RETRY_SECONDS = 1.0


class Ringer:
    """Rings channels after commits. A Redis that is away is logged once until it is back."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1)
        self._away = False

    def __call__(self, channels: set[str]) -> None:
        """Tell whoever listens that there is news."""
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

    def answers(self) -> bool:
        """Whether Redis can be asked."""
        try:
            return bool(self._redis.ping())
        except RedisError:
            return False


class Listener:
    """One subscription for a whole process, shared by all who wait in its event loop."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(redis_url, socket_connect_timeout=1)
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @asynccontextmanager
    async def waits_for(self, channel: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the channel is rung."""
        news = asyncio.Event()
        self._waiting.setdefault(channel, set()).add(news)
        try:
            yield news
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
                        self._ring(message.get("channel"))
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)

    def _ring(self, channel: object) -> None:
        name = channel.decode() if isinstance(channel, bytes) else str(channel)
        for news in self._waiting.get(name, ()):
            news.set()

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()
