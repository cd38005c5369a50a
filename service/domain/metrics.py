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
    "train/tokens_per_second": Metric("tokens/s", "up", "train/tokens over time/step"),
    "policy/reward": Metric("reward", "up", "weighted sum of the rewards, mean over the step's responses"),
    "policy/reward_std": Metric("reward", None, "its standard deviation over the step's responses"),
    "policy/advantage_std": Metric("", None, "standard deviation of the advantages"),
    "policy/zero_variance": Metric("share", "down", "prompts whose responses all earned the same"),
    "policy/kl": Metric("nats", None, "k3 estimate of KL(policy || reference) per token of the loss"),
    "policy/kl_old": Metric("nats", None, "k3 estimate of how far the updates moved from the policy that sampled"),
    "policy/clip_fraction": Metric("share", None, "tokens whose gradient the clip stopped"),
    "policy/entropy": Metric("nats", None, "entropy of the sampling distribution, mean over tokens"),
    "policy/completion_length": Metric("tokens", None, "mean length of the step's responses"),
    "policy/truncated": Metric("share", "down", "responses that the length limit cut off"),
    "critic/loss": Metric("reward²", "down", "squared error of the critic to the return"),
    "critic/value": Metric("reward", None, "mean value that the critic gives to a token"),
    "critic/learning_rate": Metric("", None, "learning rate of the critic in this step"),
    "critic/explained_variance": Metric("share", "up", "1 - Var(return - value) / Var(return), before the updates"),
    "reward/errors": Metric("responses", "down", "responses that a reward failed to score; they earn 0"),
    "reward/": Metric("reward", "up", "mean of this reward alone, unweighted, over the step's responses"),
    "eval/accuracy": Metric("share", "up", "held-out rows whose greedy response gets full marks from the first reward"),
    "eval/reward": Metric("reward", "up", "weighted sum of the rewards, mean over the held-out rows"),
    "eval/truncated": Metric("share", "down", "held-out responses that the length limit cut off"),
    "eval/completion_length": Metric("tokens", None, "mean length of the held-out responses"),
    "eval/loss": Metric("nats", "down", "loss of the held-out completions"),
    "time/": Metric("s", "down", "duration of this part of the step"),
}
"""By name; a name that ends in `/` stands for all that start so and have no entry of their own."""


def describe(name: str) -> Metric | None:
    """The entry of a metric; None for one that nobody knows."""
    return METRICS.get(name) or METRICS.get(name.split("/", 1)[0] + "/")


def higher_is_better(name: str) -> bool:
    """Whether a larger value is the better one; metrics without a direction, and unknown ones, count as such."""
    metric = describe(name)
    return metric is None or metric.better != "down"
