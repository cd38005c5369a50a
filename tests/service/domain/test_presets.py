"""Each preset says what its paper or its trainer says, and a spec's own fields win over it."""

from typing import Any

import pytest
from pydantic import ValidationError

from hone.errors import NotFound
from service.domain.presets import PRESETS, find
from service.domain.specs import JobSpec

DATA = {"source": "linear-algebra"}
MATH = [{"type": "math"}]
JUDGE = {"type": "reward_model", "model": "job:ftjob-01KB3V5G8ZJ4Y0E7Q2M9T6W1XA"}
SUPERVISED = ("sft", "reward_model")


def needed(fields: dict[str, Any]) -> dict[str, Any]:
    """What a spec needs beside these fields: rows, and a reward if there is something to maximise."""
    preset = fields["algorithm"].get("preset")
    whole = PRESETS[preset].fields if preset else fields
    rewarded = whole["algorithm"]["type"] in SUPERVISED or "rewards" in whole
    return {"dataset": DATA} | ({} if rewarded else {"rewards": MATH})


def job(name: str, **changes: Any) -> dict[str, Any]:
    """The whole spec that a preset stands for; changes of its algorithm go into `algorithm`."""
    algorithm = {"preset": name} | changes.pop("algorithm", {})
    document = needed(PRESETS[name].fields) | {"algorithm": algorithm} | changes
    return JobSpec.model_validate(document).model_dump(mode="json")


def has(block: dict[str, Any], **expected: Any) -> None:
    assert {name: block[name] for name in expected} == expected


def test_reinforce_multiplies_the_whole_likelihood_with_the_bare_reward() -> None:
    has(job("reinforce")["algorithm"], type="reinforce", loss_aggregation="seq_sum", advantage_norm="none", beta=0)


def test_importance_sampling_uses_each_batch_twice_with_the_ratio_of_whole_responses() -> None:
    algorithm = job("importance_sampling")["algorithm"]
    has(algorithm, type="importance_sampling", importance_level="sequence", num_iterations=2)
    has(algorithm, advantage_norm="none", beta=0)


def test_ppo_is_clipped_at_a_fifth_and_has_no_extras() -> None:
    algorithm = job("ppo")["algorithm"]
    has(algorithm, type="ppo", clip_eps=0.2, clip_eps_high=None, loss_aggregation="seq_mean", gamma=1, gae_lambda=1)
    has(algorithm, whiten_advantages=False, whiten_rewards=False, value_clip=None, dual_clip=None, beta=0)


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 1e-5),  # verl's, for a policy at 1e-6
        ({"optimizer": {"learning_rate": 4e-5}}, 4e-4),
        ({"optimizer": {"learning_rate": 5e-4}}, 1e-3),
        ({"optimizer": {"learning_rate": 3e-3}}, 3e-3),
        ({"lora": {}}, 1e-5),  # adapters have rates ten times higher, and the critic has no adapters
        ({"algorithm": {"critic_learning_rate": 7e-4}}, 7e-4),
    ],
)
def test_the_critics_rate_follows_the_policys(changes: dict[str, Any], rate: float) -> None:
    assert job("ppo", **changes)["algorithm"]["critic_learning_rate"] == rate


def test_grpo_has_the_papers_kl_in_the_loss() -> None:
    algorithm = job("grpo")["algorithm"]
    has(algorithm, type="grpo", beta=0.04, kl_estimator="k3", kl_placement="loss", kl_ratio_correction=False)
    has(algorithm, clip_eps=0.2, advantage_norm="group_std", loss_aggregation="seq_mean", importance_level="token")


def test_rloo_compares_each_response_with_the_others_and_pays_for_its_kl_in_the_reward() -> None:
    algorithm = job("rloo")["algorithm"]
    has(algorithm, type="reinforce", advantage_norm="leave_one_out", num_generations=2)
    has(algorithm, beta=0.05, kl_estimator="k1", kl_placement="reward")


