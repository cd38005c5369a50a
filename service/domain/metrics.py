"""What each metric is: its unit, which way is better, and a sentence. All names that a trainer may report."""

from typing import Literal, NamedTuple

Direction = Literal["up", "down"]


class MetricInfo(NamedTuple):
    """The unit of a metric, which direction is better, and its meaning."""

    unit: str
    better: Direction | None
    meaning: str


METRICS: dict[str, MetricInfo] = {
    "train/loss": MetricInfo("nats", "down", "the loss as the spec aggregates it, mean over the step's updates"),
    "train/grad_norm": MetricInfo("", None, "norm of the gradient before clipping, mean over the step's updates"),
    "train/learning_rate": MetricInfo("", None, "learning rate of the policy in this step"),
    "train/tokens": MetricInfo("tokens", None, "tokens of the step's sequences, prompts included"),
    "train/learned_tokens": MetricInfo("tokens", None, "tokens of the step that the loss counts"),
    "train/tokens_per_second": MetricInfo("tokens/s", "up", "train/tokens over time/step"),
    "train/accuracy": MetricInfo("share", "up", "share of the step's pairs that the reward model ranks right"),
    "train/margin": MetricInfo(
        "reward", "up", "score of the chosen response minus that of the rejected one, mean over pairs"
    ),
    "train/reward_chosen": MetricInfo("reward", None, "mean score of the chosen responses"),
    "train/reward_rejected": MetricInfo("reward", None, "mean score of the rejected responses"),
    "policy/reward": MetricInfo("reward", "up", "weighted sum of the rewards, mean over the step's responses"),
    "policy/reward_std": MetricInfo("reward", None, "standard deviation of policy/reward over the step's responses"),
    "policy/accuracy": MetricInfo("share", "up", "share of responses with full marks from the first rule-based reward"),
    "policy/advantage_std": MetricInfo("", None, "standard deviation of the advantages"),
    "policy/zero_variance": MetricInfo("share", "down", "share of prompts whose responses all earned the same reward"),
    "policy/resamples": MetricInfo("batches", "down", "extra batches of prompts that `zero_variance: resample` drew"),
    "policy/kl": MetricInfo("nats", None, "KL(policy || reference) per token of the loss, by `kl_estimator`"),
    "policy/kl_response": MetricInfo(
        "nats", None, "log(policy / reference) summed over a response, mean over responses"
    ),
    "policy/beta": MetricInfo("", None, "weight of the KL in this step"),
    "policy/counted": MetricInfo(
        "share", "up", "share of responses that count: judged by all rewards, and not masked by `mask_truncated`"
    ),
    "policy/ratio": MetricInfo("", None, "pi / pi_old, mean over the tokens of the loss and all updates of the step"),
    "policy/ratio_max": MetricInfo("", None, "largest pi / pi_old of a token of the step"),
    "policy/ratio@": MetricInfo("", None, "policy/ratio of this pass over the responses, where there are several"),
    "policy/ratio_max@": MetricInfo("", None, "policy/ratio_max of this pass"),
    "policy/kl_old@": MetricInfo("nats", None, "policy/kl_old of this pass"),
    "policy/clip_fraction@": MetricInfo("share", None, "policy/clip_fraction of this pass"),
    "policy/sampler_logp_diff": MetricInfo(
        "nats", "down", "|log pi_old as the pass that trains computes it - as sampled| per token"
    ),
    "policy/sampler_ratio": MetricInfo("", None, "pi_old as the pass that trains computes it / as sampled, mean"),
    "policy/sampler_ratio_max": MetricInfo("", "down", "largest such ratio of a token of the step"),
    "policy/ptx_loss": MetricInfo("nats", "down", "mean negative log-likelihood per token of the PPO-ptx texts"),
    "policy/kl_old": MetricInfo("nats", None, "k3 estimate of the KL from pi_old to the policy as it is updated"),
    "policy/clip_fraction": MetricInfo("share", None, "share of tokens whose gradient the clip removed"),
    "policy/entropy": MetricInfo("nats", None, "entropy of the sampling distribution, mean over tokens"),
    "policy/completion_length": MetricInfo(
        "tokens", None, "mean length of the step's responses, tool results included"
    ),
    "policy/truncated": MetricInfo(
        "share", "down", "share of responses that a limit of length or of tool calls cut off"
    ),
    "policy/tool_calls": MetricInfo("calls", None, "tool calls per response, mean over the step's responses"),
    "policy/tool_errors": MetricInfo("calls", "down", "failed tool calls per response, mean over the step's responses"),
    "critic/loss": MetricInfo("reward²", "down", "squared error of the critic's value against the return"),
    "critic/value": MetricInfo("reward", None, "mean value that the critic assigns to a token"),
    "critic/grad_norm": MetricInfo("", None, "norm of the critic's gradient before clipping, mean over its updates"),
    "critic/clip_fraction": MetricInfo("share", None, "share of tokens whose gradient the value clip removed"),
    "critic/learning_rate": MetricInfo("", None, "learning rate of the critic in this step"),
    "critic/explained_variance": MetricInfo("share", "up", "1 - Var(return - value) / Var(return), before the updates"),
    "reward/errors": MetricInfo(
        "responses",
        "down",
        "responses that a reward failed to score; they are in no mean and no loss",
    ),
    "reward/": MetricInfo("reward", "up", "mean of this reward alone, unweighted, over the step's responses"),
    "eval/accuracy": MetricInfo(
        "share",
        "up",
        "share of held-out responses at full marks from the first rule-based reward, or of pairs ranked right",
    ),
    "eval/margin": MetricInfo("reward", "up", "like train/margin, of the held-out pairs"),
    "eval/reward_chosen": MetricInfo("reward", None, "mean score of the held-out chosen responses"),
    "eval/reward_rejected": MetricInfo("reward", None, "mean score of the held-out rejected responses"),
    "eval/pass@": MetricInfo(
        "share", "up", "chance that at least one of this many responses to a held-out prompt is right"
    ),
    "eval/reward": MetricInfo("reward", "up", "weighted sum of the rewards, mean over the held-out responses"),
    "eval/rewards/errors": MetricInfo(
        "responses",
        "down",
        "held-out responses that a reward failed to score; they are in no mean",
    ),
    "eval/rewards/": MetricInfo("reward", "up", "mean of this reward alone, unweighted, over the held-out responses"),
    "eval/truncated": MetricInfo("share", "down", "share of held-out responses that a limit cut off"),
    "eval/tool_calls": MetricInfo("calls", None, "tool calls per held-out response, mean"),
    "eval/tool_errors": MetricInfo("calls", "down", "failed tool calls per held-out response, mean"),
    "eval/completion_length": MetricInfo("tokens", None, "mean length of the held-out responses"),
    "eval/loss": MetricInfo("nats", "down", "loss of the held-out completions, aggregated as in training"),
    "eval/perplexity": MetricInfo(
        "", "down", "exp of the mean negative log-likelihood per token of the held-out completions"
    ),
    "time/": MetricInfo("s", "down", "duration of this part of the step"),
}
"""By name; a name that ends in `/` or `@` stands for all names that start with it and have no entry of their own."""


def describe(name: str) -> MetricInfo | None:
    """The entry of a metric; None for an unknown name."""
    families = (METRICS[start] for start in METRICS if start[-1] in "/@" and name.startswith(start))
    return METRICS.get(name) or next(families, None)


def higher_is_better(name: str) -> bool:
    """Whether a larger value is the better one; metrics without a direction, and unknown ones, count as such."""
    metric = describe(name)
    return metric is None or metric.better != "down"
