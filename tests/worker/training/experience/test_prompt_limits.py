"""Prompts that are too long to be answered end a job with their rows' numbers, or are left out and counted."""

from collections.abc import Callable
from typing import Any

import pytest

from hone.errors import Invalid
from service.domain.specs import JobSpec
from worker.training.experience.collect import RolloutWorker
from worker.training.experience.evaluate import Evaluation
from worker.training.experience.rollouts import RolloutSampler
from worker.training.setup.job import Setup
from worker.training.spec_notes import collect

Make = Callable[..., Setup]
LENGTHS = (5, 90, 5, 1100, 6, 70)
ROWS = [{"prompt": "a" * length, "answer": "a", "difficulty": -length} for length in LENGTHS]


def _setup(make: Make, rows: list[dict[str, Any]] = ROWS, **algorithm: Any) -> Setup:
    setup = make("grpo", algorithm_changes=algorithm, eval_dataset={"source": "linear-algebra", "size": 2})
    setup.rows = [dict(row) for row in rows]
    return setup


def _sampler(setup: Setup) -> RolloutSampler:
    return RolloutWorker(setup, setup.spec.algorithm)._sampler  # type: ignore[arg-type]


def test_prompts_beyond_the_context_are_refused_with_their_rows(make_setup: Make) -> None:
    with pytest.raises(Invalid) as refusal:
        _sampler(_setup(make_setup))
    assert refusal.value.param == "dataset"
    assert refusal.value.message == (
        "1 of 6 rows of dataset have prompts of up to 1,100 tokens, more than the 1,015 that the model's context "
        "leaves: row 4; shorten them, lower algorithm.max_completion_length (8), or set algorithm.overlong_prompts to "
        "drop"
    )


def test_the_limit_of_a_spec_is_named_with_all_rows_beyond_it(make_setup: Make) -> None:
    with pytest.raises(Invalid) as refusal:
        _sampler(_setup(make_setup, max_prompt_length=69))
    assert "more than algorithm.max_prompt_length (69): rows 2, 4 and 6;" in refusal.value.message
    assert "raise algorithm.max_prompt_length, or set algorithm.overlong_prompts to drop" in refusal.value.message


@pytest.mark.parametrize(("limit", "kept"), [(None, [0, 1, 2, 4, 5]), (70, [0, 2, 4, 5]), (69, [0, 2, 4]), (5, [0, 2])])
def test_dropped_prompts_are_never_asked_and_the_others_keep_their_rows(
    make_setup: Make, limit: int | None, kept: list[int]
) -> None:
    setup = _setup(make_setup, max_prompt_length=limit, overlong_prompts="drop")
    sampler = _sampler(setup)
    assert [len(prompt) for prompt in sampler.encoded] == [LENGTHS[index] for index in kept]
    assert setup.rows == [ROWS[index] for index in kept]
    assert {row for step in range(20) for row in sampler.prompts.draw(step, 2)} == set(range(len(kept)))
    (note,) = setup.notes
    assert note.message.startswith(
        f"{6 - len(kept)} of 6 rows of dataset are left out: their prompts have up to 1,100 tokens"
    )


def test_a_curriculum_sorts_what_is_left(make_setup: Make) -> None:
    curriculum = {"type": "curriculum", "start": 0.2, "steps": 1000}
    setup = _setup(make_setup, overlong_prompts="drop", prompt_sampling=curriculum)
    assert [setup.rows[row] for row in _sampler(setup).prompts.draw(0, 1)] == [ROWS[1]]


def test_a_job_of_which_no_prompt_is_left_is_refused(make_setup: Make) -> None:
    with pytest.raises(Invalid, match="6 of 6 rows of dataset have prompts"):
        _sampler(_setup(make_setup, max_prompt_length=4, overlong_prompts="drop"))


def test_held_out_prompts_have_the_same_limit_and_the_same_choice(make_setup: Make) -> None:
    held_out = [{"prompt": "b" * length, "answer": "a"} for length in (3, 200)]
    refused = _setup(make_setup, ROWS[:1], max_prompt_length=100)
    with pytest.raises(Invalid, match=r"more than algorithm\.max_prompt_length \(100\): row 2") as refusal:
        Evaluation(refused, held_out)
    assert refusal.value.param == "eval_dataset"
    setup = _setup(make_setup, ROWS[:1], max_prompt_length=100, overlong_prompts="drop")
    assert len(Evaluation(setup, held_out)._prompts) == 1
    assert "1 of 2 rows of eval_dataset are left out" in setup.notes[0].message


def test_algorithms_that_only_evaluate_say_what_limits_a_held_out_prompt(make_setup: Make) -> None:
    setup = make_setup("sft", eval_dataset={"source": "linear-algebra", "size": 2})
    with pytest.raises(Invalid, match=r"shorten them, or lower evaluation\.max_completion_length \(512\)") as refusal:
        Evaluation(setup, [{"prompt": "b" * 600, "answer": "a"}])
    assert "overlong_prompts" not in refusal.value.message


def test_a_limit_beyond_the_context_is_told_of(make_setup: Make) -> None:
    setup = _setup(make_setup, max_prompt_length=5000)
    spec: JobSpec = setup.spec
    notes = [note.message for note in collect(spec, setup.policy, ROWS, ROWS)]
    assert any("max_prompt_length is 5,000, but the model's context leaves 1,015 tokens" in note for note in notes)