def test_theory_sums_the_losses_of_the_completion() -> None:
    has(job("theory")["algorithm"], type="sft", loss_aggregation="seq_sum", loss_on="completion")


def test_instructgpt_has_appendix_c4() -> None:
    """512 episodes in minibatches of 64, one inner epoch, KL reward of 0.02, clip 0.2, value function at 9e-6."""
    spec = job("instructgpt", rewards=[JUDGE])
    algorithm = spec["algorithm"]
    has(algorithm, type="ppo", prompts_per_step=512, num_generations=1, num_iterations=1, temperature=1)
    assert 512 / algorithm["minibatches"] == 64
    has(algorithm, beta=0.02, kl_estimator="k1", kl_placement="reward", kl_target=None)
    has(algorithm, clip_eps=0.2, value_clip=0.2, gamma=1, gae_lambda=0.95, critic_learning_rate=9e-6)
    has(algorithm, whiten_advantages=True, whiten_rewards=True, loss_aggregation="token_mean", ptx=None)
    has(spec["optimizer"], schedule="constant", warmup_steps=10, beta1=0.9, beta2=0.95)


def test_open_reasoner_zero_is_ppo_without_discount_bias_or_kl() -> None:
    """128 prompts, 64 responses each, one policy update and 12 of the critic, advantages normalised over the batch."""
    spec = job("open_reasoner_zero")
    algorithm = spec["algorithm"]
    has(algorithm, type="ppo", prompts_per_step=128, num_generations=64, max_completion_length=8000, temperature=1)
    has(algorithm, gamma=1, gae_lambda=1, clip_eps=0.2, value_clip=0.2, beta=0, entropy_coef=0)
    has(algorithm, num_iterations=1, minibatches=1, critic_num_iterations=None, critic_minibatches=12)
    has(algorithm, whiten_advantages=True, critic_learning_rate=5e-6, loss_aggregation="seq_mean")
    has(spec["optimizer"], learning_rate=1e-6, schedule="constant", warmup_steps=50, beta1=0.9, beta2=0.95)
    assert [reward["type"] for reward in spec["rewards"]] == ["math"]


def test_deepseek_r1_learns_from_8192_responses_in_16_updates_of_512() -> None:
    spec = job("deepseek_r1")
    algorithm = spec["algorithm"]
    has(algorithm, type="grpo", num_generations=16, max_completion_length=32_768, temperature=1, num_iterations=1)
    responses = algorithm["prompts_per_step"] * algorithm["num_generations"]
    assert (responses, responses / algorithm["minibatches"]) == (8192, 512)
    has(algorithm, clip_eps=10, beta=0.001, kl_estimator="k3", advantage_norm="group_std")
    assert algorithm["ref_sync_steps"] * algorithm["minibatches"] == 400
    assert algorithm["ref_sync_alpha"] == 1  # a new reference model is the policy
    has(spec["optimizer"], learning_rate=3e-6, schedule="constant")
    assert [(reward["type"], reward["weight"]) for reward in spec["rewards"]] == [("math", 1), ("format", 1)]


def test_deepseek_r1_has_the_stages_cold_start_rl_sft_and_rl() -> None:
    stages = [stage.fields for stage in PRESETS["deepseek_r1"].stages]
    jobs = [JobSpec.model_validate(needed(fields) | fields).model_dump() for fields in stages]
    assert [each["algorithm"]["type"] for each in jobs] == ["sft", "grpo", "sft", "grpo"]
    assert [each["algorithm"]["temperature"] for each in jobs if each["algorithm"]["type"] == "grpo"] == [1, 0.7]
    for each in (jobs[0], jobs[2]):  # from 5e-5 down to 5e-6, 128 sequences of 32,768 tokens
        has(each["algorithm"], batch_size=128, max_length=32_768)
        has(each["optimizer"], learning_rate=5e-5, schedule="cosine", min_learning_rate_ratio=0.1)


