from collections import Counter

import pytest

from service.domain.algorithms import CurriculumSpec, PrioritizedSpec
from service.domain.errors import Invalid
from worker.training.prompts import Prompts, success_rates

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
    prompts.learned([0, 1, 2, 3, 4], [1.0] * 5)
    drawn = Counter(row for step in range(400) for row in prompts.draw(step, 1))
    solved = sum(drawn[row] for row in range(5))
    assert 0 < solved < 0.1 * 400  # 5 x 0.05 of 5.25


def test_a_success_rate_remembers() -> None:
    prompts = Prompts(ROWS, PrioritizedSpec(decay=0.5), seed=0)
    prompts.learned([3], [0.8])
    prompts.learned([3], [0.0])
    assert prompts.state()["success"][3] == pytest.approx(0.4)


@pytest.mark.parametrize("how", [None, CurriculumSpec(steps=3), PrioritizedSpec()])
def test_what_comes_next_depends_on_the_state_alone(how: CurriculumSpec | PrioritizedSpec | None) -> None:
    whole, resumed = Prompts(ROWS, how, seed=7), Prompts(ROWS, how, seed=7)
    first = whole.draw(0, 4)
    whole.learned(first, [1.0, 0.0, 0.5, 1.0])
    resumed.restore(whole.state())
    assert [whole.draw(step, 4) for step in (1, 2)] == [resumed.draw(step, 4) for step in (1, 2)]


def test_the_success_rate_is_the_share_of_right_responses() -> None:
    assert success_rates([True, False, True, True], 2) == [0.5, 1.0]
