"""Specs of algorithms that learn from rewards. Names are TRL's and the papers'; defaults give the published form."""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from hone.documents.validation import Strict, refusal
from service.domain.prompt_sampling import PromptSampling
from service.domain.supervised import Block, PTXSpec, RewardModelSpec, SFTSpec

LossAggregation = Literal["token_mean", "seq_mean", "seq_sum", "const", "group_mean"]
KLEstimator = Literal["k1", "k2", "k3"]
OverlongPrompts = Literal["refuse", "drop"]
AdvantageNorm = Literal["none", "group_mean", "group_std", "batch_std", "leave_one_out"]


class TruncatedCorrectionSpec(Strict):
    """Truncated importance weights min(pi_old / sampler, cap) of each token (Yao et al. 2025, as in verl and TRL)."""

    type: Literal["truncated"] = "truncated"
    cap: float = Field(2.0, ge=1, le=100, description="largest weight; 1: tokens are only ever weighted down")


_WARPERS = {"top_p": (1, 1.0, None), "top_k": (0, -1, None), "min_p": (0, 0.0, None)}


class PolicySpec(Block):
    """Fields of all algorithms that learn from rewards: rollouts, rewards, and the KL to the reference model."""

    prompts_per_step: int = Field(32, ge=1, le=4096, description="prompts in each step")
    num_generations: int = Field(8, ge=1, le=256, description="responses sampled for each prompt (G)")
    max_completion_length: int = Field(
        512, ge=1, le=32_768, description="longest response in tokens; a longer one is cut off"
    )
    max_prompt_length: int | None = Field(
        None, ge=1, le=131_072, description="longest prompt in tokens; null: what the model's context leaves"
    )
    overlong_prompts: OverlongPrompts = Field(
        "refuse", description="rows with longer prompts fail the job, or are left out, in training and in evaluation"
    )
    temperature: float = Field(
        1.0, gt=0, le=10, description="temperature of the sampling distribution, which is also pi_old's"
    )
    partial_rollout_length: int | None = Field(
        None,
        ge=1,
        description="tokens by which responses grow in a step; unfinished ones continue in the next (Kimi k1.5)",
    )
    prompt_sampling: PromptSampling | None = Field(
        None, description="order of the prompts; null: each once per epoch, shuffled"
    )
    mask_truncated: bool = Field(False, description="give no gradient to responses that the length limit cut off")
    overlong_buffer: int = Field(
        0, ge=0, description="last tokens before the limit over which a penalty grows to 1 (DAPO); 0: none"
    )
    overlong_penalty: float = Field(1.0, ge=0, le=100, description="factor of that penalty")
    length_penalty: float = Field(
        0.0, ge=0, le=100, description="weight of Kimi k1.5's length reward, relative to the group's extremes; 0: none"
    )
    length_penalty_warmup_steps: int = Field(0, ge=0, description="first steps without the length reward")
    reward_clip: float | None = Field(None, gt=0, description="rewards are clipped to +- this; null: not clipped")
    reward_scale: float = Field(1.0, gt=0, le=1000, description="factor of the reward, applied after the clip")
    zero_variance: Literal["skip", "off", "resample"] = Field(
        "skip",
        description="prompts whose responses all earned the same. skip: not run through the model where that changes "
        "no gradient; off: always run; resample: replaced by further prompts (DAPO's dynamic sampling)",
    )
    max_resamples: int = Field(
        8, ge=1, le=100, description="limit of the extra batches of prompts that `resample` draws in a step"
    )
    zero_variance_by: Literal["outcome", "reward"] | None = Field(
        None,
        description="what has to be the same. outcome: the first reward that reads the answer, so that groups in which "
        "all failed do not learn from their form; reward: the whole reward, shaping included; null: outcome, where "
        "there is such a reward and another term beside it, and the advantage is relative to the group",
    )
    sampler_correction: TruncatedCorrectionSpec | None = Field(
        None,
        description="weight of a token where the pass that trains and the one that samples disagree, as in bf16; "
        "null: none, which is right as long as policy/sampler_ratio stays at 1",
    )
    report_kl: bool = Field(False, description="report the KL to the start also at beta 0, for a forward pass more")
    entropy_coef: float = Field(0.0, ge=0, le=10, description="weight of the entropy bonus")
    beta: float = Field(0.0, ge=0, le=10, description="weight of the KL to the reference model; 0: no reference model")
    kl_estimator: KLEstimator = Field("k3", description="per-token estimate of the KL: Schulman's k1, k2 or k3")
    kl_placement: Literal["loss", "reward"] = Field("loss", description="where the KL term is added")
    kl_ratio_correction: bool = Field(
        False,
        description="multiply the KL in the loss by pi/pi_old, for the gradient of the reverse KL (TRL's default)",
    )
    kl_target: float | None = Field(
        None,
        gt=0,
        description="target of an adaptive beta in nats per response (arXiv:1909.08593); null: beta is fixed",
    )
    kl_horizon: float = Field(10_000, gt=0, description="number of responses over which an adaptive beta reacts")
    ref_sync_steps: int | None = Field(
        None, ge=1, description="steps between updates of the reference model from the policy; null: never"
    )
    ref_sync_alpha: float = Field(0.6, gt=0, le=1, description="share of the policy in such an update")

    @model_validator(mode="before")
    @classmethod
    def _refuse_warpers(cls, data: Any) -> Any:
        """Accept neutral values of other systems' sampling options; other values would bias the ratio."""
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
            message = f"must be less than max_completion_length ({self.max_completion_length}); lower it too"
            raise refusal("overlong_buffer", message, self.overlong_buffer)
        if self.beta == 0 and (self.kl_target or self.ref_sync_steps):
            name = "kl_target" if self.kl_target else "ref_sync_steps"
            raise refusal(name, "needs a beta above 0; set one, or this to null", getattr(self, name))
        if self.sampler_correction and self.partial_rollout_length:
            message = (
                "has no effect on partial rollouts, whose ratios are to the policies that sampled them; leave it out"
            )
            raise refusal("sampler_correction", message, self.sampler_correction)
        if self.kl_ratio_correction and self.kl_placement == "reward":
            raise refusal("kl_ratio_correction", "is for a KL in the loss; set kl_placement to loss", True)
        return self


