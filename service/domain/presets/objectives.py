"""The objectives in their textbook form."""

from service.domain.presets.preset import Preset

OBJECTIVES: dict[str, Preset] = {
    "reinforce": Preset(
        "REINFORCE: the likelihood of a response times its reward",
        "Williams 1992, Machine Learning 8, equation 11, with log pi summed over a response's tokens",
        {"algorithm": {"type": "reinforce", "loss_aggregation": "seq_sum", "advantage_norm": "none", "beta": 0.0}},
        "No baseline, so the variance is high; advantage_norm leave_one_out or group_std lowers it.",
    ),
    "importance_sampling": Preset(
        "The off-policy estimator: the ratio of a response's likelihoods times its reward",
        "LinAlgZero: Theory (Vasile 2025), the importance-sampling estimator over whole responses",
        {
            "algorithm": {
                "type": "importance_sampling",
                "importance_level": "sequence",
                "num_iterations": 2,
                "advantage_norm": "none",
                "beta": 0.0,
            }
        },
        "Nothing bounds the ratio; importance_level token is the factorised form that PPO and GRPO clip.",
    ),
    "ppo": Preset(
        "Proximal policy optimisation with a critic",
        "Schulman et al. 2017, arXiv:1707.06347, equation 7; advantages of Schulman et al. 2015, arXiv:1506.02438",
        {
            "algorithm": {
                "type": "ppo",
                "clip_eps": 0.2,
                "loss_aggregation": "seq_mean",
                "gamma": 1.0,
                "gae_lambda": 1.0,
                "whiten_advantages": False,
                "beta": 0.0,
            }
        },
        "No whitening, no value clip, no dual clip and no KL; each is a field.",
    ),
    "grpo": Preset(
        "Group relative policy optimisation",
        "Shao et al. 2024, arXiv:2402.03300, equations 3 and 4",
        {
            "algorithm": {
                "type": "grpo",
                "clip_eps": 0.2,
                "beta": 0.04,
                "kl_estimator": "k3",
                "kl_placement": "loss",
                "advantage_norm": "group_std",
                "loss_aggregation": "seq_mean",
            }
        },
        "The paper's own run has num_generations 64, max_completion_length 1024 and 16 prompts a step.",
    ),
    "rloo": Preset(
        "REINFORCE with a leave-one-out baseline",
        "Ahmadian et al. 2024, arXiv:2402.14740, section 3.2; numbers of TRL 1.16's RLOOConfig",
        {
            "algorithm": {
                "type": "reinforce",
                "advantage_norm": "leave_one_out",
                "num_generations": 2,
                "beta": 0.05,
                "kl_estimator": "k1",
                "kl_placement": "reward",
            },
            "optimizer": {"learning_rate": 1e-6, "schedule": "linear"},
        },
        "The paper uses 2 or 4 generations. TRL clips the ratio of whole responses, which is 1 at one update a batch.",
    ),
    "theory": Preset(
        "Supervised fine-tuning as textbooks write it",
        "LinAlgZero: Theory (Vasile 2025), the supervised objective",
        {"algorithm": {"type": "sft", "loss_on": "completion", "loss_aggregation": "seq_sum"}},
        "Losses are sums over a completion's tokens, so gradients grow with its length; max_grad_norm bounds them.",
    ),
}
