import torch
from torch import tensor
from torch.testing import assert_close

from worker.training.objectives.advantages import gae, group_advantages, normalized, on_last_token, whitened


def test_a_groups_advantages_are_its_rewards_less_the_mean_over_the_unbiased_std() -> None:
    advantage = group_advantages(tensor([[0.0, 0.0, 1.0, 1.0]]))  # std = sqrt(4 * 0.25 / 3)
    std = (1 / 3) ** 0.5 + 1e-4
    assert_close(advantage, tensor([[-0.5, -0.5, 0.5, 0.5]]) / std)


def test_equal_rewards_teach_nothing() -> None:
    assert not group_advantages(tensor([[0.1] * 7, [1.2] * 7])).any()  # whose means are not exactly 0.1 and 1.2


def test_gae_by_hand() -> None:  # delta_1 = 1 - 2 = -1;  delta_0 = 0 + .5*2 - 1 = 0;  A_0 = 0 + .25 * -1
    advantage = gae(tensor([[0.0, 1.0]]), tensor([[1.0, 2.0]]), torch.ones(1, 2), gamma=0.5, lam=0.5)
    assert_close(advantage, tensor([[-0.25, -1.0]]))


def test_gae_with_lambda_1_is_the_return_less_the_value() -> None:
    value, mask = tensor([[0.3, -0.2, 0.7], [0.1, 0.4, 9.0]]), tensor([[1.0, 1, 1], [1, 1, 0]])
    advantage = gae(on_last_token(tensor([1.0, -2.0]), mask), value, mask, gamma=1.0, lam=1.0)
    assert_close(advantage, tensor([[0.7, 1.2, 0.3], [-2.1, -2.4, 0.0]]))


def test_gae_with_lambda_0_is_the_one_step_difference() -> None:
    value, mask = tensor([[0.3, -0.2, 0.7]]), torch.ones(1, 3)
    advantage = gae(on_last_token(tensor([1.0]), mask), value, mask, gamma=0.9, lam=0.0)
    assert_close(advantage, tensor([[0.9 * -0.2 - 0.3, 0.9 * 0.7 + 0.2, 1 - 0.7]]))


def test_what_stands_in_the_padding_does_not_reach_the_advantages() -> None:
    value, mask = tensor([[0.5, 0.5, 0.0]]), tensor([[1.0, 1, 0]])
    loud = value + tensor([[0.0, 0.0, 100.0]])
    reward = on_last_token(tensor([1.0]), mask)
    assert_close(gae(reward, value, mask, 0.9, 0.8), gae(reward, loud, mask, 0.9, 0.8))


def test_each_norm_by_hand() -> None:
    reward = tensor([[1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 4.0, 0.0]])
    centred = tensor([[0.0, -1.0, 1.0, 0.0], [-1.0, -1.0, 3.0, -1.0]])
    assert_close(normalized(reward, "none"), reward)
    assert_close(normalized(reward, "group_mean"), centred)
    assert_close(normalized(reward, "group_std"), centred / (tensor([[(2 / 3) ** 0.5], [2.0]]) + 1e-4))
    assert_close(normalized(reward, "batch_std"), centred / (reward.std() + 1e-4))
    others = tensor([[1.0, 4 / 3, 2 / 3, 1.0], [4 / 3, 4 / 3, 0.0, 4 / 3]])  # mean of the other three
    assert_close(normalized(reward, "leave_one_out"), reward - others)


def test_whitening_gives_mean_0_and_variance_1_over_the_tokens_alone() -> None:
    value, mask = tensor([[1.0, 2.0, 3.0], [6.0, 99.0, 99.0]]), tensor([[1.0, 1, 1], [1, 0, 0]])
    white = whitened(value, mask)
    assert_close(white[mask.bool()], (tensor([1.0, 2.0, 3.0, 6.0]) - 3) / (14 / 3) ** 0.5)
    assert not white[1, 1:].any()
    assert_close(whitened(value, mask, keep_mean=True)[mask.bool()].mean(), tensor(3.0))
