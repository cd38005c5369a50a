"""Small things to train with. Imports stay inside the fixtures: the reward tests do without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from worker.protocol import Assignment
    from worker.training.models.policy import Policy
    from worker.training.setup.job import Setup

DATA = {"source": "linear-algebra", "style": "symbolic", "size": 24}
RL = {"prompts_per_step": 2, "num_generations": 4, "max_completion_length": 8}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "sft": {"type": "sft", "batch_size": 6},
    "reward_model": {"type": "reward_model", "batch_size": 6},
    "reinforce": {"type": "reinforce", "advantage_norm": "leave_one_out", **RL},
    "importance_sampling": {"type": "importance_sampling", **RL},
    "mirror_descent": {"type": "mirror_descent", **RL},
    "grpo": {"type": "grpo", **RL},
    "ppo": {"type": "ppo", **RL, "critic_learning_rate": 1e-3},
}


def document(algorithm: str, **changes: Any) -> dict[str, Any]:
    """A small spec; changes to the algorithm itself go into `algorithm_changes`."""
    own = ALGORITHMS[algorithm] | changes.pop("algorithm_changes", {})
    rewards = [] if algorithm in ("sft", "reward_model") else [{"type": "regex", "pattern": "[0-9a-z]{2}"}]
    base = {"dataset": DATA, "rewards": rewards, "optimizer": {"learning_rate": 1e-3}, "steps": 4}
    return base | {"algorithm": own} | changes


@pytest.fixture
def policy() -> Policy:
    import torch

    from worker.training.models.policy import load_policy

    return load_policy("tiny", 0, torch.device("cpu"), "fp32")


@pytest.fixture
def make_setup() -> Iterator[Callable[..., Setup]]:
    """Makes what an algorithm is given, from a small spec."""
    import torch

    from service.domain.datasets import RejectionSamplingData
    from service.domain.specs import JobSpec
    from worker.protocol import Assignment
    from worker.training.data.rows import load_rows
    from worker.training.experience import evaluate
    from worker.training.rewards.pool import RewardPool
    from worker.training.setup import loading
    from worker.training.setup.job import Setup
    from worker.training.tools.toolbox import Toolbox

    pools: list[RewardPool] = []
    boxes: list[Toolbox] = []

    def make(algorithm: str, model_path: str = "tiny", **changes: Any) -> Setup:
        spec = JobSpec.model_validate(document(algorithm, **changes))
        assignment = Assignment(
            job_id="ftjob-1", attempt=1, spec=spec.model_dump(), directory=".", models={"tiny": model_path}
        )
        policy = loading.trained_policy(assignment, spec, torch.device("cpu"))
        pools.append(RewardPool(evaluate.rewards(spec)))
        boxes.append(Toolbox(spec.tools))
        assert not isinstance(spec.dataset, RejectionSamplingData)
        rows = load_rows(spec.dataset, {}, "dataset")
        return Setup(spec, policy, assignment.models, rows, pools[-1], tools=boxes[-1])

    yield make
    for pool in pools:
        pool.close()
    for box in boxes:
        box.close()


@pytest.fixture
def assign(tmp_path: Path) -> Callable[..., Assignment]:
    """Makes an assignment with a small spec and a folder of its own."""
    from worker.protocol import Assignment

    def make(algorithm: str, resume_from: str | None = None, model_path: str = "tiny", **changes: Any) -> Assignment:
        folder = tmp_path / f"attempt-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return Assignment(
            job_id="ftjob-1",
            attempt=1,
            spec=document(algorithm, **changes),
            directory=str(folder),
            models={"tiny": model_path},
            resume_from=resume_from,
        )

    return make


CALLING = {"source": "linear-algebra", "style": "symbolic", "tools": True, "tasks": ["trace"], "dimension": 1}


@pytest.fixture(scope="session")
def caller(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that calls a tool in most of its responses, from a short SFT on traces of it."""

    from worker.protocol import Assignment, Saved
    from worker.training import loop

    folder = tmp_path_factory.mktemp("caller")
    spec = {
        "algorithm": {"type": "sft", "batch_size": 16},
        "dataset": CALLING,
        "optimizer": {"learning_rate": 3e-3, "warmup_steps": 5, "schedule": "constant"},
        "steps": 60,
    }
    assignment = Assignment(job_id="ftjob-1", attempt=1, spec=spec, directory=str(folder), models={"tiny": "tiny"})
    (saved,) = [event for event in loop.run(assignment, lambda: None) if isinstance(event, Saved)]
    return saved.directory
