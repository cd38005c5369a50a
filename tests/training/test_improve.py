import pytest

from service.domain.algorithms import GRPOSpec, ReinforceSpec
from worker.training.improve import minibatches, passes


def test_each_pass_goes_through_all_groups_once_and_splits_none() -> None:
    spec = GRPOSpec(prompts_per_step=5, num_generations=2, minibatches=2, num_iterations=3)
    parts = list(minibatches(5, 2, *passes(spec)))
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]] * 3


def test_reinforce_uses_a_response_once() -> None:
    assert passes(ReinforceSpec()) == (1, 1)


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_minibatches_are_as_even_as_can_be(parts: int) -> None:
    sizes = [len(rows) for rows in minibatches(7, 2, 1, parts)]
    assert sum(sizes) == 14 and max(sizes) - min(sizes) <= 2
