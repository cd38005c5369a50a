"""Many jobs: a long queue, submits by the hundred a second, eight workers on one machine.

    python benchmarks/load.py [queue] [submits] [workers] [--jobs N] [--rate N] [--seconds N] [--workers N]

`queue`: medians of claiming (a transaction that is rolled back) and of listing over HTTP, with N jobs of a hundred
owners waiting. `submits`: N submits a second over HTTP for a while, each looked for afterwards. `workers`: tiny jobs,
five for each worker. Without names: all three, each on servers of its own.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

import httpx2
from own_service import folder, running
from sqlalchemy import select

from hone.documents.status import JobStatus
from service import commands
from service.commands import Requester
from service.domain.specs import JobSpec
from service.local.embedded import servers
from service.persistence import claims
from service.persistence.database import Database
from service.persistence.migrations import upgrade
from service.persistence.tables import Event, Job

SPEC = {
    "algorithm": {"type": "sft", "batch_size": 4},
    "dataset": {"source": "linear-algebra", "tasks": ["trace"], "size": 16, "style": "symbolic", "max_entry": 3},
    "steps": 10,
}
OWNERS, CONNECTIONS, LOOKS = 100, 16, 40


@contextmanager
def service() -> Iterator[tuple[Database, httpx2.Client]]:
    """A service without workers, and its database."""
    with folder() as where, servers(where) as embedded:
        upgrade(embedded.database_url)
        database = Database(embedded.database_url)
        addresses = {"DATABASE_URL": embedded.database_url, "REDIS_URL": embedded.redis_url}
        os.environ.update(addresses)
        try:
            with running("--no-worker") as http:
                yield database, http
        finally:
            database.close()
            for name in addresses:
                del os.environ[name]


def queue(options: argparse.Namespace) -> None:
    """Milliseconds to claim and to list."""
    with service() as (database, http):
        spec = JobSpec.model_validate(SPEC)
        for start in range(0, options.jobs, 500):
            with database.transaction() as session:
                for number in range(start, min(start + 500, options.jobs)):
                    changed = spec.model_copy(update={"priority": number % 3})
                    commands.submit(session, Requester(f"owner-{number % OWNERS}"), changed, [])
        print(f"{options.jobs:,} queued jobs of {OWNERS} owners")
        _tell("a claim", _timed(lambda: _claim(database)))
        for path in ("/v1/jobs?limit=100", "/v1/jobs?status=queued&limit=100", "/v1/jobs?algorithm=grpo", "/readyz"):
            _tell(f"GET {path}", _timed(lambda path=path: http.get(path).raise_for_status()))  # type: ignore[misc]


class _Undone(Exception):
    pass


def _claim(database: Database) -> None:
    try:
        with database.transaction() as session:
            assert claims.claim(session, "worker", 0, lease_seconds=30)
            raise _Undone
    except _Undone:
        return


def _timed(act: Callable[[], object]) -> list[float]:
    taken = []
    for _ in range(LOOKS):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
    return taken


def _tell(what: str, seconds: list[float]) -> None:
    p99 = quantiles(seconds, n=100)[98]
    print(f"  {what:36} median {1000 * median(seconds):7.1f} ms, p99 {1000 * p99:7.1f} ms", flush=True)


def submits(options: argparse.Namespace) -> None:
    """Answers by kind, seconds to answer, and what is in the database."""
    with service() as (database, http):
        answers, taken, wall = asyncio.run(_submit(http, options.rate, options.seconds))
        with database.transaction() as session:
            there = set(session.scalars(select(Job.id)))
    made = {name for status, name in answers if status == 201}
    print(f"{options.rate} submits a second for {options.seconds} s: {len(answers):,} answers in {wall:.1f} s")
    print(
        f"  201: {len(made):,}; others: {len(answers) - len(made)}; "
        f"lost: {len(made - there)}; not asked for: {len(there - made)}"
    )
    _tell("an answer", taken)


async def _submit(http: httpx2.Client, rate: int, seconds: float) -> tuple[list[tuple[int, str]], list[float], float]:
    answers: list[tuple[int, str]] = []
    taken: list[float] = []
    start = time.perf_counter()
    due = iter(range(int(rate * seconds)))
    place = urlsplit(str(http.base_url))
    head = f"POST /v1/jobs HTTP/1.1\r\nhost: {place.netloc}\r\nauthorization: {http.headers['authorization']}\r\n"
    body = json.dumps(SPEC).encode()

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for number in due:
            await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
            begun = time.perf_counter()
            lines = (
                f"idempotency-key: {number}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            writer.write((head + lines).encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(int(line[15:]) for line in answer.split(b"\r\n") if line.startswith(b"content-length:"))
            document = json.loads(await reader.readexactly(length))
            answers.append((int(answer.split()[1]), document.get("id", "")))
            taken.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return answers, taken, time.perf_counter() - start


def workers(options: argparse.Namespace) -> None:
    """Seconds until all jobs have ended, and how."""
    with service() as (database, http), folder() as where:
        started = [_worker(where / str(number), database.url) for number in range(options.workers)]
        try:
            start, wanted = time.perf_counter(), 5 * options.workers
            for seed in range(wanted):
                http.post("/v1/jobs", json=SPEC | {"seed": seed}).raise_for_status()
            while (ended := _ended(database))[0] < wanted:
                time.sleep(0.5)
            wall = time.perf_counter() - start
        finally:
            for worker in started:
                worker.send_signal(signal.SIGTERM)
            for worker in started:
                worker.wait(60)
    print(f"{options.workers} workers, {wanted} tiny jobs of {SPEC['steps']} steps: {ended[1]} succeeded, {wall:.0f} s")
    print(f"  attempts: {ended[2]}, workers that took part: {ended[3]}")


def _worker(where: Path, database_url: str) -> "subprocess.Popen[bytes]":
    where.mkdir()
    own = {"DATABASE_URL": database_url, "HONE_DATA_DIR": str(where), "OMP_NUM_THREADS": "1"}
    shared = {"STORAGE_URL": str(where.parent / "storage"), "HONE_SPARE_TRAINER": "false"}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=os.environ | own | shared, stdout=quiet, stderr=quiet)


def _ended(database: Database) -> tuple[int, int, int, int]:
    """Ended, succeeded, attempts, workers."""
    with database.transaction() as session:
        statuses = session.execute(select(Job.status, Job.attempt, Job.finished_at)).all()
        took = select(Event.data["worker"].astext).where(Event.kind == "status").distinct()
        beating = len([worker for worker in session.scalars(took) if worker])
    done = [row for row in statuses if row.finished_at is not None]
    succeeded = sum(row.status == JobStatus.SUCCEEDED for row in done)
    return len(done), succeeded, sum(row.attempt for row in done), beating


def main() -> None:
    """What was asked for."""
    parts = {"queue": queue, "submits": submits, "workers": workers}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    for name in options.parts or parts:
        parts[name](options)


if __name__ == "__main__":
    main()
