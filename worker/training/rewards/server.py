"""The process in which reward functions run: `python -m worker.training.rewards.server`.

Its first line is `{"specs": [...], ...}`. Its items are `["score", prompt, response, row]`, and `["read", row]` or
`["parse", row]` for what the rules need of a row. `processes/serving.py` has the rest.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from service.domain.rewards import AnyReward
from worker.training.processes.forks import Handler
from worker.training.processes.serving import serve
from worker.training.rewards.registry import Legibility, Reader, RewardFunction, build, build_reader

WARMING = ((r"\frac{x^2}{2}+1", r"\frac{1}{2}x^2+\sqrt{1}"), (r"\begin{pmatrix}1\end{pmatrix}+1", "x=2y"))
"""Expressions that load the parser's tables, so that not every fork has to."""


def rewards(first: dict[str, Any]) -> list[Handler]:
    """The handlers that score a response, one for each spec of the first line."""
    specs = TypeAdapter(list[AnyReward]).validate_python(first["specs"])
    _preload(specs)
    return [partial(_handle, build(spec), build_reader(spec)) for spec in specs]


def _handle(function: RewardFunction, reader: Reader | None, task: str, *arguments: Any) -> list[Any]:
    return outcome(function, *arguments) if task == "score" else _legibility(reader, *arguments, parse=task == "parse")


def _legibility(reader: Reader | None, row: dict[str, Any], *, parse: bool) -> list[Any]:
    """What a rule can do with a row, or what is wrong with the row."""
    try:
        return [reader(row, parse=parse) if reader else Legibility.READ, None]
    except Exception as error:  # noqa: BLE001 - rows have what their authors wrote, and the parser raises anything
        return [None, str(error)[:1000]]


def _preload(specs: Sequence[AnyReward]) -> None:
    """Load libraries now that would take half of the first item's time, in every fork."""
    if any(spec.type == "math" for spec in specs):
        from worker.training.rewards.rules.equality import equivalent

        for gold, text in WARMING:
            equivalent(gold, text)


def outcome(function: RewardFunction, prompt: str, response: str, row: dict[str, Any]) -> list[Any]:
    """Any exception of a reward costs one item: the functions see what models write, which is anything."""
    try:
        return [_number(function(prompt, response, row)), None]
    except Exception as error:  # noqa: BLE001 - the docstring says why
        return [None, f"{type(error).__name__}: {error}"[:1000]]


def _number(value: Any) -> float:
    """A finite float, or ValueError with what the reward returned."""
    if isinstance(value, bool | int | float) and abs(value) < float("inf"):
        return float(value)
    raise ValueError(f"returned {value!r}, which is not a finite number")


if __name__ == "__main__":
    serve(rewards)
