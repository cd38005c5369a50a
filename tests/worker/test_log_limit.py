"""What is kept of a trainer that prints without end."""

from worker.log_limit import LAST_LINES, LogLimit
from worker.trainer_process import Heard, Line
from worker.training.events import Failed, Finished, Phase, Warned


def lines(count: int, text: str = "0123456789") -> list[Heard]:
    return [Line("stdout", f"{text} {n}") for n in range(count)]


def texts(heard: list[Heard]) -> list[str]:
    return [one.text for one in heard if isinstance(one, Line)]


def warnings(heard: list[Heard]) -> list[str]:
    return [one.message for one in heard if isinstance(one, Warned)]


def test_below_the_limit_nothing_changes() -> None:
    heard = [*lines(10), Finished()]
    assert LogLimit(10_000).admit(heard) == heard


def test_beyond_the_limit_one_warning_stands_for_the_lines_and_the_rest_goes_on() -> None:
    limit = LogLimit(20_000)
    first, second = limit.admit(lines(5000)), limit.admit([*lines(100), Phase(phase="training")])
    assert sum(map(len, texts(first))) <= 20_000 and len(warnings(first)) == 1
    assert "20,000 bytes (HONE_MAX_LOG_BYTES)" in warnings(first)[0]
    assert second == [Phase(phase="training")]


def test_the_last_lines_are_told_with_the_end() -> None:
    limit = LogLimit(100)
    limit.admit(lines(5000, ""))
    end = Failed(category="user", message="boom")
    told = limit.admit([Line("stderr", "boom"), end])
    assert told[-1] == end and texts(told)[-2:] == [" 4999", "boom"]
    assert len(texts(told)) == LAST_LINES and "lines were left out" in warnings(told)[0]
    assert limit.rest() == []


def test_one_endless_line_is_cut() -> None:
    (line,) = LogLimit(10).admit([Line("stdout", "ä" * 1000)])
    assert isinstance(line, Line) and line.text == "ä" * 5
