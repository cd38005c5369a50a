import torch
from torch.testing import assert_close

from worker.training.sampling import draw, uniforms

CPU = torch.device("cpu")


def test_a_row_gets_the_same_numbers_however_many_rows_there_are() -> None:
    assert torch.equal(uniforms(1, 2, 3, 5, CPU), uniforms(1, 2, 8, 9, CPU)[:3, :5])


def test_seed_step_row_and_position_each_change_the_number() -> None:
    base = uniforms(0, 0, 4, 4, CPU)
    assert len(set(base.flatten().tolist())) == 16
    assert not (base == uniforms(1, 0, 4, 4, CPU)).any()
    assert not (base == uniforms(0, 1, 4, 4, CPU)).any()


def test_the_numbers_are_uniform_and_uncorrelated() -> None:
    numbers = uniforms(7, 0, 300, 300, CPU)
    assert numbers.min() >= 0 and numbers.max() < 1
    histogram = torch.histc(numbers, 20, 0, 1) / numbers.numel()
    assert_close(histogram, torch.full((20,), 0.05), atol=0.003, rtol=0)
    centred = numbers - 0.5
    assert abs(float((centred[1:] * centred[:-1]).mean())) < 0.001
    assert abs(float((centred[:, 1:] * centred[:, :-1]).mean())) < 0.001


def test_draws_follow_the_distribution() -> None:
    probability = torch.tensor([0.0, 0.1, 0.0, 0.6, 0.3, 0.0])
    number = (torch.arange(10_000) + 0.5) / 10_000
    counts = torch.bincount(draw(probability.expand(10_000, 6), number), minlength=6)
    assert counts.tolist() == [0, 1000, 0, 6000, 3000, 0]


def test_a_large_vocabulary_is_drawn_from_as_a_running_sum_in_double_precision_would() -> None:
    probability = torch.randn(64, 5000, generator=torch.Generator().manual_seed(0)).softmax(-1)
    number = uniforms(0, 0, 64, 1, CPU)[:, 0]
    running = probability.double().cumsum(-1)
    goal = number.double() * running[:, -1]
    chosen = draw(probability, number)
    assert (running.gather(1, chosen[:, None])[:, 0] > goal - 1e-6).all()
    assert ((running - probability).gather(1, chosen[:, None])[:, 0] <= goal + 1e-6).all()


def test_a_word_without_probability_is_never_drawn() -> None:
    probability = torch.zeros(2, 1000)
    probability[:, 3] = 1.0
    assert draw(probability, torch.tensor([0.0, 1.0])).tolist() == [3, 3]  # 1.0: what rounding could make of it
