from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hone.errors import Invalid
from worker.training.algorithms.sft import SFT
from worker.training.data.encode import Encoder
from worker.training.sequences.batching import Tokens
from worker.training.setup.job import Setup

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
    setup = make("sft", algorithm_changes={"batch_size": len(rows), **algorithm}, **changes)
    setup.policy.tokenizer.chat_template = CHAT
    setup = replace(setup, rows=rows)
    return setup, SFT(setup, setup.spec.algorithm)  # type: ignore[arg-type]


def _labels(sequence: Tokens) -> list[int]:
    marks = sequence.loss_mask or [True] * len(sequence.completion)
    learned = [token if mark else -100 for token, mark in zip(sequence.completion, marks, strict=True)]
    return [-100] * len(sequence.prompt) + learned


def _loss_of_transformers(setup: Setup, sequences: list[Tokens], left: bool) -> float:
    """The model's own loss, of one padded batch."""
    width = max(sequence.total for sequence in sequences)

    def padded(rows: list[list[int]], fill: int) -> torch.Tensor:
        full = [[fill] * (width - len(row)) + row if left else row + [fill] * (width - len(row)) for row in rows]
        return torch.tensor(full)

    ids = padded([[*sequence.prompt, *sequence.completion] for sequence in sequences], 0)
    attention_mask = padded([[1] * sequence.total for sequence in sequences], 0)
    labels = padded([_labels(sequence) for sequence in sequences], -100)
    places = (attention_mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        return float(
            setup.policy.model(input_ids=ids, attention_mask=attention_mask, position_ids=places, labels=labels).loss
        )


@pytest.mark.parametrize("loss_on", ["completion", "assistant", "all"])
def test_the_loss_is_that_of_transformers_whichever_side_is_padded(make_setup: Make, loss_on: Any) -> None:
    setup, sft = _sft(make_setup, loss_on=loss_on)
    sequences = (
        Encoder(setup.policy.tokenizer, "auto", "dataset").encode_nonempty(ROWS, 1024, loss_on=loss_on).sequences
    )
    theirs = [_loss_of_transformers(setup, sequences, left) for left in (False, True)]
    ours = sft.advance(0).metrics
    assert_close([ours["train/loss"]] * 2, theirs, rtol=0, atol=1e-5)
    assert ours["train/learned_tokens"] == sum(label != -100 for each in sequences for label in _labels(each))
    assert ours["train/tokens"] == sum(sequence.total for sequence in sequences)


@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean", "seq_sum"])
def test_micro_batches_change_nothing(make_setup: Make, aggregation: str) -> None:
    after = {}
    optimizer = {"learning_rate": 1.0, "epsilon": 1.0}  # so moves the gradient itself, not its sign
    for budget in (64, 100, 8192):
        fields: dict[str, Any] = {"micro_batch_tokens": budget, "optimizer": optimizer}
        setup, sft = _sft(make_setup, loss_on="assistant", loss_aggregation=aggregation, **fields)
        losses = [sft.advance(step).metrics["train/loss"] for step in range(2)]
        after[budget] = losses, torch.cat([weight.detach().flatten() for weight in setup.policy.model.parameters()])
    for losses, weights in after.values():
        assert_close(losses, after[8192][0], rtol=1e-6, atol=1e-6)
        assert_close(weights, after[8192][1], rtol=0, atol=1e-6)


def test_a_step_takes_the_next_rows_and_each_epoch_shows_all(make_setup: Make) -> None:
    _, sft = _sft(make_setup, [{"prompt": "a" * n, "completion": "b"} for n in range(1, 7)], batch_size=3)
    tokens = [sft.advance(step).metrics["train/tokens"] for step in range(4)]
    assert tokens[0] + tokens[1] == tokens[2] + tokens[3]


def test_long_rows_give_a_warning_that_says_what_happens_to_them(make_setup: Make) -> None:
    rows = [{"prompt": "a", "completion": "b" * length} for length in (2, 40, 50)]
    setup, sft = _sft(make_setup, rows, max_length=32, batch_size=3, truncation="drop")
    [note] = setup.notes
    assert note.message == "2 of 3 rows of dataset are longer than max_length allows (32 tokens): 2 are dropped"
    assert note.code == "rows_too_long" and str(note.remedy).startswith("raise algorithm.max_length")
    short = Encoder(setup.policy.tokenizer, "auto", "dataset").encode_nonempty(rows[:1], 32).sequences[0]
    assert sft.advance(0).metrics["train/tokens"] == 3 * short.total


def test_a_model_that_reads_less_than_max_length_is_the_limit(make_setup: Make) -> None:
    setup, _ = _sft(make_setup, [{"prompt": "a", "completion": "b" * 2000}], max_length=4096)
    [note] = setup.notes
    assert note.message.startswith(
        "1 of 1 rows of dataset are longer than the model reads (1,024 tokens): 1 lose their end"
    )
    assert "raise" not in str(note.remedy) and "longer context" in str(note.remedy)


def test_rows_of_which_nothing_is_left_are_refused(make_setup: Make) -> None:
    with pytest.raises(Invalid) as refusal:
        _sft(make_setup, [{"prompt": "a" * 100, "completion": "b"}], max_length=32)
    assert refusal.value.param == "algorithm.max_length"


def test_plain_texts_are_learned_with_loss_on_all(make_setup: Make) -> None:
    _, sft = _sft(make_setup, [{"text": "once upon a time"}, {"text": "the end"}], loss_on="all")
    assert sft.advance(0).metrics["train/learned_tokens"] == len("once upon a time") + len("the end")
