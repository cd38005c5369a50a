"""What an algorithm is given, and what it gives back."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch.nn import Module

from service.domain.specs import JobSpec
from worker.training import loading
from worker.training.data import Row
from worker.training.encode import Encoder
from worker.training.events import Sample
from worker.training.memory import Budget
from worker.training.model_rewards import ModelRewards
from worker.training.models import Policy
from worker.training.optim import Learner
from worker.training.rewards.pool import RewardPool
from worker.training.tools.box import Toolbox

State = dict[str, Any]
"""Numbers, strings, tensors, and lists and dictionaries of them."""
LEAST_TOKENS = 64


@dataclass(frozen=True)
class Setup:
    """A job, its model and its data."""

    spec: JobSpec
    policy: Policy
    models: dict[str, str]
    """Where each model that the spec names is; the reference model is read from there, also after a resume."""
    rows: list[Row]
    pool: RewardPool
    files: dict[str, str] = field(default_factory=dict)
    """Uploaded files by id."""
    warnings: list[str] = field(default_factory=list)
    """What a person should know; the loop says and clears them after each step."""
    tools: Toolbox = field(default_factory=lambda: Toolbox(None))
    """What the policy may call."""

    def __post_init__(self) -> None:
        everything = 2**31
        tokens = Budget(self.spec.micro_batch_tokens, LEAST_TOKENS, "tokens in a micro-batch", self.warnings.append)
        rollouts = Budget(self.spec.rollout_batch_size or everything, 1, "responses at once", self.warnings.append)
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "rollouts", rollouts)
        object.__setattr__(self, "model_rewards", ModelRewards(self.spec, self.models, self.policy))

    tokens: Budget = field(init=False)
    """Of a forward pass in training."""
    rollouts: Budget = field(init=False)
    """Of responses that are decoded at once."""
    model_rewards: ModelRewards = field(init=False)
    """What is scored by models; the pool has the rules."""

    @property
    def encoder(self) -> Encoder:
        """What turns the training rows into token ids."""
        return Encoder(self.policy.tokenizer, self.spec.dataset.template, "dataset", self.tools.schemas)

    def load(self, name: str, field: str = "model") -> Policy:
        """A model by the name that the spec gives it in a field."""
        return loading.model(self.models[name], field, self.spec, self.policy.device)

    def first_policy(self, own_weights: bool = False) -> Policy:
        """The policy as it was before the first step; under adapters it is still there, but not to be moved."""
        if self.policy.adapters and not own_weights:
            return self.policy.without_adapters()
        return self.load(self.spec.model)

    def learner(self, module: Module | None = None) -> Learner:
        """What moves the policy's weights, or those of a module that holds them."""
        optimizer = self.spec.optimizer
        moved = self.policy.model if module is None else module
        return Learner(moved, optimizer.learning_rate or 0.0, optimizer, self.spec.steps)


class Advanced(NamedTuple):
    """What one step brought."""

    metrics: dict[str, float]
    samples: list[Sample]


class Stateful(Protocol):
    """Something that remembers from step to step."""

    def state(self) -> State:
        """All that it remembers."""
        ...

    def restore(self, state: State) -> None:
        """Put back what `state` gave."""
        ...


@dataclass(frozen=True)
class Kept:
    """All that the next step of an algorithm depends on, beside seed and step; a checkpoint holds it."""

    learners: dict[str, Learner]
    """What moves: `policy` is exported as a model, others are saved beside it."""
    modules: dict[str, Module] = field(default_factory=dict)
    """Weights that no learner of their own moves: a synced reference model."""
    parts: dict[str, Stateful] = field(default_factory=dict)
    """Whatever else remembers."""

    def state(self) -> State:
        """What the parts remember."""
        return {name: part.state() for name, part in self.parts.items()}

    def restore(self, state: State) -> None:
        """Put back what `state` gave."""
        for name, part in self.parts.items():
            part.restore(state[name])


class Algorithm(Protocol):
    """A way to train a policy."""

    kept: Kept

    def advance(self, step: int) -> Advanced:
        """One step, counted from 0: a function of what is kept, seed and step."""
        ...


class Evaluator(Protocol):
    """A look at the held-out rows."""

    def run(self) -> tuple[dict[str, float], list[Sample]]:
        """Metrics of the weights as they are now, and something for people to read."""
        ...
