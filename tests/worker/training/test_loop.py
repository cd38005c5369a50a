from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from hone.errors import Invalid
from worker.protocol import Assignment, Evaluated, Event, Failed, Finished, Sampled, Saved, Step, Stop, Stopped
from worker.training import loop
from worker.training.models.policy import Policy

Assign = Callable[..., Assignment]
Kind = TypeVar("Kind")
EVAL = {"source": "linear-algebra", "style": "symbolic", "size": 3, "seed": 2}


def _run(assignment: Assignment, should_stop: loop.ShouldStop = lambda: None) -> list[Event]:
    return list(loop.run(assignment, should_stop))


def _of(kind: type[Kind], events: list[Event]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def test_sft_learns(assign: Assign) -> None:
    steps = _of(Step, _run(assign("sft", steps=12, optimizer={"learning_rate": 3e-3})))
    assert [step.step for step in steps] == list(range(1, 13))
    assert steps[-1].metrics["train/loss"] < 0.7 * steps[0].metrics["train/loss"]


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_rewards_make_a_response_more_likely(assign: Assign, algorithm: str) -> None:
    steps = _run(
        assign(
            algorithm,
            steps=10,
            optimizer={"learning_rate": 3e-3},
            rewards=[{"type": "regex", "pattern": "[a-m]$"}],
            algorithm_changes={"prompts_per_step": 4, "num_generations": 8, "max_completion_length": 3},
        )
    )
    rewards = [step.metrics["policy/reward"] for step in _of(Step, steps)]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:2]) / 2 + 0.2


def test_evaluation_comes_before_the_first_step_every_so_often_and_after_the_last(assign: Assign) -> None:
    settings = {"every": 2, "max_completion_length": 4}
    events = _run(assign("sft", steps=3, eval_dataset=EVAL, evaluation=settings, samples_per_step=2))
    evaluated = _of(Evaluated, events)
    assert [event.step for event in evaluated] == [0, 2, 3]
    names = {
        "accuracy",
        "reward",
        "rewards/math",
        "rewards/errors",
        "truncated",
        "completion_length",
        "loss",
        "perplexity",
    }
    assert all(set(event.metrics) == {f"eval/{name}" for name in names} for event in evaluated)
    (saved,) = _of(Saved, events)
    assert saved.metrics["eval/loss"] == evaluated[-1].metrics["eval/loss"]
    assert [len(sampled.samples) for sampled in _of(Sampled, events)] == [2, 2, 2]
    assert isinstance(events[-1], Finished)


def test_training_responses_are_shown_as_they_were_scored(assign: Assign) -> None:
    shown = _of(Sampled, _run(assign("grpo", steps=1, samples_per_step=3)))[0].samples
    assert len(shown) == 3
    assert all(sample.answer and sample.split == "train" and sample.tokens <= 8 for sample in shown)
    assert all(sample.reward == sample.rewards["regex"] for sample in shown)


def test_every_metric_has_an_entry_in_the_table(assign: Assign) -> None:
    from service.domain.metrics import describe

    for algorithm in ("sft", "reinforce", "importance_sampling", "mirror_descent", "grpo", "ppo"):
        events = _run(assign(algorithm, steps=1, eval_dataset=EVAL, evaluation={"max_completion_length": 4}))
        names = {name for event in events if isinstance(event, Step | Evaluated) for name in event.metrics}
        assert {name for name in names if describe(name) is None} == set()


def test_a_cancel_stops_after_the_step_and_writes_no_checkpoint(assign: Assign) -> None:
    asked = []

    def should_stop() -> Stop | None:
        asked.append(True)
        return "cancel" if len(asked) == 3 else None  # before the first step, after it, after the second

    events = _run(assign("sft", checkpoint={"every": 2}), should_stop)
    assert len(_of(Step, events)) == 2
    assert isinstance(events[-1], Stopped) and events[-1].step == 2
    assert not _of(Saved, events)


def test_a_pause_saves_after_the_step_and_the_rest_ends_in_the_same_weights(assign: Assign) -> None:
    asked: list[Stop | None] = [None, None, "pause"]
    whole = _run(assign("sft", steps=4))
    paused = _run(assign("sft", steps=4), lambda: asked.pop(0))
    (saved,) = _of(Saved, paused)
    assert saved.step == 2 and isinstance(paused[-1], Stopped)
    rest = _run(assign("sft", steps=4, resume_from=saved.directory))
    assert _weights(_of(Saved, whole)[-1]) == _weights(_of(Saved, rest)[-1])


def _weights(saved: Saved) -> bytes:
    return (Path(saved.directory) / "model.safetensors").read_bytes()


def test_nan_stops_at_once_and_names_the_metric(assign: Assign, policy: Policy, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with torch.no_grad():
        policy.model.get_parameter("model.norm.weight").fill_(3e38)  # finite: NaN is refused when it is loaded
    policy.model.save_pretrained(broken)
    policy.tokenizer.save_pretrained(broken)
    events = _run(assign("sft", model_path=str(broken), checkpoint={"every": 1}))
    failed = events[-1]
    assert isinstance(failed, Failed) and failed.category == "nan"
    assert failed.message == "train/loss became nan in step 1, first in model.norm"
    assert not _of(Saved, events)


def test_a_dataset_without_answers_cannot_be_learned_from_by_reward(assign: Assign, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    assignment = assign("grpo", dataset={"source": "file-1"}, rewards=[{"type": "exact"}])
    assignment.files = {"file-1": str(tmp_path / "rows.jsonl")}
    with pytest.raises(Invalid, match=r"row 1 cannot be judged\. Row 1: exact: the row has no 'answer'"):
        _run(assignment)
