"""The tools of a job, in a process that can be killed: a call that hangs costs an error message."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from service.domain.tools import ToolsSpec, schemas
from worker.training.rewards.pool import Processes

SERVER = "worker.training.tools.server"


class Answer(NamedTuple):
    """What a policy is told about its call."""

    text: str
    failed: bool


class Toolbox:
    """The tools; no process where a job has none. One caller at a time."""

    def __init__(self, spec: ToolsSpec | None, *, deadline_seconds: float = 5.0) -> None:
        self.spec = spec
        self.schemas: list[dict[str, Any]] | None = schemas(spec)
        names = list(dict.fromkeys(spec.functions)) if spec else []
        self._processes = Processes(SERVER, {"tools": names}, ["tool"], 1 if names else 0, deadline_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._processes.close()

    def answers(self, turns: Sequence[str]) -> list[Answer]:
        """What is answered to the first call of each turn."""
        outcomes = self._processes.ask([[turn] for turn in turns])
        return [_answer(*outcome) for (outcome,) in outcomes]


def _answer(text: str | None, error: str | None) -> Answer:
    return Answer(text or "", False) if error is None else Answer(f"Error: {error.removeprefix('tool: ')}", True)
