"""What crowds do to one API process: cold requests at once, open streams, and polls beside the longest answers.

    python benchmarks/burst.py [SIMULTANEOUS]

1. SIMULTANEOUS (1,000) requests for a job on as many connections, after a rest in which the API forgets the keys.
2. As many streams of events, each until it has its first event, then held; polls and /healthz meanwhile.
3. Polls while one client reads a metric of a million points, from start to end.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psycopg
from own_service import service

REST_SECONDS = 7
HELD_SECONDS = 10
POINTS = 1_000_000
SPEC = {
    "algorithm": {"type": "sft", "batch_size": 4},
    "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 64, "style": "symbolic"},
    "steps": 2,
}
Answer = tuple[str, float]
"""The status, or the name of an error, and the seconds until its last byte."""


class Crowd:
    """Clients with a connection each."""

    def __init__(self, url: str, key: str) -> None:
        place = urlsplit(url)
        assert place.hostname and place.port
        self._host, self._port = place.hostname, place.port
        self._key = key

    async def send(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection and send a request."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        lines = [
            f"GET {path} HTTP/1.1",
            f"host: {self._host}",
            f"authorization: Bearer {self._key}",
            "connection: close",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        return reader, writer

    async def get(self, path: str, seconds: float = 120) -> Answer:
        """One request, to the end of its answer."""
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await self.send(path)
                status = (await reader.readline()).split()[1].decode()
                while await reader.read(1 << 16):
                    pass
                writer.close()
        except (OSError, TimeoutError, IndexError) as error:
            status = type(error).__name__
        return status, time.perf_counter() - begun

    async def poll(self, path: str, stop: asyncio.Event) -> list[Answer]:
        """Requests one after another."""
        answers = []
        while not stop.is_set():
            answers.append(await self.get(path))
            await asyncio.sleep(0.05)
        return answers


def told(name: str, answers: list[Answer]) -> None:
    """Statuses, and percentiles of the time."""
    seconds = sorted(seconds for _, seconds in answers)
    at = {share: seconds[min(len(seconds) - 1, int(share * len(seconds)))] for share in (0.5, 0.99)}
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(Counter(s for s, _ in answers).items()))
    print(f"{name:44} {statuses}; p50 {at[0.5]:.2f} s, p99 {at[0.99]:.2f} s, worst {seconds[-1]:.2f} s", flush=True)


async def cold_requests(crowd: Crowd, path: str, count: int) -> None:
    """All at once."""
    await asyncio.sleep(REST_SECONDS)
    told(f"{count} cold requests at once", list(await asyncio.gather(*(crowd.get(path) for _ in range(count)))))


async def beside(crowd: Crowd, job: str, work: Callable[[], Awaitable[None]]) -> None:
    """Polls and /healthz while something else happens."""
    stop = asyncio.Event()
    polls = [asyncio.create_task(crowd.poll(path, stop)) for path in (f"/v1/jobs/{job}", "/healthz")]
    await work()
    stop.set()
    for name, task in zip(("  polls of the job meanwhile", "  /healthz meanwhile"), polls, strict=True):
        told(name, await task)


async def streams(crowd: Crowd, job: str, count: int) -> None:
    """Each until its first event, then all held open."""
    begun = time.perf_counter()

    async def opened() -> tuple[str, float, asyncio.StreamReader | None]:
        try:
            async with asyncio.timeout(120):
                reader, _ = await crowd.send(f"/v1/jobs/{job}/stream")
                status = (await reader.readline()).split()[1].decode()
                if status == "200":
                    await reader.readuntil(b"data:")
                return status, time.perf_counter() - begun, reader
        except (OSError, TimeoutError, IndexError, asyncio.IncompleteReadError) as error:
            return type(error).__name__, time.perf_counter() - begun, None

    async def work() -> None:
        results = await asyncio.gather(*(opened() for _ in range(count)))
        told(f"{count} streams, until their first event", [(status, seconds) for status, seconds, _ in results])
        await asyncio.sleep(HELD_SECONDS)
        readers = [reader for status, _, reader in results if status == "200" and reader is not None]
        print(f"{'':44} {sum(not reader.at_eof() for reader in readers)} of {count} open after {HELD_SECONDS} s more")

    await beside(crowd, job, work)


def add_points(database_url: str, job: str) -> None:
    """A metric as a job of a million steps leaves it."""
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        connection.execute(
            "INSERT INTO metrics (job_id, name, step, value) SELECT %s, 'train/long', step, 1.0 / step"
            " FROM generate_series(1, %s) AS step",
            (job, POINTS),
        )


def read_series(http: httpx2.Client, job: str) -> int:
    """All points, by as many requests as it takes."""
    points, query = 0, {"names": "train/long"}
    while True:
        answer = http.get(f"/v1/jobs/{job}/metrics", params=query, timeout=300).json()
        points += sum(len(series["steps"]) for series in answer["series"])
        if not answer.get("next"):
            return points
        query["after"] = answer["next"]


async def long_answer(crowd: Crowd, job: str, read_all: Callable[[], Awaitable[int]]) -> None:
    """The whole series, by as many requests as it takes."""
    points = 0
    begun = time.perf_counter()

    async def work() -> None:
        nonlocal points
        points = await read_all()

    await beside(crowd, job, work)
    print(f"{points:,} points read in {time.perf_counter() - begun:.1f} s")


def memory(pids: list[int]) -> int:
    """The largest peak of resident memory, in MB."""
    peaks = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line]
    return max(int(line.split()[1]) for line in peaks) // 1024


def main() -> None:
    """All three parts on one service of its own."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with service() as running:
        job = running.http.post("/v1/jobs", json=SPEC).json()["id"]
        while running.http.get(f"/v1/jobs/{job}").json()["status"] not in ("succeeded", "failed"):
            time.sleep(0.2)
        waits = running.http.post("/v1/jobs", json={**SPEC, "resources": {"gpus": 1, "gpu_memory_gb": 9000}}).json()[
            "id"
        ]
        crowd = Crowd(running.url, running.key)
        for number in sorted({50, 100, count}):
            asyncio.run(cold_requests(crowd, f"/v1/jobs/{job}", number))
        print(f"{'':44} peak memory of the API {memory(running.api_pids)} MB")
        asyncio.run(streams(crowd, waits, count))
        print(f"{'':44} peak memory of the API {memory(running.api_pids)} MB")
        add_points(running.database_url, job)
        asyncio.run(long_answer(crowd, job, lambda: asyncio.to_thread(read_series, running.http, job)))
        print(f"{'':44} peak memory of the API {memory(running.api_pids)} MB")


if __name__ == "__main__":
    main()
