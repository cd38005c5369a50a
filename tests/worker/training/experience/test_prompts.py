from collections import Counter

import pytest

from hone.errors import Invalid
from service.domain.prompt_sampling import CurriculumSpec, GaussianCurriculumSpec, PrioritizedSpec, PromptSampling
from worker.training.experience.curriculum import level_shares
from worker.training.experience.prompts import Prompts, success_rates

ROWS = [{"prompt": str(index), "difficulty": 9 - index} for index in range(10)]


def test_without_an_order_each_prompt_comes_once_an_epoch() -> None:
    prompts = Prompts(ROWS, None, seed=0)
    drawn = [row for step in range(6) for row in prompts.draw(step, 5)]
    assert all(sorted(drawn[start : start + 10]) == list(range(10)) for start in (0, 10, 20))
    assert drawn[:10] != drawn[10:20]


def test_a_curriculum_begins_with_the_easiest_and_ends_with_all() -> None:
    prompts = Prompts(ROWS, CurriculumSpec(start=0.2, steps=4), seed=0)
    pools = [sorted(prompts.draw(step, 10)) for step in range(6)]
    assert set(pools[0]) == {8, 9}
    assert [len(set(pool)) for pool in pools] == [2, 4, 6, 8, 10, 10]
    assert Counter(pools[0]) == {8: 5, 9: 5}


def test_a_curriculum_needs_its_column_in_each_row() -> None:
    with pytest.raises(Invalid, match="row 1 has no number 'level'") as caught:
        Prompts(ROWS, CurriculumSpec(column="level"), seed=0)
    assert caught.value.param == "algorithm.prompt_sampling.column"


def test_what_is_solved_is_drawn_less_often() -> None:
    prompts = Prompts(ROWS, PrioritizedSpec(floor=0.05, decay=0.0), seed=0)
    prompts.record_success([0, 1, 2, 3, 4], [1.0] * 5)
    drawn = Counter(row for step in range(400) for row in prompts.draw(step, 1))
    solved = sum(drawn[row] for row in range(5))
    assert 0 < solved < 0.1 * 400  # 5 x 0.05 of 5.25


def test_a_success_rate_remembers() -> None:
    prompts = Prompts(ROWS, PrioritizedSpec(decay=0.5), seed=0)
    prompts.record_success([3], [0.8])
    prompts.record_success([3], [0.0])
    assert prompts.state()["success"][3] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "order",
    [
        None,
        CurriculumSpec(steps=3),
        PrioritizedSpec(),
        CurriculumSpec(steps=3, prioritized=PrioritizedSpec()),
        GaussianCurriculumSpec(steps=3, prioritized=PrioritizedSpec()),
    ],
)
def test_what_comes_next_depends_on_the_state_alone(order: PromptSampling | None) -> None:
    whole, resumed = Prompts(ROWS, order, seed=7), Prompts(ROWS, order, seed=7)
    first = whole.draw(0, 4)
    whole.record_success(first, [1.0, 0.0, 0.5, 1.0])
    resumed.restore(whole.state())
    assert [whole.draw(step, 4) for step in (1, 2)] == [resumed.draw(step, 4) for step in (1, 2)]


def test_the_success_rate_is_the_share_of_right_responses() -> None:
    assert success_rates([True, False, True, True], [True] * 4, 2) == [0.5, 1.0]
    assert success_rates([True, False, True, False], [True, False, False, False], 2) == [1.0, None]


LEVELS = [{"prompt": str(row), "difficulty": (1, 1, 1, 2, 2, 3)[row % 6]} for row in range(60)]
"""Of three levels: many easy ones, fewer of the second, few of the third."""


def shares(prompts: Prompts, step: int, draws: int = 40) -> list[float]:
    """The share of each level among the rows of many steps like this one."""
    levels = Counter(LEVELS[row]["difficulty"] for _ in range(draws) for row in prompts.draw(step, 16))
    return [levels[level] / (16 * draws) for level in (1, 2, 3)]


def test_a_gaussian_curriculum_moves_from_the_easiest_level_to_the_hardest_whatever_their_sizes() -> None:
    """exp(-d^2 / (2 * .5^2)) is 1, exp(-2) and exp(-8) at distance 0, 1 and 2; at the end the easiest keeps a tenth."""
    prompts = Prompts(LEVELS, GaussianCurriculumSpec(sigma=0.5, easiest_share=0.1, steps=4), seed=0)
    assert shares(prompts, 0) == pytest.approx([0.881, 0.119, 0.0], abs=0.04)
    assert shares(prompts, 2) == pytest.approx([0.107, 0.787, 0.107], abs=0.04)
    assert shares(prompts, 9) == pytest.approx([0.1, 0.107, 0.793], abs=0.04)


def test_levels_far_apart_have_shares_all_the_same() -> None:
    assert level_shares([1, 1000], 0.5, 0.1, 0.0).tolist() == [0.5, 0.5]
    assert level_shares([1, 1000], 0.4, 0.1, 0.0).tolist() == [1.0, 0.0]
    assert level_shares([7], 0.4, 0.1, 0.1).tolist() == [1.0]
    assert level_shares([1, 1000], 5.0, 0.1, 0.2).tolist() == pytest.approx([0.2, 0.8])


def test_a_level_with_enough_rows_has_none_of_them_twice_in_a_step() -> None:
    prompts = Prompts(LEVELS, GaussianCurriculumSpec(steps=4), seed=0)
    for step in range(4):
        drawn = Counter(prompts.draw(step, 8))
        assert all(count == 1 for row, count in drawn.items() if LEVELS[row]["difficulty"] != 3)


@pytest.mark.parametrize(
    "order",
    [
        CurriculumSpec(start=0.5, steps=1000, prioritized=PrioritizedSpec(floor=0.01)),
        GaussianCurriculumSpec(easiest_share=0.0, steps=1000, prioritized=PrioritizedSpec(floor=0.01)),
    ],
)
def test_a_curriculum_can_prefer_what_still_goes_wrong(order: CurriculumSpec | GaussianCurriculumSpec) -> None:
    prompts = Prompts(LEVELS, order, seed=0)
    easy = [row for row, columns in enumerate(LEVELS) if columns["difficulty"] == 1]
    prompts.record_success(easy[:10], [1.0] * 10)
    drawn = Counter(row for _ in range(60) for row in prompts.draw(0, 2))
    assert sum(drawn[row] for row in easy[:10]) < 0.1 * sum(drawn[row] for row in easy)
    assert not any(LEVELS[row]["difficulty"] == 3 for row in drawn)  # the curriculum's own choice stays