class ReuseSpec(PolicySpec):
    """Fields of the algorithms that can use a batch of responses for several updates."""

    num_iterations: int = Field(1, ge=1, le=64, description="passes over one batch of responses (mu)")
    minibatches: int = Field(1, ge=1, le=256, description="updates in each pass; groups are not split")

    @model_validator(mode="after")
    def _minibatches_fit(self) -> Self:
        if self.minibatches > self.prompts_per_step:
            message = f"must not exceed prompts_per_step ({self.prompts_per_step}): a group is not split; lower it too"
            raise refusal("minibatches", message, self.minibatches)
        return self


class ClippedSpec(ReuseSpec):
    """Fields of PPO and GRPO: the clipped ratio."""

    loss_aggregation: LossAggregation = Field("seq_mean", description="how token losses are combined into one number")
    clip_eps: float = Field(0.2, gt=0, le=10, description="clip of pi/pi_old below 1: no gradient beyond 1 - clip_eps")
    clip_eps_high: float | None = Field(None, gt=0, description="the same above 1; null: clip_eps")
    dual_clip: float | None = Field(
        None, gt=1, description="upper bound of the ratio for negative advantages (arXiv:1912.09729); null: none"
    )
    importance_level: Literal["token", "sequence"] = Field(
        "token", description="one ratio per token, or one per response: their geometric mean (GSPO, arXiv:2507.18071)"
    )


WithGroups = TypeVar("WithGroups", "ReinforceSpec", "ImportanceSamplingSpec")


def _check_group(spec: WithGroups) -> WithGroups:
    if spec.advantage_norm != "none" and spec.num_generations < 2:
        message = "compares a prompt's responses; set num_generations to at least 2, or this to none"
        raise refusal("advantage_norm", message, spec.advantage_norm)
    return spec


class ReinforceSpec(PolicySpec):
    """REINFORCE: the likelihood of a response, times its reward; one update for each batch of responses."""

    type: Literal["reinforce"] = "reinforce"
    loss_aggregation: LossAggregation = Field("seq_sum", description="how token losses are combined into one number")
    advantage_norm: AdvantageNorm = Field(
        "none", description="baseline that is subtracted from rewards, and the scale that divides them"
    )

    _has_a_group = model_validator(mode="after")(_check_group)


class ImportanceSamplingSpec(ReuseSpec):
    """The off-policy estimator: the ratio of a response's likelihoods, times its reward, without a clip."""

    type: Literal["importance_sampling"] = "importance_sampling"
    num_iterations: int = Field(2, ge=1, le=64, description="passes over one batch of responses")
    loss_aggregation: LossAggregation = Field(
        "seq_sum", description="how token losses are combined, with importance_level token"
    )
    importance_level: Literal["token", "sequence"] = Field(
        "sequence",
        description="one ratio per response (the product over its tokens), or one per token (the factorised form)",
    )
    advantage_norm: AdvantageNorm = Field(
        "none", description="baseline that is subtracted from rewards, and the scale that divides them"
    )

    _has_a_group = model_validator(mode="after")(_check_group)


