"""The tools of a job, in a process that can be killed: a call that hangs costs an error message."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from service.domain.tools import ToolsSpec, schemas
from worker.training.processes.process_pool import OwnsProcesses, ProcessPool, processors

SERVER = "worker.training.tools.server"


class ToolResult(NamedTuple):
    """The output of a call, or its error."""

    text: str
    failed: bool
    malformed: bool = False
    """Whether it failed because no tool could be given the call."""


class Toolbox(OwnsProcesses):
    """The tools; no process where a job has none. One caller at a time."""

    def __init__(self, spec: ToolsSpec | None, *, deadline_seconds: float = 5.0) -> None:
        self.spec = spec
        self.schemas: list[dict[str, Any]] | None = schemas(spec)
        names = list(dict.fromkeys(spec.functions)) if spec else []
        super().__init__(
            ProcessPool(SERVER, {"tools": names}, ["tool"], processors() if names else 0, deadline_seconds)
        )

    def call(self, turns: Sequence[str]) -> list[ToolResult]:
        """The result of the first call of each turn."""
        outcomes = self._processes.run([[turn] for turn in turns])
        return [_result(*outcome) for (outcome,) in outcomes]


def _result(value: list[str] | None, error: str | None) -> ToolResult:
    """What the process answered; an error without a value is that of a process that was killed."""
    text, kind = value if value else (str(error).removeprefix("tool: "), "error")
    return ToolResult(text, False) if kind == "output" else ToolResult(f"Error: {text}", True, kind == "malformed")
