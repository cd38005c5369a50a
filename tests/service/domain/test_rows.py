import json
from typing import Any

import pytest

from service.domain.rows import FileReport, check


def lines(*rows: Any) -> list[bytes]:
    return [row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows]


def message_about(*rows: Any) -> str:
    report = check(lines(*rows))
    assert report.problem_count == 1
    return report.problems[0].message


def turn(role: str, content: Any = "text") -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"prompt": "1+1", "completion": "2"}, "prompt+completion"),
        ({"prompt": "1+1", "answer": 2}, "prompt+answer"),
        ({"prompt": "1+1", "answer": "2", "level": 3, "tests": [1]}, "prompt+answer"),
        ({"messages": [turn("user"), turn("assistant")]}, "messages"),
        ({"messages": [turn("system"), turn("user"), turn("assistant")], "tools": [{}]}, "messages"),
        ({"messages": [turn("user"), turn("assistant")], "tools": None}, "messages"),
        ({"messages": [turn("user", [{"type": "text", "text": "hi"}]), turn("assistant")]}, "messages"),
        ({"prompt": [turn("system"), turn("user")], "answer": 2}, "prompt+answer"),
        ({"prompt": [turn("user")], "completion": "2"}, "prompt+completion"),
        ({"prompt": [turn("user")], "completion": [turn("assistant")]}, "prompt+completion"),
        ({"prompt": "a", "completion": [turn("assistant")]}, "prompt+completion"),
        ({"prompt": "a", "chosen": [turn("assistant", "b")], "rejected": [turn("assistant")]}, "chosen+rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "chosen+rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "margin": 0.5}, "chosen+rejected"),
        ({"prompt": [turn("user")], "chosen": [turn("assistant")], "rejected": "c"}, "chosen+rejected"),
        (
            {"chosen": [turn("user"), turn("assistant", "b")], "rejected": [turn("user"), turn("assistant")]},
            "chosen+rejected",
        ),
        ({"text": "Once upon a time"}, "text"),
        ({"prompt": "Tell a story"}, "prompt"),
    ],
)
def test_each_shape_is_recognised(row: dict[str, Any], shape: str) -> None:
    report = check(lines(row, row))
    assert (report.rows, report.shapes, report.problems) == (2, [shape], [])
    assert report.columns == list(row)


def test_columns_are_those_that_all_rows_have() -> None:
    report = check(lines({"prompt": "a", "answer": 1, "x": 1, "y": 2}, {"y": 1, "answer": 2, "prompt": "b"}))
    assert report.columns == ["prompt", "answer", "y"]
    assert report.problem_count == 0


def test_a_row_may_have_two_shapes_and_the_file_has_what_all_share() -> None:
    both, single = {"prompt": "a", "completion": "b", "answer": "c"}, {"prompt": "a", "completion": "b"}
    assert check(lines(both)).shapes == ["prompt+completion", "prompt+answer"]
    assert check(lines(both, single, both)).shapes == ["prompt+completion"]


def test_rows_of_different_shapes_do_not_mix() -> None:
    report = check(lines({"prompt": "a", "completion": "b"}, {"prompt": "a", "answer": 1}))
    assert report.problems[0].line == 2
    assert report.problems[0].message == (
        "is a row of prompt+answer, but the rows before are prompt+completion; use two files"
    )


def test_blank_lines_are_skipped_and_those_between_rows_are_told_of() -> None:
    row = {"prompt": "a", "completion": "b"}
    ended = check(lines(row, b"\n", b"  \n", b""))
    assert (ended.problem_count, ended.notes) == (0, [])
    report = check(lines(row, b"\n", b" \t\r\n", row))
    assert (report.rows, report.problem_count, report.notes) == (2, 0, ["2 blank lines are skipped"])