class GRPOSpec(ClippedSpec):
    """Group relative policy optimisation (arXiv:2402.03300): no critic, the group is the baseline."""

    type: Literal["grpo"] = "grpo"
    num_generations: int = Field(
        8, ge=2, le=256, description="responses sampled for each prompt (G), which are each other's baseline"
    )
    beta: float = Field(0.04, ge=0, le=10, description="weight of the KL to the reference model; 0: no reference model")
    advantage_norm: AdvantageNorm = Field(
        "group_std", description="baseline that is subtracted from rewards, and the scale that divides them"
    )


class MirrorDescentSpec(ReuseSpec):
    """Online policy mirror descent (Kimi k1.5, arXiv:2501.12599, section 2.3.2): a squared error, no critic."""

    type: Literal["mirror_descent"] = "mirror_descent"
    num_generations: int = Field(
        8, ge=2, le=256, description="responses sampled for each prompt; their rewards make the baseline"
    )
    tau: float = Field(
        0.1, gt=0, le=100, description="weight of the relative entropy to the policy at the start of the step"
    )
    baseline: Literal["soft_mean", "mean"] = Field(
        "soft_mean", description="tau log mean exp(r / tau) over the group, or its limit for large tau, the mean"
    )

    @model_validator(mode="after")
    def _has_no_correction(self) -> Self:
        if self.sampler_correction is not None:
            message = "weights tokens, but this loss has one squared error for a response; leave it out"
            raise refusal("sampler_correction", message, self.sampler_correction)
        return self


class PPOSpec(ClippedSpec):
    """Proximal policy optimisation (arXiv:1707.06347) with a critic and generalised advantages."""

    type: Literal["ppo"] = "ppo"
    num_generations: int = Field(4, ge=1, le=256, description="responses sampled for each prompt")
    num_iterations: int = Field(2, ge=1, le=64, description="passes over one batch of responses")
    kl_estimator: KLEstimator = Field("k1", description="per-token estimate of the KL: Schulman's k1, k2 or k3")
    kl_placement: Literal["loss", "reward"] = Field(
        "reward", description="where the KL term is added; InstructGPT adds it to the reward"
    )
    gamma: float = Field(1.0, gt=0, le=1, description="discount factor of later rewards")
    gae_lambda: float = Field(1.0, ge=0, le=1, description="1: Monte-Carlo returns; 0: one-step differences")
    whiten_advantages: bool = Field(
        False, description="scale advantages to mean 0 and variance 1 over the tokens of a step"
    )
    whiten_rewards: bool = Field(
        False, description="scale token rewards to variance 1 over the tokens of a step; their mean stays"
    )
    value_clip: float | None = Field(
        None, gt=0, description="largest change of a value in the critic's loss; null: not clipped"
    )
    critic_model: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        description="model whose backbone the critic starts from; null: the policy's",
    )
    critic_learning_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="peak learning rate of the critic, on the policy's schedule; null: ten times the policy's up to "
        "1e-3, or the policy's if that is higher or is for adapters, which the critic has none of",
    )
    critic_warmup_steps: int = Field(
        0,
        ge=0,
        description="first steps, in which only the critic is trained; the policy's learning rate begins after them",
    )
    critic_num_iterations: int | None = Field(
        None, ge=1, le=64, description="passes of the critic; null: as the policy"
    )
    critic_minibatches: int | None = Field(
        None, ge=1, le=256, description="updates of the critic in each pass; null: as the policy"
    )
    ptx: PTXSpec | None = Field(
        None, description="texts whose likelihood is raised in addition to the reward (PPO-ptx); null: none"
    )

    @model_validator(mode="after")
    def _critic_fits(self) -> Self:
        if self.critic_minibatches and self.critic_minibatches > self.prompts_per_step:
            message = f"must not exceed prompts_per_step ({self.prompts_per_step}): a group is not split; lower it too"
            raise refusal("critic_minibatches", message, self.critic_minibatches)
        return self


Algorithm = Annotated[
    SFTSpec | RewardModelSpec | ReinforceSpec | ImportanceSamplingSpec | PPOSpec | GRPOSpec | MirrorDescentSpec,
    Field(discriminator="type"),
]
AlgorithmType = Literal["sft", "reward_model", "reinforce", "importance_sampling", "ppo", "grpo", "mirror_descent"]
DEFAULT_LEARNING_RATE = {"sft": 2e-5, "reward_model": 1e-5}
"""Peak by algorithm; 1e-6 for those that learn from rewards."""
MAX_DEFAULT_CRITIC_RATE = 1e-3
"""Beyond it AdamW makes the values of a small critic noisy; a critic that starts at 0 is slow at the policy's rate."""
DEFAULT_COMPLETION_LENGTH = 512
"""Longest response of an evaluation, in tokens, where neither it nor the training has a limit."""
