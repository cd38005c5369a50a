"""That each algorithm learns: one seed each, three and one task more with `--seeds 3`; thresholds inside the spread."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.domain.datasets import LinearAlgebraData
from worker.protocol import Assignment, Evaluated, Saved, Step
from worker.training import loop
from worker.training.data.rows import load_rows

Assign = Callable[..., Assignment]
FAST = {"learning_rate": 3e-3, "schedule": "constant"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name in {"seed", "weak"} & set(metafunc.fixturenames):
        seeds = range(int(metafunc.config.getoption("seeds")))
        metafunc.parametrize(name, seeds, indirect=name == "weak", scope="module")
        if "task" in metafunc.fixturenames:  # the longer one only where there is time for more seeds
            metafunc.parametrize(("task", "steps"), [("copy", 60), ("reverse", 160)][: len(seeds)])


def _steps(assignment: Assignment) -> list[dict[str, float]]:
    return [event.metrics for event in loop.run(assignment, lambda: None) if isinstance(event, Step)]


def _places(letters: str, count: int) -> list[dict[str, Any]]:
    """Rewards for a good letter in each of the first places; together 1."""
    return [{"type": "regex", "pattern": f"^{'.' * place}[{letters}]", "weight": 1 / count} for place in range(count)]


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


def test_sft_learns_to_copy_and_to_reverse(assign: Assign, tmp_path: Path, task: str, steps: int, seed: int) -> None:
    optimizer = {"learning_rate": 3e-3, "warmup_steps": 10}
    assignment = assign(
        "sft", steps=steps, seed=seed, optimizer=optimizer, algorithm_changes={"batch_size": 64}, **FILES
    )
    events = list(loop.run(_on(task, assignment, tmp_path, seed), lambda: None))
    accuracy = [event.metrics["eval/accuracy"] for event in events if isinstance(event, Evaluated)]
    assert accuracy[0] == 0 and accuracy[-1] >= 0.95


def _sums(path: Path) -> str:
    """All sums of two digits."""
    rows = [
        {"prompt": f"{a}+{b}=", "completion": str(a + b), "answer": str(a + b)} for a in range(10) for b in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def weak(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str]:
    """A seed, a file of sums, and a model that knows under half of them."""
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
    assignment = assign(
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
    assignment.files = {"file-sums": file}
    right = [metrics["policy/accuracy"] for metrics in _steps(assignment)]
    assert sum(right[-5:]) / 5 >= right[0] + 0.2


ONE_BY_ONE = {"source": "linear-algebra", "style": "symbolic", "tools": True, "tasks": ["trace"], "dimension": 1}


@pytest.fixture(scope="module")
def undecided(caller: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A file of problems, and a model that can call a tool, but has seen as often that one guesses (wrongly)."""
    folder = tmp_path_factory.mktemp("undecided")
    made = load_rows(LinearAlgebraData.model_validate(ONE_BY_ONE | {"size": 200}), {}, "dataset")
    solved = [{name: value for name, value in row.items() if name != "tools"} for row in made]  # plain text shows none
    guessed = [{**row, "completion": "<think>?</think><answer>-1</answer>"} for row in solved]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in solved + guessed))
    spec = {
        "algorithm": {"type": "sft", "batch_size": 24},
        "dataset": {"source": "file-rows"},
        "optimizer": {"learning_rate": 1e-3, "schedule": "constant"},
        "steps": 16,
    }
    files = {"file-rows": str(file)}
    assignment = Assignment(
        job_id="ftjob-1", attempt=1, spec=spec, directory=str(folder), models={"tiny": caller}, files=files
    )
    (saved,) = [event for event in loop.run(assignment, lambda: None) if isinstance(event, Saved)]
    return str(file), saved.directory


def test_a_policy_finds_out_that_calling_a_tool_pays(assign: Assign, undecided: tuple[str, str]) -> None:
    file, model = undecided
    assignment = assign(
        "grpo",
        model_path=model,
        dataset={"source": "file-rows"},
        rewards=[{"type": "math"}],
        tools={"functions": ["matrix_trace"], "max_turns": 1},
        steps=8,
        optimizer={"learning_rate": 2e-4, "schedule": "constant"},
        samples_per_step=0,
        algorithm_changes={"prompts_per_step": 8, "num_generations": 8, "max_completion_length": 128, "beta": 0.0},
    )
    assignment.files = {"file-rows": file}
    steps = _steps(assignment)
    calls, rewards = ([metrics[name] for metrics in steps] for name in ("policy/tool_calls", "policy/reward"))
    assert sum(calls[-3:]) / 3 >= calls[0] + 0.1
    assert sum(rewards[-3:]) / 3 >= rewards[0] + 0.15
