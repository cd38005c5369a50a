"""How much better a response, or a token of it, did than was to be expected.

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
    """
    if norm == "none":
        return reward_PG
    centred_PG = _centred(reward_PG)
    match norm:
        case "group_mean":
            return centred_PG
        case "group_std":
            return centred_PG / (reward_PG.std(dim=1, keepdim=True) + STD_EPSILON)
        case "batch_std":
            return centred_PG / (reward_PG.std() + STD_EPSILON)
        case "leave_one_out":
            generations = reward_PG.shape[1]
            return centred_PG * (generations / (generations - 1))


def group_advantages(reward_PG: Tensor) -> Tensor:
    """GRPO's: `normalized` by `group_std`."""
    return normalized(reward_PG, "group_std")


def equal_rewards(reward_PG: Tensor) -> Tensor:
    """Which groups have nothing to compare [P]."""
    return (reward_PG == reward_PG[:, :1]).all(dim=1)


def _centred(reward_PG: Tensor) -> Tensor:
    centred_PG = reward_PG - reward_PG.mean(dim=1, keepdim=True)
    # Equal rewards whose mean is rounded would leave a rest of 1e-8 that the 1e-4 turns into a push.
    return torch.where(equal_rewards(reward_PG)[:, None], 0.0, centred_PG)


def gae(reward_BT: Tensor, value_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float) -> Tensor:
    """A_t = delta_t + gamma lam A_{t+1},  delta_t = r_t + gamma V_{t+1} - V_t;  V = A = 0 after the last token.

    t + 1 is the policy's next token: what a tool answered in between, a hole in the mask, is no action of it.
    """
    advantage_BT = torch.zeros_like(reward_BT)
    next_advantage_B = next_value_B = torch.zeros_like(reward_BT[:, 0])
    for t in reversed(range(reward_BT.shape[1])):
        acts_B = mask_BT[:, t] > 0
        delta_B = reward_BT[:, t] + gamma * next_value_B - value_BT[:, t]
        advantage_BT[:, t] = torch.where(acts_B, delta_B + gamma * lam * next_advantage_B, 0.0)
        next_advantage_B = torch.where(acts_B, advantage_BT[:, t], next_advantage_B)
        next_value_B = torch.where(acts_B, value_BT[:, t], next_value_B)
    return advantage_BT


def on_last_token(reward_B: Tensor, mask_BT: Tensor) -> Tensor:
    """r_t: the reward of a whole response, on the last token that the policy said; 0 elsewhere [B, T]."""
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
