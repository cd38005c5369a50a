import json
from typing import Any

import pytest

from service.domain.datasets import LinearAlgebraData
from worker.training.data.encode import Encoder
from worker.training.data.rows import load_rows
from worker.training.models import tiny
from worker.training.tools.calls import run_call
from worker.training.tools.functions import FUNCTIONS
from worker.training.tools.tags import as_text

TASKS = ["trace", "determinant", "transpose", "rank"]


def rows(**changes: Any) -> list[dict[str, Any]]:
    spec = {"tools": True, "tasks": TASKS, "size": 40, "style": "symbolic", "dimension": 3, "negative": True} | changes
    return load_rows(LinearAlgebraData.model_validate(spec), {}, "dataset")


@pytest.mark.parametrize("style", ["symbolic", "prose"])
def test_every_call_of_a_trace_is_answered_as_the_tool_answers(style: str) -> None:
    for row in rows(max_calls=3, style=style):
        calls = [m for m in row["completion"] if m.get("tool_calls")]
        outputs = [m["content"] for m in row["completion"] if m["role"] == "tool"]
        assert [run_call(as_text(call), list(FUNCTIONS)) for call in calls] == outputs
        assert len(calls) == row["difficulty"] and outputs[-1] == row["answer"]
        assert row["completion"][-1]["content"].endswith(f"</think><answer>{row['answer']}</answer>")


def test_the_first_call_is_about_the_questions_matrix_and_each_further_one_about_the_last_answer() -> None:
    for row in rows(max_calls=3):
        matrices = [
            m["tool_calls"][0]["function"]["arguments"]["matrix"] for m in row["completion"] if m.get("tool_calls")
        ]
        outputs = [json.loads(m["content"]) for m in row["completion"] if m["role"] == "tool"]
        assert matrices == [json.loads(row["prompt"].split(" ")[-1]), *outputs[:-1]]


def test_problems_take_from_one_call_to_as_many_as_the_spec_says() -> None:
    assert {row["difficulty"] for row in rows()} == {1}
    assert {row["difficulty"] for row in rows(max_calls=3)} == {1, 2, 3}
    assert any(row["prompt"].startswith("det cof ") for row in rows(max_calls=3))


def test_the_same_spec_gives_the_same_rows_and_both_styles_have_the_same_problems() -> None:
    short, long = rows(max_calls=2), rows(max_calls=2, style="prose")
    assert short == rows(max_calls=2) and short[:5] == rows(max_calls=2, size=5)
    assert [row["answer"] for row in short] == [row["answer"] for row in long]


@pytest.mark.parametrize("loss_on", ["completion", "all"])
def test_without_a_chat_template_a_trace_is_text_of_which_the_assistants_part_is_learned(loss_on: Any) -> None:
    (row,), words = rows(size=1, dimension=2, negative=False, seed=4), tiny.build_tokenizer()
    (tokens,) = Encoder(words, "auto", "dataset", reads_file=False).encode_nonempty([row], 1000, loss_on).sequences
    matrix = json.dumps(json.loads(row["prompt"].removeprefix("trace ")), separators=(",", ":"))
    call = f'<tool_call>{{"name":"matrix_trace","arguments":{{"matrix":{matrix}}}}}</tool_call>'
    turns = [f"<think>trace</think>{call}", f"<think>{row['answer']}</think><answer>{row['answer']}</answer><eos>"]
    outputs = f"\n<tool_response>{row['answer']}</tool_response>\n"
    assert words.decode([*tokens.prompt, *tokens.completion]) == f"{row['prompt']}{turns[0]}{outputs}{turns[1]}"
    if loss_on == "completion":
        in_loss = [token for token, mark in zip(tokens.completion, tokens.loss_mask or [], strict=True) if mark]
        assert words.decode(in_loss) == "".join(turns)
    else:
        assert tokens.loss_mask is None
