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


def said(role: str, content: Any = "text") -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"prompt": "1+1", "completion": "2"}, "prompt+completion"),
        ({"prompt": "1+1", "answer": 2}, "prompt+answer"),
        ({"prompt": "1+1", "answer": "2", "level": 3, "tests": [1]}, "prompt+answer"),
        ({"messages": [said("user"), said("assistant")]}, "messages"),
        ({"messages": [said("system"), said("user"), said("assistant")], "tools": [{}]}, "messages"),
        ({"messages": [said("user"), said("assistant")], "tools": None}, "messages"),
        ({"messages": [said("user", [{"type": "text", "text": "hi"}]), said("assistant")]}, "messages"),
        ({"prompt": [said("system"), said("user")], "answer": 2}, "prompt+answer"),
        ({"prompt": [said("user")], "completion": "2"}, "prompt+completion"),
        ({"prompt": [said("user")], "completion": [said("assistant")]}, "prompt+completion"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "chosen+rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "margin": 0.5}, "chosen+rejected"),
        ({"prompt": [said("user")], "chosen": [said("assistant")], "rejected": "c"}, "chosen+rejected"),
        (
            {"chosen": [said("user"), said("assistant", "b")], "rejected": [said("user"), said("assistant")]},
            "chosen+rejected",
        ),
        ({"text": "Once upon a time"}, "text"),
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
    both, one = {"prompt": "a", "completion": "b", "answer": "c"}, {"prompt": "a", "completion": "b"}
    assert check(lines(both)).shapes == ["prompt+completion", "prompt+answer"]
    assert check(lines(both, one, both)).shapes == ["prompt+completion"]


def test_rows_of_different_shapes_do_not_mix() -> None:
    report = check(lines({"prompt": "a", "completion": "b"}, {"prompt": "a", "answer": 1}))
    assert report.problems[0].line == 2
    assert report.problems[0].message == (
        "is a row of prompt+answer, but the rows before are prompt+completion; use two files"
    )


def test_empty_lines_at_the_end_are_fine_and_elsewhere_are_not() -> None:
    row = {"prompt": "a", "completion": "b"}
    assert check(lines(row, b"\n", b"  \n", b"")).problem_count == 0
    report = check(lines(row, b"\n", b"\n", row))
    assert [problem.line for problem in report.problems] == [2, 3]
    assert report.rows == 2


@pytest.mark.parametrize("content", [[], [b"\n"]])
def test_an_empty_file_is_a_problem(content: list[bytes]) -> None:
    report = check(content)
    assert (report.rows, report.problem_count) == (0, 1)
    assert "no rows" in report.problems[0].message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"\xff\n", "is not UTF-8: byte 0xff at column 1; convert the file"),
        (b'\xef\xbb\xbf{"prompt": "a"}', "starts with a byte order mark; save the file as UTF-8 without one"),
        (b'{"prompt": }', "is not JSON: Expecting value at column 12"),
        (b'{"prompt": "a", "answer": NaN}', "is not JSON: NaN is no JSON number; write it as a string or leave it out"),
        (b'{"answer": ' + b"9" * 5000 + b"}", "has a number of more than 4300 digits; write it as a string"),
        (b'{"prompt": "\\ud800", "answer": 1}', "has half of a surrogate pair, '\\ud800', which is not a character"),
        (b"[" * 100_000, "is nested too deeply"),
        (b" " * (9 << 20) + b"{}", "is 9.0 MiB long; at most 8 MiB are allowed"),
        ([1], 'is a list, but every line must be an object like {"prompt": ..., "completion": ...}'),
        ({"prompt": "a", "completion": 3}, "'completion' must be a string, but is the number 3"),
        (
            {"prompt": ["a"], "completion": "b"},
            "'prompt[0]' must be an object with 'role' and 'content', but is the string \"a\"",
        ),
        ({"prompt": 3, "completion": "b"}, "'prompt' must be a string or a list of messages, but is the number 3"),
        (
            {"prompt": [said("assistant")], "answer": 1},
            "the last message of 'prompt' must not be the assistant's: its answer is what follows",
        ),
        ({"prompt": "a", "completion": [said("assistant")]}, "'completion' must be a string, but is a list"),
        (
            {"prompt": [said("user")], "completion": [said("assistant"), said("assistant")]},
            "'completion' must be a string or a list of one message, but is a list",
        ),
        (
            {"prompt": [said("user")], "completion": [said("user")]},
            "the last message of 'completion' must be the assistant's, which answers 'prompt', but its role is 'user'",
        ),
        ({"chosen": "a"}, "has 'chosen' but no 'rejected'; its columns are 'chosen'"),
        (
            {"chosen": "a", "rejected": "b"},
            "'chosen' is a string, so 'prompt' is needed too; or make it a list of messages",
        ),
        (
            {"chosen": [said("user", "x"), said("assistant")], "rejected": [said("user", "y"), said("assistant")]},
            "'chosen' and 'rejected' must begin with the same messages, which are the prompt",
        ),
        ({"prompt": "a", "chosen": "b", "rejected": 3}, "'rejected' must be a string, but is the number 3"),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c", "margin": "1"},
            "'margin' must be a number, but is the string \"1\"",
        ),
        ({"text": 1}, "'text' must be a string, but is the number 1"),
        ({"prompt": "a", "answer": True}, "'answer' must be a string or a number, but is true"),
        ({"prompt": "a", "answer": None}, "'answer' must be a string or a number, but is null"),
        ({"prompt": "a"}, "has 'prompt' but neither 'completion' nor 'answer'; its columns are 'prompt'"),
        ({"answer": 1}, "has 'answer' but no 'prompt'; its columns are 'answer'"),
        (
            {},
            "needs 'prompt' and 'completion', 'prompt' and 'answer', 'chosen' and 'rejected', 'messages', or 'text'; "
            "its columns are none",
        ),
        ({"messages": []}, "'messages' must be a list with at least one message, but is an empty list"),
        ({"messages": ["hi"]}, "'messages[0]' must be an object with 'role' and 'content', but is the string \"hi\""),
        (
            {"messages": [said("bot")]},
            "'messages[0].role' must be one of system, user, assistant, tool, but is the string \"bot\"",
        ),
        (
            {"messages": [said("user"), {"role": "assistant"}]},
            "'messages[1].content' must be a string, but is missing",
        ),
        (
            {"messages": [said("assistant"), said("user")]},
            "the last message must be the assistant's, which is learnt, but its role is 'user'",
        ),
        ({"messages": [said("assistant")], "tools": "f"}, "'tools' must be a list, but is the string \"f\""),
        (
            {"messages": [said("assistant")], "tools": ["f"]},
            "'tools[0]' must be a JSON schema, but is the string \"f\"",
        ),
        (
            {"messages": [said("user", [{"type": "image", "url": "x"}]), said("assistant")]},
            '\'messages[0].content[0].type\' must be "text", the only kind so far, but is the string "image"',
        ),
        (
            {"messages": [said("user", [{"type": "text"}]), said("assistant")]},
            "'messages[0].content[0].text' must be a string, but is missing",
        ),
    ],
)
def test_what_is_wrong_is_said(row: Any, message: str) -> None:
    assert message_about(row) == message


