"""Lines of JSON that readers take differently: each is read in one way, by upload and job alike, or refused by both."""

import json
from pathlib import Path
from typing import Any

import pytest

from hone.errors import Invalid
from service.domain import jsonl
from service.domain.datasets import FileData
from service.domain.rows import check
from worker.training.data.rows import load_rows

ROW = {"prompt": "q", "completion": "x"}


def _in_a_job(content: bytes, folder: Path, **fields: Any) -> list[dict[str, Any]] | str:
    """The rows that a job reads, or why it reads none."""
    file = folder / "rows.jsonl"
    file.write_bytes(content)
    data = FileData.model_validate({"source": "file-1"} | fields)
    try:
        return load_rows(data, {"file-1": str(file)}, "dataset")
    except Invalid as refusal:
        return refusal.message


def _problem(content: bytes) -> str | None:
    report = check(content.splitlines(keepends=True) if b"\r" not in content else content.split(b"\n"))
    return report.problems[0].message if report.problems else None


@pytest.mark.parametrize(
    "content",
    [
        b'{"prompt":"q",\r"completion":"x"}\n{"prompt":"q","completion":"x"}',
        b'{"prompt": "q", "completion": "x"}\r\n{"prompt": "q", "completion": "x"}\r\n',
        b'\xef\xbb\xbf{"prompt": "q", "completion": "x"}\n{"prompt": "q", "completion": "x"}\n',
        b'\n\n{"prompt": "q", "completion": "x"}\n \t\n\x0c\n{"prompt": "q", "completion": "x"}\n\n',
        b'\xef\xbb\xbf\n\t{"prompt": "q", "completion": "x"} \n{"prompt": "\\u0071", "completion": "x"}',
    ],
)
def test_white_space_around_and_within_rows_means_nothing(content: bytes, tmp_path: Path) -> None:
    assert _problem(content) is None
    assert _in_a_job(content, tmp_path) == [ROW, ROW]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\u00a0"])
def test_only_a_line_feed_ends_a_row(separator: str, tmp_path: Path) -> None:
    """Python's own idea of lines has ten more characters, all of which may stand in a text."""
    row = {"prompt": f"a{separator}b", "completion": "x"}
    content = json.dumps(row, ensure_ascii=separator < " ").encode() + b"\n"
    assert _problem(content) is None
    assert _in_a_job(content, tmp_path) == [row]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "a", "prompt": "b", "completion": "x"}', "has 'prompt' twice in one object; remove one of them"),
        (
            b'{"messages": [{"role": "user", "content": "a", "content": "b"}, {"role": "assistant", "content": "c"}]}',
            "has 'content' twice in one object; remove one of them",
        ),
        (b'{"prompt": "a", "\\u0070rompt": "a", "completion": "x"}', "has 'prompt' twice in one object"),
        (b'{"prompt": "a", "answer": 1e999}', "has the number 1e999, which is beyond what a double can hold"),
        (b'{"prompt": "a", "answer": 1, "x": [-1e400]}', "has the number -1e400, which is beyond"),
        (b'{"prompt": "a", "answer": Infinity}', "it contains Infinity; write it as a string or leave it out"),
        (b'{"prompt": "a", "answer": -Infinity}', "it contains -Infinity; write it as a string"),
        (b'{"prompt": "a", "completion": "x"},', "write one object on each line, not one list or object over several"),
        (b"[", "write one object on each line"),
        (b'{"prompt": "a", "completion": "x",}', "is not JSON"),
        (b'{"prompt": "a", "completion": "x"}\r{"prompt": "b", "completion": "y"}', "not by carriage returns"),
        (b'{"prompt": "a", "completion": "x"} {"prompt": "b"}', "is not JSON: Extra data"),
        (b'{"prompt": "a\nb", "completion": "x"}', "is not JSON"),
        (b'{"prompt": "a\tb", "completion": "x"}', "is not JSON: Invalid control character"),
        (b'{"prompt": "a", "completion": "\\udc00"}', "has half of a surrogate pair"),
        (b'{"prompt": "a", "completion": "x", "\\ud800": 1}', "has half of a surrogate pair"),
        (b'{"prompt": "a", "completion": "\xed\xa0\x80"}', "is not UTF-8"),
        ('{"prompt": "a"}'.encode("utf-16"), "is not UTF-8"),
        ('{"prompt": "a"}'.encode("utf-16-le"), "save the file as UTF-8"),
        (b'{"prompt": "a", "completion": "x", "more": ' + b"[" * 150 + b"]" * 150 + b"}", "is nested too deeply"),
        (b'{"prompt": "a", "completion": "x", "n": ' + b"1" * 5000 + b"}", "more than 4300 digits"),
        (b"'a'", "is not JSON"),
        (b"null", "is null, but every line must be an object"),
        (b"{}", "its columns are none"),
    ],
)
def test_what_readers_take_differently_is_refused_by_upload_and_job(line: bytes, reason: str, tmp_path: Path) -> None:
    content = b'{"prompt": "a", "completion": "b", "answer": "c"}\n' + line + b"\n"
    assert reason in (_problem(content) or "")
    told = _in_a_job(content, tmp_path)
    assert isinstance(told, str)
    assert told.startswith("dataset, line 2")
    assert reason in told


def test_a_byte_order_mark_within_the_file_is_refused() -> None:
    assert "only the first line may have" in (_problem(b'{"prompt": "a"}\n\xef\xbb\xbf{"prompt": "b"}\n') or "")


def test_how_deep_a_row_may_be_does_not_depend_on_who_reads_it() -> None:
    text = "[" * jsonl.MAX_DEPTH + "]" * jsonl.MAX_DEPTH

    def read_at(depth: int) -> Any:
        return jsonl.decoded(text) if depth == 0 else read_at(depth - 1)

    assert read_at(0) == read_at(300)
    with pytest.raises(jsonl.Refused, match="nested too deeply"):
        jsonl.decoded(f"[[{text}]]")


def test_large_and_small_numbers_keep_their_value(tmp_path: Path) -> None:
    content = b'{"prompt": "a", "answer": 123456789012345678901234567890, "x": 1e308, "y": 1e-400, "z": -0.0}\n'
    rows = _in_a_job(content, tmp_path)
    assert str(rows) == "[{'prompt': 'a', 'answer': 123456789012345678901234567890, 'x': 1e+308, 'y': 0.0, 'z': -0.0}]"


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    content = json.dumps(ROW).encode() + b"\n\n" + json.dumps(ROW).encode() + b"\n{\n"
    assert _in_a_job(content, tmp_path, limit=2) == [ROW, ROW]


def test_strings_of_json_within_a_row_are_read_as_strictly() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": '{"a": 1, "a": 2}'}}
    row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}]}
    message = _problem(json.dumps(row).encode()) or ""
    assert "'messages[1].tool_calls[0].function.arguments' must be an object" in message
