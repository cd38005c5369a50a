"""Every model that a job reads is checked, refused by the field that names it, and reported once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hone.errors import Invalid
from service.storage import manifest
from worker.protocol import Assignment, Loaded, Saved, decode, encode
from worker.training import loop
from worker.training.models import tiny

Assign = Callable[..., Assignment]
UP = "model.layers.1.mlp.up_proj.weight"
LORA = {"rank": 2}


def _export(folder: Path, *, whole: bool = True, head: Tensor | None = None) -> str:
    model, tokenizer = tiny.build(3)
    weights = {name: weight for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    if not whole:
        del weights[UP]
    model.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)
    scores = nn.Linear(96, 1).state_dict()
    save_file(scores if head is None else {"weight": head, "bias": scores["bias"]}, folder / "reward_head.safetensors")
    return str(folder)


def _assigned(assign: Assign, algorithm: str, *paths: str, **changes: Any) -> Assignment:
    assignment = assign(algorithm, **changes)
    return assignment.model_copy(update={"models": {"tiny": "tiny"} | {path: path for path in paths}})


def test_a_job_reports_each_model_once_before_its_first_step(assign: Assign, tmp_path: Path) -> None:
    critic, reward = (_export(tmp_path / name) for name in ("critic", "reward"))
    assignment = _assigned(
        assign,
        "ppo",
        critic,
        reward,
        algorithm_changes={"critic_model": critic, "beta": 0.1},
        rewards=[{"type": "reward_model", "model": reward}],
        steps=1,
    )
    events = list(loop.run(assignment, lambda: None))
    reports = [event for event in events if isinstance(event, Loaded)]
    named = {report.role: report.name for report in reports}
    assert named == {"policy": "tiny", "critic": critic, "reference": "tiny", "reward reward_model": reward}
    assert len(reports) == 4
    assert decode(encode(reports[0])) == reports[0]
    assert reports[1].model.architecture == "LlamaForCausalLM"
    saved = next(event for event in events if isinstance(event, Saved))
    again = assignment.model_copy(update={"resume_from": saved.directory})
    assert not any(isinstance(event, Loaded) for event in loop.run(again, lambda: None))


ROLES: dict[str, tuple[str, dict[str, Any]]] = {
    "model": ("sft", {"model": "PATH"}),
    "algorithm.critic_model": ("ppo", {"algorithm_changes": {"critic_model": "PATH"}}),
    "rewards.0.model": ("grpo", {"rewards": [{"type": "reward_model", "model": "PATH"}]}),
    "dataset.model": (
        "sft",
        {
            "dataset": {
                "source": "rejection-sampling",
                "model": "PATH",
                "prompts": {"source": "linear-algebra", "size": 2},
            },
            "rewards": [{"type": "regex", "pattern": "."}],
        },
    ),
}


def _naming(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {name: _naming(part, path) for name, part in value.items()}
    if isinstance(value, list):
        return [_naming(part, path) for part in value]
    return path if value == "PATH" else value


@pytest.mark.parametrize("field", ROLES)
def test_a_model_without_one_of_its_weights_is_refused_by_the_field_that_names_it(
    field: str, assign: Assign, tmp_path: Path
) -> None:
    path = _export(tmp_path / "model", whole=False)
    algorithm, changes = ROLES[field]
    with pytest.raises(Invalid, match=UP) as refusal:
        list(loop.run(_assigned(assign, algorithm, path, **_naming(changes, path)), lambda: None))
    assert refusal.value.param == field


@pytest.mark.parametrize("field", ["algorithm.critic_model", "rewards.0.model"])
def test_a_head_for_scores_must_fit_and_be_finite(field: str, assign: Assign, tmp_path: Path) -> None:
    algorithm, changes = ROLES[field]
    for name, head in (("wide", nn.Linear(97, 1).weight), ("broken", nn.Linear(96, 1).weight * float("nan"))):
        path = _export(tmp_path / name, head=head.detach())
        with pytest.raises(Invalid, match=r"reward_head.safetensors of .* (does not fit|holds NaN)") as refusal:
            list(loop.run(_assigned(assign, algorithm, path, **_naming(changes, path)), lambda: None))
        assert refusal.value.param == field


def test_adapters_that_lack_a_weight_are_not_continued_with(assign: Assign) -> None:
    first = assign("sft", lora=LORA, steps=1)
    saved = next(event for event in loop.run(first, lambda: None) if isinstance(event, Saved))
    file = Path(saved.directory) / "adapter" / "adapter_model.safetensors"
    _drop_one(file)
    _forgive(Path(saved.directory))
    with pytest.raises(Invalid, match="does not hold the adapters of this job: 1 weights"):
        list(loop.run(first.model_copy(update={"resume_from": saved.directory}), lambda: None))


def _drop_one(file: Path) -> None:
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file, metadata=metadata)


def _forgive(folder: Path) -> None:
    """A manifest that agrees with the files as they are now."""
    (folder / manifest.NAME).unlink()
    manifest.write(folder, 1)
