"""What a spec must not say is refused at its field, with a reason and a remedy."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.domain.specs import JobSpec

GRPO: dict[str, Any] = {
    "algorithm": {"type": "grpo"},
    "dataset": {"source": "linear-algebra"},
    "rewards": [{"type": "math"}],
}
HELD_OUT = {"source": "linear-algebra", "seed": 1}
POLICIES = ("reinforce", "importance_sampling", "ppo", "grpo", "mirror_descent")
SUPERVISED = ("sft", "reward_model")


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate(GRPO | changes)


def refusal(**changes: Any) -> tuple[str, str]:
    """The dotted field of the one refusal, without the algorithm's name, and its sentence."""
    with pytest.raises(ValidationError) as refused:
        spec(**changes)
    [error] = refused.value.errors()
    return ".".join(str(part) for part in error["loc"] if part not in POLICIES + SUPERVISED), error["msg"]


@pytest.mark.parametrize("algorithm", POLICIES)
@pytest.mark.parametrize("warper", [{"top_p": 0.9}, {"top_k": 50}, {"min_p": 0.05}])
def test_sampling_that_would_bias_the_ratio_is_refused_with_the_reason(algorithm: str, warper: dict[str, Any]) -> None:
    field, reason = refusal(algorithm={"type": algorithm} | warper)
    assert field == f"algorithm.{next(iter(warper))}"
    assert "another distribution than the one whose ratio and gradient are taken" in reason and "leave it out" in reason


@pytest.mark.parametrize("neutral", [{"top_p": 1}, {"top_p": 1.0}, {"top_k": 0}, {"top_k": -1}, {"min_p": None}])
def test_sampling_options_that_change_nothing_are_accepted_and_dropped(neutral: dict[str, Any]) -> None:
    assert spec(algorithm={"type": "grpo"} | neutral) == spec()


@pytest.mark.parametrize(
    ("algorithm", "field", "reason"),
    [
        ({"type": "grpo", "prompts_per_step": 4, "minibatches": 8}, "minibatches", "prompts_per_step (4)"),
        ({"type": "ppo", "prompts_per_step": 4, "critic_minibatches": 8}, "critic_minibatches", "prompts_per_step (4)"),
        ({"type": "grpo", "overlong_buffer": 512}, "overlong_buffer", "less than max_completion_length (512)"),
        ({"type": "ppo", "kl_target": 6.0}, "kl_target", "beta above 0"),
        ({"type": "grpo", "beta": 0, "ref_sync_steps": 10}, "ref_sync_steps", "beta above 0"),
        ({"type": "ppo", "kl_ratio_correction": True}, "kl_ratio_correction", "set kl_placement to loss"),
        ({"type": "grpo", "kl_ratio_correction": True, "kl_placement": "reward"}, "kl_ratio_correction", "loss"),
        ({"type": "ppo", "num_generations": 1, "zero_variance": "resample"}, "zero_variance", "at least 2"),
        ({"type": "grpo", "partial_rollout_length": 8, "zero_variance": "resample"}, "zero_variance", "skip or off"),
        ({"type": "ppo", "num_generations": 1, "length_penalty": 1}, "length_penalty", "num_generations to at least 2"),
        ({"type": "reinforce", "num_generations": 1, "advantage_norm": "group_std"}, "advantage_norm", "at least 2"),
        (
            {"type": "importance_sampling", "num_generations": 1, "advantage_norm": "leave_one_out"},
            "advantage_norm",
            "or this to none",
        ),
        ({"type": "grpo", "num_generations": 1}, "num_generations", "greater than or equal to 2"),
        ({"type": "mirror_descent", "num_generations": 1}, "num_generations", "greater than or equal to 2"),
        ({"type": "reinforce", "clip_eps": 0.2}, "clip_eps", "unknown field"),
        ({"type": "reinforce", "minibatches": 2}, "minibatches", "unknown field"),
        ({"type": "grpo", "gae_lambda": 0.95}, "gae_lambda", "unknown field"),
        ({"type": "ppo", "advantage_norm": "none"}, "advantage_norm", "unknown field"),
        ({"type": "sft", "beta": 0.1}, "beta", "unknown field"),
        ({"type": "reward_model", "loss_on": "all"}, "loss_on", "unknown field"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(algorithm: dict[str, Any], field: str, reason: str) -> None:
    where, message = refusal(algorithm=algorithm)
    assert where == f"algorithm.{field}" and reason in message


@pytest.mark.parametrize("algorithm", POLICIES)
def test_what_learns_from_rewards_needs_one(algorithm: str) -> None:
    field, reason = refusal(algorithm={"type": algorithm}, rewards=[])
    assert field == "rewards" and f"{algorithm} needs at least one reward, e.g. {{type: math}}" in reason


@pytest.mark.parametrize("algorithm", SUPERVISED)
def test_what_learns_from_texts_needs_no_reward(algorithm: str) -> None:
    spec(algorithm={"type": algorithm}, rewards=[])


def test_a_reward_model_has_no_responses_to_reward() -> None:
    field, reason = refusal(algorithm={"type": "reward_model"})
    assert field == "rewards" and "learns from pairs; leave them out" in reason


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, "eval_dataset"),
        ({"evaluation": {"every": 5}}, "eval_dataset"),
        ({"eval_dataset": HELD_OUT}, "evaluation.every"),
    ],
)
def test_early_stopping_needs_evaluations(changes: dict[str, Any], missing: str) -> None:
    field, reason = refusal(early_stopping={}, **changes)
    assert field == missing and "needed by early_stopping" in reason


