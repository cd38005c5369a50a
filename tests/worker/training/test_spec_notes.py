"""A job says when it starts which of its fields have no effect with its rows or its model."""

from typing import Any

import pytest

from hone.errors import Invalid
from service.domain.specs import JobSpec
from worker.training import spec_notes
from worker.training.data.encoded import EncodedRows
from worker.training.models.policy import Policy
from worker.training.spec_notes import check_best_metric, missing_best_metric, too_long

PLAIN = [{"prompt": "1+1=", "completion": "2"}]
ASKED = [{"prompt": "1+1=", "answer": "2"}]
MESSAGES = [{"messages": [{"role": "user", "content": "1+1="}, {"role": "assistant", "content": "2"}]}]
PAIRS = [{"prompt": "1+1=", "chosen": "2", "rejected": "3", "margin": 1.0}]
SFT: dict[str, Any] = {"algorithm": {"type": "sft", "batch_size": 1}, "dataset": {"source": "file-1"}, "packing": False}
EVAL = {"eval_dataset": {"source": "file-2"}}


def warnings_of(
    policy: Policy, rows: list[dict[str, Any]], held_out: list[dict[str, Any]], **changes: Any
) -> list[str]:
    return [str(note) for note in spec_notes.collect(JobSpec.model_validate(SFT | changes), policy, rows, held_out)]


def test_a_template_for_plain_prompts_needs_one(policy: Policy) -> None:
    as_text = {"dataset": {"source": "file-1", "template": "text"}}
    [warning] = warnings_of(policy, MESSAGES, [], **as_text)
    assert warning.startswith("dataset.template is text, which is for plain prompts, but no row has one")
    assert not warnings_of(policy, PLAIN, [], **as_text)


def test_tools_that_nobody_sees_or_calls_give_a_warning(policy: Policy) -> None:
    [warning] = warnings_of(policy, PLAIN, [], tools={})
    assert warning.startswith("tools are shown by the model's chat template") and "give eval_dataset" in warning
    [warning] = warnings_of(policy, PLAIN, ASKED, tools={}, **EVAL)
    assert warning.startswith("tools are not shown in plain prompts, and no prompt names one; set dataset.template")
    for row in ({"prompt": "trace [[1]] by matrix_trace"}, {"prompt": "a", "completion": "<tool_call>{}</tool_call>"}):
        assert not warnings_of(policy, [*PLAIN, row], ASKED, tools={}, **EVAL)
    policy.tokenizer.chat_template = "{{ messages }}"
    assert not warnings_of(policy, PLAIN, [], tools={})


def test_a_margin_that_every_row_overrides_gives_a_warning(policy: Policy) -> None:
    pairs = {"algorithm": {"type": "reward_model", "margin": 0.5, "batch_size": 1}}
    [warning] = warnings_of(policy, PAIRS, [], **pairs)
    assert warning.startswith("algorithm.margin is 0.5, but every row has its own")
    assert not warnings_of(policy, [*PAIRS, PAIRS[0] | {"prompt": "2=", "margin": None}], [], **pairs)


def test_packing_that_the_model_cannot_do_gives_a_warning(policy: Policy) -> None:
    [warning] = warnings_of(policy, PLAIN, [], packing=True)
    assert warning.startswith("packing is true, but this model")
    policy.packing = True
    assert not warnings_of(policy, PLAIN, [], packing=True)


def test_an_evaluation_without_answers_names_what_does_nothing(policy: Policy) -> None:
    fields = EVAL | {"evaluation": {"temperature": 0.5, "every": 3}, "rewards": [{"type": "math"}]}
    [warning] = warnings_of(policy, PLAIN, PLAIN, **fields)
    assert warning.startswith("evaluation.temperature, rewards have no effect: no row of eval_dataset has")
    assert not warnings_of(policy, PLAIN, ASKED, **fields)


def test_responses_that_get_fewer_tokens_than_was_asked_for_give_a_warning(policy: Policy) -> None:
    [warning] = warnings_of(policy, PLAIN, ASKED, evaluation={"max_completion_length": 600}, **EVAL)
    assert warning.startswith("evaluation.max_completion_length is 600, but responses get 512 tokens")


def test_the_best_checkpoint_by_what_no_evaluation_gives_is_refused() -> None:
    spec = JobSpec.model_validate(SFT | EVAL | {"checkpoint": {"keep_best": "eval/accuracy"}})
    with pytest.raises(Invalid, match="the evaluation gives eval/loss; name one of them") as refused:
        check_best_metric(spec, {"eval/loss": 1.0})
    assert refused.value.param == "checkpoint.keep_best"
    check_best_metric(spec, {"eval/accuracy": 0.0})


def test_the_best_checkpoint_by_what_no_step_reports_gives_a_warning() -> None:
    spec = JobSpec.model_validate(SFT | {"checkpoint": {"keep_best": "train/margin"}})
    [note] = missing_best_metric(spec, {"train/loss": 1.0})
    assert note.message == "checkpoint.keep_best is 'train/margin', which no step reports"
    assert note.code == "best_unknown" and note.remedy == "name another of train/loss"
    assert not list(missing_best_metric(spec, {"train/margin": 1.0}))


