"""The job's spec: one document, JSON or YAML, the same for the API, the command line and the page.

Names are TRL's and the papers' where those agree. The defaults of an algorithm are the theory's form.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from service.domain.datasets import AnyDataset
from service.domain.rewards import AnyReward
from service.domain.strict import Strict, refusal

LossAggregation = Literal["token_mean", "seq_mean", "seq_sum"]
JOB_MODEL = re.compile(r"^job:(?P<job>ftjob-[0-9A-Za-z]+)(@(?P<which>best|latest|step-\d+))?$")


class SFTSpec(Strict):
    """Supervised fine-tuning: the likelihood of the completions, prompts masked."""

    type: Literal["sft"] = "sft"
    batch_size: int = Field(32, ge=1, le=4096, description="sequences per step")
    max_length: int = Field(1024, ge=8, le=131_072, description="tokens; longer sequences lose their end")
    loss_aggregation: LossAggregation = Field(
        "token_mean", description="how token losses become one number; `seq_sum` is the textbook form"
    )


class PolicySpec(Strict):
    """What the policy-gradient algorithms share: how responses are sampled and how often they are used."""

    prompts_per_step: int = Field(32, ge=1, le=4096, description="prompts whose responses make one step")
    num_generations: int = Field(8, ge=1, le=256, description="responses sampled for each prompt (G)")
    max_completion_length: int = Field(512, ge=1, le=32_768, description="tokens; a longer response is cut")
    temperature: float = Field(1.0, gt=0, le=10, description="of the sampling distribution, which is also pi_old's")
    num_iterations: int = Field(1, ge=1, le=64, description="passes over one batch of responses (mu)")
    minibatches: int = Field(1, ge=1, le=256, description="updates in each pass")
    clip_eps: float = Field(0.2, gt=0, lt=1, description="where the gradient of pi/pi_old stops, below 1")
    clip_eps_high: float | None = Field(None, gt=0, description="the same above 1; null: as below")
    loss_aggregation: LossAggregation = Field("seq_mean", description="how token losses become one number")

    @model_validator(mode="after")
    def _minibatches_divide(self) -> Self:
        if self.prompts_per_step % self.minibatches:
            message = f"must divide prompts_per_step ({self.prompts_per_step}), but is {self.minibatches}"
            raise refusal("minibatches", message, self.minibatches)
        return self


class GRPOSpec(PolicySpec):
    """Group relative policy optimisation (arXiv:2402.03300): no critic, the group is the baseline."""

    type: Literal["grpo"] = "grpo"
    num_generations: int = Field(8, ge=2, le=256, description="responses per prompt (G); one alone has no baseline")
    beta: float = Field(0.04, ge=0, le=10, description="weight of the k3 term that pulls toward the reference model")


class PPOSpec(PolicySpec):
    """Proximal policy optimisation (arXiv:1707.06347) with a critic of the same backbone and GAE."""

    type: Literal["ppo"] = "ppo"
    num_generations: int = Field(4, ge=1, le=256, description="responses sampled for each prompt")
    num_iterations: int = Field(2, ge=1, le=64, description="passes over one batch of responses")
    gamma: float = Field(1.0, gt=0, le=1, description="discount of later rewards")
    gae_lambda: float = Field(1.0, ge=0, le=1, description="1: Monte-Carlo returns; 0: one-step differences")
    critic_learning_rate: float = Field(1e-5, gt=0, le=1, description="peak, on the actor's schedule")
    critic_warmup_steps: int = Field(0, ge=0, description="first steps that train the critic alone")


Algorithm = Annotated[SFTSpec | PPOSpec | GRPOSpec, Field(discriminator="type")]
DEFAULT_LEARNING_RATE = {"sft": 2e-5, "ppo": 1e-6, "grpo": 1e-6}


class OptimizerSpec(Strict):
    """AdamW and its schedule."""

    learning_rate: float | None = Field(
        None, gt=0, le=1, description="peak; when absent 2e-5 for SFT and 1e-6 for PPO and GRPO"
    )
    schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps of linear growth from 0")
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled, on matrices only")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-8, gt=0, le=1)
    max_grad_norm: float | None = Field(1.0, gt=0, description="gradients are scaled down to this norm; null: never")


class EvaluationSpec(Strict):
    """When and how the held-out rows are answered and scored."""

    every: int | None = Field(None, ge=1, description="steps between evaluations; null: before the first and last step")
    max_completion_length: int | None = Field(None, ge=1, le=32_768, description="tokens; null: as in training, or 512")
    batch_size: int = Field(64, ge=1, le=4096, description="prompts answered at once")


class CheckpointSpec(Strict):
    """When a checkpoint is written, and which ones stay."""

    every: int | None = Field(None, ge=1, description="steps between checkpoints; null: the last step only")
    keep_last: int = Field(2, ge=1, description="how many of the newest stay")
    keep_best: str | None = Field(None, max_length=100, description="a metric whose best checkpoint stays too")


class ResourcesSpec(Strict):
    """What a worker must have free to run the job."""

    gpus: int = Field(0, ge=0, le=8, description="devices; 0 runs on the CPU")


class JobSpec(Strict):
    """A whole job."""

    name: str | None = Field(None, min_length=1, max_length=200, description="for people")
    algorithm: Algorithm
    model: str = Field(
        "tiny",
        min_length=1,
        max_length=500,
        description="tiny | job:ID[@best|@latest|@step-N] | a Hub id | a directory",
    )
    dataset: AnyDataset
    eval_dataset: AnyDataset | None = Field(None, description="held-out rows; null: no evaluation")
    rewards: list[AnyReward] = Field(
        default_factory=list,
        max_length=16,
        description="what PPO and GRPO maximise, and how evaluation scores; the first decides `eval/accuracy`",
    )
    optimizer: OptimizerSpec = Field(default_factory=OptimizerSpec)
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    resources: ResourcesSpec = Field(default_factory=ResourcesSpec)
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of the arithmetic; the weights stay fp32. auto: bf16 on a GPU that has it, else fp32"
    )
    micro_batch_tokens: int = Field(8192, ge=64, description="most tokens, padding included, in one forward pass")
    samples_per_step: int = Field(4, ge=0, le=64, description="responses recorded each step, for people to read")
    steps: int = Field(100, ge=1, le=10_000_000, description="updates (SFT) or batches of responses (PPO, GRPO)")
    seed: int = Field(0, ge=0, lt=2**31, description="of the data order, the sampling and new weights")
    priority: int = Field(0, ge=-100, le=100, description="higher runs first")
    max_restarts: int = Field(5, ge=0, le=100, description="how often a lost attempt is repeated")
    depends_on: list[str] = Field(default_factory=list, max_length=64, description="jobs that must succeed first")
    tags: dict[str, str] = Field(default_factory=dict, max_length=16, description="for finding it again")

    @model_validator(mode="before")
    @classmethod
    def _accept_null_blocks(cls, data: Any) -> Any:
        """A YAML block with all its lines commented out is null: it means the defaults."""
        if not isinstance(data, dict):
            return data
        blocks = ("optimizer", "evaluation", "checkpoint", "resources", "tags", "depends_on", "rewards")
        return {key: value for key, value in data.items() if not (key in blocks and value is None)}

    @model_validator(mode="after")
    def _make_whole(self) -> Self:
        if self.algorithm.type != "sft" and not self.rewards:
            raise refusal(
                "rewards", f"{self.algorithm.type} needs at least one reward, e.g. {{type: math}}", self.rewards
            )
        if self.optimizer.learning_rate is None:
            self.optimizer.learning_rate = DEFAULT_LEARNING_RATE[self.algorithm.type]
        parent = self.parent_job
        if parent and parent not in self.depends_on:
            self.depends_on.append(parent)
        return self

    @property
    def parent_job(self) -> str | None:
        """The job whose checkpoint this one starts from, if it does."""
        match = JOB_MODEL.match(self.model)
        return match["job"] if match else None
