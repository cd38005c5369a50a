"""Builds the page beside `hone demo`: nothing waits for it, and the demonstration goes on without it."""

import shlex
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from rich.console import Console

from service.local.processes import Program, RunningProgram

REMEDY = (
    "The page could not be built, and everything else works without it. It needs Node.js 20.19 or newer with npm, and "
    "npm's registry. `make page` tries again; a Hone that runs shows the page from then on."
)


class PageBuild(AbstractContextManager["PageBuild"]):
    """A command that builds the page, in the current folder, and what became of it; it ends with the block.

    Without a command nothing is built, and nothing is said.
    """

    def __init__(self, command: str | None, logs: Path, console: Console) -> None:
        self._console = console
        self._child = self._start(command, logs) if command else None

    def _start(self, command: str, logs: Path) -> RunningProgram | None:
        try:
            child = RunningProgram(Program("page", tuple(shlex.split(command)), directory=Path.cwd()), logs)
        except (OSError, ValueError) as error:
            self._say(f"{command}: {error}", REMEDY)
            return None
        self._say(f"The page is built meanwhile (log: {child.log}).")
        return child

    def running(self) -> bool:
        """Whether it goes on; the first call after its end says how it ended."""
        if self._child is None or self._child.exit_code() is None:
            return self._child is not None
        child, self._child = self._child, None
        self._say(*(["The page is built."] if child.exit_code() == 0 else [child.failure().message, REMEDY]))
        return False

    def wait(self) -> None:
        """Return once it has ended."""
        while self.running():
            time.sleep(0.2)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.stop()

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
