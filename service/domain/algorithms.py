"""The algorithms as a user writes them. Names are TRL's and the papers'; the defaults are the theory's form."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from service.domain.strict import Strict, refusal
from service.domain.supervised import Block, PTXSpec, RewardModelSpec, SFTSpec

LossAggregation = Literal["token_mean", "seq_mean", "seq_sum", "const", "group_mean"]
KLEstimator = Literal["k1", "k2", "k3"]
AdvantageNorm = Literal["none", "group_mean", "group_std", "batch_std", "leave_one_out"]


class CurriculumSpec(Strict):
    """Easy prompts first: the share of the prompts, sorted by a column, that may be drawn grows to all of them."""

    type: Literal["curriculum"] = "curriculum"
    column: str = Field("difficulty", min_length=1, description="a number in each row; smaller is easier")
    start: float = Field(
        0.2, gt=0, le=1, description="share of the prompts, the easiest, that the first step draws from"
    )
    steps: int = Field(100, ge=1, description="steps until all prompts may be drawn")


class PrioritizedSpec(Strict):
    """Prompts drawn in proportion to 1 - success rate (Kimi k1.5, arXiv:2501.12599, section 2.3.4)."""

    type: Literal["prioritized"] = "prioritized"
    floor: float = Field(
        0.05, gt=0, le=1, description="least weight, so that a solved prompt is still seen now and then"
    )
    decay: float = Field(
        0.5, ge=0, lt=1, description="how much of the old success rate stays when a prompt is seen again"
    )


PromptSampling = Annotated[CurriculumSpec | PrioritizedSpec, Field(discriminator="type")]

_WARPERS = {"top_p": (1, 1.0, None), "top_k": (0, -1, None), "min_p": (0, 0.0, None)}


class PolicySpec(Block):
    """What all algorithms share that learn from rewards: rollouts, rewards, and the pull toward the reference model."""

    prompts_per_step: int = Field(32, ge=1, le=4096, description="prompts whose responses make one step")
    num_generations: int = Field(8, ge=1, le=256, description="responses sampled for each prompt (G)")
    max_completion_length: int = Field(512, ge=1, le=32_768, description="tokens; a longer response is cut")
    temperature: float = Field(1.0, gt=0, le=10, description="of the sampling distribution, which is also pi_old's")
    partial_rollout_length: int | None = Field(
        None,
        ge=1,
        description="tokens by which responses grow in a step; unfinished ones go on in the next (Kimi k1.5)",
    )
    prompt_sampling: PromptSampling | None = Field(
        None, description="which prompts come when; null: each once an epoch, shuffled"
    )
    mask_truncated: bool = Field(False, description="responses that the length limit cut off teach nothing")
    overlong_buffer: int = Field(
        0, ge=0, description="last tokens before the limit over which a penalty grows to 1 (DAPO); 0: none"
    )
    overlong_penalty: float = Field(1.0, ge=0, le=100, description="factor of that penalty")
    length_penalty: float = Field(
        0.0, ge=0, le=100, description="weight of Kimi k1.5's length reward, relative to the group's extremes; 0: none"
    )
    length_penalty_warmup_steps: int = Field(0, ge=0, description="first steps without the length reward")
    reward_clip: float | None = Field(None, gt=0, description="rewards are held within +- this; null: never")
    reward_scale: float = Field(1.0, gt=0, le=1000, description="factor of the clipped reward")
    zero_variance: Literal["skip", "off", "resample"] = Field(
        "skip",
        description="prompts whose responses all earned the same: not run through the model where that changes no "
        "gradient, always run, or replaced by further prompts (DAPO's dynamic sampling)",
    )
    max_resamples: int = Field(
        8, ge=1, le=100, description="most extra batches of prompts that `resample` draws a step"
    )
    entropy_coef: float = Field(0.0, ge=0, le=10, description="weight of the entropy bonus")
    beta: float = Field(0.0, ge=0, le=10, description="weight of the KL to the reference model; 0: no reference model")
    kl_estimator: KLEstimator = Field("k3", description="per-token estimate of the KL (Schulman): k1, k2 or k3")
    kl_placement: Literal["loss", "reward"] = Field(
        "loss", description="whether the KL is in the loss or in the reward"
    )
    kl_ratio_correction: bool = Field(
        False, description="multiply the KL in the loss by pi/pi_old: the gradient of the reverse KL (TRL's default)"
    )
    kl_target: float | None = Field(
        None, gt=0, description="nats per response that an adaptive beta steers to (arXiv:1909.08593); null: fixed"
    )
    kl_horizon: float = Field(10_000, gt=0, description="responses over which the adaptive beta reacts")
    ref_sync_steps: int | None = Field(
        None, ge=1, description="steps between updates of the reference model from the policy; null: never"
    )
    ref_sync_alpha: float = Field(0.6, gt=0, le=1, description="share of the policy in such an update")

    @model_validator(mode="before")
    @classmethod
    def _refuse_warpers(cls, data: Any) -> Any:
        """Neutral values of other systems' sampling options are accepted; others would bias the ratio."""
        if not isinstance(data, dict):
            return data
        for name, neutral in _WARPERS.items():
            if name in data and data[name] not in neutral:
                message = "would sample from another distribution than the one whose ratio and gradient are taken; "
                raise refusal(name, message + "leave it out (evaluation.top_p and evaluation.top_k exist)", data[name])
        return {key: value for key, value in data.items() if key not in _WARPERS}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.zero_variance == "resample" and self.num_generations < 2:
            raise refusal("zero_variance", "needs num_generations of at least 2", self.zero_variance)
        if self.length_penalty and self.num_generations < 2:
            message = "compares the lengths of a prompt's responses; set num_generations to at least 2"
            raise refusal("length_penalty", message, self.length_penalty)
        if self.zero_variance == "resample" and self.partial_rollout_length:
            raise refusal("zero_variance", "cannot resample partial rollouts; set it to skip or off", "resample")
        if self.overlong_buffer >= self.max_completion_length:
            message = f"must be less than max_completion_length ({self.max_completion_length})"
            raise refusal("overlong_buffer", message, self.overlong_buffer)
        if self.beta == 0 and (self.kl_target or self.ref_sync_steps):
            name = "kl_target" if self.kl_target else "ref_sync_steps"
            raise refusal(name, "needs a beta above 0; set one, or this to null", getattr(self, name))
        if self.kl_ratio_correction and self.kl_placement == "reward":
            raise refusal("kl_ratio_correction", "is for a KL in the loss; set kl_placement to loss", True)
        return self


