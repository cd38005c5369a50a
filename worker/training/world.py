"""The processes that train one job together: today one, which is the identity of every operation.

    rank r in 0 .. size-1, each with its share of a step's rows; S(x) = x_0 + x_1 + ... + x_{size-1} over the ranks

    gradient    dL/dw = S(dL_r/dw), before the norm is taken and clipped; L = S(L_r)     `updates/gradients.py`
                with L_r = sum over the rows of r of w_i sum_t l_it, and w_i the weight in the whole batch: nothing is
                divided by size
    averages    S(sum_r) / S(mass_r), never the mean of the ranks' means                  `objectives/aggregate.py`
    experience  rank r answers the prompts of `share`, with the random numbers that they have in the whole step; all
                ranks go on sampling until each has enough                                `experience/`
    checkpoint  rank 0 writes, the others wait until it is complete                       `loop.py`

What is still local and would have to be summed or gathered first: w_i of sampled responses (they depend on the lengths
of all), advantages over a whole batch (`batch_std`, whitening), the success of prioritized prompts, pairs of a reward
model, partial rollouts.
"""

from typing import Protocol, TypeVar

from torch import Tensor

Value = TypeVar("Value")


class World(Protocol):
    """The processes of a job and their communication. Every rank makes the same calls in the same order."""

    @property
    def rank(self) -> int:
        """Which process this is, from 0; 0 is the one that writes."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def sum(self, value: Tensor) -> Tensor:
        """S(value), the same bits on each rank."""
        ...

    def max(self, value: Tensor) -> Tensor:
        """The largest value_r."""
        ...

    def all(self, holds: bool) -> bool:  # noqa: FBT001 - the one thing that is asked
        """Whether it holds on every rank: holds_0 and holds_1 and ..."""
        ...

    def broadcast(self, value: Value) -> Value:
        """value_0 on every rank; it waits for rank 0."""
        ...


class SingleProcess:
    """A world of one: each call gives back what it is given."""

    rank, size = 0, 1

    def sum(self, value: Tensor) -> Tensor:
        """S(value) = value_0: the tensor itself."""
        return value

    def max(self, value: Tensor) -> Tensor:
        """value_0: the tensor itself."""
        return value

    def all(self, holds: bool) -> bool:  # noqa: FBT001 - the one thing that is asked
        """Whether it holds here."""
        return holds

    def broadcast(self, value: Value) -> Value:
        """The value itself."""
        return value


SINGLE_PROCESS: World = SingleProcess()


def share(world: World, count: int) -> range:
    """Which of `count` rows are this rank's: neighbours, as even as can be, each row on exactly one rank."""
    return range(world.rank * count // world.size, (world.rank + 1) * count // world.size)
