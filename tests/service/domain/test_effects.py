"""Nothing is accepted and ignored: a field that would have no effect is refused, or the job says so when it starts."""

from typing import Any

import pytest
from pydantic import ValidationError

from hone.documents.validation import LENIENT
from service.domain.effect_rules import RULES
from service.domain.merge import merged
from service.domain.outlook import notes
from service.domain.presets import PRESETS
from service.domain.specs import JobSpec

DATA = {"source": "linear-algebra"}
JUDGE = {"type": "reward_model", "model": "job:ftjob-1"}
EVAL = {"eval_dataset": DATA}
SAMPLED = EVAL | {"evaluation": {"temperature": 0.7}}
SHAPED = {"rewards": [{"type": "math"}, {"type": "format"}]}
MUON = {"optimizer": {"type": "muon"}, "lora": {}}


def document(kind: str, **changes: Any) -> dict[str, Any]:
    """A spec of an algorithm with changes, those of the algorithm itself in `algorithm`."""
    base = {"algorithm": {"type": kind}, "dataset": DATA} | (
        {} if kind in ("sft", "reward_model") else {"rewards": [{"type": "math"}]}
    )
    whole: dict[str, Any] = merged(base, changes)
    return whole


def put(path: str, value: Any) -> dict[str, Any]:
    """`optimizer.beta2` and a value as the blocks of a document."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


IDLE: list[tuple[str, dict[str, Any], str, Any, dict[str, Any]]] = [
    # algorithm, rest of the spec, field, value, what makes it act
    ("sft", {}, "rewards", [{"type": "math"}], EVAL),
    ("sft", {}, "rollout_batch_size", 4, EVAL),
    ("reward_model", EVAL, "rollout_batch_size", 4, {}),
    ("sft", {}, "samples_per_step", 8, EVAL),
    ("reward_model", {}, "samples_per_step", 8, EVAL),
    ("sft", {"tools": {}}, "tools.max_turns", 3, EVAL),
    ("sft", {"tools": {}}, "tools.max_result_length", 64, EVAL),
    ("sft", {"tools": {}}, "tools.malformed_call", "end", EVAL),
    ("sft", {"tools": {}}, "tools.max_turn_length", 64, EVAL),
    ("sft", EVAL | {"tools": {}}, "tools.max_turn_length", 512, {"evaluation": {"max_completion_length": 600}}),
    ("grpo", {"tools": {}}, "tools.max_turn_length", 512, {"algorithm": {"max_completion_length": 600}}),
    ("sft", {}, "resources.gpu_memory_gb", 40, {"resources": {"gpus": 1}}),
    ("sft", {}, "optimizer.decay_steps", 5, {"optimizer": {"schedule": "wsd"}}),
    ("sft", {"optimizer": {"schedule": "linear"}}, "optimizer.decay_steps", 5, {"optimizer": {"schedule": "wsd"}}),
    (
        "sft",
        {"optimizer": {"min_learning_rate_ratio": 1.0}},
        "optimizer.schedule",
        "linear",
        {"optimizer": {"min_learning_rate_ratio": 0.5}},
    ),
    (
        "sft",
        {"optimizer": {"schedule": "constant"}},
        "optimizer.min_learning_rate_ratio",
        0.1,
        {"optimizer": {"schedule": "cosine"}},
    ),
    ("sft", MUON, "optimizer.beta2", 0.95, {"lora": {"modules_to_save": ["embed_tokens"]}}),
    ("grpo", MUON, "optimizer.epsilon", 1e-6, {"lora": {"rank": 1}}),
    ("sft", {"lora": {"rank": 1}}, "lora.use_rslora", True, {"lora": {"rank": 2}}),
    ("sft", {}, "evaluation.every", 5, EVAL),
    ("grpo", {}, "evaluation.every", 5, EVAL),
    ("reward_model", {}, "evaluation.every", 5, EVAL),
    ("grpo", {}, "evaluation.max_completion_length", 8, EVAL),
    ("sft", {}, "evaluation.batch_size", 8, EVAL),
    ("sft", {}, "evaluation.temperature", 0.5, EVAL),
    ("sft", {}, "evaluation.pass_at", [1], EVAL),
    ("reward_model", EVAL, "evaluation.max_completion_length", 8, {}),
    ("reward_model", EVAL, "evaluation.batch_size", 8, {}),
    ("reward_model", EVAL, "evaluation.temperature", 0.5, {}),
    ("sft", EVAL, "evaluation.top_p", 0.9, SAMPLED),
    ("grpo", EVAL, "evaluation.top_k", 5, SAMPLED),
    ("grpo", EVAL | {"rewards": [JUDGE]}, "evaluation.pass_at", [1], {"rewards": [JUDGE, {"type": "math"}]}),
    (
        "importance_sampling",
        {},
        "algorithm.loss_aggregation",
        "token_mean",
        {"algorithm": {"importance_level": "token"}},
    ),
    ("grpo", {}, "algorithm.partial_rollout_length", 512, {"algorithm": {"max_completion_length": 513}}),
    ("grpo", {}, "algorithm.overlong_penalty", 2, {"algorithm": {"overlong_buffer": 8}}),
    (
        "grpo",
        {"algorithm": {"overlong_penalty": 0}},
        "algorithm.overlong_buffer",
        8,
        {"algorithm": {"overlong_penalty": 0.5}},
    ),
    ("grpo", {}, "algorithm.length_penalty_warmup_steps", 5, {"algorithm": {"length_penalty": 1}}),
    ("sft", {}, "max_invalid_rewards", 0.25, EVAL),
    ("grpo", {}, "algorithm.report_kl", True, {"algorithm": {"beta": 0}}),
    ("grpo", {}, "algorithm.zero_variance_by", "reward", {"rewards": [{"type": "math"}, {"type": "format"}]}),
    ("grpo", {"rewards": [{"type": "format"}]}, "algorithm.zero_variance_by", "outcome", SHAPED),
    ("reinforce", SHAPED, "algorithm.zero_variance_by", "reward", {"algorithm": {"advantage_norm": "group_mean"}}),
    ("grpo", {}, "algorithm.max_resamples", 2, {"algorithm": {"zero_variance": "resample"}}),
    ("ppo", {}, "algorithm.kl_estimator", "k3", {"algorithm": {"beta": 0.1}}),
    ("reinforce", {}, "algorithm.kl_placement", "reward", {"algorithm": {"beta": 0.1}}),
    ("grpo", {"algorithm": {"beta": 0}}, "algorithm.kl_ratio_correction", True, {"algorithm": {"beta": 0.1}}),
    ("grpo", {}, "algorithm.kl_horizon", 100, {"algorithm": {"kl_target": 6}}),
    ("grpo", {}, "algorithm.ref_sync_alpha", 1, {"algorithm": {"ref_sync_steps": 5}}),
    (
        "ppo",
        {"algorithm": {"num_iterations": 1}},
        "algorithm.value_clip",
        0.2,
        {"algorithm": {"critic_minibatches": 2}},
    ),
    (
        "grpo",
        {"rewards": [JUDGE]},
        "algorithm.prompt_sampling",
        {"type": "prioritized"},
        {"rewards": [{"type": "math"}]},
    ),
    (
        "grpo",
        {"algorithm": {"prompt_sampling": {"type": "curriculum", "start": 1}}},
        "algorithm.prompt_sampling.steps",
        5,
        {"algorithm": {"prompt_sampling": {"start": 0.5}}},
    ),
    (
        "grpo",
        {"algorithm": {"prompt_sampling": {"type": "prioritized", "floor": 1}}},
        "algorithm.prompt_sampling.decay",
        0.9,
        {"algorithm": {"prompt_sampling": {"floor": 0.5}}},
    ),
    (
        "grpo",
        {"algorithm": {"prompt_sampling": {"type": "gaussian", "prioritized": {"floor": 1}}}},
        "algorithm.prompt_sampling.prioritized.decay",
        0.9,
        {"algorithm": {"prompt_sampling": {"prioritized": {"floor": 0.5}}}},
    ),
    (
        "grpo",
        {"rewards": [JUDGE], "algorithm": {"prompt_sampling": {"type": "curriculum"}}},
        "algorithm.prompt_sampling.prioritized",
        {},
        {"rewards": [{"type": "math"}]},
    ),
]


@pytest.mark.parametrize(("kind", "rest", "field", "value", "cure"), IDLE)
def test_a_field_without_an_effect_is_refused_with_its_value_and_a_remedy(
    kind: str, rest: dict[str, Any], field: str, value: Any, cure: dict[str, Any]
) -> None:
    idle = merged(document(kind, **rest), put(field, value))
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate(idle)
    [error] = refused.value.errors()
    assert ".".join(map(str, error["loc"])) == field
    assert "has no effect" in error["msg"] and "; " in error["msg"] and "set this to" in error["msg"]
    if cure:
        JobSpec.model_validate(merged(idle, cure))


@pytest.mark.parametrize(("kind", "rest", "field", "value", "cure"), IDLE)
def test_at_its_default_such_a_field_passes(
    kind: str, rest: dict[str, Any], field: str, value: Any, cure: dict[str, Any]
) -> None:
    if field == "algorithm.overlong_buffer":
        rest = {}  # an overlong_penalty of 0 is itself refused where there is no buffer
    stored = JobSpec.model_validate(document(kind, **rest)).model_dump(mode="json")
    assert JobSpec.model_validate(stored).model_dump(mode="json") == stored


@pytest.mark.parametrize(("kind", "rest", "field", "value", "cure"), IDLE)
def test_a_row_that_an_earlier_version_accepted_can_be_read(
    kind: str, rest: dict[str, Any], field: str, value: Any, cure: dict[str, Any]
) -> None:
    JobSpec.model_validate(merged(document(kind, **rest), put(field, value)), context=LENIENT)


def test_no_samples_may_be_asked_for_where_there_are_none() -> None:
    JobSpec.model_validate(document("sft", samples_per_step=0))


def test_every_rule_is_tried() -> None:
    named = {f"{rule.block}.{name}".lstrip(".") for rule in RULES for name in rule.fields}
    assert named - {"evaluation.num_generations"} == {field for _, _, field, _, _ in IDLE}
    with pytest.raises(ValidationError, match="num_generations"):
        JobSpec.model_validate(document("sft", evaluation={"num_generations": 2, "temperature": 1}))


@pytest.mark.parametrize("gpus", [2, 8])
def test_more_devices_than_compute_are_refused(gpus: int) -> None:
    with pytest.raises(ValidationError, match=r"a job computes on one device.*set it to 1") as refused:
        JobSpec.model_validate(document("sft", resources={"gpus": gpus}))
    assert refused.value.errors()[0]["loc"] == ("resources", "gpus") and refused.value.errors()[0]["input"] == gpus
    with pytest.raises(ValidationError, match="less than or equal to 8"):
        JobSpec.model_validate(document("sft", resources={"gpus": 9}))


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("sft", "loss", "did you mean 'train/loss'"),
        ("sft", "nonsense", "is not a metric"),
        ("sft", "eval/accuracy", "give eval_dataset"),
        ("sft", "policy/reward", "sft, which samples nothing"),
        ("reward_model", "reward/math", "reward_model, which samples nothing"),
        ("grpo", "critic/loss", "grpo, which has no critic"),
    ],
)
def test_the_best_checkpoint_is_not_chosen_by_a_metric_that_is_never_made(kind: str, name: str, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate(document(kind, checkpoint={"keep_best": name}))
    [error] = refused.value.errors()
    assert error["loc"] == ("checkpoint", "keep_best") and reason in error["msg"]


def test_a_penalty_for_calls_beyond_a_number_needs_the_number() -> None:
    reward = {"type": "tool_use", "expected": None, "extra_penalty": 0.5}
    with pytest.raises(ValidationError, match="has no effect where expected is null"):
        JobSpec.model_validate(document("grpo", tools={}, rewards=[reward]))
    JobSpec.model_validate(document("grpo", tools={}, rewards=[reward | {"expected": "calls"}]))


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_has_a_field_without_an_effect(name: str) -> None:
    fields = PRESETS[name].fields
    supervised = PRESETS[name].algorithm in ("sft", "reward_model")
    plain = {"dataset": DATA} | ({} if supervised else {"rewards": [{"type": "math"}]}) | fields
    JobSpec.model_validate(plain)  # without its name, for whose sake its own values would pass


def test_who_overrides_a_part_of_a_preset_need_not_clear_what_hung_on_it() -> None:
    changed = {"preset": "kimi_k1_5", "length_penalty": 0}
    JobSpec.model_validate({"algorithm": changed, "dataset": DATA})
    with pytest.raises(ValidationError, match="at length_penalty 0"):
        JobSpec.model_validate({"algorithm": changed | {"length_penalty_warmup_steps": 7}, "dataset": DATA})


@pytest.mark.parametrize(
    ("kind", "rest", "field"),
    [
        ("sft", {"optimizer": {"warmup_steps": 10}}, "optimizer.warmup_steps"),
        ("sft", EVAL | {"evaluation": {"every": 11}}, "evaluation.every"),
        ("sft", {"checkpoint": {"every": 11}}, "checkpoint.every"),
        ("sft", EVAL | {"evaluation": {"temperature": 0.7, "top_k": 1}}, "evaluation.top_k"),
        ("sft", {"checkpoint": {"keep_last": 9}}, "checkpoint.keep_last"),
        ("sft", {"checkpoint": {"keep_best": "train/loss"}}, "checkpoint.keep_best"),
        ("sft", EVAL | {"evaluation": {"every": 5}, "early_stopping": {"patience": 2}}, "early_stopping.patience"),
        (
            "sft",
            EVAL | {"evaluation": {"every": 2}, "checkpoint": {"every": 5, "keep_best": "eval/loss"}},
            "checkpoint.keep_best",
        ),
        (
            "grpo",
            {"algorithm": {"length_penalty": 1, "length_penalty_warmup_steps": 10}},
            "algorithm.length_penalty_warmup_steps",
        ),
        ("grpo", {"algorithm": {"ref_sync_steps": 10}}, "algorithm.ref_sync_steps"),
        ("ppo", {"algorithm": {"critic_warmup_steps": 10}}, "algorithm.critic_warmup_steps"),
        (
            "ppo",
            {"algorithm": {"critic_warmup_steps": 6}, "optimizer": {"warmup_steps": 4}},
            "optimizer.warmup_steps",
        ),
        ("grpo", {"algorithm": {"clip_eps": 0.1}}, "algorithm.clip_eps"),
        ("grpo", {"algorithm": {"importance_level": "sequence"}}, "algorithm.importance_level"),
        ("ppo", {"algorithm": {"dual_clip": 3, "num_iterations": 1}}, "algorithm.dual_clip"),
        ("mirror_descent", {"algorithm": {"baseline": "mean", "tau": 0.5}}, "algorithm.tau"),
    ],
)
def test_a_field_that_acts_in_a_longer_job_or_with_more_updates_is_noted_and_not_refused(
    kind: str, rest: dict[str, Any], field: str
) -> None:
    [note] = notes(JobSpec.model_validate(document(kind, **rest)), 10)
    assert note.message.startswith(f"{field} is ") and note.param == field and note.remedy


def test_the_ratios_of_partial_rollouts_move_with_one_update_too() -> None:
    whole = {"clip_eps": 0.1, "importance_level": "sequence", "partial_rollout_length": 8}
    assert not notes(JobSpec.model_validate(document("grpo", algorithm=whole)), 10)


def test_a_spec_whose_fields_all_act_has_no_notes() -> None:
    assert not notes(JobSpec.model_validate(document("sft", checkpoint={"every": 10})), 10)
    whole = {"minibatches": 2, "clip_eps": 0.1, "ref_sync_steps": 9, "importance_level": "sequence"}
    evaluated = EVAL | {"evaluation": {"every": 2}, "checkpoint": {"every": 4, "keep_best": "eval/accuracy"}}
    assert not notes(JobSpec.model_validate(document("grpo", algorithm=whole, **evaluated)), 10)
