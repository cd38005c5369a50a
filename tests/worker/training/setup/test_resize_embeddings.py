"""A tokenizer that has grown beyond the embedding: refused, or the embedding grows too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hone.errors import Invalid
from service.storage import manifest
from worker.protocol import Assignment, Event, Saved, Warned
from worker.training import loop
from worker.training.models import tiny
from worker.training.models.policy import load_policy

Assign = Callable[..., Assignment]


@pytest.fixture
def grown(tmp_path: Path) -> str:
    """The tiny model with one token more in its tokenizer."""
    model, tokenizer = tiny.build(0)
    tokenizer.add_tokens(["<tool>"])
    model.save_pretrained(tmp_path / "grown")
    tokenizer.save_pretrained(tmp_path / "grown")
    return str(tmp_path / "grown")


def _events(assignment: Assignment) -> list[Event]:
    return list(loop.run(assignment, lambda: None))


def _folders(events: list[Event]) -> list[Path]:
    return [Path(event.directory) for event in events if isinstance(event, Saved)]


def test_rows_are_added_where_the_spec_asks_for_them(assign: Assign, grown: str) -> None:
    with pytest.raises(Invalid, match="set resize_embeddings"):
        _events(assign("sft", model_path=grown, steps=1))
    events = _events(assign("sft", model_path=grown, resize_embeddings=True, steps=1))
    assert any(isinstance(event, Warned) and "1 new rows" in event.note.message for event in events)
    (folder,) = _folders(events)
    assert len(load_file(folder / "model.safetensors")["model.embed_tokens.weight"]) == 104
    load_policy(str(folder), 0, torch.device("cpu"), "fp32")  # without the field: the export has the row


@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        ("sft", {}),
        ("sft", {"lora": {"rank": 2}}),
        ("sft", {"lora": {"rank": 2, "modules_to_save": ["embed_tokens"]}}),
        ("ppo", {"algorithm_changes": {"beta": 0.1}}),
    ],
)
def test_resuming_with_added_rows_is_bit_exact(
    algorithm: str, changes: dict[str, Any], assign: Assign, grown: str
) -> None:
    def run(resume_from: str | None) -> list[Path]:
        fields = {"resize_embeddings": True, "checkpoint": {"every": 1}, "steps": 2, **changes}
        return _folders(_events(assign(algorithm, model_path=grown, resume_from=resume_from, **fields)))

    first, whole = run(None)
    assert _weights(run(str(first))[-1]) == _weights(whole)


def _weights(folder: Path) -> dict[str, str]:
    return {entry["name"]: entry["sha256"] for entry in manifest.read(folder) if entry["name"].endswith(".safetensors")}


def test_that_it_does_nothing_or_leaves_rows_untrained_is_said(assign: Assign, grown: str) -> None:
    def told(**fields: Any) -> str:
        events = _events(assign("sft", resize_embeddings=True, steps=1, **fields))
        return " ".join(event.note.message for event in events if isinstance(event, Warned))

    assert "no effect" in told()
    assert "not trained" in told(model_path=grown, lora={"rank": 2})
