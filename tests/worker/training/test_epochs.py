"""Jobs that are as long as passes over their rows: the steps are counted when the rows are known."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.domain.specs import JobSpec
from service.domain.stored import SPEC_VERSION, StoredSpec
from worker.protocol import Event, Saved, Started, Step, Warned
from worker.training import train
from worker.training.data.rows import batch_rows

ROWS = [{"prompt": f"{n}+1=", "completion": str(n + 1), "answer": str(n + 1)} for n in range(10)]
PAIRS = [{"prompt": f"{n}=", "chosen": "a", "rejected": "b"} for n in range(10)]
RL = {"prompts_per_step": 4, "num_generations": 2, "max_completion_length": 3}
LETTERS = [{"type": "regex", "pattern": "[a-z]"}]


def _spec(folder: Path, rows: list[dict[str, Any]] = ROWS, **fields: Any) -> dict[str, Any]:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"algorithm": {"type": "sft", "batch_size": 4}, "dataset": {"source": str(file)}, "epochs": 1} | fields


def _started(events: list[Event]) -> Started:
    return next(event for event in events if isinstance(event, Started))


def _first(spec: dict[str, Any], folder: Path) -> Started:
    events = train(spec, folder)
    started = next(event for event in events if isinstance(event, Started))
    events.close()
    return started


@pytest.mark.parametrize(
    ("epochs", "batch", "steps"), [(1, 4, 3), (2, 4, 5), (3, 4, 8), (0.5, 4, 2), (1, 10, 1), (0.1, 32, 1), (1.1, 1, 11)]
)
def test_epochs_are_as_many_steps_as_their_batches(tmp_path: Path, epochs: float, batch: int, steps: int) -> None:
    started = _first(_spec(tmp_path, algorithm={"type": "sft", "batch_size": batch}, epochs=epochs), tmp_path / "run")
    assert (started.total_steps, started.steps_per_epoch) == (steps, 10 / batch)


def test_the_last_batch_takes_rows_of_the_next_epoch() -> None:
    seen = Counter(row for step in range(3) for row in batch_rows(10, 0, step, 4))
    assert sorted(seen.values()) == [1] * 8 + [2] * 2


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"algorithm": {"type": "reward_model", "batch_size": 4}}, PAIRS),
        ({"algorithm": {"type": "grpo", **RL}, "rewards": LETTERS}, ROWS),
        ({"algorithm": {"type": "ppo", **RL}, "rewards": LETTERS}, ROWS),
    ],
)
def test_every_kind_of_algorithm_counts_its_own_rows(
    tmp_path: Path, fields: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    assert _first(_spec(tmp_path, rows, epochs=2, **fields), tmp_path / "run").total_steps == 5


def test_rows_that_are_dropped_do_not_count(tmp_path: Path) -> None:
    rows = [*ROWS, {"prompt": "a" * 200, "completion": "b", "answer": "b"}]
    own = {"type": "sft", "batch_size": 5, "max_length": 100, "truncation": "drop"}
    assert _first(_spec(tmp_path, rows, algorithm=own), tmp_path / "sft").total_steps == 2
    policy = {"type": "grpo", **RL, "prompts_per_step": 5, "max_prompt_length": 100, "overlong_prompts": "drop"}
    assert _first(_spec(tmp_path, rows, algorithm=policy, rewards=LETTERS), tmp_path / "grpo").total_steps == 2


def _rates(events: list[Event]) -> list[float]:
    return [event.metrics["train/learning_rate"] for event in events if isinstance(event, Step)]


def _weights(events: list[Event]) -> str:
    saved = [event for event in events if isinstance(event, Saved)][-1]
    return hashlib.sha256((Path(saved.directory) / "model.safetensors").read_bytes()).hexdigest()


def test_epochs_are_the_same_job_as_their_steps_and_go_on_to_the_same_bits(tmp_path: Path) -> None:
    """Schedule, weights, and the number of the last step; also where the training was left."""
    optimizer = {"learning_rate": 1e-3, "warmup_steps": 1}
    spec = _spec(tmp_path, epochs=2, optimizer=optimizer, checkpoint={"every": 2})
    whole = list(train(spec, tmp_path / "epochs"))
    steps = list(train(spec | {"epochs": None, "steps": 5}, tmp_path / "steps"))
    assert _rates(whole) == _rates(steps)
    for event in (left := train(spec, tmp_path / "left")):
        if isinstance(event, Step) and event.step == 3:
            left.close()
    rest = list(train(spec, tmp_path / "left"))
    assert _started(rest).resumed_step == 2
    assert _weights(rest) == _weights(whole) == _weights(steps)


def test_fields_that_begin_after_the_last_step_are_told_of(tmp_path: Path) -> None:
    spec = _spec(tmp_path, epochs=1, optimizer={"warmup_steps": 3}, checkpoint={"every": 50})
    told = " ".join(event.note.message for event in train(spec, tmp_path / "run") if isinstance(event, Warned))
    assert "optimizer.warmup_steps is 3 of 3 steps" in told
    assert "checkpoint.every is 50 of 3 steps" in told


SFT: dict[str, Any] = {"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}}


@pytest.mark.parametrize(
    ("given", "steps", "epochs"), [({}, 100, None), ({"steps": None}, 100, None), ({"epochs": 2}, None, 2)]
)
def test_a_job_has_steps_or_epochs(given: dict[str, Any], steps: int | None, epochs: float | None) -> None:
    spec = JobSpec.model_validate(SFT | given)
    assert (spec.steps, spec.epochs) == (steps, epochs)
    stored = spec.model_dump(mode="json")
    assert JobSpec.model_validate(stored) == StoredSpec(stored, SPEC_VERSION).exact() == spec


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 100, "epochs": 2}, "both say when the job ends; leave one of them out"),
        ({"epochs": 0}, "greater than 0"),
        (
            {
                "epochs": 2,
                "algorithm": {"type": "grpo", "prompt_sampling": {"type": "curriculum"}},
                "rewards": LETTERS,
            },
            "prompt_sampling curriculum draws some more often; give steps",
        ),
    ],
)
def test_epochs_that_say_nothing_or_too_much_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refusal:
        JobSpec.model_validate(SFT | given)
    assert refusal.value.errors()[0]["loc"][-1] == "epochs"
