"""What each metric is: its unit, which way is better, and a sentence. All names that a trainer may report."""

from typing import Literal, NamedTuple

Direction = Literal["up", "down"]


class Metric(NamedTuple):
    """How to read a series."""

    unit: str
    better: Direction | None
    meaning: str


METRICS: dict[str, Metric] = {
    "train/loss": Metric("nats", "down", "the loss as the spec aggregates it, mean over the step's updates"),
    "train/grad_norm": Metric("", None, "norm of the gradient before clipping, mean over the step's updates"),
    "train/learning_rate": Metric("", None, "learning rate of the policy in this step"),
    "train/tokens": Metric("tokens", None, "tokens of the step's sequences, prompts included"),
    "train/learned_tokens": Metric("tokens", None, "those of them that the loss counts"),
    "train/tokens_per_second": Metric("tokens/s", "up", "train/tokens over time/step"),
    "train/accuracy": Metric("share", "up", "pairs of the step that the reward model ranks right"),
    "train/margin": Metric("reward", "up", "score of the chosen less that of the rejected response, mean over pairs"),
    "train/reward_chosen": Metric("reward", None, "mean score of the chosen responses"),
    "train/reward_rejected": Metric("reward", None, "mean score of the rejected responses"),
    "policy/reward": Metric("reward", "up", "weighted sum of the rewards, mean over the step's responses"),
    "policy/reward_std": Metric("reward", None, "its standard deviation over the step's responses"),
    "policy/accuracy": Metric("share", "up", "responses that got full marks from the first rule reward"),
    "policy/advantage_std": Metric("", None, "standard deviation of the advantages"),
    "policy/zero_variance": Metric("share", "down", "prompts whose responses all earned the same"),
    "policy/resamples": Metric("batches", "down", "further batches of prompts that `zero_variance: resample` drew"),
    "policy/kl": Metric("nats", None, "KL(policy || reference) per token of the loss, by `kl_estimator`"),
    "policy/kl_response": Metric("nats", None, "log(policy / reference), summed over a response, mean over the step's"),
    "policy/beta": Metric("", None, "weight of the KL in this step"),
    "policy/ratio": Metric("", None, "policy / policy that sampled, mean over tokens of the loss"),
    "policy/sampler_logp_diff": Metric(
        "nats", "down", "|log-probability as trained - as sampled| per token before the step's first update"
    ),
    "policy/ptx_loss": Metric("nats", "down", "mean negative log-likelihood of a token of the PPO-ptx texts"),
    "policy/kl_old": Metric("nats", None, "k3 estimate of how far the updates moved from the policy that sampled"),
    "policy/clip_fraction": Metric("share", None, "tokens whose gradient the clip stopped"),
    "policy/entropy": Metric("nats", None, "entropy of the sampling distribution, mean over tokens"),
    "policy/completion_length": Metric(
        "tokens", None, "mean length of the step's responses, answers of tools included"
    ),
    "policy/truncated": Metric("share", "down", "responses that the limit of their length or of their calls cut off"),
    "policy/tool_calls": Metric("calls", None, "calls of tools in a response, mean over the step's"),
    "policy/tool_errors": Metric("calls", "down", "those of them that failed, mean over the step's responses"),
    "critic/loss": Metric("reward²", "down", "squared error of the critic to the return"),
    "critic/value": Metric("reward", None, "mean value that the critic gives to a token"),
    "critic/grad_norm": Metric("", None, "norm of the critic's gradient before clipping, mean over its updates"),
    "critic/clip_fraction": Metric("share", None, "tokens whose gradient the value clip stopped"),
    "critic/learning_rate": Metric("", None, "learning rate of the critic in this step"),
    "critic/explained_variance": Metric("share", "up", "1 - Var(return - value) / Var(return), before the updates"),
    "reward/errors": Metric("responses", "down", "responses that a reward failed to score; they earn 0"),
    "reward/": Metric("reward", "up", "mean of this reward alone, unweighted, over the step's responses"),
    "eval/accuracy": Metric(
        "share", "up", "held-out responses with full marks from the first rule, or pairs that are ranked right"
    ),
    "eval/margin": Metric("reward", "up", "train/margin of the held-out pairs"),
    "eval/reward_chosen": Metric("reward", None, "mean score of the held-out chosen responses"),
    "eval/reward_rejected": Metric("reward", None, "mean score of the held-out rejected responses"),
    "eval/pass@": Metric("share", "up", "chance that one of this many responses to a held-out prompt is right"),
    "eval/reward": Metric("reward", "up", "weighted sum of the rewards, mean over the held-out responses"),
    "eval/rewards/errors": Metric("responses", "down", "held-out responses that a reward failed to score; they earn 0"),
    "eval/rewards/": Metric("reward", "up", "mean of this reward alone, unweighted, over the held-out responses"),
    "eval/truncated": Metric("share", "down", "held-out responses that a limit cut off"),
    "eval/tool_calls": Metric("calls", None, "calls of tools in a held-out response, mean"),
    "eval/tool_errors": Metric("calls", "down", "those of them that failed, mean over the held-out responses"),
    "eval/completion_length": Metric("tokens", None, "mean length of the held-out responses"),
    "eval/loss": Metric("nats", "down", "loss of the held-out completions, aggregated as in training"),
    "eval/perplexity": Metric("", "down", "e to the mean negative log-likelihood of a token of those completions"),
    "time/": Metric("s", "down", "duration of this part of the step"),
}
"""By name; a name that ends in `/` or `@` stands for all that start so and have no entry of their own."""


def describe(name: str) -> Metric | None:
    """The entry of a metric; None for one that nobody knows."""
    families = (METRICS[start] for start in METRICS if start[-1] in "/@" and name.startswith(start))
    return METRICS.get(name) or next(families, None)


def higher_is_better(name: str) -> bool:
    """Whether a larger value is the better one; metrics without a direction, and unknown ones, count as such."""
    metric = describe(name)
    return metric is None or metric.better != "down"