@pytest.mark.parametrize("content", [[], [b"\n"]])
def test_an_empty_file_is_a_problem(content: list[bytes]) -> None:
    report = check(content)
    assert (report.rows, report.problem_count) == (0, 1)
    assert "no rows" in report.problems[0].message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"\xff\n", "is not UTF-8: byte 0xff at column 1; convert the file"),
        (b'{"prompt": }', "is not JSON: Expecting value at column 12"),
        (b'{"prompt": "a", "answer": NaN}', "is not JSON: it contains NaN; write it as a string or leave it out"),
        (b'{"answer": ' + b"9" * 5000 + b"}", "has a number of more than 4300 digits; write it as a string"),
        (b'{"prompt": "\\ud800", "answer": 1}', "has half of a surrogate pair, '\\ud800', which is not a character"),
        (
            b"[" * 100_000,
            "is nested too deeply: more than 100 lists and objects within each other; flatten it",
        ),
        (b" " * (9 << 20) + b"{}", "is 9.0 MiB long; at most 8 MiB are allowed"),
        ([1], 'is a list, but every line must be an object like {"prompt": ..., "completion": ...}'),
        (
            {"prompt": "a", "completion": 3},
            "'completion' must be a string or a list of one message, but is the number 3",
        ),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 10**400},
            f"'margin' must be a number, but is the number 1{'0' * 59}...",
        ),
        (
            {"prompt": "a", "answer": "b", "x\0": 1},
            "has the column 'x\\x00', whose name has a NUL character; rename it",
        ),
        (
            {"prompt": ["a"], "completion": "b"},
            "'prompt[0]' must be an object with 'role' and 'content', but is the string \"a\"",
        ),
        ({"prompt": 3, "completion": "b"}, "'prompt' must be a string or a list of messages, but is the number 3"),
        (
            {"prompt": [turn("assistant")], "answer": 1},
            "the last message of 'prompt' must not be the assistant's: its answer is what follows",
        ),
        (
            {"prompt": "a", "completion": [turn("assistant")] * 2},
            "'completion' must be a string or a list of one message, but is a list",
        ),
        (
            {"prompt": [turn("user")], "completion": [turn("assistant"), turn("assistant")]},
            "'completion' must be a string or a list of one message, but is a list",
        ),
        (
            {"prompt": [turn("user")], "completion": [turn("user")]},
            "the last message of 'completion' must be the assistant's, which answers 'prompt', but its role is 'user'",
        ),
        (
            {"chosen": "a", "rejected": "b"},
            "'chosen' is a string, so 'prompt' is needed too; or make it a list of messages",
        ),
        (
            {"chosen": [turn("user", "x"), turn("assistant")], "rejected": [turn("user", "y"), turn("assistant")]},
            "'chosen' and 'rejected' must begin with the same messages, which are the prompt",
        ),
        (
            {"prompt": "a", "chosen": "b", "rejected": 3},
            "'rejected' must be a string or a list of one message, but is the number 3",
        ),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c", "margin": "1"},
            "'margin' must be a number, but is the string \"1\"",
        ),
        ({"text": 1}, "'text' must be a string, but is the number 1"),
        ({"prompt": "a", "answer": True}, "'answer' must be a string or a number, but is true"),
        ({"prompt": "a", "answer": None}, "'answer' must be a string or a number, but is null"),
        (
            {},
            "needs 'prompt' and 'completion', 'prompt' and 'answer', 'chosen' and 'rejected', 'messages', or 'text'; "
            "its columns are none",
        ),
        ({"messages": []}, "'messages' must be a list with at least one message, but is an empty list"),
        ({"messages": ["hi"]}, "'messages[0]' must be an object with 'role' and 'content', but is the string \"hi\""),
        (
            {"messages": [turn("bot")]},
            "'messages[0].role' must be one of system, user, assistant, tool, but is the string \"bot\"",
        ),
        (
            {"messages": [turn("user"), {"role": "assistant"}]},
            "'messages[1].content' must be a string, but is missing",
        ),
        (
            {"messages": [turn("assistant"), turn("user")]},
            "the last message must be the assistant's, which is learned, but its role is 'user'",
        ),
        ({"messages": [turn("assistant")], "tools": "f"}, "'tools' must be a list, but is the string \"f\""),
        (
            {"messages": [turn("assistant")], "tools": ["f"]},
            "'tools[0]' must be a JSON schema, but is the string \"f\"",
        ),
        (
            {"messages": [turn("user", [{"type": "image", "url": "x"}]), turn("assistant")]},
            '\'messages[0].content[0].type\' must be "text", the only kind so far, but is the string "image"',
        ),
        (
            {"messages": [turn("user", [{"type": "text"}]), turn("assistant")]},
            "'messages[0].content[0].text' must be a string, but is missing",
        ),
    ],
)
def test_a_bad_row_is_refused_with_the_reason(row: Any, message: str) -> None:
    assert message_about(row) == message


def call(**function: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]}


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}, {"content": "I look it up"}])
@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a": 1}'])
def test_an_assistant_that_calls_tools_may_say_nothing(content: dict[str, Any], arguments: Any) -> None:
    answer = {"role": "tool", "tool_call_id": "1", "name": "add", "content": "2"}
    conversation = [turn("user"), call(name="add", arguments=arguments) | content, answer, turn("assistant")]
    assert check(lines({"messages": conversation, "tools": [{"type": "function"}]})).problem_count == 0


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (
            call(arguments={}),
            "'messages[0].tool_calls[0]' must have a 'function' with 'name' and 'arguments', but is an object",
        ),
        (
            call(name="f", arguments="[1]"),
            "'messages[0].tool_calls[0].function.arguments' must be an object, or a string that holds one, "
            'but is the string "[1]"',
        ),
        (
            turn("user") | {"tool_calls": [{}]},
            "'messages[0].tool_calls' must be the assistant's, but the role is 'user'",
        ),
        (
            turn("assistant") | {"tool_calls": "f"},
            "'messages[0].tool_calls' must be a list of calls, but is the string \"f\"",
        ),
        (turn("tool") | {"tool_call_id": 3}, "'messages[0].tool_call_id' must be a string, but is the number 3"),
        ({"role": "assistant", "content": None}, "'messages[0].content' must be a string, but is null"),
        (
            turn("assistant") | {"reasoning_content": 1},
            "'messages[0].reasoning_content' must be a string, but is the number 1",
        ),
        (
            turn("user") | {"reasoning_content": "so"},
            "'messages[0].reasoning_content' must be the assistant's, but the role is 'user'",
        ),
        (
            call(name="f", arguments={}, strict=True),
            "'messages[0].tool_calls[0].function.strict' is not a field that is read; fields are name, arguments",
        ),
        (
            turn("user", [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]),
            "'messages[0].content[0].cache_control' is not a field that is read; fields are type, text",
        ),
    ],
)
def test_a_bad_tool_message_is_refused_with_the_reason(message: dict[str, Any], problem: str) -> None:
    assert message_about({"messages": [message, turn("assistant")]}) == problem