def test_kimi_descends_in_the_mirror_and_prefers_short_answers_to_hard_prompts() -> None:
    algorithm = job("kimi_k1_5")["algorithm"]
    has(algorithm, type="mirror_descent", baseline="mean", beta=0)
    assert algorithm["num_iterations"] * algorithm["minibatches"] > 1  # else tau would do nothing
    assert algorithm["length_penalty"] > 0
    assert algorithm["length_penalty_warmup_steps"] > 0  # first without, then constant
    assert algorithm["partial_rollout_length"] < algorithm["max_completion_length"]  # goes on in the next step
    assert algorithm["prompt_sampling"]["type"] == "curriculum" and algorithm["prompt_sampling"]["prioritized"]


def test_dapo_has_section_4_1() -> None:
    """16 updates a rollout, clip 0.2 / 0.28, 16,384 expected tokens and 4,096 more at a penalty; no KL."""
    spec = job("dapo")
    algorithm = spec["algorithm"]
    has(algorithm, type="grpo", prompts_per_step=512, num_generations=16, minibatches=16)
    has(algorithm, clip_eps=0.2, clip_eps_high=0.28, beta=0, loss_aggregation="token_mean", zero_variance="resample")
    assert algorithm["max_completion_length"] - algorithm["overlong_buffer"] == 16_384
    has(algorithm, overlong_buffer=4096, overlong_penalty=1, mask_truncated=False)
    has(spec["optimizer"], learning_rate=1e-6, schedule="constant", warmup_steps=20)
    assert spec["rewards"][0]["weight"] == 1 - (-1)  # from a wrong to a right answer


def test_dr_grpo_divides_neither_by_spread_nor_by_length() -> None:
    spec = job("dr_grpo")
    algorithm = spec["algorithm"]
    has(algorithm, type="grpo", advantage_norm="group_mean", loss_aggregation="const", beta=0, clip_eps=0.2)
    has(algorithm, prompts_per_step=128, num_generations=8, max_completion_length=3000, num_iterations=1)
    assert 128 * 8 / algorithm["minibatches"] == 128  # responses in an update
    has(spec["optimizer"], learning_rate=1e-6, schedule="constant")


def test_gspo_clips_the_ratio_of_a_whole_response_within_a_hair() -> None:
    algorithm = job("gspo")["algorithm"]
    has(algorithm, type="grpo", importance_level="sequence", clip_eps=3e-4, clip_eps_high=4e-4, minibatches=4)
    has(algorithm, beta=0, advantage_norm="group_std", loss_aggregation="seq_mean")


def test_linalgzero_sft_learns_every_token_with_adapters() -> None:
    spec = job("linalgzero_sft")
    has(spec["algorithm"], type="sft", loss_on="all", batch_size=16, max_length=8192, loss_aggregation="token_mean")
    has(spec["lora"], rank=32, alpha=64)
    has(spec["optimizer"], learning_rate=2e-5, schedule="cosine", min_learning_rate_ratio=0.1, max_grad_norm=0.2)
    assert spec["optimizer"]["warmup_steps"] == int(0.03 * 7648 / 16)
    has(spec["checkpoint"], every=100)
    assert spec["evaluation"]["every"] is None  # there 100; here the held-out rows are the user's to give


def test_linalgzero_has_one_ratio_a_response_and_a_curriculum() -> None:
    spec = job("linalgzero")
    algorithm = spec["algorithm"]
    has(algorithm, type="grpo", num_generations=8, prompts_per_step=16, temperature=1)
    has(algorithm, importance_level="sequence", clip_eps=3e-4, clip_eps_high=4e-4, beta=0, advantage_norm="group_std")
    has(algorithm["prompt_sampling"], type="gaussian", column="difficulty", sigma=0.5, easiest_share=0.1)
    assert algorithm["prompt_sampling"]["steps"] == 3 * 8448 / 16  # three epochs
    has(spec["lora"], rank=32, alpha=64)
    assert spec["optimizer"]["learning_rate"] == 1e-6
    weights = [(reward["type"], reward["weight"]) for reward in spec["rewards"]]
    assert weights == [("math", 1), ("format", 0.1), ("tool_use", 0.1)]


