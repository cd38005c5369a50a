"""Every preset trains: one step of the built-in model, with sizes of a laptop and all else as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from service.domain.presets import PRESETS
from service.domain.specs import JobSpec

if TYPE_CHECKING:
    from worker.protocol import Assignment

Assign = Callable[..., "Assignment"]
SMALL = {
    "prompts_per_step": 2,
    "num_generations": 4,
    "max_completion_length": 8,
    "partial_rollout_length": 4,
    "overlong_buffer": 4,
    "minibatches": 2,
    "critic_minibatches": 2,
    "batch_size": 4,
    "max_length": 64,
}
REWARDS = [{"type": "regex", "pattern": "[0-9a-z]{2}"}]


def small(name: str) -> dict[str, Any]:
    """The preset with its sizes setup small, and with a reward that a model earns which has not learned anything."""
    named = PRESETS[name].fields["algorithm"]
    always = () if named["type"] == "sft" else ("prompts_per_step", "max_completion_length")
    sizes = {field: size for field, size in SMALL.items() if field in named or field in always}
    rewards = {} if named["type"] == "sft" else {"rewards": REWARDS}
    return {"algorithm": {"preset": name} | sizes, "dataset": {"source": "file-1"}, "steps": 1} | rewards


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Questions with their answers, worked out, and how hard they are."""
    path = tmp_path / "rows.jsonl"
    lines = [
        {"prompt": f"{n}+{n}=", "completion": f"<answer>{2 * n}</answer>", "answer": str(2 * n), "difficulty": n}
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_takes_a_step_and_leaves_a_model(name: str, assign: Assign, rows: Path) -> None:
    from worker.protocol import Finished, Saved, Step
    from worker.training.loop import run

    spec = JobSpec.model_validate(small(name)).model_dump(mode="json")  # as the door stores it
    assignment = assign("sft").model_copy(update={"spec": spec, "files": {"file-1": str(rows)}})
    events = list(run(assignment, should_stop=lambda: None))
    [step] = [event for event in events if isinstance(event, Step)]
    assert all(math.isfinite(value) for value in step.metrics.values())
    assert step.metrics["train/grad_norm"] >= 0 and step.metrics["train/tokens"] > 0
    [saved] = [event for event in events if isinstance(event, Saved)]
    assert (Path(saved.directory) / "config.json").is_file()
    assert isinstance(events[-1], Finished)
