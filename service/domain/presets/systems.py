"""Published systems, with the numbers that they tell."""

from service.domain.presets.preset import Preset, Stage

SYSTEMS: dict[str, Preset] = {
    "instructgpt": Preset(
        "PPO on a reward model, with the KL in the reward",
        "Ouyang et al. 2022, arXiv:2203.02155, equation 2 and appendix C.4; GAE, whitening and value clip of "
        "Huang et al. 2023, The N implementation details of RLHF with PPO",
        {
            "algorithm": {
                "type": "ppo",
                "prompts_per_step": 512,
                "num_generations": 1,
                "max_completion_length": 1000,
                "num_iterations": 1,
                "minibatches": 8,
                "clip_eps": 0.2,
                "loss_aggregation": "token_mean",
                "beta": 0.02,
                "kl_estimator": "k1",
                "kl_placement": "reward",
                "gamma": 1.0,
                "gae_lambda": 0.95,
                "whiten_advantages": True,
                "whiten_rewards": True,
                "value_clip": 0.2,
                "critic_learning_rate": 9e-6,
            },
            "optimizer": {"schedule": "constant", "warmup_steps": 10, "beta1": 0.9, "beta2": 0.95},
        },
        "Add rewards: [{type: reward_model, model: job:ID}], and critic_model: job:ID of the same job, from which the "
        "paper's critic starts. PPO-ptx needs texts of yours: ptx: {dataset: ..., coef: 27.8}. kl_target makes beta "
        "adaptive (arXiv:1909.08593). The paper tells no learning rate of the policy; the average of its weights over "
        "time (0.992) is not kept here.",
        (
            Stage(
                "demonstrations",
                {
                    "algorithm": {"type": "sft", "batch_size": 32},
                    "optimizer": {"learning_rate": 9.65e-6, "min_learning_rate_ratio": 0.1},
                },
            ),
            Stage(
                "reward model from comparisons",
                {
                    "algorithm": {"type": "reward_model", "batch_size": 64},
                    "optimizer": {"learning_rate": 9e-6, "min_learning_rate_ratio": 0.1},
                },
            ),
            Stage("PPO from the first stage's model, scored by the second's", {"algorithm": {"preset": "instructgpt"}}),
        ),
    ),
    "open_reasoner_zero": Preset(
        "PPO without KL, from a base model",
        "Hu et al. 2025, arXiv:2503.24290, section 2 and appendix; value clip and length of its code",
        {
            "algorithm": {
                "type": "ppo",
                "prompts_per_step": 128,
                "num_generations": 64,
                "max_completion_length": 8000,
                "num_iterations": 1,
                "minibatches": 1,
                "clip_eps": 0.2,
                "loss_aggregation": "seq_mean",
                "beta": 0.0,
                "gamma": 1.0,
                "gae_lambda": 1.0,
                "whiten_advantages": True,
                "value_clip": 0.2,
                "critic_learning_rate": 5e-6,
                "critic_minibatches": 12,
            },
            "optimizer": {
                "learning_rate": 1e-6,
                "schedule": "constant",
                "warmup_steps": 50,
                "beta1": 0.9,
                "beta2": 0.95,
            },
            "rewards": [{"type": "math"}],
        },
        "There a response earns only if it also ends before the length limit.",
    ),
    "deepseek_r1": Preset(
        "GRPO with accuracy and format rewards",
        "DeepSeek-AI 2025, Nature 645, 633, and arXiv:2501.12948, training details of the first RL stage",
        {
            "algorithm": {
                "type": "grpo",
                "prompts_per_step": 512,
                "num_generations": 16,
                "max_completion_length": 32_768,
                "temperature": 1.0,
                "num_iterations": 1,
                "minibatches": 16,
                "clip_eps": 10.0,
                "beta": 0.001,
                "ref_sync_steps": 25,
                "ref_sync_alpha": 1.0,
            },
            "optimizer": {"learning_rate": 3e-6, "schedule": "constant"},
            "rewards": [{"type": "math"}, {"type": "format"}],
        },
        "The paper counts updates, 16 from each batch of 8,192 responses: its 400 steps between new reference models "
        "are 25 here. Its language-consistency reward is left out. Its last RL stage samples at temperature 0.7. The "
        "rows of the third stage are dataset: {source: rejection-sampling, model: job:ID, prompts: ...}.",
        (
            Stage(
                "cold start: thousands of long chains of thought",
                {
                    "algorithm": {"type": "sft", "batch_size": 128, "max_length": 32_768},
                    "optimizer": {"learning_rate": 5e-5, "min_learning_rate_ratio": 0.1},
                },
            ),
            Stage("RL on problems that can be checked", {"algorithm": {"preset": "deepseek_r1"}}),
            Stage(
                "SFT of the base model on the answers that rejection sampling keeps, and others",
                {
                    "algorithm": {"type": "sft", "batch_size": 128, "max_length": 32_768},
                    "optimizer": {"learning_rate": 5e-5, "min_learning_rate_ratio": 0.1},
                },
            ),
            Stage("RL for all scenarios", {"algorithm": {"preset": "deepseek_r1", "temperature": 0.7}}),
        ),
    ),
    "kimi_k1_5": Preset(
        "Online policy mirror descent with a length reward",
        "Kimi Team 2025, arXiv:2501.12599, sections 2.3.2 to 2.3.4",
        {
            "algorithm": {
                "type": "mirror_descent",
                "baseline": "soft_mean",
                "max_completion_length": 512,
                "partial_rollout_length": 256,
                "length_penalty": 1.0,
                "length_penalty_warmup_steps": 100,
                "prompt_sampling": {"type": "prioritized"},
            },
            "rewards": [{"type": "math"}],
        },
        "The paper gives no numbers for tau, for the length reward and its warm-up, and for the tokens that a response "
        "grows by in a step: those here are ours. It begins with easy prompts, prompt_sampling: {type: curriculum}. It "
        "forgets the optimizer's state after every step; here it stays.",
    ),
    "dapo": Preset(
        "GRPO with clip-higher, dynamic sampling, token-level loss and a soft length limit",
        "Yu et al. 2025, arXiv:2503.14476, sections 3 and 4.1",
        {
            "algorithm": {
                "type": "grpo",
                "prompts_per_step": 512,
                "num_generations": 16,
                "max_completion_length": 20_480,
                "minibatches": 16,
                "clip_eps": 0.2,
                "clip_eps_high": 0.28,
                "beta": 0.0,
                "loss_aggregation": "token_mean",
                "zero_variance": "resample",
                "overlong_buffer": 4096,
                "overlong_penalty": 1.0,
            },
            "optimizer": {"learning_rate": 1e-6, "schedule": "constant", "warmup_steps": 20},
            "rewards": [{"type": "math", "weight": 2.0}],
        },
        "The paper's reward is 1 or -1; with a group's mean as baseline, 2 or 0 is the same beside the length penalty. "
        "Its best run masks no truncated responses; mask_truncated does.",
    ),
    "dr_grpo": Preset(
        "GRPO without the division by the group's spread and by the response's length",
        "Liu et al. 2025, arXiv:2503.20783, section 3.2; numbers of its code",
        {
            "algorithm": {
                "type": "grpo",
                "prompts_per_step": 128,
                "num_generations": 8,
                "max_completion_length": 3000,
                "minibatches": 8,
                "clip_eps": 0.2,
                "beta": 0.0,
                "advantage_norm": "group_mean",
                "loss_aggregation": "const",
            },
            "optimizer": {"learning_rate": 1e-6, "schedule": "constant"},
            "rewards": [{"type": "math"}],
        },
        "There a response that the length limit cuts off earns nothing.",
    ),
    "gspo": Preset(
        "GRPO with one ratio for a whole response",
        "Zheng et al. 2025, arXiv:2507.18071, equations 5 and 7, section 5.1",
        {
            "algorithm": {
                "type": "grpo",
                "importance_level": "sequence",
                "minibatches": 4,
                "clip_eps": 3e-4,
                "clip_eps_high": 4e-4,
                "beta": 0.0,
                "advantage_norm": "group_std",
                "loss_aggregation": "seq_mean",
            }
        },
        "With one update for each batch of responses every ratio is 1 and the clip does nothing.",
    ),
    "linalgzero_sft": Preset(
        "LinAlgZero's first stage: supervised, on traces of tool use",
        "atomwalk12/linalg-zero, config/sft/qwen2.5-3B/lora.yaml",
        {
            "algorithm": {"type": "sft", "batch_size": 16, "max_length": 8192, "loss_on": "all"},
            "lora": {"rank": 32, "alpha": 64.0},
            "optimizer": {
                "learning_rate": 2e-5,
                "schedule": "cosine",
                "min_learning_rate_ratio": 0.1,
                "warmup_steps": 14,
                "max_grad_norm": 0.2,
            },
            "evaluation": {"every": 100},
            "checkpoint": {"every": 100},
            "gradient_checkpointing": True,
        },
        "The warm-up there is 3 % of its 478 steps. Its adapters have a dropout of 0.1, here none. For tags as new "
        "tokens set lora.modules_to_save: [embed_tokens, lm_head].",
    ),
    "linalgzero": Preset(
        "LinAlgZero's second stage: GRPO with one ratio for a response, easy problems first",
        "atomwalk12/linalg-zero, config/grpo/Qwen/Qwen2.5-3B/runpod.yaml",
        {
            "algorithm": {
                "type": "grpo",
                "prompts_per_step": 16,
                "num_generations": 8,
                "max_completion_length": 1536,
                "temperature": 1.0,
                "importance_level": "sequence",
                "clip_eps": 3e-4,
                "clip_eps_high": 4e-4,
                "beta": 0.0,
                "advantage_norm": "group_std",
                "prompt_sampling": {"type": "curriculum", "column": "difficulty", "start": 0.44, "steps": 1000},
            },
            "lora": {"rank": 32, "alpha": 64.0},
            "optimizer": {"learning_rate": 1e-6, "schedule": "constant"},
            "tools": {"max_turns": 5},
            "rewards": [
                {"type": "math"},
                {"type": "format", "weight": 0.1},
                {"type": "tool_use", "weight": 0.1, "without_calls": -3.6},
            ],
        },
        "Rows need a number 'difficulty', the calls of tools that a problem takes (there 1 for 44 % of them), as has "
        "dataset: {source: linear-algebra, tools: true, max_calls: 3}; or set prompt_sampling: null and the reward's "
        "expected: null. The reward there is divided by 1.2, which a group's spread takes out again; it is -0.3 without"
        " a call and -1 without an answer whatever else is there; here the lack of a call costs 0.36, and a right "
        "answer still counts.",
        (
            Stage("traces of tool use", {"algorithm": {"preset": "linalgzero_sft"}}),
            Stage("RL", {"algorithm": {"preset": "linalgzero"}}),
        ),
    ),
}
