"""2N steps equal N steps, a resume, and N steps: every weight, every optimizer's state, every metric."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

from worker.protocol import Assignment, Event, Saved, Started, Step, Warned
from worker.training import loop
from worker.training.updates.optim import Learner

Assign = Callable[..., Assignment]
Kind = TypeVar("Kind")
SOMETIMES = [{"type": "regex", "pattern": "[0-9a-z]{3}"}]
LORA = {"rank": 4, "alpha": 8}
TEXTS = {"source": "linear-algebra", "style": "symbolic", "size": 8, "seed": 5}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("sft", {"packing": False}),
    "sft, packed": ("sft", {"packing": True}),
    "sft, lora": ("sft", {"lora": LORA}),
    "sft, muon and wsd": ("sft", {"optimizer": {"type": "muon", "learning_rate": 1e-3, "schedule": "wsd"}}),
    "reinforce": ("reinforce", {}),
    "importance sampling": ("importance_sampling", {}),
    "mirror descent, partial rollouts": ("mirror_descent", {"algorithm_changes": {"partial_rollout_length": 3}}),
    "grpo, rollouts reused": ("grpo", {"algorithm_changes": {"num_iterations": 2, "minibatches": 2}}),
    "grpo, lora": ("grpo", {"lora": LORA}),
    "grpo, resampled": (
        "grpo",
        {"rewards": SOMETIMES, "algorithm_changes": {"zero_variance": "resample", "max_resamples": 2}},
    ),
    "grpo, prioritized": (
        "grpo",
        {"rewards": SOMETIMES, "algorithm_changes": {"prompt_sampling": {"type": "prioritized"}}},
    ),
    "grpo, adaptive beta, synced reference": (
        "grpo",
        {"algorithm_changes": {"kl_target": 0.1, "kl_horizon": 10, "ref_sync_steps": 1}},
    ),
    "ppo": ("ppo", {"algorithm_changes": {"minibatches": 2}}),
    "ppo, kl in the reward, ptx": (
        "ppo",
        {"algorithm_changes": {"beta": 0.1, "kl_target": 0.1, "ptx": {"dataset": TEXTS, "batch_size": 2}}},
    ),
}


def _of(kind: type[Kind], events: list[Event]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def _run(assignment: Assignment) -> list[Event]:
    return list(loop.run(assignment, lambda: None))


def _weights(path: Path) -> dict[str, str]:
    files = path.rglob("*.safetensors")
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _timeless(steps: list[Step]) -> list[dict[str, float]]:
    return [
        {name: value for name, value in step.metrics.items() if "time/" not in name and "per_second" not in name}
        for step in steps
    ]


def _tensors(tree: Any, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return {name: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return {key: value for label, part in items for key, value in _tensors(part, f"{name}/{label}").items()}


def _check_same_end(ours: str, theirs: str) -> None:
    assert _weights(Path(ours)) == _weights(Path(theirs))
    first, second = (_tensors(torch.load(Path(folder) / "trainer.pt")) for folder in (ours, theirs))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("run", RUNS)
def test_resuming_ends_in_the_same_bits_as_never_stopping(assign: Assign, run: str) -> None:
    algorithm, changes = RUNS[run]
    whole = _run(assign(algorithm, checkpoint={"every": 2}, **changes))
    middle, end = _of(Saved, whole)
    rest = _run(assign(algorithm, resume_from=middle.directory, checkpoint={"every": 2}, **changes))
    saved_again, end_again = _of(Saved, rest)
    assert (saved_again.step, saved_again.directory, saved_again.metrics) == (2, middle.directory, middle.metrics)
    assert _of(Started, rest)[0].resumed_step == 2
    _check_same_end(end.directory, end_again.directory)
    assert _timeless(_of(Step, rest)) == _timeless(_of(Step, whole))[2:]


@pytest.mark.parametrize(("algorithm", "update"), [("grpo", 11), ("ppo", 19)])
def test_a_death_between_the_updates_of_a_step_changes_nothing(
    assign: Assign, algorithm: str, update: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four updates a step, and four more of a critic: both die in the third step."""
    reuse = {"checkpoint": {"every": 2}, "algorithm_changes": {"num_iterations": 2, "minibatches": 2}}
    whole = _run(assign(algorithm, **reuse))
    _die_in_update(monkeypatch, update)
    died: list[Event] = []
    with pytest.raises(SystemError):
        died.extend(loop.run(assign(algorithm, **reuse), lambda: None))
    monkeypatch.undo()
    (saved,) = _of(Saved, died)
    rest = _run(assign(algorithm, resume_from=saved.directory, **reuse))
    _check_same_end(_of(Saved, whole)[-1].directory, _of(Saved, rest)[-1].directory)
    assert _timeless(_of(Step, rest)) == _timeless(_of(Step, whole))[2:]


def _die_in_update(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Raise in the middle of a run, as a killed process would stop."""
    moved, move = [], Learner.move

    def dying(self: Learner, step: int, norm: torch.Tensor) -> None:
        moved.append(step)
        if len(moved) == number:
            raise SystemError("killed")
        move(self, step, norm)

    monkeypatch.setattr(Learner, "move", dying)


def test_a_smaller_micro_batch_after_out_of_memory_is_remembered(assign: Assign) -> None:
    def refuse(_: object, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        if torch.is_grad_enabled() and kwargs["input_ids"].numel() > 64:
            raise torch.OutOfMemoryError("tried to allocate more than there is")

    from transformers import LlamaModel

    forward = LlamaModel.forward

    def narrow(self: LlamaModel, *args: Any, **kwargs: Any) -> Any:
        refuse(self, args, kwargs)
        return forward(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LlamaModel, "forward", narrow)
        whole = _run(assign("sft", checkpoint={"every": 2}))
    middle, end = _of(Saved, whole)
    assert any("memory ran out" in event.note.message for event in _of(Warned, whole))
    rest = _run(assign("sft", resume_from=middle.directory, checkpoint={"every": 2}))
    _check_same_end(end.directory, _of(Saved, rest)[-1].directory)