def test_linalgzero_has_five_turns_with_six_tools() -> None:
    """The last of five turns of 1,536 tokens is the answer; a response has room for all, and for four results."""
    spec = job("linalgzero")
    tools = spec["tools"]
    assert tools["max_turns"] == 4 and len(tools["functions"]) == 6
    has(tools, max_turn_length=1536, malformed_call="end")
    assert spec["algorithm"]["max_completion_length"] == 5 * 1536 + 4 * tools["max_result_length"]
    reward = spec["rewards"][2]
    has(reward, extra_penalty=1, expected="difficulty")  # - 0.1 min(extra calls, 3)
    assert reward["weight"] * reward["without_calls"] / 1.2 == pytest.approx(-0.3)
    rows = {"source": "linear-algebra", "tools": True, "max_calls": 3}
    assert job("linalgzero", dataset=rows)["dataset"]["max_calls"] == 3


def test_trl_default_is_token_mean_without_kl() -> None:
    spec = job("trl_default")
    algorithm = spec["algorithm"]
    has(algorithm, type="grpo", num_generations=8, prompts_per_step=1, max_completion_length=512, num_iterations=1)
    has(algorithm, loss_aggregation="token_mean", advantage_norm="group_std", clip_eps=0.2, clip_eps_high=None)
    has(algorithm, beta=0, mask_truncated=False, temperature=1, dual_clip=None)
    has(spec["optimizer"], learning_rate=1e-6, schedule="linear", warmup_steps=0, weight_decay=0, max_grad_norm=1)


def test_trl_sft_default_is_token_mean_at_2e_5() -> None:
    spec = job("trl_sft_default")
    has(spec["algorithm"], type="sft", batch_size=8, max_length=1024, truncation="end", loss_aggregation="token_mean")
    has(spec["optimizer"], learning_rate=2e-5, schedule="linear", warmup_steps=0, weight_decay=0, max_grad_norm=1)


def test_verl_default_whitens_and_clips_twice() -> None:
    spec = job("verl_default")
    algorithm = spec["algorithm"]
    has(algorithm, type="ppo", num_generations=1, max_completion_length=512, num_iterations=1, gamma=1, gae_lambda=1)
    assert algorithm["prompts_per_step"] / algorithm["minibatches"] == 1024 / 4 == 256
    has(algorithm, clip_eps=0.2, dual_clip=3, value_clip=0.5, whiten_advantages=True, beta=0)
    has(algorithm, loss_aggregation="token_mean", critic_learning_rate=1e-5)
    has(spec["optimizer"], learning_rate=1e-6, schedule="constant", weight_decay=0.01, max_grad_norm=1)


def test_verl_grpo_keeps_the_dual_clip_and_has_a_small_kl() -> None:
    spec = job("verl_grpo")
    algorithm = spec["algorithm"]
    has(algorithm, type="grpo", num_generations=5, beta=0.001, kl_estimator="k3", kl_placement="loss", dual_clip=3)
    has(algorithm, loss_aggregation="token_mean", advantage_norm="group_std", clip_eps=0.2, minibatches=4)
    has(spec["optimizer"], learning_rate=1e-6, schedule="constant", weight_decay=0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_named_by_a_title_a_source_and_its_algorithm(name: str) -> None:
    preset = PRESETS[name]
    assert preset.title and preset.source
    has(job(name)["algorithm"], preset=name, type=preset.algorithm)


@pytest.mark.parametrize("name", PRESETS)
def test_a_stored_spec_means_the_same_when_it_is_read_again(name: str) -> None:
    stored = job(name)
    assert JobSpec.model_validate(stored).model_dump(mode="json") == stored


@pytest.mark.parametrize("name", PRESETS)
def test_a_stored_spec_that_differs_from_its_preset_stays_different(name: str) -> None:
    nullable = {"prompt_sampling", "ref_sync_steps", "value_clip"} & set(PRESETS[name].fields["algorithm"])
    stored = job(name, algorithm=dict.fromkeys(nullable), lora=None, eval_dataset=DATA, rewards=MATH, steps=7)
    has(stored["algorithm"], **dict.fromkeys(nullable))
    has(stored, lora=None, steps=7)
    assert JobSpec.model_validate(stored).model_dump(mode="json") == stored


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.stages])
def test_every_stage_of_a_recipe_is_a_job_and_the_preset_is_one_of_them(name: str) -> None:
    stages = PRESETS[name].stages
    for stage in stages:
        JobSpec.model_validate(needed(stage.fields) | stage.fields)
    assert {"preset": name} in [stage.fields["algorithm"] for stage in stages]


