from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from service.domain.errors import Invalid
from worker.training.batching import Tokens
from worker.training.encode import Encoder
from worker.training.setup import Setup
from worker.training.sft import SFT

Make = Callable[..., Setup]
CHAT = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def _talk(*contents: str) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(contents)
    return {"messages": [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]}


ROWS = [_talk("1+1?", "2", "and 3?", "5"), _talk("hello", "good day to you"), {"prompt": "a", "completion": "bcd"}]


def _sft(make: Make, rows: list[dict[str, Any]] = ROWS, **algorithm: Any) -> tuple[Setup, SFT]:
    changes = {name: algorithm.pop(name) for name in ("micro_batch_tokens", "optimizer") if name in algorithm}
    made = make("sft", algorithm_changes={"batch_size": len(rows), **algorithm}, **changes)
    made.policy.tokenizer.chat_template = CHAT
    setup = replace(made, rows=rows)
    return setup, SFT(setup, setup.spec.algorithm)  # type: ignore[arg-type]


def _labels(sequence: Tokens) -> list[int]:
    marks = sequence.learned or [True] * len(sequence.completion)
    learned = [token if mark else -100 for token, mark in zip(sequence.completion, marks, strict=True)]
    return [-100] * len(sequence.prompt) + learned


def _loss_of_transformers(setup: Setup, sequences: list[Tokens], left: bool) -> float:
    """The model's own loss, of one padded batch."""
    width = max(sequence.total for sequence in sequences)

    def padded(rows: list[list[int]], fill: int) -> torch.Tensor:
        full = [[fill] * (width - len(row)) + row if left else row + [fill] * (width - len(row)) for row in rows]
        return torch.tensor(full)

    ids = padded([[*sequence.prompt, *sequence.completion] for sequence in sequences], 0)
    seen = padded([[1] * sequence.total for sequence in sequences], 0)
    labels = padded([_labels(sequence) for sequence in sequences], -100)
    places = (seen.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        return float(setup.policy.model(input_ids=ids, attention_mask=seen, position_ids=places, labels=labels).loss)


@pytest.mark.parametrize("loss_on", ["completion", "assistant", "all"])
def test_the_loss_is_that_of_transformers_whichever_side_is_padded(setup: Make, loss_on: Any) -> None:
    made, sft = _sft(setup, loss_on=loss_on)
    sequences = Encoder(made.policy.tokenizer, "auto", "dataset").pairs(ROWS, 1024, loss_on=loss_on).sequences
    theirs = [_loss_of_transformers(made, sequences, left) for left in (False, True)]
    ours = sft.advance(0).metrics
    assert_close([ours["train/loss"]] * 2, theirs, rtol=0, atol=1e-5)
    assert ours["train/learned_tokens"] == sum(label != -100 for each in sequences for label in _labels(each))
    assert ours["train/tokens"] == sum(sequence.total for sequence in sequences)


@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean", "seq_sum"])
def test_micro_batches_change_nothing(setup: Make, aggregation: str) -> None:
    after = {}
    optimizer = {"learning_rate": 1.0, "epsilon": 1.0}  # so moves the gradient itself, not its sign
    for budget in (64, 100, 8192):
        how: dict[str, Any] = {"micro_batch_tokens": budget, "optimizer": optimizer}
        made, sft = _sft(setup, loss_on="assistant", loss_aggregation=aggregation, **how)
        losses = [sft.advance(step).metrics["train/loss"] for step in range(2)]
        after[budget] = losses, torch.cat([weight.detach().flatten() for weight in made.policy.model.parameters()])
    for losses, weights in after.values():
        assert_close(losses, after[8192][0], rtol=1e-6, atol=1e-6)
        assert_close(weights, after[8192][1], rtol=0, atol=1e-6)


def test_a_step_takes_the_next_rows_and_each_epoch_shows_all(setup: Make) -> None:
    _, sft = _sft(setup, [{"prompt": "a" * n, "completion": "b"} for n in range(1, 7)], batch_size=3)
    tokens = [sft.advance(step).metrics["train/tokens"] for step in range(4)]
    assert tokens[0] + tokens[1] == tokens[2] + tokens[3]


def test_what_becomes_of_long_rows_is_said(setup: Make) -> None:
    rows = [{"prompt": "a", "completion": "b" * length} for length in (2, 40, 50)]
    made, sft = _sft(setup, rows, max_length=32, batch_size=3, truncation="drop")
    assert made.warnings == ["2 of 3 rows are longer than max_length (32 tokens) and are dropped"]
    short = Encoder(made.policy.tokenizer, "auto", "dataset").pairs(rows[:1], 32).sequences[0]
    assert sft.advance(0).metrics["train/tokens"] == 3 * short.total


def test_a_model_that_reads_less_than_max_length_is_the_limit(setup: Make) -> None:
    made, _ = _sft(setup, [{"prompt": "a", "completion": "b" * 2000}], max_length=4096)
    assert made.warnings == [
        "1 of 1 rows are longer than max_length (1,024 tokens) and lose their end",
        "max_length is 4,096, but the model reads at most 1,024 tokens",
    ]


def test_rows_of_which_nothing_is_left_are_refused(setup: Make) -> None:
    with pytest.raises(Invalid) as refusal:
        _sft(setup, [{"prompt": "a" * 100, "completion": "b"}], max_length=32)
    assert refusal.value.param == "algorithm.max_length"


def test_plain_texts_are_learned_with_loss_on_all(setup: Make) -> None:
    _, sft = _sft(setup, [{"text": "once upon a time"}, {"text": "the end"}], loss_on="all")
    assert sft.advance(0).metrics["train/learned_tokens"] == len("once upon a time") + len("the end")