class ReuseSpec(PolicySpec):
    """What the algorithms share that use a batch of responses for several updates."""

    num_iterations: int = Field(1, ge=1, le=64, description="passes over one batch of responses (mu)")
    minibatches: int = Field(1, ge=1, le=256, description="updates in each pass, of whole groups")

    @model_validator(mode="after")
    def _minibatches_fit(self) -> Self:
        if self.minibatches > self.prompts_per_step:
            message = f"must not exceed prompts_per_step ({self.prompts_per_step}): a group is not split"
            raise refusal("minibatches", message, self.minibatches)
        return self


class ClippedSpec(ReuseSpec):
    """What PPO and GRPO share: the clipped ratio."""

    loss_aggregation: LossAggregation = Field("seq_mean", description="how token losses become one number")
    clip_eps: float = Field(0.2, gt=0, le=10, description="where the gradient of pi/pi_old stops, below 1")
    clip_eps_high: float | None = Field(None, gt=0, description="the same above 1; null: as below")
    dual_clip: float | None = Field(
        None, gt=1, description="bound on the ratio where the advantage is negative (arXiv:1912.09729); null: none"
    )
    importance_level: Literal["token", "sequence"] = Field(
        "token", description="ratio of each token, or one for a response: their geometric mean (GSPO, arXiv:2507.18071)"
    )


def _check_group(norm: AdvantageNorm, num_generations: int) -> None:
    if norm != "none" and num_generations < 2:
        message = "compares a prompt's responses; set num_generations to at least 2, or this to none"
        raise refusal("advantage_norm", message, norm)


class ReinforceSpec(PolicySpec):
    """REINFORCE: the likelihood of a response, times its reward; one update for each batch of responses."""

    type: Literal["reinforce"] = "reinforce"
    loss_aggregation: LossAggregation = Field("seq_sum", description="how token losses become one number")
    advantage_norm: AdvantageNorm = Field("none", description="what is subtracted from rewards and what divides them")

    @model_validator(mode="after")
    def _has_a_group(self) -> Self:
        _check_group(self.advantage_norm, self.num_generations)
        return self


