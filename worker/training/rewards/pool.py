"""Many responses scored in processes that can be killed: a hang, a crash or an exception costs its own item only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.rewards import AnyReward, ExactReward, MathReward, NumericReward, ToolUseReward
from worker.training.processes.process_pool import Outcome, OwnsProcesses, ProcessPool, processors
from worker.training.rewards.registry import names

SERVER = "worker.training.rewards.server"


@dataclass(frozen=True, slots=True)
class Item:
    """One response to score."""

    prompt: str
    response: str
    row: dict[str, Any]
    """All columns of its row; they must be JSON."""


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of a response."""

    total: float
    """Sum of weight * part; 0 after an error."""
    parts: dict[str, float]
    """Unweighted, by name of the reward, in the order of the specs; 0 where a reward gave no value."""
    error: str | None
    """What went wrong: `math: no answer within 5.0 s`."""


class RewardPool(OwnsProcesses):
    """Processes that score with the same rewards. They start in the background; one caller at a time."""

    def __init__(
        self, specs: Sequence[AnyReward], *, processes: int | None = None, deadline_seconds: float = 5.0
    ) -> None:
        """As many processes as there are processors, at most four, where `processes` does not say how many."""
        self._specs = list(specs)
        self._names = names(self._specs)
        first = {"specs": [spec.model_dump() for spec in self._specs]}
        count = (processors() if processes is None else processes) if self._specs else 0
        super().__init__(ProcessPool(SERVER, first, self._names, count, deadline_seconds))

    def score(self, items: Sequence[Item]) -> list[Score]:
        """The scores of the items, in their order. RuntimeError if a process cannot even start."""
        if not self._specs:
            return [Score(0.0, {}, None) for _ in items]
        outcomes = self._processes.run([["score", item.prompt, item.response, item.row] for item in items])
        return [self._score(each) for each in outcomes]

    def read(self, rows: Sequence[Mapping[str, Any]], *, parse: bool) -> list[list[Outcome]]:
        """What each rule can do with each row (`Legibility`), or what is wrong with the row for that rule."""
        return (
            self._processes.run([["parse" if parse else "read", row] for row in rows])
            if self._specs
            else [[] for _ in rows]
        )

    @property
    def columns(self) -> list[str]:
        """What the rules read of a row besides the prompt; none where no rule reads any."""
        counted = [spec.expected for spec in self._specs if isinstance(spec, ToolUseReward) and spec.expected]
        compares = any(isinstance(spec, ExactReward | NumericReward | MathReward) for spec in self._specs)
        return [*(["answer"] if compares else []), *counted]

    def _score(self, outcomes: list[Outcome]) -> Score:
        values = [value or 0.0 for value, _ in outcomes] + [0.0] * (len(self._names) - len(outcomes))
        errors = [error for _, error in outcomes if error]
        total = 0.0 if errors else sum(spec.weight * value for spec, value in zip(self._specs, values, strict=True))
        return Score(total, dict(zip(self._names, values, strict=True)), "; ".join(errors) or None)
