import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import GRPOSpec
from worker.training.objectives.shaping import overlong, relative_length, shaped


def test_the_overlong_penalty_falls_from_0_to_minus_1_over_the_buffer() -> None:
    assert_close(overlong(tensor([50, 80, 90, 100]), max_length=100, buffer=20), tensor([0.0, 0.0, -0.5, -1.0]))


def test_short_right_answers_gain_and_long_ones_lose_within_a_group() -> None:
    length, correct = tensor([[10, 20, 30]]), torch.ones(1, 3, dtype=torch.bool)
    assert_close(relative_length(length, correct, torch.ones_like(correct)), tensor([[0.5, 0.0, -0.5]]))


def test_a_wrong_answer_gains_nothing_by_being_short() -> None:
    length, correct = tensor([[10, 20, 30]]), torch.zeros(1, 3, dtype=torch.bool)
    assert_close(relative_length(length, correct, torch.ones_like(correct)), tensor([[0.0, 0.0, -0.5]]))


def test_where_all_are_of_one_length_there_is_nothing_to_gain() -> None:
    both = torch.ones(1, 2, dtype=torch.bool)
    assert not relative_length(tensor([[7, 7]]), both, both).any()


def test_a_response_that_does_not_count_is_no_extreme_of_its_group() -> None:
    length, correct = tensor([[10, 20, 90, 30]]), torch.ones(1, 4, dtype=torch.bool)
    counts = tensor([[True, True, False, True]])
    assert_close(relative_length(length, correct, counts)[counts], tensor([0.5, 0.0, -0.5]))


def test_rewards_are_clipped_then_scaled_then_penalised() -> None:
    spec = GRPOSpec(
        num_generations=2,
        max_completion_length=10,
        reward_clip=2.0,
        reward_scale=0.5,
        overlong_buffer=4,
        overlong_penalty=3.0,
        length_penalty=1.0,
        length_penalty_warmup_steps=5,
    )
    reward, length, correct = tensor([9.0, -9.0]), tensor([6, 10]), tensor([True, False])
    early = shaped(reward, length, length, correct, 4, spec)
    assert_close(early, tensor([1.0, -1.0 - 3.0]))
    assert_close(shaped(reward, length, length, correct, 5, spec), early + tensor([0.5, -0.5]))


def test_by_default_a_reward_is_what_it_is() -> None:
    reward = tensor([0.1, 1.3])
    assert torch.equal(
        shaped(reward, tensor([5, 500]), tensor([5, 500]), tensor([True, False]), 0, GRPOSpec(num_generations=2)),
        reward,
    )
