"""What is kept of the output of a trainer that prints without end."""

from worker.log_limit import LAST_LINES, LogLimit
from worker.protocol import Failed, Finished, Phase, Warned
from worker.trainer_process import LogLine, TrainerOutput


def lines(count: int, text: str = "0123456789") -> list[TrainerOutput]:
    return [LogLine("stdout", f"{text} {n}") for n in range(count)]


def texts(outputs: list[TrainerOutput]) -> list[str]:
    return [output.text for output in outputs if isinstance(output, LogLine)]


def warnings(outputs: list[TrainerOutput]) -> list[str]:
    return [output.note.message for output in outputs if isinstance(output, Warned)]


def test_below_the_limit_nothing_changes() -> None:
    outputs = [*lines(10), Finished()]
    assert LogLimit(10_000).admit(outputs) == outputs


def test_past_the_limit_one_warning_replaces_the_lines_and_other_events_go_on() -> None:
    limit = LogLimit(20_000)
    first, second = limit.admit(lines(5000)), limit.admit([*lines(100), Phase(phase="training")])
    assert sum(map(len, texts(first))) <= 20_000 and len(warnings(first)) == 1
    assert "20,000 bytes (HONE_MAX_LOG_BYTES)" in warnings(first)[0]
    assert second == [Phase(phase="training")]


def test_the_last_lines_are_written_with_the_last_event() -> None:
    limit = LogLimit(100)
    limit.admit(lines(5000, ""))
    end = Failed(category="user", message="boom")
    admitted = limit.admit([LogLine("stderr", "boom"), end])
    assert admitted[-1] == end and texts(admitted)[-2:] == [" 4999", "boom"]
    assert len(texts(admitted)) == LAST_LINES and "lines were left out" in warnings(admitted)[0]
    assert limit.last_lines() == []


def test_one_endless_line_is_cut() -> None:
    (line,) = LogLimit(10).admit([LogLine("stdout", "ä" * 1000)])
    assert isinstance(line, LogLine) and line.text == "ä" * 5
