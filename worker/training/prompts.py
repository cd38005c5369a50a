"""Which prompts come when: each once an epoch, easy ones first, or those that still go wrong."""

from typing import Any

import torch
from torch import Tensor

from service.domain.algorithms import CurriculumSpec, PrioritizedSpec, PromptSampling
from service.domain.errors import Invalid
from worker.training import data
from worker.training.data import Row


class Prompts:
    """Draws rows. How many were drawn is counted, since a step may need more than it wants (`resample`)."""

    def __init__(self, rows: list[Row], how: PromptSampling | None, seed: int) -> None:
        self._rows, self._how, self._seed = rows, how, seed
        self._drawn = 0
        self._success_N = torch.zeros(len(rows), dtype=torch.float64)
        """Of each row, an average over the times it was drawn; 0 before the first."""
        self._seen_N = torch.zeros(len(rows), dtype=torch.bool)
        self._easiest_first = _sorted(rows, how.column) if isinstance(how, CurriculumSpec) else []

    def draw(self, step: int, count: int) -> list[int]:
        """The next `count` rows."""
        start, self._drawn = self._drawn, self._drawn + count
        match self._how:
            case CurriculumSpec() as curriculum:
                share = min(1.0, curriculum.start + (1 - curriculum.start) * step / curriculum.steps)
                pool = self._easiest_first[: max(1, round(share * len(self._rows)))]
                return [pool[index] for index in self._shuffled(len(pool), start, count)]
            case PrioritizedSpec() as prioritized:
                weight_N = (1 - self._success_N).clamp(min=prioritized.floor)
                enough = count <= len(self._rows)
                generator = self._generator(start)
                return torch.multinomial(weight_N, count, replacement=not enough, generator=generator).tolist()
            case None:
                return [data.batch(len(self._rows), self._seed, place, 1)[0] for place in range(start, start + count)]

    def learned(self, rows: list[int], success: list[float]) -> None:
        """Remember what share of the responses to each drawn row was right."""
        if not isinstance(self._how, PrioritizedSpec):
            return
        for row, rate in zip(rows, success, strict=True):
            keep = self._how.decay if self._seen_N[row] else 0.0
            self._success_N[row] = keep * self._success_N[row] + (1 - keep) * rate
            self._seen_N[row] = True

    def state(self) -> dict[str, Any]:
        """What the next draw depends on."""
        return {"drawn": self._drawn, "success": self._success_N.clone(), "seen": self._seen_N.clone()}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._drawn, self._success_N, self._seen_N = state["drawn"], state["success"].clone(), state["seen"].clone()

    def _shuffled(self, size: int, start: int, count: int) -> list[int]:
        """`count` numbers below `size`, each as often as the others."""
        order = torch.randperm(size, generator=self._generator(start)).tolist()
        return [order[index % size] for index in range(count)]

    def _generator(self, start: int) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed * 1_000_003 + start)


def _sorted(rows: list[Row], column: str) -> list[int]:
    """Rows by a column of numbers, equal ones in their own order."""
    for index, row in enumerate(rows):
        value = row.get(column)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Invalid(
                f"dataset, row {index + 1} has no number '{column}'; a curriculum sorts the prompts by it",
                param="algorithm.prompt_sampling.column",
            )
    return sorted(range(len(rows)), key=lambda index: rows[index][column])


def success_rates(correct: list[bool], generations: int) -> list[float]:
    """The share of right responses to each prompt."""
    right_PG: Tensor = torch.tensor(correct, dtype=torch.float64).view(-1, generations)
    return right_PG.mean(dim=1).tolist()