def test_fewer_rows_than_a_step_takes_give_a_note(policy: Policy) -> None:
    [note] = warnings_of(policy, PLAIN, [], algorithm={"type": "sft", "batch_size": 2})
    assert note.startswith("algorithm.batch_size is 2, but there are 1 rows")
    prompts = {"type": "grpo", "prompts_per_step": 3}
    [note] = warnings_of(
        policy, [*ASKED, ASKED[0] | {"prompt": "2="}], [], algorithm=prompts, rewards=[{"type": "math"}]
    )
    assert note.startswith("algorithm.prompts_per_step is 3, but there are 2 rows")
    assert not warnings_of(
        policy, [*PLAIN, PLAIN[0] | {"prompt": "2="}], [], algorithm={"type": "sft", "batch_size": 2}
    )


@pytest.mark.parametrize(
    "pair",
    [
        {"prompt": "1+1=", "chosen": "2", "rejected": "2"},
        {"chosen": MESSAGES[0]["messages"], "rejected": MESSAGES[0]["messages"]},
    ],
)
def test_pairs_whose_responses_are_equal_give_a_note_with_their_rows(policy: Policy, pair: dict[str, Any]) -> None:
    pairs = {"algorithm": {"type": "reward_model", "batch_size": 1}}
    note = warnings_of(policy, [*PAIRS, pair, *PAIRS, pair], [], **pairs)[0]
    assert note.startswith(
        "2 of 4 rows of dataset have `chosen` equal to `rejected`, so they teach nothing: rows 2 and 4"
    )
    assert not warnings_of(policy, PAIRS, [], **pairs)


def answered(*answers: str | None, **fields: Any) -> dict[str, Any]:
    turns = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": text} | fields] for text in answers]
    return {"messages": [message for turn in turns for message in turn]}


CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("row", "loss_on", "is_empty"),
    [
        ({"prompt": "q", "completion": ""}, "completion", True),
        ({"prompt": "q", "completion": " \n"}, "completion", True),
        ({"prompt": "q", "completion": "2"}, "completion", False),
        (answered(""), "completion", True),
        (answered(None), "completion", True),
        (answered(None, tool_calls=[CALL]), "completion", False),
        (answered("", "2"), "completion", False),
        (answered("", "2"), "assistant", True),
        (answered("2", weight=0), "assistant", False),
        ({"text": "2"}, "all", False),
    ],
)
def test_a_row_that_teaches_an_empty_answer_gives_a_note(
    policy: Policy, row: dict[str, Any], loss_on: str, *, is_empty: bool
) -> None:
    sft = {"type": "sft", "batch_size": 1, "loss_on": loss_on}
    notes = [note for note in warnings_of(policy, [row], [], algorithm=sft) if "empty answer" in note]
    assert [note.partition(";")[0] for note in notes] == [
        "1 of 1 rows of dataset teach an empty answer, so the policy learns to say nothing: row 1"
    ] * is_empty


def test_a_row_that_loses_its_end_is_told_of_with_what_limits_it() -> None:
    cut = EncodedRows(limit=16, truncation="end", total=4, too_long=[0, 2, 3], dropped=[3])
    [note] = too_long("dataset", cut, 16, context=32)
    assert note.message == (
        "3 of 4 rows of dataset are longer than max_length allows (16 tokens): 2 lose their end and 1 are dropped; "
        "a row without its end does not teach where an answer ends"
    )
    assert "raise algorithm.max_length" in str(note.remedy)
    for asked in (32, 16, None):
        [note] = too_long("dataset", cut, asked, context=16)
        assert "than the model reads" in note.message and "raise" not in str(note.remedy)
    assert not list(too_long("dataset", EncodedRows(16, "end", 4), 16, context=16))


def test_columns_that_nothing_reads_are_named(policy: Policy) -> None:
    [warning] = warnings_of(policy, [PLAIN[0] | {"source": "a", "label": 1, "level": None}], [])
    assert warning.startswith("dataset has columns that nothing reads: `source`, `label`; name one")
    [warning] = warnings_of(policy, [PLAIN[0] | {f"c{n}": n + 1 for n in range(12)}], [])
    assert "`c9` and 2 more" in warning
    counted = {"algorithm": {"type": "grpo", "prompts_per_step": 1}, "rewards": [{"type": "tool_use"}], "tools": {}}
    rows = [{"prompt": "matrix_trace", "answer": "2", "difficulty": 1}]
    assert not [note for note in warnings_of(policy, rows, [], **counted) if "nothing reads" in note]


def test_rows_that_contradict_or_repeat_each_other_are_told_of(policy: Policy) -> None:
    pairs = {"algorithm": {"type": "reward_model", "batch_size": 1}}
    swapped = PAIRS[0] | {"chosen": "3", "rejected": "2", "margin": -1.0}
    first, second, third = warnings_of(policy, [*PAIRS, swapped, *PAIRS], [], **pairs)
    assert first.startswith("2 of 3 rows of dataset prefer what another row rejects: rows 2 and 3;")
    assert "1 of 3 rows of dataset have a negative margin" in second and "row 2;" in second
    assert third.startswith("1 of 3 rows of dataset are there already: row 3;")
    grpo = {"algorithm": {"type": "grpo", "prompts_per_step": 1}, "rewards": [{"type": "math"}]}
    [warning] = warnings_of(policy, [*ASKED, ASKED[0] | {"answer": 3}], [], **grpo)
    assert warning.startswith("1 of 1 prompts of dataset have several answers")


@pytest.mark.parametrize(("size", "often"), [(2, "twice"), (3, "3 times"), (1, None)])
def test_a_step_of_more_rows_than_there_are_says_how_often_it_has_them(policy: Policy, size: int, often: Any) -> None:
    found = warnings_of(policy, PLAIN, [], algorithm={"type": "sft", "batch_size": size})
    assert [f"some of them {often};" in warning for warning in found] == [True] * (often is not None)