def call(**function: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]}


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}, {"content": "I look it up"}])
@pytest.mark.parametrize("arguments", [{"a": 1}, '{"a": 1}'])
def test_an_assistant_that_calls_tools_may_say_nothing(content: dict[str, Any], arguments: Any) -> None:
    answer = {"role": "tool", "tool_call_id": "1", "name": "add", "content": "2"}
    said_all = [said("user"), call(name="add", arguments=arguments) | content, answer, said("assistant")]
    assert check(lines({"messages": said_all, "tools": [{"type": "function"}]})).problem_count == 0


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
            said("user") | {"tool_calls": [{}]},
            "'messages[0].tool_calls' must be the assistant's, but the role is 'user'",
        ),
        (
            said("assistant") | {"tool_calls": "f"},
            "'messages[0].tool_calls' must be a list of calls, but is the string \"f\"",
        ),
        (said("tool") | {"tool_call_id": 3}, "'messages[0].tool_call_id' must be a string, but is the number 3"),
        ({"role": "assistant", "content": None}, "'messages[0].content' must be a string, but is null"),
    ],
)
def test_what_is_wrong_with_a_tool_message_is_said(message: dict[str, Any], problem: str) -> None:
    assert message_about({"messages": [message, said("assistant")]}) == problem


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"prompt": "a", "completions": "b"}, "did you mean 'completion' by 'completions'?"),
        ({"Prompt": "a", "answer": "b"}, "did you mean 'prompt' by 'Prompt'?"),
        ({"message": []}, "did you mean 'messages' by 'message'?"),
    ],
)
def test_a_near_name_is_pointed_out(row: dict[str, Any], hint: str) -> None:
    assert message_about(row).endswith(hint)


def test_a_whole_surrogate_pair_is_text() -> None:
    assert check([b'{"prompt": "\\ud83d\\ude00", "answer": 1}']).problem_count == 0


def test_only_the_first_problems_are_kept_but_all_are_counted() -> None:
    report = check((b"?\n" for _ in range(1000)), max_problems=3)
    assert ([problem.line for problem in report.problems], report.problem_count) == ([1, 2, 3], 1000)


def test_a_file_is_read_as_a_stream() -> None:
    seen = 0

    def many() -> Any:
        nonlocal seen
        for seen in range(1, 5001):  # noqa: B007 - the count is what the test looks at
            yield b'{"prompt": "a", "completion": "b"}\n'

    assert check(many()) == FileReport(
        rows=5000, columns=["prompt", "completion"], shapes=["prompt+completion"], problems=[], problem_count=0
    )
    assert seen == 5000
