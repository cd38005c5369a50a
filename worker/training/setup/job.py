"""What an algorithm is given: the job, its model, its rows, its rewards and tools."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from torch.nn import Module

from service.domain.health_notes import Note
from service.domain.specs import JobSpec
from worker.protocol import Loaded
from worker.training.data.encode import Encoder
from worker.training.data.rows import Row
from worker.training.models.policy import Policy
from worker.training.rewards.pool import RewardPool
from worker.training.setup import loading
from worker.training.setup.model_rewards import ModelRewards
from worker.training.tools.toolbox import Toolbox
from worker.training.updates.memory import Budget
from worker.training.updates.optim import Learner
from worker.training.world import SINGLE_PROCESS, World

MIN_TOKENS = 64
"""Below it a micro-batch is not made smaller when memory runs out."""
UNLIMITED_RESPONSES = 2**31
"""More responses than a step ever has."""


@dataclass
class Setup:
    """A job, its model and its data; what every algorithm is given."""

    spec: JobSpec
    policy: Policy
    models: dict[str, str]
    """The path of each model that the spec names; the reference model is read from there, also after a resume."""
    rows: list[Row]
    pool: RewardPool
    files: dict[str, str] = field(default_factory=dict)
    """Uploaded files by id."""
    notes: list[Note] = field(default_factory=list)
    """Health notes; the loop reports and clears them after each step."""
    tools: Toolbox = field(default_factory=lambda: Toolbox(None))
    """The tools that the policy may call."""

    loaded: list[Loaded] = field(default_factory=list)
    """The models beside the policy that were loaded; the loop reports them."""

    world: World = SINGLE_PROCESS
    """The processes that train this job together."""
    steps: int = field(init=False)
    """Of the whole job; with `epochs` they are known once the algorithm has counted its rows."""
    steps_per_epoch: float | None = field(init=False, default=None)

    tokens: Budget = field(init=False)
    """How many tokens a forward pass of the training may have."""
    rollouts: Budget = field(init=False)
    """How many responses are decoded at once."""
    model_rewards: ModelRewards = field(init=False)
    """The rewards that models give; `pool` has those that rules give."""

    def __post_init__(self) -> None:
        self.steps = self.spec.steps or 0
        warn, batch_size = self.notes.append, self.spec.rollout_batch_size or UNLIMITED_RESPONSES
        self.tokens = Budget(
            self.spec.micro_batch_tokens, MIN_TOKENS, "tokens in a micro-batch", "micro_batch_tokens", warn
        )
        self.rollouts = Budget(batch_size, 1, "responses at once", "rollout_batch_size", warn)
        self.model_rewards = ModelRewards(self.spec, self.models, self.policy)
        self.loaded.extend(self.model_rewards.loaded)

    def count_steps(self, rows: int, batch_size: int) -> None:
        """Count the steps of the job's epochs: `rows` are trained on, `batch_size` of them in a step.

        Batches run on over the end of an epoch, so the last one may take some rows of the next.
        """
        self.steps_per_epoch = rows / batch_size
        if self.spec.epochs is not None:
            exact = Fraction(repr(self.spec.epochs)) * rows / batch_size
            self.steps = max(1, ceil(exact))

    @property
    def encoder(self) -> Encoder:
        """The encoder of the training rows."""
        return Encoder.of(self.policy, self.spec.dataset, "dataset", self.notes, self.tools.schemas)

    def load(self, name: str, role: str, field: str = "model") -> Policy:
        """A model by the name that the spec gives it in a field, reported with what it is for."""
        policy = loading.named_model(self.models[name], field, self.spec, self.policy.device)
        self.loaded.append(loading.report(policy, role, name))
        return policy

    def first_policy(self, *, own_weights: bool = False) -> Policy:
        """The policy before the first step. With adapters it shares the base weights, which must not be changed."""
        if self.policy.adapters and not own_weights:
            return self.policy.without_adapters()
        return self.load(self.spec.model, "reference")

    def learner(self, module: Module | None = None, *, first_step: int = 0) -> Learner:
        """The optimizer of the policy's weights, or of those of a module that holds them; from which step on."""
        optimizer = self.spec.optimizer
        trained = self.policy.model if module is None else module
        rate = optimizer.learning_rate or 0.0
        return Learner(trained, rate, optimizer, self.steps, first_step=first_step)