class ImportanceSamplingSpec(ReuseSpec):
    """The off-policy estimator: the ratio of a response's likelihoods, times its reward, without a clip."""

    type: Literal["importance_sampling"] = "importance_sampling"
    num_iterations: int = Field(2, ge=1, le=64, description="passes over one batch of responses")
    loss_aggregation: LossAggregation = Field("seq_sum", description="of the tokens, at importance_level token")
    importance_level: Literal["token", "sequence"] = Field(
        "sequence", description="the ratio of whole responses (a product over tokens), or its factorised form"
    )
    advantage_norm: AdvantageNorm = Field("none", description="what is subtracted from rewards and what divides them")

    @model_validator(mode="after")
    def _has_a_group(self) -> Self:
        _check_group(self.advantage_norm, self.num_generations)
        return self


class GRPOSpec(ClippedSpec):
    """Group relative policy optimisation (arXiv:2402.03300): no critic, the group is the baseline."""

    type: Literal["grpo"] = "grpo"
    num_generations: int = Field(8, ge=2, le=256, description="responses per prompt (G); one alone has no baseline")
    beta: float = Field(0.04, ge=0, le=10, description="weight of the KL to the reference model; 0: no reference model")
    advantage_norm: AdvantageNorm = Field("group_std", description="what is subtracted from rewards and divides them")


class MirrorDescentSpec(ReuseSpec):
    """Online policy mirror descent (Kimi k1.5, arXiv:2501.12599, section 2.3.2): a squared error, no critic."""

    type: Literal["mirror_descent"] = "mirror_descent"
    num_generations: int = Field(8, ge=2, le=256, description="responses per prompt; their rewards make the baseline")
    tau: float = Field(
        0.1, gt=0, le=100, description="weight of the relative entropy to the policy of the step's start"
    )
    baseline: Literal["soft_mean", "mean"] = Field(
        "soft_mean", description="tau log mean exp(r / tau) over the group, or its limit for large tau"
    )


class PPOSpec(ClippedSpec):
    """Proximal policy optimisation (arXiv:1707.06347) with a critic and generalised advantages."""

    type: Literal["ppo"] = "ppo"
    num_generations: int = Field(4, ge=1, le=256, description="responses sampled for each prompt")
    num_iterations: int = Field(2, ge=1, le=64, description="passes over one batch of responses")
    kl_estimator: KLEstimator = Field("k1", description="per-token estimate of the KL (Schulman): k1, k2 or k3")
    kl_placement: Literal["loss", "reward"] = Field("reward", description="InstructGPT's KL is in the reward")
    gamma: float = Field(1.0, gt=0, le=1, description="discount of later rewards")
    gae_lambda: float = Field(1.0, ge=0, le=1, description="1: Monte-Carlo returns; 0: one-step differences")
    whiten_advantages: bool = Field(False, description="advantages to mean 0 and variance 1 over the step's tokens")
    whiten_rewards: bool = Field(False, description="token rewards to variance 1 over the step's tokens, mean kept")
    value_clip: float | None = Field(
        None, gt=0, description="how far a value may move from its old one in the critic's loss; null: freely"
    )
    critic_model: str | None = Field(
        None, min_length=1, max_length=500, description="whose backbone the critic starts from; null: the policy's"
    )
    critic_learning_rate: float = Field(1e-5, gt=0, le=1, description="peak, on the actor's schedule")
    critic_warmup_steps: int = Field(0, ge=0, description="first steps that train the critic alone")
    critic_num_iterations: int | None = Field(None, ge=1, le=64, description="the critic's passes; null: the actor's")
    critic_minibatches: int | None = Field(
        None, ge=1, le=256, description="the critic's updates a pass; null: the actor's"
    )
    ptx: PTXSpec | None = Field(None, description="texts whose likelihood is raised beside the reward (PPO-ptx)")

    @model_validator(mode="after")
    def _critic_fits(self) -> Self:
        if self.critic_minibatches and self.critic_minibatches > self.prompts_per_step:
            message = f"must not exceed prompts_per_step ({self.prompts_per_step}): a group is not split"
            raise refusal("critic_minibatches", message, self.critic_minibatches)
        return self


Algorithm = Annotated[
    SFTSpec | RewardModelSpec | ReinforceSpec | ImportanceSamplingSpec | PPOSpec | GRPOSpec | MirrorDescentSpec,
    Field(discriminator="type"),
]
DEFAULT_LEARNING_RATE = {"sft": 2e-5, "reward_model": 1e-5}
"""Peak by algorithm; 1e-6 for those that learn from rewards."""
