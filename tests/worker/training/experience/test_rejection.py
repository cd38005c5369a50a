from collections.abc import Callable
from typing import Any

import pytest

from hone.errors import Invalid
from worker.protocol import Assignment, Previewed, Saved, Step, Warned
from worker.training import loop

Assign = Callable[..., Assignment]
PROMPTS = {"source": "linear-algebra", "style": "symbolic", "size": 12}


def _spec(**own: Any) -> dict[str, Any]:
    source = {"source": "rejection-sampling", "model": "tiny", "prompts": PROMPTS, "num_generations": 16}
    return {"dataset": source | {"max_completion_length": 8, "min_reward": 1.0} | own, "rewards": _rewards("[a-z]")}


def _rewards(pattern: str) -> list[dict[str, Any]]:
    return [{"type": "regex", "pattern": pattern}]


def _likely_to_stop(folder: Any) -> str:
    """A model whose responses are short, so that some are not cut off."""
    import torch

    from worker.training.models.policy import load_policy

    policy = load_policy("tiny", 0, torch.device("cpu"), "fp32")
    with torch.no_grad():
        policy.model.get_parameter("model.embed_tokens.weight")[policy.stops[0]] *= 2
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return str(folder)


def test_right_responses_become_completions(assign: Assign, tmp_path_factory: pytest.TempPathFactory) -> None:
    assignment = assign("sft", steps=2, **_spec(), algorithm_changes={"batch_size": 2})
    assignment.models = {"tiny": _likely_to_stop(tmp_path_factory.mktemp("model"))}
    events = list(loop.run(assignment, lambda: None))
    (warning,) = [event.note.message for event in events if isinstance(event, Warned)]
    assert warning.startswith("rejection sampling kept ") and warning.endswith("of 12 prompts")
    (preview,) = [event for event in events if isinstance(event, Previewed)]
    learned = ["".join(part.text for part in row.segments if part.learned) for row in preview.rows]
    assert all(any(letter.islower() for letter in text) for text in learned)
    assert len([event for event in events if isinstance(event, Step)]) == 2


def test_each_attempt_makes_the_same_rows(assign: Assign, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = _likely_to_stop(tmp_path_factory.mktemp("model"))

    def train(resume_from: str | None = None) -> tuple[str, list[float]]:
        assignment = assign("sft", steps=4, checkpoint={"every": 2}, **_spec(), algorithm_changes={"batch_size": 2})
        assignment.models, assignment.resume_from = {"tiny": model}, resume_from
        events = list(loop.run(assignment, lambda: None))
        saved = next(event.directory for event in events if isinstance(event, Saved))
        return saved, [event.metrics["train/loss"] for event in events if isinstance(event, Step)]

    middle, whole = train()
    assert train(middle)[1] == whole[2:]


def test_if_nothing_is_right_the_job_says_so(assign: Assign) -> None:
    with pytest.raises(Invalid, match="none of 12 x 16 responses earned; lower it") as caught:
        list(loop.run(assign("sft", **(_spec() | {"rewards": _rewards("^$never")})), lambda: None))
    assert caught.value.param == "dataset.min_reward"
