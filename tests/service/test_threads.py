"""A loop that ends by an error nobody expects ends its process; the error is one event of the log."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
THREAD = """
import threading
from service import logs
from service.threads import LoopThread
logs.configure("info")
def loop():
    {body}
LoopThread(loop, "poll").start()
threading.Event().wait({wait})
"""
TASK = """
import asyncio
from service import logs
from service.threads import end_process_on_error
logs.configure("info")
async def loop():
    {body}
async def main():
    task = asyncio.create_task(loop(), name="wake-ups")
    end_process_on_error(task)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep({wait})
asyncio.run(main())
"""
HANGING = """
import re, time
from service.threads import Watchdog
watchdog = Watchdog({seconds})
def hangs():
    {body}
watchdog.alive()
hangs()
watchdog.close()
"""
EVENT_LOOP = """
import asyncio, time
from service.threads import Watchdog
async def main():
    task = asyncio.create_task(Watchdog({seconds}).watch_event_loop())
    await asyncio.sleep({idle})
    time.sleep({blocked})
    task.cancel()
asyncio.run(main())
time.sleep({after})
"""
HOLDS_PYTHON = "re.match('(a+)+$', 'a' * 60 + 'b')"  # in C, for longer than the universe exists
UNCAUGHT = """
import threading
from service import logs
logs.configure("info")
logs.catch_errors()
def fall():
    raise RuntimeError("nobody catches this")
thread = threading.Thread(target=fall, name="aside")
thread.start()
thread.join()
fall()
"""


def run(program: str, **parts: Any) -> tuple[int, list[dict[str, Any]]]:
    """How it ends, and what it logs: JSON lines, and nothing else."""
    command = [sys.executable, "-c", program.format(**parts)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def test_a_loop_that_raises_ends_its_process_with_that_error() -> None:
    code, [event] = run(THREAD, body="raise RuntimeError('row of tomorrow')", wait=60)
    assert code == 70 and event["level"] == "critical" and "the loop 'poll' failed" in event["event"]
    assert "Traceback" in event["exception"] and "RuntimeError: row of tomorrow" in event["exception"]


def test_a_loop_that_returns_leaves_its_process_alone() -> None:
    assert run(THREAD, body="return", wait=0.2) == (0, [])


def test_a_task_that_raises_ends_its_process_with_that_error() -> None:
    code, [event] = run(TASK, body="raise RuntimeError('message of tomorrow')", wait=60)
    assert code == 70 and "the loop 'wake-ups' failed" in event["event"] and "of tomorrow" in event["exception"]


def test_a_task_that_is_cancelled_leaves_its_process_alone() -> None:
    assert run(TASK, body="await asyncio.sleep(60)", wait=0.1) == (0, [])


def test_an_error_that_nobody_catches_is_one_event_in_any_thread() -> None:
    code, [aside, main] = run(UNCAUGHT)
    assert code == 1 and aside["thread"] == "aside" and main["level"] == "critical"
    assert all("RuntimeError: nobody catches this" in one["exception"] for one in (aside, main))


@pytest.mark.parametrize("body", ["time.sleep(60)", HOLDS_PYTHON])
def test_a_process_whose_loop_hangs_ends_and_says_where(body: str) -> None:
    command = [sys.executable, "-c", HANGING.format(body=body, seconds=0.5)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 1 and "Timeout" in done.stderr and "in hangs" in done.stderr


def test_an_event_loop_that_hangs_ends_its_process_and_one_that_waits_does_not() -> None:
    def ending(**seconds: float) -> int:
        return subprocess.run([sys.executable, "-c", EVENT_LOOP.format(**seconds)], cwd=ROOT, timeout=50).returncode

    assert ending(seconds=1.0, idle=0, blocked=40, after=0) == 1
    assert ending(seconds=1.0, idle=1.5, blocked=0, after=1.5) == 0
