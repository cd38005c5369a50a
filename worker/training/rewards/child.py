"""One process that scores responses or answers calls, seen from its parent."""

import json
import os
import subprocess
import sys
import tempfile
import time
from enum import Enum
from pathlib import Path
from typing import Any

START_SECONDS = 120.0
"""Until it is ready: a busy machine may take long to import sympy."""
ROOT = Path(__file__).resolve().parents[3]


class State(Enum):
    """What a child is doing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"


class Child:
    """A process, the lines that it has written, and since when it is silent.

    It has its own session, so a terminal's Ctrl-C reaches its parent alone, and only its three pipes of all open files.
    """

    def __init__(self, module: str, first: dict[str, Any]) -> None:
        """`module` is run and told `first`."""
        self.state = State.STARTING
        self.since = time.monotonic()
        self._rest = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process; kill() closes it
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))},
            start_new_session=True,
            bufsize=0,
        )
        self._send(first)

    def fileno(self) -> int:
        """For select: readable when the child has something to say, or has died."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def give(self, batch: list[Any]) -> None:
        """Hand over a batch. The child must be idle: it then reads all before it writes, so nobody waits for ever."""
        self._send(batch)
        self.state, self.since = State.BUSY, time.monotonic()

    def read(self) -> list[Any] | None:
        """The lines that have arrived since the last call, or None if the child is dead."""
        data = os.read(self.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def kill(self) -> None:
        """End it, whatever it does, and free what it held."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            assert pipe is not None
            pipe.close()

    def last_words(self) -> str:
        """The end of what it wrote to stderr, for a start that failed."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 2000))
        return self._errors.read().decode(errors="replace").strip()

    def how_it_ended(self) -> str:
        """`ended by signal 9`, `exited with 1`"""
        code = self.process.wait()
        return f"was ended by signal {-code}" if code < 0 else f"exited with {code}"

    def _send(self, value: Any) -> None:
        assert self.process.stdin is not None
        data = memoryview(json.dumps(value).encode() + b"\n")
        try:
            while data:
                data = data[self.process.stdin.write(data) or 0 :]
        except BrokenPipeError:
            return  # it is dead; the next read says so, and then it is known which item it died of
