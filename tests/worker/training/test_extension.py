"""A job that has ended goes on with the moments of its optimizer: the trainer's side of `hone extend`."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from worker.protocol import Assignment, Event, Finished, Saved, Started, Step, Warned
from worker.training import loop

Assign = Callable[..., Assignment]
CONSTANT = {"learning_rate": 1e-3, "schedule": "constant", "warmup_steps": 2}


def _run(assignment: Assignment) -> list[Event]:
    events: Iterator[Event] = loop.run(assignment, lambda: None)
    return list(events)


def _last(events: list[Event]) -> str:
    return [event for event in events if isinstance(event, Saved)][-1].directory


def _weights(events: list[Event]) -> str:
    return hashlib.sha256((Path(_last(events)) / "model.safetensors").read_bytes()).hexdigest()


def _rates(events: list[Event]) -> list[float]:
    return [event.metrics["train/learning_rate"] for event in events if isinstance(event, Step)]


def _told(events: list[Event]) -> str:
    return "\n".join(event.note.message for event in events if isinstance(event, Warned))


@pytest.mark.parametrize("algorithm", ["sft", "grpo"])
def test_an_extended_job_is_the_longer_job_bit_for_bit(assign: Assign, algorithm: str) -> None:
    """No warm-up again, the same moments, the rows in their order."""
    whole = _run(assign(algorithm, steps=6, optimizer=CONSTANT))
    short = _run(assign(algorithm, steps=4, optimizer=CONSTANT))
    rest = _run(assign(algorithm, resume_from=_last(short), steps=6, optimizer=CONSTANT))
    assert [event.step for event in rest if isinstance(event, Step)] == [5, 6]
    assert _rates(short) + _rates(rest) == _rates(whole)
    assert _weights(rest) == _weights(whole)
    assert "optimizer.schedule" not in _told(rest)


def test_further_epochs_make_the_job_of_all_of_them(assign: Assign) -> None:
    whole = _run(assign("sft", steps=None, epochs=2, optimizer=CONSTANT))
    short = _run(assign("sft", steps=None, epochs=1, optimizer=CONSTANT))
    rest = _run(assign("sft", resume_from=_last(short), steps=None, epochs=2, optimizer=CONSTANT))
    (started,) = (event for event in rest if isinstance(event, Started))
    assert (started.resumed_step, started.total_steps) == (4, 8)
    assert _weights(rest) == _weights(whole)


def test_a_schedule_that_had_fallen_goes_on_as_in_the_longer_job_and_says_so(assign: Assign) -> None:
    falling = {"learning_rate": 1e-3, "schedule": "linear"}
    short = _run(assign("sft", steps=4, optimizer=falling))
    rest = _run(assign("sft", resume_from=_last(short), steps=8, optimizer=falling))
    whole = _run(assign("sft", steps=8, optimizer=falling))
    assert _rates(rest) == _rates(whole)[4:]
    assert "the learning rate was 0.00025 in step 4 of 4, and is now 0.0005" in _told(rest)
    again = _run(assign("sft", resume_from=_last(rest), steps=8, optimizer=falling))
    assert "optimizer.schedule" not in _told(again), "another attempt of the extended job extends nothing"


def test_a_job_that_had_ended_early_goes_on_and_counts_its_patience_anew(assign: Assign) -> None:
    evaluated: dict[str, Any] = {
        "eval_dataset": {"source": "linear-algebra", "style": "symbolic", "size": 2, "seed": 9},
        "evaluation": {"every": 1, "max_completion_length": 2},
        "early_stopping": {"metric": "eval/truncated", "patience": 2},
    }
    short = _run(assign("sft", steps=6, **evaluated))
    assert [event.step for event in short if isinstance(event, Step)] == [1, 2]
    again = _run(assign("sft", resume_from=_last(short), steps=6, **evaluated))
    assert not [event for event in again if isinstance(event, Step)], "the same job has nothing left to do"
    rest = _run(assign("sft", resume_from=_last(short), steps=9, **evaluated))
    assert [event.step for event in rest if isinstance(event, Step)] == [3, 4, 5]
    assert isinstance(rest[-1], Finished)
