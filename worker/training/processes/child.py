"""One child process, as its parent sees it: it scores responses or runs calls of tools."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from worker.environment import of_rewards_and_tools

ROOT = Path(__file__).resolve().parents[3]


class ChildProcess:
    """A process and its unread output.

    It has its own session, so a terminal's Ctrl-C reaches its parent alone, and only its three pipes of all open files.
    """

    def __init__(self, module: str, first: dict[str, Any]) -> None:
        """Runs `module`, with `first` as its first line of input."""
        self.ready = False
        """Whether it has said that it takes items."""
        self._unfinished_line = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process; kill() closes it
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=of_rewards_and_tools() | {"PYTHONPATH": path},
            start_new_session=True,
            bufsize=0,
        )
        self.send(first)

    def fileno(self) -> int:
        """For select: readable when the child has written something, or has died."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, value: Any) -> None:
        """One line; the child must be ready and idle: it then reads all before it writes, so neither waits for ever."""
        assert self.process.stdin is not None
        data = memoryview(json.dumps(value).encode() + b"\n")
        try:
            while data:
                data = data[self.process.stdin.write(data) or 0 :]
        except BrokenPipeError:
            return  # it is dead; the next read tells

    def read(self) -> list[Any] | None:
        """The lines that have arrived since the last call, or None if the child is dead."""
        data = os.read(self.fileno(), 1 << 16)
        *lines, self._unfinished_line = (self._unfinished_line + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def kill(self) -> None:
        """End it and its forks, whatever they do, and free what it held."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            assert pipe is not None
            pipe.close()

    def stderr_tail(self) -> str:
        """The end of what it wrote to stderr, for a start that failed."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 2000))
        return self._errors.read().decode(errors="replace").strip()

    def exit_description(self) -> str:
        """`was ended by signal 9`, `exited with 1`."""
        code = self.process.wait()
        return f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
