"""A loop that ends by an error nobody expects ends its process; the error is one event of the log."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
