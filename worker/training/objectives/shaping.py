"""From the scores of the reward functions to the reward of the algorithm: clip, scale, and penalties for length.

Shapes: P prompts, G responses each, B = P*G responses.
"""

import torch
from torch import Tensor

from service.domain.algorithms import PolicySpec
from worker.training.objectives.advantages import equal_rewards, group_mean


def shaped(
    reward_B: Tensor, length_B: Tensor, completion_length_B: Tensor, correct_B: Tensor, step: int, spec: PolicySpec
) -> Tensor:
    """r_i as the algorithm sees it; NaN stays NaN: such a response does not count.

    `length_B` counts the tokens that the policy sampled, `completion_length_B` the output of tools as well, which
    counts in the limit of the length.
    """
    if spec.reward_clip is not None:
        reward_B = reward_B.clamp(-spec.reward_clip, spec.reward_clip)
    reward_B = reward_B * spec.reward_scale
    if spec.overlong_buffer:
        penalty_B = overlong(completion_length_B, spec.max_completion_length, spec.overlong_buffer)
        reward_B = reward_B + spec.overlong_penalty * penalty_B
    if spec.length_penalty and step >= spec.length_penalty_warmup_steps:
        length_reward_PG = relative_length(
            length_B.view(-1, spec.num_generations),
            correct_B.view(-1, spec.num_generations),
            ~reward_B.isnan().view(-1, spec.num_generations),
        )
        reward_B = reward_B + spec.length_penalty * length_reward_PG.flatten()
    return reward_B


def gated(reward_B: Tensor, outcome_B: Tensor, generations: int) -> Tensor:
    """Rewards in which a prompt whose responses all have the same outcome has one value, its mean: no variance.

    Otherwise the terms that only shape, divided by their own small spread, teach as much as the outcome where all
    responses failed (verl-recipe#125). NaN stays NaN, and is in no mean.
    """
    reward_PG = reward_B.view(-1, generations)
    counts_PG = ~reward_PG.isnan()
    same_P = equal_rewards(outcome_B.view(-1, generations).where(counts_PG, torch.nan))
    return torch.where(same_P[:, None] & counts_PG, group_mean(reward_PG), reward_PG).flatten()


def overlong(length_B: Tensor, max_length: int, buffer: int) -> Tensor:
    """From 0 down to -1 over the last `buffer` tokens before the limit (DAPO, arXiv:2503.14476, equation 13)."""
    return ((max_length - buffer - length_B.float()) / buffer).clamp(-1, 0)


def relative_length(length_PG: Tensor, correct_PG: Tensor, counts_PG: Tensor) -> Tensor:
    """Kimi k1.5's length reward (arXiv:2501.12599, section 2.3.3).

    lambda = 0.5 - (len - min len) / (max len - min len) within a prompt's responses; right ones get lambda, wrong ones
    min(0, lambda); 0 where all are of one length. Responses that do not count are no extremes.
    """
    length_PG = length_PG.float()
    shortest_P1 = length_PG.masked_fill(~counts_PG, torch.inf).amin(dim=1, keepdim=True)
    longest_P1 = length_PG.masked_fill(~counts_PG, -torch.inf).amax(dim=1, keepdim=True)
    spread_P1 = longest_P1 - shortest_P1
    lambda_PG = 0.5 - (length_PG - shortest_P1) / spread_P1.clamp(min=1)
    return (lambda_PG.where(correct_PG, lambda_PG.clamp(max=0))).where(spread_P1 > 0, 0.0)
