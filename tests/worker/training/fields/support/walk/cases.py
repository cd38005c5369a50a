"""Small jobs, other values of fields, and why some fields need no job of their own."""

from typing import Any

from service.domain.merge import merged
from worker.training.rewards.registry import CALLS, ERRORS

POLICIES = ("reinforce", "importance_sampling", "ppo", "grpo", "mirror_descent")
RL = {"prompts_per_step": 2, "num_generations": 3, "max_completion_length": 4, "beta": 0.0}
JUDGE = [{"type": "reward_model", "model": "job:ftjob-1"}]
REUSE = {"num_iterations": 2, "clip_eps": 0.01}
OWN: dict[str, dict[str, Any]] = {
    "sft": {"batch_size": 3},
    "reward_model": {"batch_size": 3},
    "reinforce": RL,
    "importance_sampling": RL,
    "ppo": RL | {"clip_eps": 0.01, "critic_learning_rate": 0.01},
    "grpo": RL | REUSE,
    "mirror_descent": RL | {"num_iterations": 2},
}
EVAL = {"eval_dataset": {"source": "file-2"}, "evaluation": {"max_completion_length": 5}}
SAMPLED = merged(EVAL, {"evaluation": {"temperature": 1.0}})
PROBLEMS = {"dataset": {"source": "linear-algebra", "style": "symbolic", "size": 6}}
STOPPING = merged(EVAL, {"evaluation": {"every": 1}, "early_stopping": {"metric": "eval/loss", "patience": 1}})
REJECTION = {
    "dataset": {
        "source": "rejection-sampling",
        "model": "tiny",
        "prompts": {"source": "file-1", "limit": 4},
        "max_completion_length": 120,
        "num_generations": 3,
    },
    "rewards": [{"type": "regex", "pattern": "a"}],
}
RULES = ("exact", "numeric", "math", "regex", "tool_use")
RETRIED = {
    "algorithm": {"prompts_per_step": 4},
    "steps": 4,
    "rewards": [{"type": "regex", "pattern": "[a-m]"}],
}
NEVER_RIGHT = [{"type": "regex", "pattern": "never"}]

