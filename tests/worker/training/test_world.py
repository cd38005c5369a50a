"""What a job in several processes computes: here the ranks are threads, or one after the other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from service.domain.algorithms import PolicySpec
from worker.training.algorithm import build
from worker.training.experience.collect import RolloutWorker
from worker.training.setup.job import Setup
from worker.training.world import SINGLE_PROCESS, SingleProcess, share

Value = TypeVar("Value")


@dataclass
class Table:
    """Where the ranks put what the others are to see."""

    size: int
    values: dict[int, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.size, timeout=60)


@dataclass
class Rank:
    """One of some threads."""

    rank: int
    table: Table

    @property
    def size(self) -> int:
        return self.table.size

    def _gathered(self, value: object) -> list[object]:
        self.table.values[self.rank] = value
        self.table.barrier.wait()
        values = [self.table.values[rank] for rank in range(self.size)]
        self.table.barrier.wait()
        return values

    def sum(self, value: Tensor) -> Tensor:
        return torch.stack([each for each in self._gathered(value.clone()) if isinstance(each, Tensor)]).sum(dim=0)

    def max(self, value: Tensor) -> Tensor:
        return torch.stack([each for each in self._gathered(value.clone()) if isinstance(each, Tensor)]).amax(dim=0)

    def all(self, holds: bool) -> bool:
        return all(self._gathered(holds))

    def broadcast(self, value: Value) -> Value:
        return self._gathered(value)[0]  # type: ignore[return-value]


@dataclass
class OneOf(SingleProcess):
    """A rank that is asked for its share alone: nobody is there to add to it."""

    rank: int
    size: int


def test_alone_every_call_gives_back_what_it_is_given() -> None:
    value = torch.tensor([1.0, -0.0])
    assert (
        SINGLE_PROCESS.sum(value) is value
        and SINGLE_PROCESS.max(value) is value
        and SINGLE_PROCESS.broadcast(value) is value
    )
    assert SINGLE_PROCESS.all(True) and not SINGLE_PROCESS.all(False)
    assert share(SINGLE_PROCESS, 7) == range(7)


@pytest.mark.parametrize(("count", "size"), [(8, 2), (7, 3), (2, 4)])
def test_each_row_is_on_exactly_one_rank(count: int, size: int) -> None:
    shares = [share(OneOf(rank, size), count) for rank in range(size)]
    assert [row for rows in shares for row in rows] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_two_ranks_learn_what_one_learns(make_setup: Callable[..., Setup]) -> None:
    alone = make_setup("sft")
    expected = build(alone).advance(0).metrics
    table, ranks = Table(2), [make_setup("sft"), make_setup("sft")]
    for rank, setup in enumerate(ranks):
        setup.world = Rank(rank, table)
    with ThreadPoolExecutor(2) as threads:
        steps = [threads.submit(build(setup).advance, 0) for setup in ranks]
        metrics_of_ranks = [step.result(timeout=60).metrics for step in steps]
    first, second = ([*setup.policy.model.parameters()] for setup in ranks)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert metrics_of_ranks[0] == metrics_of_ranks[1] == pytest.approx(expected, rel=1e-5)
    assert expected["train/grad_norm"] > 0


def test_two_ranks_sample_the_responses_of_one(make_setup: Callable[..., Setup]) -> None:
    setup = make_setup("grpo")
    spec = setup.spec.algorithm
    assert isinstance(spec, PolicySpec)
    whole = RolloutWorker(setup, spec).collect(0)
    parts = []
    for rank in range(2):
        setup.world = OneOf(rank, 2)
        parts.append(RolloutWorker(setup, spec).collect(0))
    assert parts[0].sequences + parts[1].sequences == whole.sequences
    assert torch.cat([part.reward_B for part in parts]).equal(whole.reward_B)