@pytest.mark.parametrize(
    ("weight", "shown"),
    [(2, "the number 2"), (0.5, "the number 0.5"), (-1, "the number -1"), (True, "true"), ("1", 'the string "1"')],
)
def test_a_weight_is_0_or_1(weight: Any, shown: str) -> None:
    row = {"messages": [turn("user"), turn("assistant") | {"weight": weight}]}
    assert message_about(row) == f"'messages[1].weight' must be 1 (learned) or 0 (only read), but is {shown}"


def test_only_the_assistants_messages_have_a_weight() -> None:
    row = {"messages": [turn("user") | {"weight": 0}, turn("assistant")]}
    assert message_about(row) == "'messages[0].weight' must be the assistant's, but the role is 'user'"


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        ("wieght", "did you mean 'weight'?"),
        ("refusal", "write what the assistant says into 'content'"),
        ("function_call", "write it as a list in 'tool_calls'"),
        ("thinking", "call it 'reasoning_content'"),
        ("audio", "only text is read; write it into 'content'"),
        ("prefix", "fields are role, content, reasoning_content, tool_calls, tool_call_id, name, weight"),
    ],
)
@pytest.mark.parametrize("column", ["messages", "prompt"])
def test_a_field_of_a_message_that_nothing_reads_is_refused(column: str, field: str, remedy: str) -> None:
    message = turn("user") | {field: "x"}
    row = {"messages": [message, turn("assistant")]} if column == "messages" else {"prompt": [message], "answer": "1"}
    assert message_about(row) == f"'{column}[0].{field}' is not a field that is read; {remedy}"


def test_fields_of_other_services_that_say_nothing_are_no_problem() -> None:
    empty: dict[str, Any] = {"refusal": None, "audio": None, "annotations": [], "tool_calls": None, "weight": None}
    assert check(lines({"messages": [turn("user"), turn("assistant") | empty]})).problem_count == 0


@pytest.mark.parametrize(
    ("row", "reason", "mapping"),
    [
        ({"Prompt": "a", "answer": "b"}, "did you mean 'prompt' by 'Prompt'?", "{prompt: Prompt}"),
        ({"message": []}, "did you mean 'messages' by 'message'?", "{messages: message}"),
        ({"chosen": "a"}, "has 'chosen' but no 'rejected'", "{rejected: COLUMN}"),
        ({"answer": 1}, "has 'answer' but no 'prompt'", "{prompt: COLUMN}"),
        ({"src": "a", "target": "b"}, "needs 'prompt' and 'completion'", "{prompt: COLUMN, completion: target}"),
    ],
)
def test_a_file_without_a_known_shape_is_told_which_mapping_a_job_needs(
    row: dict[str, Any], reason: str, mapping: str
) -> None:
    report = check(lines(row, row))
    assert (report.problem_count, report.shapes, report.columns) == (0, [], list(row))
    (note,) = report.notes
    assert reason in note
    assert note.endswith(f"or name its columns in dataset.columns of the job, e.g. {mapping}")


def test_a_row_that_lacks_what_the_rows_before_have_is_refused() -> None:
    report = check(lines({"prompt": "a", "completion": "b"}, {"promt": "a", "completion": "b"}))
    assert report.problems[0].line == 2
    assert "did you mean 'prompt' by 'promt'?" in report.problems[0].message


def test_prompts_alone_are_told_what_they_are_for() -> None:
    report = check(lines({"prompt": "a", "completions": "b"}))
    assert report.shapes == ["prompt"]
    assert report.notes == [
        "a row has a prompt alone, which is for rewards that read no answer; did you mean 'completion' by "
        "'completions'?"
    ]


def test_a_whole_surrogate_pair_is_text() -> None:
    assert check([b'{"prompt": "\\ud83d\\ude00", "answer": 1}']).problem_count == 0


def test_only_the_first_problems_are_listed_but_all_are_counted() -> None:
    report = check((b"?\n" for _ in range(1000)), max_problems=3)
    assert ([problem.line for problem in report.problems], report.problem_count) == ([1, 2, 3], 1000)


def test_a_file_is_read_as_a_stream() -> None:
    count = 0

    def many() -> Any:
        nonlocal count
        for count in range(1, 5001):  # noqa: B007 - the count is what the test looks at
            yield b'{"prompt": "a", "completion": "b"}\n'

    assert check(many()) == FileReport(
        rows=5000,
        columns=["prompt", "completion"],
        shapes=["prompt+completion"],
        notes=[],
        problems=[],
        problem_count=0,
    )
    assert count == 5000
