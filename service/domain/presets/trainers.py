"""The defaults of other trainers."""

from service.domain.presets.preset import Preset

TRAINERS: dict[str, Preset] = {
    "trl_default": Preset(
        "GRPO with the defaults of TRL",
        "TRL 1.16.0, GRPOConfig",
        {
            "algorithm": {
                "type": "grpo",
                "prompts_per_step": 1,
                "num_generations": 8,
                "max_completion_length": 512,
                "clip_eps": 0.2,
                "beta": 0.0,
                "advantage_norm": "group_std",
                "loss_aggregation": "token_mean",
            },
            "optimizer": {"learning_rate": 1e-6, "schedule": "linear"},
        },
        "Its batch of 8 responses on one device is one prompt per step; most people set prompts_per_step higher. With "
        "a beta above 0, set kl_ratio_correction: true, as TRL does.",
    ),
    "trl_sft_default": Preset(
        "SFT with the defaults of TRL",
        "TRL 1.16.0, SFTConfig",
        {
            "algorithm": {
                "type": "sft",
                "batch_size": 8,
                "max_length": 1024,
                "truncation": "end",
                "loss_on": "completion",
                "loss_aggregation": "token_mean",
            },
            "optimizer": {"learning_rate": 2e-5, "schedule": "linear"},
        },
        "For rows of prompt and completion. TRL learns every token of messages: set loss_on: all for them.",
    ),
    "verl_default": Preset(
        "PPO with the defaults of verl",
        "verl 0.10.0.dev, trainer/config/_generated_ppo_trainer.yaml",
        {
            "algorithm": {
                "type": "ppo",
                "prompts_per_step": 1024,
                "num_generations": 1,
                "max_completion_length": 512,
                "num_iterations": 1,
                "minibatches": 4,
                "clip_eps": 0.2,
                "dual_clip": 3.0,
                "loss_aggregation": "token_mean",
                "beta": 0.0,
                "gamma": 1.0,
                "gae_lambda": 1.0,
                "whiten_advantages": True,
                "value_clip": 0.5,
                "critic_learning_rate": 1e-5,
            },
            "optimizer": {"learning_rate": 1e-6, "schedule": "constant", "weight_decay": 0.01},
        },
        "verl halves the critic's loss, which makes no difference to AdamW unless max_grad_norm clips.",
    ),
    "verl_grpo": Preset(
        "GRPO with the settings of verl's examples",
        "verl 0.10.0.dev, adv_estimator=grpo use_kl_loss=True, else as verl_default; examples/grpo_trainer",
        {
            "algorithm": {
                "type": "grpo",
                "prompts_per_step": 1024,
                "num_generations": 5,
                "max_completion_length": 1024,
                "minibatches": 4,
                "clip_eps": 0.2,
                "dual_clip": 3.0,
                "beta": 0.001,
                "kl_estimator": "k3",
                "kl_placement": "loss",
                "advantage_norm": "group_std",
                "loss_aggregation": "token_mean",
            },
            "optimizer": {"learning_rate": 1e-6, "schedule": "constant", "weight_decay": 0.01},
        },
        "verl adds 1e-6 to a group's standard deviation, not 1e-4, and clips the KL of a token at 10.",
    ),
}
