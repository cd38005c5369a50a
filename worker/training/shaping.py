"""From what the reward functions say to the reward that is learned from: clip, scale, and penalties for length.

Shapes: P prompts, G responses each, B = P*G responses.
"""

from torch import Tensor

from service.domain.algorithms import PolicySpec


def shaped(
    reward_B: Tensor, length_B: Tensor, whole_B: Tensor, correct_B: Tensor, step: int, spec: PolicySpec
) -> Tensor:
    """r_i as the algorithm sees it. `length_B` is what the policy said, `whole_B` also what tools answered: the limit
    of the length counts that too.
    """
    if spec.reward_clip is not None:
        reward_B = reward_B.clamp(-spec.reward_clip, spec.reward_clip)
    reward_B = reward_B * spec.reward_scale
    if spec.overlong_buffer:
        penalty_B = overlong(whole_B, spec.max_completion_length, spec.overlong_buffer)
        reward_B = reward_B + spec.overlong_penalty * penalty_B
    if spec.length_penalty and step >= spec.length_penalty_warmup_steps:
        length_reward_PG = relative_length(
            length_B.view(-1, spec.num_generations), correct_B.view(-1, spec.num_generations)
        )
        reward_B = reward_B + spec.length_penalty * length_reward_PG.flatten()
    return reward_B


def overlong(length_B: Tensor, max_length: int, buffer: int) -> Tensor:
    """From 0 down to -1 over the last `buffer` tokens before the limit (DAPO, arXiv:2503.14476, equation 13)."""
    return ((max_length - buffer - length_B.float()) / buffer).clamp(-1, 0)


def relative_length(length_PG: Tensor, correct_PG: Tensor) -> Tensor:
    """Kimi k1.5's length reward (arXiv:2501.12599, section 2.3.3).

    lambda = 0.5 - (len - min len) / (max len - min len) within a prompt's responses; right ones get lambda, wrong ones
    min(0, lambda); 0 where all are of one length.
    """
    length_PG = length_PG.float()
    shortest_P1, longest_P1 = length_PG.amin(dim=1, keepdim=True), length_PG.amax(dim=1, keepdim=True)
    spread_P1 = longest_P1 - shortest_P1
    lambda_PG = 0.5 - (length_PG - shortest_P1) / spread_P1.clamp(min=1)
    return (lambda_PG.where(correct_PG, lambda_PG.clamp(max=0))).where(spread_P1 > 0, 0.0)