def test_early_stopping_with_evaluations_is_accepted() -> None:
    assert spec(early_stopping={}, eval_dataset=HELD_OUT, evaluation={"every": 5}).early_stopping


@pytest.mark.parametrize(
    ("evaluation", "field", "reason"),
    [
        ({"num_generations": 4}, "temperature", "all num_generations responses would be equal; raise it"),
        ({"num_generations": 4, "temperature": 1, "pass_at": [1, 8]}, "pass_at", "from 1 to num_generations (4)"),
        ({"pass_at": [0]}, "pass_at", "but has 0"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(evaluation: dict[str, Any], field: str, reason: str) -> None:
    where, message = refusal(evaluation=evaluation)
    assert where == f"evaluation.{field}" and reason in message


def test_pass_at_k_of_sampled_responses_is_accepted() -> None:
    sampled = {"num_generations": 8, "temperature": 0.7, "pass_at": [1, 8]}
    assert spec(evaluation=sampled, eval_dataset=HELD_OUT).evaluation.pass_at == [1, 8]


@pytest.mark.parametrize(
    ("algorithm", "whole", "adapters"),
    [("sft", 2e-5, 2e-4), ("reward_model", 1e-5, 1e-4), ("grpo", 1e-6, 1e-5), ("mirror_descent", 1e-6, 1e-5)],
)
def test_the_learning_rate_goes_by_what_is_learned(algorithm: str, whole: float, adapters: float) -> None:
    named: dict[str, Any] = {"algorithm": {"type": algorithm}}
    if algorithm in SUPERVISED:
        named["rewards"] = []
    assert spec(**named).optimizer.learning_rate == whole
    assert spec(**named, lora={}).optimizer.learning_rate == adapters


def test_a_null_block_means_its_defaults() -> None:
    blocks = dict.fromkeys(("optimizer", "evaluation", "checkpoint", "resources", "tags", "depends_on"))
    assert spec(**blocks) == spec()


def test_every_model_that_a_job_reads_is_a_parent_once() -> None:
    job = "ftjob-01KB3V5G8ZJ4Y0E7Q2M9T6W1XA"
    judged = spec(
        algorithm={"type": "ppo", "critic_model": f"job:{job}"},
        model="job:ftjob-1@best",
        rewards=[{"type": "reward_model", "model": f"job:{job}@latest"}],
    )
    assert judged.parent_jobs == judged.depends_on == ["ftjob-1", job]
    assert set(judged.models) == {"model", "algorithm.critic_model", "rewards.0.model"}


def test_every_dataset_of_a_job_is_known_by_its_field() -> None:
    algorithm = {"type": "ppo", "ptx": {"dataset": {"source": "file-1"}}}
    assert set(spec(algorithm=algorithm).datasets) == {"dataset", "algorithm.ptx.dataset"}
    assert set(spec(eval_dataset=HELD_OUT).datasets) == {"dataset", "eval_dataset"}


@pytest.mark.parametrize("weights", [[0.0], [0, 0.0]], ids=str)
@pytest.mark.parametrize("kind", ["grpo", "ppo", "reinforce"])
def test_rewards_that_all_weigh_nothing_are_refused_where_they_teach(kind: str, weights: list[float]) -> None:
    rewards = [{"type": "exact", "weight": weight} for weight in weights]
    taught = {"algorithm": {"type": kind}, "dataset": {"source": "linear-algebra"}}
    with pytest.raises(ValidationError, match="is 0 for every reward, so that each response earns 0"):
        JobSpec.model_validate(taught | {"rewards": rewards})
    JobSpec.model_validate(taught | {"rewards": [*rewards, {"type": "math"}]})
    held_out = {"source": "linear-algebra", "seed": 1}
    measured = taught | {"algorithm": {"type": "sft"}, "eval_dataset": held_out}
    JobSpec.model_validate(measured | {"rewards": rewards[:1]})
