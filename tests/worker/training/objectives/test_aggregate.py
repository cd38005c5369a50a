import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import LossAggregation
from worker.training.objectives.aggregate import Averages, row_weights


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("token_mean", (1 + 1 + 1 + 4) / 4),
        ("seq_mean", ((1 + 1 + 1) / 3 + 4 / 1) / 2),
        ("seq_sum", ((1 + 1 + 1) + 4) / 2),
        ("const", ((1 + 1 + 1) + 4) / (2 * 10)),
        ("group_mean", (1 + 1 + 1 + 4) / 4),
    ],
)
def test_two_rows_by_hand(mode: LossAggregation, expected: float) -> None:
    loss, mask = tensor([[1.0, 1, 1], [4, 0, 0]]), tensor([[1.0, 1, 1], [1, 0, 0]])
    weight = row_weights(tensor([3, 1]), mode, group_B=tensor([0, 0]), max_length=10)
    assert_close((loss * mask * weight[:, None]).sum(), tensor(expected))


def test_the_mean_over_groups_is_of_each_groups_mean_over_its_tokens() -> None:
    loss, mask = tensor([[1.0, 1], [4, 0], [5, 5], [8, 8]]), tensor([[1.0, 1], [1, 0], [1, 1], [1, 1]])
    weight = row_weights(tensor([2, 1, 2, 2]), "group_mean", group_B=tensor([0, 0, 3, 3]))
    assert_close((loss * mask * weight[:, None]).sum(), tensor(((1 + 1 + 4) / 3 + (5 + 5 + 8 + 8) / 4) / 2))


def test_a_row_without_tokens_adds_nothing() -> None:
    for mode in ("token_mean", "seq_mean", "seq_sum"):
        assert torch.isfinite(row_weights(tensor([0, 2]), mode)).all()


def test_averages_do_not_depend_on_the_cut() -> None:
    value, weight = torch.arange(12.0).view(4, 3), torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    whole, parts = Averages(), Averages()
    whole.add({"x": value}, weight)
    for row in range(4):
        parts.add({"x": value[row : row + 1]}, weight[row : row + 1])
    assert parts.read() == pytest.approx(whole.read())
    assert whole.read()["x"] == pytest.approx(float((value * weight).sum() / weight.sum()))
