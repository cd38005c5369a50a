"""What an algorithm is given, and what it gives back."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from service.domain.specs import JobSpec
from worker.training import data, models
from worker.training.data import Encoder, Row
from worker.training.events import Sample
from worker.training.models import Policy
from worker.training.optim import Learner
from worker.training.rewards.pool import RewardPool


@dataclass(frozen=True)
class Setup:
    """A job, its model and its data."""

    spec: JobSpec
    policy: Policy
    model_path: str
    """Where the policy's first weights come from; the reference model is read from there, also after a resume."""
    rows: list[Row]
    pool: RewardPool

    @property
    def encoder(self) -> Encoder:
        """What turns the training rows into token ids."""
        return Encoder(self.policy.tokenizer, self.spec.dataset.template, "dataset")

    def batch(self, step: int, size: int) -> list[int]:
        """Which rows make up a step, counted from 0."""
        return data.batch(len(self.rows), self.spec.seed, step, size)

    def first_policy(self) -> Policy:
        """The policy as it was before the first step, in weights of its own."""
        return models.load(self.model_path, self.spec.seed, self.policy.device, self.spec.precision)

    def learner(self) -> Learner:
        """What moves the policy's weights."""
        optimizer = self.spec.optimizer
        return Learner(self.policy.model, optimizer.learning_rate or 0.0, optimizer, self.spec.steps)


class Advanced(NamedTuple):
    """What one step brought."""

    metrics: dict[str, float]
    samples: list[Sample]


class Algorithm(Protocol):
    """A way to train a policy."""

    learners: dict[str, Learner]
    """All that the next step depends on, beside seed and step. `policy` is exported as a model, others beside it."""

    def advance(self, step: int) -> Advanced:
        """One step, counted from 0: a function of the learners, the seed and the step."""
        ...
