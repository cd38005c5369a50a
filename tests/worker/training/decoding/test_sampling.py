import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import TopKLogitsWarper, TopPLogitsWarper

from worker.training.decoding.sampling import Drawn, choose, draw, row_keys, uniforms

CPU = torch.device("cpu")
EVEN = (torch.arange(10_000) + 0.5) / 10_000
"""Numbers that fill [0, 1) evenly: what is drawn with them are the probabilities themselves."""


def _uniforms(seed: int, step: int, rows: int, positions: int, first_row: int = 0) -> Tensor:
    return uniforms(row_keys(seed, step, first_row, rows, CPU), range(positions))


def test_a_row_gets_the_same_numbers_however_many_rows_and_positions_there_are() -> None:
    assert torch.equal(_uniforms(1, 2, 3, 5), _uniforms(1, 2, 8, 9)[:3, :5])


def test_numbers_can_be_made_in_pieces() -> None:
    key = row_keys(1, 2, 0, 8, CPU)
    assert torch.equal(uniforms(key[3:5], range(4, 9)), _uniforms(1, 2, 8, 9)[3:5, 4:])
    assert torch.equal(_uniforms(1, 2, 5, 9, first_row=3), _uniforms(1, 2, 8, 9)[3:])


def test_seed_step_row_and_position_each_change_the_number() -> None:
    base = _uniforms(0, 0, 4, 4)
    assert len(set(base.flatten().tolist())) == 16
    assert not (base == _uniforms(1, 0, 4, 4)).any()
    assert not (base == _uniforms(0, 1, 4, 4)).any()


def test_the_numbers_are_uniform_and_uncorrelated() -> None:
    numbers = _uniforms(7, 0, 300, 300)
    assert numbers.min() >= 0 and numbers.max() < 1
    histogram = torch.histc(numbers, 20, 0, 1) / numbers.numel()
    assert_close(histogram, torch.full((20,), 0.05), atol=0.003, rtol=0)
    centred = numbers - 0.5
    assert abs(float((centred[1:] * centred[:-1]).mean())) < 0.001
    assert abs(float((centred[:, 1:] * centred[:, :-1]).mean())) < 0.001


def test_draws_follow_the_distribution_and_say_its_sum() -> None:
    mass = torch.tensor([0.0, 0.2, 0.0, 1.2, 0.6, 0.0])
    word, total = draw(mass.expand(10_000, 6), EVEN)
    assert torch.bincount(word, minlength=6).tolist() == [0, 1000, 0, 6000, 3000, 0]
    assert_close(total, torch.full((10_000,), 2.0))


@pytest.mark.parametrize("words", [300, 512, 5000, 5120])
def test_a_vocabulary_is_drawn_from_as_a_running_sum_in_double_precision_would(words: int) -> None:
    probability = torch.randn(64, words, generator=torch.Generator().manual_seed(0)).softmax(-1)
    number = _uniforms(0, 0, 64, 1)[:, 0]
    running = probability.double().cumsum(-1)
    goal = number.double() * running[:, -1]
    chosen, _ = draw(probability, number)
    assert (running.gather(1, chosen[:, None])[:, 0] > goal - 1e-6).all()
    assert ((running - probability).gather(1, chosen[:, None])[:, 0] <= goal + 1e-6).all()


@pytest.mark.parametrize("words", [10, 1000, 1024])
def test_a_word_without_probability_is_never_drawn(words: int) -> None:
    probability = torch.zeros(2, words)
    probability[:, 3] = 1.0
    chosen, _ = draw(probability, torch.tensor([0.0, 1.0]))  # 1.0: what rounding could make of it
    assert chosen.tolist() == [3, 3]


def _shares(drawn: Drawn, words: int) -> list[float]:
    return (torch.bincount(drawn.token_B, minlength=words) / len(drawn.token_B)).tolist()


def _choose(probability: list[float], **options: float) -> Drawn:
    logits = torch.tensor(probability).log() + 3.0  # a constant changes nothing
    return choose(logits.expand(len(EVEN), -1), EVEN, **options)  # type: ignore[arg-type]


def test_what_is_chosen_comes_with_its_log_probability_and_the_entropy() -> None:
    drawn = _choose([0.1, 0.6, 0.3])
    assert _shares(drawn, 3) == pytest.approx([0.1, 0.6, 0.3])
    expected = torch.tensor([0.1, 0.6, 0.3])
    assert_close(drawn.logp_B, expected.log()[drawn.token_B])
    assert_close(drawn.entropy_B, -(expected * expected.log()).sum().expand(len(EVEN)))


def test_temperature_flattens_and_zero_takes_the_likeliest() -> None:
    warm = _choose([0.2, 0.8], temperature=2.0)  # square roots: 1 to 2
    assert _shares(warm, 2) == pytest.approx([1 / 3, 2 / 3], abs=1e-4)
    assert_close(warm.logp_B.exp(), torch.tensor([1 / 3, 2 / 3])[warm.token_B])
    cold = _choose([0.2, 0.8], temperature=0.0)
    assert _shares(cold, 2) == [0, 1] and not cold.logp_B.any() and not cold.entropy_B.any()


def test_top_k_leaves_the_k_likeliest_in_proportion() -> None:
    drawn = _choose([0.1, 0.5, 0.1, 0.3], top_k=2)
    assert _shares(drawn, 4) == pytest.approx([0, 5 / 8, 0, 3 / 8])
    assert_close(drawn.logp_B.exp(), torch.tensor([0, 5 / 8, 0, 3 / 8])[drawn.token_B])
    left = torch.tensor([5 / 8, 3 / 8])
    assert_close(drawn.entropy_B, -(left * left.log()).sum().expand(len(EVEN)))
    assert _shares(_choose([0.1, 0.5, 0.4], top_k=7), 3) == pytest.approx([0.1, 0.5, 0.4])


@pytest.mark.parametrize(
    ("top_p", "left"), [(0.4, [0, 1, 0, 0]), (0.7, [0, 5 / 8, 0, 3 / 8]), (0.85, [0, 5 / 9.5, 1.5 / 9.5, 3 / 9.5])]
)
def test_top_p_leaves_the_likeliest_up_to_the_one_that_reaches_it(top_p: float, left: list[float]) -> None:
    drawn = _choose([0.05, 0.5, 0.15, 0.3], top_p=top_p)
    assert _shares(drawn, 4) == pytest.approx(left, abs=2e-4)
    assert_close(drawn.logp_B.exp(), torch.tensor(left, dtype=torch.float32)[drawn.token_B])


def test_temperature_top_k_and_top_p_together_are_those_of_transformers() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(20, 50, generator=generator) * 2
    number = torch.rand(20, generator=generator)
    ours = choose(logits, number, temperature=0.7, top_k=12, top_p=0.8)
    unused = torch.zeros(20, 1, dtype=torch.long)
    warped = TopPLogitsWarper(0.8)(unused, TopKLogitsWarper(12)(unused, logits / 0.7))
    logp = warped.log_softmax(-1)
    assert_close(ours.logp_B, logp.gather(1, ours.token_B[:, None])[:, 0])
    assert torch.equal(ours.token_B, draw(logp.exp(), number)[0])
    assert_close(ours.entropy_B, torch.distributions.Categorical(logits=warped).entropy())  # type: ignore[no-untyped-call]
