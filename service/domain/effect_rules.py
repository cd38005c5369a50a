"""The fields of a spec that have an effect only under a condition: one table of rules.

A field without a rule has an effect in every job that may have it. `effects.py` refuses values that have no effect.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from service.domain.algorithms import DEFAULT_COMPLETION_LENGTH, PolicySpec, ReuseSpec
from service.domain.datasets import RejectionSamplingData
from service.domain.prompt_sampling import GaussianCurriculumSpec

Spec = Any
"""A JobSpec; its module imports this one, so it cannot be imported here."""


class EffectRule(NamedTuple):
    """Fields of one block that have an effect only under a condition."""

    block: str
    """Dotted; empty: the spec itself."""
    fields: tuple[str, ...]
    acts: Callable[[Any, Spec], bool]
    """Whether the fields have an effect, from the block and the whole spec."""
    without: str
    """The condition without effect, as the end of the sentence `has no effect ...`."""
    remedy: str


def answers(job: Spec) -> bool:
    """Whether responses are sampled that people can read: in training, or for the held-out rows."""
    return isinstance(job.algorithm, PolicySpec) or (job.eval_dataset is not None and job.algorithm.type == "sft")


def decodes(job: Spec) -> bool:
    """Whether responses are sampled at all, including those of rejection sampling."""
    return answers(job) or isinstance(job.dataset, RejectionSamplingData)


def updates(algorithm: PolicySpec) -> int:
    """The number of updates for each batch of responses."""
    return algorithm.num_iterations * algorithm.minibatches if isinstance(algorithm, ReuseSpec) else 1


def has_rule(job: Spec) -> bool:
    """Whether a reward says which responses are correct; a score of a reward model does not."""
    return not job.rewards or any(reward.type != "reward_model" for reward in job.rewards)


def outcome_reward(job: Spec) -> int | None:
    """The position of the first reward that reads the answer; None if there is none."""
    return next((i for i, reward in enumerate(job.rewards) if reward.type in ("exact", "numeric", "math")), None)


def gates_by_outcome(job: Spec) -> bool:
    """Whether groups can differ in the reward although all their responses have the same outcome."""
    algorithm = job.algorithm
    is_relative = algorithm.type in ("grpo", "mirror_descent") or getattr(algorithm, "advantage_norm", "none") != "none"
    is_shaped = len(job.rewards) > 1 or algorithm.overlong_buffer > 0 or algorithm.length_penalty > 0
    return is_relative and is_shaped and outcome_reward(job) is not None


def _longest_response(job: Spec) -> int:
    """The limit in tokens, of training or of evaluation."""
    limits = [job.evaluation.max_completion_length, getattr(job.algorithm, "max_completion_length", None)]
    return max((limit for limit in limits if limit), default=DEFAULT_COMPLETION_LENGTH)


def _critic_updates(algorithm: Any) -> int:
    passes = algorithm.critic_num_iterations or algorithm.num_iterations
    return int(passes * (algorithm.critic_minibatches or algorithm.minibatches))


def _adam_has_weights(job: Spec) -> bool:
    """Whether Muon leaves any weights to AdamW: adapters are matrices; critics and scalar heads are trained whole."""
    only_adapters = job.lora is not None and job.lora.rank > 1 and not job.lora.modules_to_save
    return not only_adapters or job.algorithm.type in ("ppo", "reward_model")


RULES = (
    EffectRule(
        "",
        ("rewards",),
        lambda _, job: job.algorithm.type != "sft" or decodes(job),
        "in sft without eval_dataset, where nothing is answered",
        "give eval_dataset",
    ),
    EffectRule(
        "", ("max_invalid_rewards",), lambda _, job: decodes(job), "where nothing is judged", "give eval_dataset"
    ),
    EffectRule(
        "", ("rollout_batch_size",), lambda _, job: decodes(job), "where nothing is decoded", "give eval_dataset"
    ),
    EffectRule(
        "",
        ("samples_per_step",),
        lambda block, job: answers(job) or job.eval_dataset is not None or block.samples_per_step == 0,
        "where nothing is answered",
        "give eval_dataset",
    ),
    EffectRule(
        "tools",
        ("max_turns", "max_turn_length", "malformed_call", "max_result_length"),
        lambda _, job: answers(job),
        "in sft without eval_dataset, where nothing is called",
        "give eval_dataset",
    ),
    EffectRule(
        "tools",
        ("max_turn_length",),
        lambda block, job: block.max_turn_length < _longest_response(job),
        "unless it is less than the limit of a whole response",
        "lower it",
    ),
    EffectRule(
        "resources", ("gpu_memory_gb",), lambda block, _: block.gpus > 0, "on the CPU", "set resources.gpus to 1"
    ),
    EffectRule(
        "optimizer",
        ("decay_steps",),
        lambda block, _: block.schedule == "wsd",
        "with any schedule but wsd",
        "set optimizer.schedule to wsd",
    ),
    EffectRule(
        "optimizer",
        ("schedule",),
        lambda block, _: block.schedule == "constant" or block.min_learning_rate_ratio < 1,
        "at min_learning_rate_ratio 1, where the learning rate never falls",
        "lower optimizer.min_learning_rate_ratio",
    ),
    EffectRule(
        "optimizer",
        ("min_learning_rate_ratio",),
        lambda block, _: block.schedule != "constant",
        "with a constant schedule, which never falls",
        "choose another optimizer.schedule",
    ),
    EffectRule(
        "optimizer",
        ("beta2", "epsilon"),
        lambda block, job: block.type != "muon" or _adam_has_weights(job),
        "where Muon updates every trained weight, as with adapters alone",
        "choose adamw",
    ),
    EffectRule(
        "lora",
        ("use_rslora",),
        lambda block, _: block.rank > 1,
        "at rank 1, where both scalings agree",
        "raise lora.rank",
    ),
    EffectRule(
        "evaluation",
        (
            "every",
            "max_completion_length",
            "batch_size",
            "num_generations",
            "temperature",
            "top_p",
            "top_k",
            "pass_at",
        ),
        lambda _, job: job.eval_dataset is not None,
        "without eval_dataset",
        "give one",
    ),
    EffectRule(
        "evaluation",
        ("max_completion_length", "batch_size", "num_generations", "temperature", "top_p", "top_k", "pass_at"),
        lambda _, job: answers(job),
        "in reward_model, which ranks held-out pairs and samples no responses",
        "leave it out",
    ),
    EffectRule(
        "evaluation",
        ("top_p", "top_k"),
        lambda block, _: block.temperature > 0,
        "at temperature 0, which takes the likeliest token",
        "raise evaluation.temperature",
    ),
    EffectRule(
        "evaluation",
        ("pass_at",),
        lambda _, job: has_rule(job),
        "with reward models only: their scores do not say which responses are correct",
        "add a rule, e.g. {type: exact, weight: 0}",
    ),
    EffectRule(
        "algorithm",
        ("report_kl",),
        lambda block, _: block.beta == 0,
        "at a beta above 0, where the KL is reported anyway",
        "leave it out",
    ),
    EffectRule(
        "algorithm",
        ("zero_variance_by",),
        lambda _, job: gates_by_outcome(job),
        "unless advantages are relative to the group, and another term stands beside a reward that reads the answer",
        "leave it out",
    ),
    EffectRule(
        "algorithm",
        ("loss_aggregation",),
        lambda block, _: block.type != "importance_sampling" or block.importance_level == "token",
        "at importance_level sequence, where a response has one value",
        "set importance_level to token",
    ),
    EffectRule(
        "algorithm",
        ("partial_rollout_length",),
        lambda block, _: block.partial_rollout_length < block.max_completion_length,
        "unless it is less than max_completion_length",
        "lower it",
    ),
    EffectRule(
        "algorithm",
        ("overlong_penalty",),
        lambda block, _: block.overlong_buffer > 0,
        "without overlong_buffer",
        "set one",
    ),
    EffectRule(
        "algorithm",
        ("overlong_buffer",),
        lambda block, _: block.overlong_penalty > 0,
        "at overlong_penalty 0",
        "raise that",
    ),
    EffectRule(
        "algorithm",
        ("length_penalty_warmup_steps",),
        lambda block, _: block.length_penalty > 0,
        "at length_penalty 0",
        "raise that",
    ),
    EffectRule(
        "algorithm",
        ("max_resamples",),
        lambda block, _: block.zero_variance == "resample",
        "unless zero_variance is resample",
        "set that",
    ),
    EffectRule(
        "algorithm",
        ("kl_estimator", "kl_placement", "kl_ratio_correction"),
        lambda block, _: block.beta > 0,
        "at beta 0, where there is no KL",
        "raise beta",
    ),
    EffectRule(
        "algorithm", ("kl_horizon",), lambda block, _: block.kl_target is not None, "without kl_target", "set one"
    ),
    EffectRule(
        "algorithm",
        ("ref_sync_alpha",),
        lambda block, _: block.ref_sync_steps is not None,
        "without ref_sync_steps",
        "set them",
    ),
    EffectRule(
        "algorithm",
        ("value_clip",),
        lambda block, _: _critic_updates(block) > 1,
        "with one update of the critic for each batch of responses, before which no value has moved",
        "raise critic_num_iterations or critic_minibatches",
    ),
    EffectRule(
        "algorithm",
        ("prompt_sampling",),
        lambda block, job: block.prompt_sampling.type != "prioritized" or has_rule(job),
        "with reward models only: their scores do not say which responses are correct",
        "add a rule, e.g. {type: exact, weight: 0}",
    ),
    EffectRule(
        "algorithm.prompt_sampling",
        ("steps",),
        lambda block, _: isinstance(block, GaussianCurriculumSpec) or block.start < 1,
        "at start 1, where all prompts may be drawn from the first step on",
        "lower start",
    ),
    EffectRule(
        "algorithm.prompt_sampling",
        ("prioritized",),
        lambda _, job: has_rule(job),
        "with reward models only: their scores do not say which responses are correct",
        "add a rule, e.g. {type: exact, weight: 0}",
    ),
    *(
        EffectRule(
            block,
            ("decay",),
            lambda block, _: block.floor < 1,
            "at floor 1, where all prompts are drawn alike",
            "lower floor",
        )
        for block in ("algorithm.prompt_sampling", "algorithm.prompt_sampling.prioritized")
    ),
)
