"""Advantages: how much better a response, or a token of it, was than expected.

Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

import torch
from torch import Tensor

from service.domain.algorithms import AdvantageNorm

STD_EPSILON = 1e-4


def normalized(reward_PG: Tensor, norm: AdvantageNorm) -> Tensor:
    """A_i from the rewards of each prompt's responses [P, G].

    none            r_i                                        the estimator without a baseline
    group_mean      r_i - mean r                               Dr. GRPO (arXiv:2503.20783)
    group_std       (r_i - mean r) / (std r + 1e-4)            GRPO; std unbiased
    batch_std       (r_i - mean r) / (std of all + 1e-4)       'Tricks or Traps' (arXiv:2508.08221), TRL's `batch`
    leave_one_out   r_i - mean of the others                   RLOO (arXiv:2402.14740)

    A reward of NaN is that of a response that does not count: it is out of every mean and std, and its advantage is
    NaN. One alone in its group has nothing to be compared with: its advantage is 0.
    """
    if norm == "none":
        return reward_PG
    centred_PG = reward_PG - group_mean(reward_PG)
    # Equal rewards whose mean is rounded would leave 1e-8 that a division by 1e-4 turns into an advantage.
    centred_PG = centred_PG.masked_fill(equal_rewards(reward_PG)[:, None] & ~reward_PG.isnan(), 0.0)
    match norm:
        case "group_mean":
            return centred_PG
        case "group_std":
            return centred_PG / (_group_std(reward_PG) + STD_EPSILON)
        case "batch_std":
            return centred_PG / (_std(reward_PG) + STD_EPSILON)
        case "leave_one_out":
            count_P1 = (~reward_PG.isnan()).sum(dim=1, keepdim=True)
            return centred_PG * (count_P1 / (count_P1 - 1).clamp(min=1))


def group_mean(reward_PG: Tensor) -> Tensor:
    """The mean of each group without its NaN [P, 1]."""
    # nanmean rounds otherwise than mean, and a whole group must have the bits that it always had
    return (reward_PG.nanmean if reward_PG.isnan().any() else reward_PG.mean)(dim=1, keepdim=True)


def _group_std(reward_PG: Tensor) -> Tensor:
    """The unbiased std of each group without its NaN; 0 of one alone [P, 1]."""
    if not reward_PG.isnan().any():
        return reward_PG.std(dim=1, keepdim=True)
    count_P1 = (~reward_PG.isnan()).sum(dim=1, keepdim=True)
    square_PG = (reward_PG - group_mean(reward_PG)).square()
    return (square_PG.nansum(dim=1, keepdim=True) / (count_P1 - 1).clamp(min=1)).sqrt()


def _std(reward_PG: Tensor) -> Tensor:
    """The unbiased std of all rewards but NaN; 0 of one alone."""
    counted_N = reward_PG[~reward_PG.isnan()]
    return counted_N.std() if len(counted_N) > 1 else counted_N.new_zeros(())


def group_advantages(reward_PG: Tensor) -> Tensor:
    """GRPO's: `normalized` by `group_std`."""
    return normalized(reward_PG, "group_std")


def equal_rewards(reward_PG: Tensor) -> Tensor:
    """Which groups have equal rewards, NaN left out, and so no advantage [P]."""
    missing_PG = reward_PG.isnan()
    lowest_P = reward_PG.masked_fill(missing_PG, torch.inf).amin(dim=1)
    return lowest_P >= reward_PG.masked_fill(missing_PG, -torch.inf).amax(dim=1)


def gae(reward_BT: Tensor, value_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float) -> Tensor:
    """A_t = delta_t + gamma lam A_{t+1},  delta_t = r_t + gamma V_{t+1} - V_t;  V = A = 0 after the last token.

    t + 1 is the policy's next token: the output of a tool in between, where the mask is 0, is no action of it.
    """
    advantage_BT = torch.zeros_like(reward_BT)
    next_advantage_B = next_value_B = torch.zeros_like(reward_BT[:, 0])
    for t in reversed(range(reward_BT.shape[1])):
        sampled_B = mask_BT[:, t] > 0
        delta_B = reward_BT[:, t] + gamma * next_value_B - value_BT[:, t]
        advantage_BT[:, t] = torch.where(sampled_B, delta_B + gamma * lam * next_advantage_B, 0.0)
        next_advantage_B = torch.where(sampled_B, advantage_BT[:, t], next_advantage_B)
        next_value_B = torch.where(sampled_B, value_BT[:, t], next_value_B)
    return advantage_BT


def on_last_token(reward_B: Tensor, mask_BT: Tensor) -> Tensor:
    """r_t: the reward of a whole response, on the last token that the policy sampled; 0 elsewhere [B, T]."""
    time_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    last_B1 = (mask_BT * time_T).argmax(dim=1, keepdim=True)
    return torch.zeros_like(mask_BT).scatter(1, last_B1, reward_B[:, None])


def whitened(value_BT: Tensor, mask_BT: Tensor, *, keep_mean: bool = False) -> Tensor:
    """To mean 0 (or its own) and variance 1 over all tokens; 0 where there is none."""
    tokens = mask_BT.sum()
    mean = (value_BT * mask_BT).sum() / tokens
    variance = ((value_BT - mean).square() * mask_BT).sum() / (tokens - 1).clamp(min=1)
    white_BT = (value_BT - mean) * (variance + 1e-8).rsqrt()
    return (white_BT + mean if keep_mean else white_BT) * mask_BT
