"""How much better a response, or a token of it, did than was to be expected.

Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

import torch
from torch import Tensor


def group_advantages(reward_PG: Tensor) -> Tensor:
    """A_i = (r_i - mean r) / (std r + 1e-4) within each prompt's responses, std unbiased; equal rewards give 0."""
    centred_PG = reward_PG - reward_PG.mean(dim=1, keepdim=True)
    # Equal rewards whose mean is rounded would leave a rest of 1e-8 that the 1e-4 turns into a push.
    centred_PG = torch.where((reward_PG == reward_PG[:, :1]).all(dim=1, keepdim=True), 0.0, centred_PG)
    return centred_PG / (reward_PG.std(dim=1, keepdim=True) + 1e-4)


def gae(reward_BT: Tensor, value_BT: Tensor, mask_BT: Tensor, gamma: float, lam: float) -> Tensor:
    """A_t = delta_t + gamma lam A_{t+1},  delta_t = r_t + gamma V_{t+1} - V_t;  V = A = 0 after the last token."""
    advantage_BT = torch.zeros_like(reward_BT)
    next_advantage_B = next_value_B = torch.zeros_like(reward_BT[:, 0])
    for t in reversed(range(reward_BT.shape[1])):
        delta_B = reward_BT[:, t] + gamma * next_value_B - value_BT[:, t]
        advantage_BT[:, t] = (delta_B + gamma * lam * next_advantage_B) * mask_BT[:, t]
        next_advantage_B, next_value_B = advantage_BT[:, t], value_BT[:, t] * mask_BT[:, t]
    return advantage_BT


def on_last_token(reward_B: Tensor, mask_BT: Tensor) -> Tensor:
    """r_t: the reward of a whole response, on its last token; 0 before [B, T]."""
    last_B1 = mask_BT.sum(dim=1, keepdim=True).long() - 1
    return torch.zeros_like(mask_BT).scatter(1, last_B1, reward_B[:, None])
