"""The order of the prompts: each once an epoch, easy ones first, or those that still go wrong more often."""

from typing import Any

import torch

from service.domain.prompt_sampling import (
    Curriculum,
    CurriculumSpec,
    GaussianCurriculumSpec,
    PrioritizedSpec,
    PromptSampling,
)
from worker.training.data.rows import Row, batch_rows
from worker.training.experience.curriculum import AroundALevel, EasiestFirst, difficulties


class Prompts:
    """Draws rows. It counts the drawn ones, since a step may need further prompts (`resample`)."""

    def __init__(self, rows: list[Row], order: PromptSampling | None, seed: int) -> None:
        self._size, self._seed, self._drawn = len(rows), seed, 0
        self._success_N = torch.zeros(len(rows), dtype=torch.float64)
        """The success of each row, averaged over the times it was drawn; 0 before the first."""
        self._seen_N = torch.zeros(len(rows), dtype=torch.bool)
        self._priority = order.prioritized if isinstance(order, Curriculum) else order
        self._curriculum = _curriculum(rows, order)

    def draw(self, step: int, count: int) -> list[int]:
        """The next `count` rows."""
        start, self._drawn = self._drawn, self._drawn + count
        if self._curriculum is None and self._priority is None:
            return [batch_rows(self._size, self._seed, place, 1)[0] for place in range(start, start + count)]
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + start)
        if self._curriculum is None:
            return self._from(list(range(self._size)), count, generator)
        drawn = [0] * count
        for pool, places in self._curriculum.pools(step, count, generator):
            for place, row in zip(places, self._from(pool, len(places), generator), strict=True):
                drawn[place] = row
        return drawn

    def _from(self, pool: list[int], count: int, generator: torch.Generator) -> list[int]:
        """`count` rows of a pool, none of them twice before all were drawn; or in proportion to 1 - success."""
        if self._priority is None:
            order = torch.randperm(len(pool), generator=generator).tolist()
            return [pool[order[index % len(pool)]] for index in range(count)]
        weight_N = (1 - self._success_N[pool]).clamp(min=self._priority.floor)
        enough_rows = count <= len(pool)
        chosen = torch.multinomial(weight_N, count, replacement=not enough_rows, generator=generator).tolist()
        return [pool[index] for index in chosen]

    def record_success(self, rows: list[int], success: list[float | None]) -> None:
        """Record the share of right responses to each drawn row; None where none was judged."""
        if self._priority is None:
            return
        for row, rate in zip(rows, success, strict=True):
            if rate is None:
                continue
            decay = self._priority.decay if self._seen_N[row] else 0.0
            self._success_N[row] = decay * self._success_N[row] + (1 - decay) * rate
            self._seen_N[row] = True

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"drawn": self._drawn, "success": self._success_N.clone(), "seen": self._seen_N.clone()}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._drawn, self._success_N, self._seen_N = state["drawn"], state["success"].clone(), state["seen"].clone()


def _curriculum(rows: list[Row], order: PromptSampling | None) -> EasiestFirst | AroundALevel | None:
    match order:
        case CurriculumSpec():
            return EasiestFirst(order, difficulties(rows, order.column))
        case GaussianCurriculumSpec():
            return AroundALevel(order, difficulties(rows, order.column))
        case PrioritizedSpec() | None:
            return None


def success_rates(correct: list[bool], judged: list[bool], generations: int) -> list[float | None]:
    """The share of right ones among the judged responses to each prompt; None where none was judged."""
    rates: list[float | None] = []
    for start in range(0, len(correct), generations):
        group = range(start, start + generations)
        outcomes = [correct[index] for index in group if judged[index]]
        rates.append(sum(outcomes) / len(outcomes) if outcomes else None)
    return rates
