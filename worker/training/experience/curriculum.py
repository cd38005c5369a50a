"""Curricula: which prompts may be drawn in a step, by a column that says how hard each is.

Shapes: L levels of difficulty, from the easiest to the hardest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hone.errors import Invalid
from service.domain.prompt_sampling import CurriculumSpec, GaussianCurriculumSpec
from worker.training.data.rows import Row


def difficulties(rows: Sequence[Row], column: str) -> list[float]:
    """The number of each row in a column; Invalid where there is none."""
    for index, row in enumerate(rows):
        value = row.get(column)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Invalid(
                f"dataset, row {index + 1} has no number '{column}'; a curriculum sorts the prompts by it",
                param="algorithm.prompt_sampling.column",
            )
    return [row[column] for row in rows]


class EasiestFirst:
    """The easiest share of the prompts, which grows to all of them."""

    def __init__(self, spec: CurriculumSpec, difficulty: Sequence[float]) -> None:
        self._spec = spec
        self._easiest_first = sorted(range(len(difficulty)), key=difficulty.__getitem__)

    def pools(self, step: int, count: int, generator: torch.Generator) -> list[tuple[list[int], list[int]]]:
        """One pool, from which all prompts come."""
        share = min(1.0, self._spec.start + (1 - self._spec.start) * step / self._spec.steps)
        return [(self._easiest_first[: max(1, round(share * len(self._easiest_first)))], list(range(count)))]


class AroundALevel:
    """Levels of difficulty; a Gaussian that moves from the easiest to the hardest says how many prompts are of each."""

    def __init__(self, spec: GaussianCurriculumSpec, difficulty: Sequence[float]) -> None:
        self._spec, self._levels = spec, sorted(set(difficulty))
        self._rows_of = [[row for row, value in enumerate(difficulty) if value == level] for level in self._levels]

    def pools(self, step: int, count: int, generator: torch.Generator) -> list[tuple[list[int], list[int]]]:
        """The rows of each level that has prompts in this step, and which of the step's prompts they are."""
        share_L = level_shares(self._levels, step / self._spec.steps, self._spec.sigma, self._spec.easiest_share)
        drawn = torch.multinomial(share_L, count, replacement=True, generator=generator).tolist()
        places = [[place for place, level in enumerate(drawn) if level == of] for of in range(len(self._levels))]
        return [(rows, places) for rows, places in zip(self._rows_of, places, strict=True) if places]


def level_shares(levels: Sequence[float], progress: float, sigma: float, easiest_share: float) -> Tensor:
    """The share of the prompts of a step that each level has [L].

    p_l ~ exp(-(l - centre)^2 / (2 sigma^2)), where the centre moves from the lowest level to the highest as progress
    goes from 0 to 1. If the easiest level has less than `easiest_share` it gets that, and the others share the rest.
    """
    level_L = torch.tensor(levels, dtype=torch.float64)
    centre = level_L[0] + min(1.0, progress) * (level_L[-1] - level_L[0])
    share_L = torch.softmax(-((level_L - centre) / sigma).square() / 2, dim=0)
    if share_L[0] < easiest_share:
        share_L[1:] *= (1 - easiest_share) / (1 - share_L[0])
        share_L[0] = easiest_share
    return share_L
