"""That each algorithm learns: three seeds each, thresholds well inside the spread that was seen."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from worker.training import loop
from worker.training.events import Assignment, Evaluated, Saved, Step

Assign = Callable[..., Assignment]
SEEDS = [0, 1, 2]
FAST = {"learning_rate": 3e-3, "schedule": "constant"}


def _steps(assignment: Assignment) -> list[dict[str, float]]:
    return [event.metrics for event in loop.run(assignment, lambda: None) if isinstance(event, Step)]


def _places(letters: str, count: int) -> list[dict[str, Any]]:
    """Rewards for a good letter in each of the first places; together 1."""
    return [{"type": "regex", "pattern": f"^{'.' * place}[{letters}]", "weight": 1 / count} for place in range(count)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("algorithm", ["reinforce", "grpo", "mirror_descent", "ppo"])
def test_from_random_weights_a_policy_finds_the_tokens_that_pay(assign: Assign, algorithm: str, seed: int) -> None:
    own = {"prompts_per_step": 16, "num_generations": 8, "max_completion_length": 4}
    more = {"grpo": {"beta": 0.0}, "ppo": {"critic_learning_rate": 3e-3}, "mirror_descent": {"tau": 1.0}}
    steps = _steps(
        assign(
            algorithm,
            steps=20,
            seed=seed,
            optimizer=FAST,
            rewards=_places("a-m", 4),
            samples_per_step=0,
            algorithm_changes=own | more.get(algorithm, {}),
        )
    )
    assert steps[0]["policy/reward"] < 0.3
    assert steps[-1]["policy/reward"] >= 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_a_critic_explains_most_of_the_variance_of_what_can_be_foreseen(assign: Assign, seed: int) -> None:
    """The reward is decided by the first of eight tokens, so that 7/8 of the variance is open to a critic."""
    own = {"prompts_per_step": 16, "num_generations": 8, "max_completion_length": 8, "num_iterations": 4}
    steps = _steps(
        assign(
            "ppo",
            steps=25,
            seed=seed,
            optimizer=FAST,
            rewards=_places("a-z", 1),
            samples_per_step=0,
            algorithm_changes=own | {"critic_learning_rate": 3e-3, "critic_warmup_steps": 25},
        )
    )
    assert steps[-1]["critic/explained_variance"] > 0.5


TASKS: dict[str, Callable[[str], str]] = {"copy": str, "reverse": lambda digits: digits[::-1]}


def _write(path: Path, task: str, rows: int, seed: int) -> str:
    """Rows of five digits and what becomes of them."""
    source = random.Random(seed)
    with path.open("w") as file:
        for _ in range(rows):
            digits = "".join(source.choice("0123456789") for _ in range(5))
            answer = TASKS[task](digits)
            file.write(json.dumps({"prompt": f"{task} {digits}>", "completion": answer, "answer": answer}) + "\n")
    return str(path)


def _on(task: str, assignment: Assignment, folder: Path, seed: int) -> Assignment:
    assignment.files = {
        "file-train": _write(folder / "train.jsonl", task, 4000, seed),
        "file-eval": _write(folder / "eval.jsonl", task, 100, seed + 100),
    }
    return assignment


FILES = {
    "dataset": {"source": "file-train"},
    "eval_dataset": {"source": "file-eval"},
    "evaluation": {"max_completion_length": 8},
    "rewards": [{"type": "exact", "extract": "whole"}],
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("task", "steps"), [("copy", 60), ("reverse", 160)])
def test_sft_learns_to_copy_and_to_reverse(assign: Assign, tmp_path: Path, task: str, steps: int, seed: int) -> None:
    optimizer = {"learning_rate": 3e-3, "warmup_steps": 10}
    made = assign("sft", steps=steps, seed=seed, optimizer=optimizer, algorithm_changes={"batch_size": 64}, **FILES)
    events = list(loop.run(_on(task, made, tmp_path, seed), lambda: None))
    accuracy = [event.metrics["eval/accuracy"] for event in events if isinstance(event, Evaluated)]
    assert accuracy[0] == 0 and accuracy[-1] >= 0.95


def _sums(path: Path) -> str:
    """All sums of two digits."""
    rows = [
        {"prompt": f"{a}+{b}=", "completion": str(a + b), "answer": str(a + b)} for a in range(10) for b in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module", params=SEEDS)
def weak(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str]:
    """A seed, a file of sums, and a model that knows under half of them."""
    torch.set_num_threads(1)
    folder, seed = tmp_path_factory.mktemp("weak"), int(request.param)
    file = _sums(folder / "sums.jsonl")
    spec = {
        "algorithm": {"type": "sft", "batch_size": 64},
        "dataset": {"source": "file-sums"},
        "optimizer": {"learning_rate": 3e-3, "warmup_steps": 5, "schedule": "constant"},
        "steps": 40,
        "seed": seed,
    }
    assignment = Assignment(
        job_id="ftjob-1",
        attempt=1,
        spec=spec,
        directory=str(folder),
        models={"tiny": "tiny"},
        files={"file-sums": file},
    )
    (saved,) = [event for event in loop.run(assignment, lambda: None) if isinstance(event, Saved)]
    return seed, file, saved.directory


@pytest.mark.parametrize(("algorithm", "steps"), [("grpo", 60), ("ppo", 35)])
def test_rewards_go_on_where_a_weak_sft_stopped(
    assign: Assign, weak: tuple[int, str, str], algorithm: str, steps: int
) -> None:
    seed, file, model = weak
    own = {"prompts_per_step": 32, "num_generations": 8, "max_completion_length": 4}
    more: dict[str, dict[str, Any]] = {"grpo": {"beta": 0.0}, "ppo": {"critic_learning_rate": 3e-3}}
    made = assign(
        algorithm,
        model_path=model,
        dataset={"source": "file-sums"},
        rewards=[{"type": "exact", "extract": "whole"}],
        steps=steps,
        seed=seed,
        optimizer={"learning_rate": 5e-4, "schedule": "constant", "warmup_steps": 5},
        samples_per_step=0,
        algorithm_changes=own | more[algorithm],
    )
    made.files = {"file-sums": file}
    right = [metrics["policy/accuracy"] for metrics in _steps(made)]
    assert sum(right[-5:]) / 5 >= right[0] + 0.2
