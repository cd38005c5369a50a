import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hone.errors import Invalid
from service.domain.specs import EarlyStoppingSpec
from worker.protocol import Assignment, Evaluated, Event, Finished, Saved, Started, Step, Warned
from worker.training import loop
from worker.training.early_stopping import EarlyStopping

Assign = Callable[..., Assignment]
Kind = TypeVar("Kind")
EVAL = {"source": "linear-algebra", "style": "symbolic", "size": 3, "seed": 2}
NEVER_BETTER = {"metric": "eval/loss", "patience": 2, "min_delta": 100.0}


def _stopping(metric: str = "eval/accuracy", **fields: Any) -> EarlyStopping:
    return EarlyStopping(EarlyStoppingSpec(metric=metric, **fields))


def _first_end(stopping: EarlyStopping, values: list[float], metric: str = "eval/accuracy") -> int | None:
    """Which of the evaluations ends the job."""
    return next((step for step, value in enumerate(values) if stopping.observe(step, {metric: value})), None)


def test_it_ends_after_so_many_evaluations_in_a_row_without_a_new_best() -> None:
    assert _first_end(_stopping(patience=2), [0.1, 0.3, 0.2, 0.3]) == 3
    assert _first_end(_stopping(patience=2), [0.1, 0.3, 0.2, 0.4, 0.1, 0.4]) == 5
    assert _first_end(_stopping(patience=1), [0.1, 0.2, 0.3]) is None


def test_a_new_best_must_be_better_by_more_than_min_delta() -> None:
    assert _first_end(_stopping(patience=2, min_delta=0.1), [0.1, 0.15, 0.19]) == 2
    assert _first_end(_stopping(patience=2, min_delta=0.1), [0.1, 0.15, 0.25]) is None


@pytest.mark.parametrize(
    ("metric", "better"), [("eval/accuracy", 1), ("eval/loss", -1), ("eval/perplexity", -1), ("eval/pass@4", 1)]
)
def test_better_is_what_the_table_of_metrics_says(metric: str, better: int) -> None:
    up, down = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]
    assert _first_end(_stopping(metric, patience=1), up, metric) == (None if better > 0 else 1)
    assert _first_end(_stopping(metric, patience=1), down, metric) == (1 if better > 0 else None)


def test_what_is_no_number_is_never_better() -> None:
    assert _first_end(_stopping(patience=2), [0.5, math.nan, math.nan]) == 2
    assert _first_end(_stopping(patience=2), [math.nan, 0.1, 0.2]) is None


def test_it_says_the_metric_its_best_value_and_when_that_was() -> None:
    stopping = _stopping("eval/loss", patience=2)
    reasons = [
        stopping.observe(step, {"eval/loss": value}) for step, value in ((0, 3.0), (5, 1.25), (10, 2.0), (15, 2.0))
    ]
    assert reasons == [
        None,
        None,
        None,
        "ended early after step 15: eval/loss was best, 1.25, at step 5, and no better in the 2 evaluations since",
    ]


def test_its_state_is_all_that_it_remembers() -> None:
    first, second = _stopping(patience=3), _stopping(patience=3)
    assert _first_end(first, [0.5, 0.4, 0.4]) is None
    second.restore(first.state())
    assert second.observe(3, {"eval/accuracy": 0.4}) == first.observe(3, {"eval/accuracy": 0.4}) is not None


def test_a_metric_that_the_evaluation_does_not_give_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match="'eval/acuracy', but the evaluation gives eval/loss, eval/reward") as refusal:
        _stopping("eval/acuracy").observe(0, {"eval/reward": 1.0, "eval/loss": 1.0})
    assert refusal.value.param == "early_stopping.metric"


def _job(assign: Assign, stopping: dict[str, Any], resume_from: str | None = None, **changes: Any) -> Assignment:
    settings = {"every": 1, "max_completion_length": 2}
    fields = {"steps": 6, "eval_dataset": EVAL, "evaluation": settings, "early_stopping": stopping} | changes
    return assign("sft", resume_from, **fields)


def _run(assignment: Assignment) -> list[Event]:
    return list(loop.run(assignment, lambda: None))


def _of(kind: type[Kind], events: list[Event]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def test_a_job_ends_early_with_a_checkpoint_of_its_last_step_and_says_why(assign: Assign) -> None:
    events = _run(_job(assign, NEVER_BETTER))
    assert [step.step for step in _of(Step, events)] == [1, 2]
    assert [saved.step for saved in _of(Saved, events)] == [2]
    assert _of(Saved, events)[0].metrics["eval/loss"] == _of(Evaluated, events)[-1].metrics["eval/loss"]
    (warned,) = [each.note.message for each in _of(Warned, events) if "ended early" in each.note.message]
    best = _of(Evaluated, events)[0].metrics["eval/loss"]
    assert warned.startswith(f"ended early after step 2: eval/loss was best, {best:.4g}, at step 0")
    assert isinstance(events[-1], Finished)


def test_a_job_that_gets_better_does_all_of_its_steps(assign: Assign) -> None:
    events = _run(_job(assign, {"metric": "eval/loss", "patience": 1}, optimizer={"learning_rate": 3e-3}))
    assert len(_of(Step, events)) == 6
    assert not [each for each in _of(Warned, events) if "ended early" in each.note.message]


def test_patience_that_ends_with_the_last_step_is_not_worth_a_word(assign: Assign) -> None:
    events = _run(_job(assign, NEVER_BETTER, steps=2))
    assert len(_of(Step, events)) == 2 and len(_of(Saved, events)) == 1
    assert not [each for each in _of(Warned, events) if "ended early" in each.note.message]


def test_a_resumed_job_remembers_its_patience(assign: Assign) -> None:
    first = _of(Saved, _run(_job(assign, NEVER_BETTER, checkpoint={"every": 1})))
    assert [saved.step for saved in first] == [1, 2]
    events = _run(_job(assign, NEVER_BETTER, resume_from=first[0].directory))
    assert _of(Started, events)[0].resumed_step == 1
    assert [step.step for step in _of(Step, events)] == [2]
    assert isinstance(events[-1], Finished)


def test_a_job_that_had_ended_early_does_no_more_steps_when_it_is_resumed(assign: Assign) -> None:
    (last,) = _of(Saved, _run(_job(assign, NEVER_BETTER)))
    assert Path(last.directory).name == "step-00000002"
    events = _run(_job(assign, NEVER_BETTER, resume_from=last.directory))
    assert not _of(Step, events) and isinstance(events[-1], Finished)


def test_an_unknown_metric_ends_the_job_before_its_first_step(assign: Assign) -> None:
    events: list[Event] = []
    with pytest.raises(Invalid, match=r"early_stopping\.metric is 'eval/acuracy'") as refusal:
        events.extend(loop.run(_job(assign, NEVER_BETTER | {"metric": "eval/acuracy"}), lambda: None))
    assert refusal.value.param == "early_stopping.metric" and not _of(Step, events)
