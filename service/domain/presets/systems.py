"""Published systems, with their published numbers."""

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
        "Add rewards: [{type: reward_model, model: job:ID}], and critic_model: job:ID of the same job, from which "
        "the paper's critic starts. PPO-ptx needs your own texts, eight for each response: ptx: {dataset: ..., coef: "
        "27.8, batch_size: 512}. kl_target makes beta adaptive (arXiv:1909.08593). The paper ranks K responses and "
        "takes all pairs of a prompt as one element of a batch of its reward model; here each pair is a row, drawn "
        "by itself, so a prompt with more pairs weighs more. It shifts the scores so that demonstrations have a mean "
        "of 0; here nothing does: a shift of all rewards is in no advantage once the critic knows it "
        "(center_rewards_coefficient holds scores near 0). The paper does not state the policy's learning rate; its "
        "moving average of the weights (0.992) is not implemented here.",
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
        "In the source, a response earns only if it also ends before the length limit.",
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
                "baseline": "mean",
                "num_iterations": 2,
                "minibatches": 4,
                "max_completion_length": 512,
                "partial_rollout_length": 256,
                "length_penalty": 1.0,
                "length_penalty_warmup_steps": 50,
                "prompt_sampling": {"type": "curriculum", "column": "difficulty", "prioritized": {}},
            },
            "rewards": [{"type": "math"}],
        },
        "Rows need a number 'difficulty'; for rows without one set prompt_sampling: {type: prioritized}. The paper "
        "gives no values for tau, the updates made from a batch of responses, the length reward and its warm-up, the "
        "pace of the curriculum, and the number of tokens by which a response grows in a step: these values are "
        "Hone's. tau acts from the second update of a batch on: at the first one the policy is the one that sampled. "
        "The paper derives the soft mean of the rewards as baseline and uses their mean. It resets the optimizer's "
        "state after every step; here the state stays.",
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
        "The paper's reward is 1 or -1; 2 or 0 gives the same advantages, because the group's mean is subtracted. "
        "As there, a prompt is replaced where all responses are right or all wrong, whatever their length penalties "
        "(zero_variance_by); the paper draws until the batch is full, here max_resamples is a limit. "
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
        "In the source, a response that the length limit cuts off earns nothing.",
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
            "checkpoint": {"every": 100},
            "gradient_checkpointing": True,
        },
        "In the source, the warm-up is 3 % of 478 steps, and adapters have a dropout of 0.1; here none. It evaluates "
        "every 100 steps: set evaluation: {every: 100} with an eval_dataset. To add tags as new tokens, set "
        "lora.modules_to_save: [embed_tokens, lm_head].",
    ),
    "linalgzero": Preset(
        "LinAlgZero's second stage: GRPO with one ratio for a response, easy problems first",
        "atomwalk12/linalg-zero, config/grpo/Qwen/Qwen2.5-3B/runpod.yaml",
        {
            "algorithm": {
                "type": "grpo",
                "prompts_per_step": 16,
                "num_generations": 8,
                "max_completion_length": 8704,
                "temperature": 1.0,
                "importance_level": "sequence",
                "clip_eps": 3e-4,
                "clip_eps_high": 4e-4,
                "beta": 0.0,
                "advantage_norm": "group_std",
                "prompt_sampling": {
                    "type": "gaussian",
                    "column": "difficulty",
                    "sigma": 0.5,
                    "easiest_share": 0.1,
                    "steps": 1584,
                },
            },
            "lora": {"rank": 32, "alpha": 64.0},
            "optimizer": {"learning_rate": 1e-6, "schedule": "constant"},
            "tools": {"max_turns": 4, "max_turn_length": 1536, "malformed_call": "end"},
            "rewards": [
                {"type": "math"},
                {"type": "format", "weight": 0.1},
                {"type": "tool_use", "weight": 0.1, "without_calls": -3.6},
            ],
        },
        "Rows need a number 'difficulty', the number of tool calls that a problem needs, as in dataset: {source: "
        "linear-algebra, tools: true, max_calls: 3}; or set prompt_sampling: null and the reward's expected: null. "
        "The source's five turns of 1,536 tokens include the answer, so four may call; a response here has room for "
        "all of them and four results. The steps of the curriculum are the source's three epochs of 8,448 rows; how "
        "its schedule moves the Gaussian in between is Hone's reading. The source divides the reward by 1.2, which "
        "the group's standard deviation cancels. There a response without a call earns -0.3 whatever else it has; "
        "here a missing call costs 0.36 of those 1.2, and a correct answer still counts. There a response that was "
        "stopped (by a malformed call, a call in the last turn, or a limit) earns -1; here what its calls earn. "
        "There thoughts and answers are counted turn by turn, so that one good call and thoughts without an "
        "answer earn 0.125; here a response without an answer has no format. The source also stops sampling at "
        "<tool_response> and 'User:'.",
        (
            Stage("traces of tool use", {"algorithm": {"preset": "linalgzero_sft"}}),
            Stage("RL", {"algorithm": {"preset": "linalgzero"}}),
        ),
    ),
}
