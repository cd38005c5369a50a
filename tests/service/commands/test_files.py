"""A spec is refused when it names a file whose rows its fields cannot use, and told which mapping would do."""

import json
from typing import Any

import pytest

from hone.errors import Invalid
from service import commands
from service.commands import Requester
from service.domain.rows import check
from service.domain.specs import JobSpec
from service.persistence import files
from service.persistence.database import Database
from service.persistence.files import Content

ADA = Requester("ada")
SFT: dict[str, Any] = {"algorithm": {"type": "sft"}}
GRPO: dict[str, Any] = {"algorithm": {"type": "grpo"}, "rewards": [{"type": "math"}]}
LETTERS: dict[str, Any] = GRPO | {"rewards": [{"type": "regex", "pattern": "a"}]}
PAIRS: dict[str, Any] = {"algorithm": {"type": "reward_model"}}


def uploaded(database: Database, *rows: dict[str, Any]) -> str:
    report = check([json.dumps(row).encode() for row in rows])
    assert not report.problem_count
    with database.transaction() as session:
        return files.add(session, "ada", "rows.jsonl", "fine-tune", Content(1, "0" * 64, report)).id


def submit(database: Database, spec: dict[str, Any]) -> None:
    with database.transaction() as session:
        commands.submit(session, ADA, JobSpec.model_validate(spec), [])


def refused(database: Database, spec: dict[str, Any]) -> tuple[str | None, str]:
    with pytest.raises(Invalid) as refusal:
        submit(database, spec)
    return refusal.value.param, refusal.value.message


def test_columns_that_nothing_recognises_can_be_named(database: Database) -> None:
    file = uploaded(database, {"Frage": "1+1", "target": "2", "meta": {"level": 1}})
    param, message = refused(database, GRPO | {"dataset": {"source": file}})
    assert param == "dataset.source"
    assert "grpo needs rows of prompt+answer" in message
    assert "name them in dataset.columns, e.g. {prompt: COLUMN, answer: target}" in message
    submit(database, GRPO | {"dataset": {"source": file, "columns": {"prompt": "Frage", "answer": "target"}}})
    submit(database, GRPO | {"dataset": {"source": file, "columns": {"prompt": "Frage", "answer": "meta.level"}}})


def test_a_mapping_to_a_column_that_is_not_there_is_refused(database: Database) -> None:
    file = uploaded(database, {"Frage": "1+1", "target": "2"})
    param, message = refused(database, GRPO | {"dataset": {"source": file, "columns": {"answer": "goal"}}})
    assert (param, "no column of all rows" in message, "Frage, target" in message) == (
        "dataset.columns.answer",
        True,
        True,
    )


def test_a_mapping_that_is_not_enough_is_refused(database: Database) -> None:
    file = uploaded(database, {"Frage": "1+1", "target": "2"})
    param, message = refused(database, GRPO | {"dataset": {"source": file, "columns": {"prompt": "Frage"}}})
    assert param == "dataset.source"
    assert "needs rows of prompt+answer" in message


def test_two_meanings_are_refused_with_both_readings(database: Database) -> None:
    file = uploaded(database, {"question": "a", "query": "b", "answer": "c"})
    _, message = refused(database, GRPO | {"dataset": {"source": file}})
    assert "{prompt: question} or {prompt: query}" in message
    submit(database, GRPO | {"dataset": {"source": file, "columns": {"prompt": "query"}}})


def test_prompts_alone_serve_rewards_that_read_no_answer(database: Database) -> None:
    file = uploaded(database, {"prompt": "Tell a story"})
    submit(database, LETTERS | {"dataset": {"source": file}})
    for spec in (GRPO, SFT, PAIRS):
        assert refused(database, spec | {"dataset": {"source": file}})[0] == "dataset.source"


@pytest.mark.parametrize(
    ("row", "usable", "unusable"),
    [
        ({"question": "a", "answer": "b"}, [SFT, GRPO], [PAIRS]),
        ({"prompt": "a", "solution": "b"}, [SFT, GRPO], [PAIRS]),
        ({"instruction": "a", "output": "b"}, [SFT], [GRPO, PAIRS]),
        ({"prompt": "a", "reward_model": {"ground_truth": "b"}}, [GRPO], [SFT, PAIRS]),
        ({"question": "a", "chosen": "b", "rejected": "c"}, [PAIRS], [SFT, GRPO]),
    ],
)
def test_rows_of_other_tools_serve_the_algorithms_that_can_use_them(
    database: Database, row: dict[str, Any], usable: list[dict[str, Any]], unusable: list[dict[str, Any]]
) -> None:
    file = uploaded(database, row)
    for spec in usable:
        submit(database, spec | {"dataset": {"source": file}})
    for spec in unusable:
        assert "name them in dataset.columns" in refused(database, spec | {"dataset": {"source": file}})[1]


def test_every_dataset_of_a_spec_is_checked(database: Database) -> None:
    pairs = {"source": uploaded(database, {"prompt": "a", "chosen": "b", "rejected": "c"})}
    problems = {"dataset": {"source": "linear-algebra"}}
    assert refused(database, GRPO | problems | {"eval_dataset": pairs})[0] == "eval_dataset.source"
    ptx = {"algorithm": {"type": "ppo", "ptx": {"dataset": pairs}}}
    assert refused(database, GRPO | problems | ptx)[0] == "algorithm.ptx.dataset.source"
    prompts = {"dataset": {"source": "rejection-sampling", "model": "tiny", "prompts": pairs}}
    assert refused(database, SFT | prompts | {"rewards": [{"type": "math"}]})[0] == "dataset.prompts.source"
