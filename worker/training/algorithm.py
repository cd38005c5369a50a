"""The interface between the loop and an algorithm, and the registry of algorithms by the type in the spec."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch.nn import Module

from worker.protocol import SampledResponse
from worker.training.data.rows import Row
from worker.training.experience.evaluate import Evaluation
from worker.training.registry import Registry
from worker.training.setup.job import Setup
from worker.training.updates.optim import Learner

State = dict[str, Any]
"""Numbers, strings, tensors, and lists and dictionaries of them."""


class StepResult(NamedTuple):
    """The metrics and samples of one step."""

    metrics: dict[str, float]
    samples: list[SampledResponse]


class Stateful(Protocol):
    """A part of an algorithm that changes from step to step."""

    def state(self) -> State:
        """What a checkpoint holds of it."""
        ...

    def restore(self, state: State) -> None:
        """Put back what `state` gave."""
        ...


@dataclass(frozen=True)
class AlgorithmState:
    """All that the next step of an algorithm depends on, beside seed and step; a checkpoint holds it."""

    learners: dict[str, Learner]
    """Trained modules with their optimizers: `policy` is exported as a model, others are saved beside it."""
    modules: dict[str, Module] = field(default_factory=dict)
    """Weights that change without an optimizer of their own: a synced reference model."""
    parts: dict[str, Stateful] = field(default_factory=dict)
    """Plain values: the prompts that were drawn, the KL coefficient."""

    def parts_state(self) -> State:
        """The state of each part, by its name."""
        return {name: part.state() for name, part in self.parts.items()}

    def restore_parts(self, state: State) -> None:
        """Put back what `parts_state` gave."""
        for name, part in self.parts.items():
            part.restore(state[name])


class Evaluator(Protocol):
    """An evaluation on the held-out rows."""

    def run(self) -> tuple[dict[str, float], list[SampledResponse]]:
        """Metrics of the weights as they are now, and samples for people to read."""
        ...


class Algorithm(ABC):
    """One way to train a policy: it advances step by step."""

    state: AlgorithmState
    _setup: Setup

    @abstractmethod
    def advance(self, step: int) -> StepResult:
        """One step, counted from 0: a function of `state`, seed and step."""

    def evaluation(self, rows: list[Row]) -> Evaluator:
        """The evaluation on held-out rows; by default the policy answers their questions."""
        return Evaluation(self._setup, rows)


ALGORITHMS: Registry[str, Callable[[Setup, Any], Algorithm]] = Registry("algorithm", "worker.training.algorithms")
algorithm = ALGORITHMS.entry
"""`@algorithm("grpo")`: declares the function or class that makes the algorithm from setup and spec."""


def build(setup: Setup) -> Algorithm:
    """The algorithm that the spec names, ready for its first step."""
    spec = setup.spec.algorithm
    return ALGORITHMS[spec.type](setup, spec)