def test_the_fields_of_the_document_win() -> None:
    spec = job("dapo", algorithm={"num_generations": 4, "clip_eps_high": None}, optimizer={"warmup_steps": 0})
    has(spec["algorithm"], num_generations=4, clip_eps_high=None, clip_eps=0.2)
    has(spec["optimizer"], warmup_steps=0, schedule="constant", learning_rate=1e-6)


def test_rewards_of_the_document_replace_those_of_the_preset() -> None:
    spec = job("deepseek_r1", rewards=[{"type": "numeric"}])
    assert [reward["type"] for reward in spec["rewards"]] == ["numeric"]


def test_a_block_of_another_type_replaces_the_presets() -> None:
    sampling = job("kimi_k1_5", algorithm={"prompt_sampling": {"type": "prioritized"}})["algorithm"]["prompt_sampling"]
    assert sampling == {"type": "prioritized", "floor": 0.05, "decay": 0.5}


def test_a_block_without_a_type_changes_the_presets() -> None:
    sampling = job("kimi_k1_5", algorithm={"prompt_sampling": {"start": 0.5}})["algorithm"]["prompt_sampling"]
    has(sampling, type="curriculum", start=0.5)


def test_null_switches_an_optional_block_off_and_leaves_the_others_to_the_preset() -> None:
    spec = job("linalgzero_sft", lora=None, optimizer=None)
    assert spec["lora"] is None
    assert spec["optimizer"]["max_grad_norm"] == 0.2


@pytest.mark.parametrize(
    ("algorithm", "field", "reason"),
    [
        ({"preset": "dappo"}, ("algorithm", "preset"), "did you mean 'dapo'"),
        ({"preset": "?"}, ("algorithm", "preset"), "there are reinforce, importance_sampling"),
        ({"preset": ["dapo"]}, ("algorithm", "preset"), "no such preset"),
        ({"preset": "dapo", "type": "ppo"}, ("algorithm", "type"), "'dapo' is a preset of grpo"),
        ({"preset": "dapo", "type": None}, ("algorithm", "type"), "'dapo' is a preset of grpo"),
        ({"type": "dapo"}, ("algorithm", "type"), "write {preset: dapo}"),
        ({"preset": "dapo", "gae_lambda": 0.9}, ("algorithm", "grpo", "gae_lambda"), "unknown field"),
    ],
)
def test_a_preset_that_cannot_be_used_is_refused(algorithm: Any, field: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate({"algorithm": algorithm, "dataset": DATA, "rewards": MATH})
    [error] = refused.value.errors()
    assert error["loc"] == field and reason in error["msg"]


def test_a_preset_may_repeat_its_type() -> None:
    assert job("dapo", algorithm={"type": "grpo"}) == job("dapo")


def test_a_preset_is_found_by_its_name() -> None:
    assert find("dapo") is PRESETS["dapo"]
    with pytest.raises(NotFound, match="did you mean 'gspo'"):
        find("gspoo")