WHERE: dict[str, tuple[str, dict[str, Any]]] = {
    # the beginning of a path: the algorithm and the changes of its spec with which the field acts; the longest counts
    "optimizer.": ("sft", {}),
    "optimizer.decay_steps": ("sft", {"optimizer": {"schedule": "wsd"}}),
    "lora.": ("sft", {"lora": {"rank": 4}}),
    "evaluation.": ("grpo", EVAL),
    "evaluation.num_generations": ("grpo", SAMPLED),
    "evaluation.top_": ("grpo", SAMPLED),
    "evaluation.pass_at": ("grpo", EVAL | {"rewards": [{"type": "exact"}]}),
    "early_stopping.": ("sft", STOPPING),
    "early_stopping.patience": ("sft", merged(STOPPING, {"early_stopping": {"metric": "eval/truncated"}})),
    "algorithm.grpo.dual_clip": ("grpo", {"algorithm": {"minibatches": 2, "num_iterations": 4}}),
    "algorithm.ppo.dual_clip": ("ppo", {"algorithm": {"minibatches": 2, "num_iterations": 4}}),
    "tools.": ("sft", {"tools": {}}),
    "rewards.": ("grpo", {}),
    "samples_per_step": ("grpo", {}),
    "dataset.linear-algebra.": ("sft", PROBLEMS),
    "dataset.linear-algebra.max_calls": ("sft", merged(PROBLEMS, {"dataset": {"tools": True, "tasks": ["trace"]}})),
    "dataset.rejection-sampling.": ("sft", REJECTION),
    "dataset.rejection-sampling.min_reward": ("sft", merged(REJECTION, {"dataset": {"max_per_prompt": 3}})),
    "eval_dataset.": ("sft", EVAL),
    "algorithm.sft.truncation": ("sft", {"algorithm": {"max_length": 11}}),
    "algorithm.reward_model.truncation": ("reward_model", {"algorithm": {"max_length": 11}}),
    "algorithm.ppo.ptx.": ("ppo", {"algorithm": {"ptx": {"dataset": {"source": "file-1"}, "batch_size": 2}}}),
    "algorithm.ppo.kl_ratio_correction": ("ppo", {"algorithm": {"kl_placement": "loss"}}),
    **{
        f"algorithm.{kind}.zero_variance_by": (
            kind,
            {
                "algorithm": {"advantage_norm": "group_mean"},
                "rewards": [{"type": "exact"}, {"type": "regex", "pattern": "[a-m]"}],
            },
        )
        for kind in ("reinforce", "importance_sampling")
    },
    "algorithm.importance_sampling.loss_aggregation": (
        "importance_sampling",
        {"algorithm": {"importance_level": "token"}},
    ),
    "algorithm.grpo.prompt_sampling.curriculum.": ("grpo", {"algorithm": {"prompt_sampling": {"type": "curriculum"}}}),
    "algorithm.grpo.prompt_sampling.curriculum.prioritized.": (
        "grpo",
        merged(RETRIED, {"algorithm": {"prompt_sampling": {"type": "curriculum", "start": 1.0, "prioritized": {}}}}),
    ),
    "algorithm.grpo.prompt_sampling.gaussian.": ("grpo", {"algorithm": {"prompt_sampling": {"type": "gaussian"}}}),
    "algorithm.grpo.prompt_sampling.gaussian.easiest_share": (
        "grpo",
        merged(RETRIED, {"algorithm": {"prompt_sampling": {"type": "gaussian", "steps": 1}}}),
    ),
    "algorithm.grpo.prompt_sampling.prioritized.": (
        "grpo",
        merged(RETRIED, {"algorithm": {"prompt_sampling": {"type": "prioritized"}}}),
    ),
}
ANYWHERE: dict[str, dict[str, Any]] = {
    # the same for a field of every algorithm that learns from rewards
    "zero_variance_by": {"rewards": [{"type": "exact"}, {"type": "regex", "pattern": "[a-m]"}]},
    "overlong_penalty": {"algorithm": {"overlong_buffer": 3}},
    "length_penalty": {"algorithm": {"max_completion_length": 60}},
    "length_penalty_warmup_steps": {"algorithm": {"length_penalty": 1.0, "max_completion_length": 60}},
    "max_resamples": {"algorithm": {"zero_variance": "resample"}, "rewards": NEVER_RIGHT},
    "kl_estimator": {"algorithm": {"beta": 0.1}},
    "kl_placement": {"algorithm": {"beta": 0.1}},
    "kl_ratio_correction": {"algorithm": {"beta": 0.1}},
    "kl_target": {"algorithm": {"beta": 0.1}},
    "kl_horizon": {"algorithm": {"beta": 0.1, "kl_target": 0.5}},
    "ref_sync_steps": {"algorithm": {"beta": 0.1}},
    "ref_sync_alpha": {"algorithm": {"beta": 0.1, "ref_sync_steps": 1}},
    "baseline": {"algorithm": {"tau": 0.5}},
}
VALUES: dict[str, Any] = {
    # by the end of a path: another value, where one step away from the default is none that shows
    "optimizer.learning_rate": 0.02,
    "optimizer.epsilon": 0.1,
    "optimizer.max_grad_norm": 0.01,
    "optimizer.type": "muon",
    "optimizer.decay_steps": 2,
    "lora.target_modules": ["q_proj"],
    "lora.modules_to_save": ["lm_head"],
    "evaluation.top_p": 0.3,
    "evaluation.pass_at": [1],
    "evaluation.every": 1,
    "early_stopping.metric": "eval/truncated",
    "early_stopping.min_delta": 100.0,
    "early_stopping.patience": 2,
    "checkpoint.every": 1,
    "tools.functions": ["determinant"],
    "dataset.linear-algebra.tasks": ["trace"],
    "dataset.linear-algebra.style": "prose",
    "dataset.rejection-sampling.min_reward": 0.0,
    "dataset.rejection-sampling.max_completion_length": 60,
    "dataset.rejection-sampling.model": "job:ftjob-1",
    ".template": "text",
    ".limit": 1,
    "precision": "bf16",
    "model": "job:ftjob-1",
    ".max_completion_length": 6,
    "sft.max_length": 11,
    "reward_model.max_length": 11,
    "loss_on": "all",
    "ppo.loss_aggregation": "seq_sum",
    "grpo.loss_aggregation": "seq_sum",
    "ptx.loss_on": "completion",
    ".partial_rollout_length": 3,
    ".prompts_per_step": 3,
    ".overlong_buffer": 3,
    ".reward_clip": 0.01,
    ".clip_eps": 0.0001,
    ".clip_eps_high": 0.0001,
    ".dual_clip": 1.0001,
    ".value_clip": 0.0001,
    ".critic_model": "job:ftjob-1",
    ".num_iterations": 3,
    ".critic_num_iterations": 1,
    ".critic_minibatches": 2,
    ".zero_variance": "resample",
    ".zero_variance_by": "reward",
    ".kl_target": 0.5,
    ".ref_sync_steps": 1,
    "curriculum.column": "other",
    "curriculum.steps": 1,
    "gaussian.column": "other",
    "gaussian.steps": 1,
    "gaussian.sigma": 100.0,
    "gaussian.easiest_share": 0.9,
    "prioritized.floor": 1.0,
    "prioritized.decay": 0.95,
}
ELSEWHERE: dict[str, str] = {
    # fields that act outside of a trainer, or with what a small job does not have: the test that shows it
    "name": "test_name_priority_and_tags_are_changed_and_nothing_else",
    "tags": "test_name_priority_and_tags_are_changed_and_nothing_else",
    "priority": "test_higher_priority_then_older_is_claimed_first",
    "epochs": "test_epochs_are_as_many_steps_as_their_batches",
    "max_seconds": "test_a_job_whose_time_is_up_saves_and_fails",
    "max_restarts": "test_a_job_that_is_lost_too_often_fails_and_says_so",
    "depends_on": "test_a_child_is_claimed_only_after_its_parent_succeeded",
    "resources.gpus": "test_a_job_that_wants_a_gpu_waits_for_a_worker_that_has_one",
    "resources.gpu_memory_gb": "test_devices_with_too_little_memory_are_passed_over",
    "resources.share_gpu": "test_a_shared_device_is_filled_before_an_idle_one_is_touched",
    "resources.memory_gb": "test_memory_of_the_host_is_shared_out",
    "dataset.file.columns": "test_a_mapping_says_which_columns_are_meant",
    "dataset.file.special_tokens": "test_control_tokens_in_texts_are_ordinary_text_where_that_is_asked_for",
    "checkpoint.keep_last": "test_a_new_row_replaces_old_ones_whose_files_wait_for_the_garbage_collector",
    "checkpoint.keep_best": "test_the_newest_the_best_and_the_promoted_stay_and_the_keys_of_others_become_garbage",
    "max_invalid_rewards": "test_a_job_fails_when_more_responses_than_allowed_could_not_be_judged",
    "algorithm.ppo.zero_variance_by": "test_a_field_without_an_effect_is_refused_with_its_value_and_a_remedy",
    "algorithm.mirror_descent.sampler_correction.cap": "test_a_correction_is_refused_where_it_would_do_nothing",
    "resize_embeddings": "test_rows_are_added_where_the_spec_asks_for_them",
    "export.dtype": "test_an_export_has_the_dtype_of_its_base_or_the_one_that_is_asked_for",
    "tools.max_turn_length": "test_a_turn_has_a_limit_of_its_own",
    "tools.malformed_call": "test_a_call_that_no_tool_can_be_given_may_end_the_response",
    "tools.max_turns": "test_five_calls_are_answered_and_the_sixth_ends_the_response",
    "tools.max_result_length": "test_a_long_output_of_a_tool_is_cut",
    "rewards.reward_model.model": "test_the_score_of_a_response_is_what_the_reward_model_says",
    # same numbers in less memory or time
    "micro_batch_tokens": "test_loss_and_gradient_do_not_depend_on_the_micro_batches",
    "rollout_batch_size": "test_responses_are_decoded_in_smaller_batches_with_the_same_tokens",
    "evaluation.batch_size": "test_when_memory_runs_out_smaller_batches_give_the_same_metrics",
    "packing": "test_a_job_has_the_same_losses_with_and_without_packing",
    "gradient_checkpointing": "test_recomputing_keeps_less_and_changes_nothing",
    # rows of other lengths than those of the walk
    **{
        f"algorithm.{kind}.{name}": "test_dropped_prompts_are_never_asked_and_the_others_keep_their_rows"
        for kind in POLICIES
        for name in ("max_prompt_length", "overlong_prompts")
    },
}
READ_ALIKE = {
    # blocks that stand in several places and are read by the same code: where each field is tried
    "dataset.rejection-sampling.prompts.": "dataset.",
    "eval_dataset.": "dataset.",
    "algorithm.ppo.ptx.dataset.": "dataset.",
    "algorithm.grpo.prompt_sampling.gaussian.prioritized.": "algorithm.grpo.prompt_sampling.curriculum.prioritized.",
    **{f"algorithm.{kind}.prompt_sampling.": "algorithm.grpo.prompt_sampling." for kind in POLICIES if kind != "grpo"},
    **{f"rewards.{kind}.weight": "rewards.reward_model.weight" for kind in (*RULES, "format")},
}
REASONS = {
    "preset": "it names fields, which are put in before the spec is read (tests/service/domain/test_presets.py)",
    "type": "it says which block is meant: each is one of those that are walked over here",
    "source": "the same for datasets",
}
ROWS_DECIDE = {
    "truncation": "no row is too long in a plain job",
    "length_penalty": "responses that are all cut off have one length",
    "dual_clip": "where an update lowers responses alone, their ratios stay below any bound above 1",
}
SCORES: dict[str, tuple[dict[str, Any], Any, str, dict[str, Any]]] = {
    # a field of a reward: the reward, another value, a response and its row that the two score differently
    "exact.extract": ({}, "whole", "7", {"answer": "7"}),
    "exact.case_sensitive": ({"extract": "whole"}, False, "A", {"answer": "a"}),
    "numeric.extract": ({}, "number", "it is 7", {"answer": "7"}),
    "numeric.tolerance": ({"extract": "whole"}, 0.5, "7.1", {"answer": "7"}),
    "math.extract": ({}, "boxed", r"\boxed{7}", {"answer": "7"}),
    "regex.pattern": ({"pattern": "a"}, "b", "a", {}),
    "regex.full": ({"pattern": "a"}, True, "aa", {}),
    "tool_use.expected": ({}, None, "", {"difficulty": 1, CALLS: 2, ERRORS: 0}),
    "tool_use.extra_penalty": ({}, 0.5, "", {"difficulty": 1, CALLS: 2, ERRORS: 0}),
    "tool_use.without_calls": ({}, -1.0, "", {CALLS: 0, ERRORS: 0}),
}
