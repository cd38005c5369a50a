"""The answers of rows are read before the first step: a row that no response can satisfy is not a wrong response.

They are read in the pool's processes, because an answer may hang a parser as a response may.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hone.errors import Invalid
from service.domain.algorithms import PolicySpec
from service.domain.health_notes import Note
from service.domain.specs import JobSpec
from worker.training.data.rows import row_numbers
from worker.training.processes.process_pool import Outcome
from worker.training.rewards.pool import RewardPool
from worker.training.rewards.registry import Legibility

MAX_PARSED = 1000
"""Different answers that the parser reads at the start, evenly spread: each takes milliseconds."""
Row = Mapping[str, Any]


def collect(spec: JobSpec, pool: RewardPool, rows: Sequence[Row], held_out: Sequence[Row]) -> list[Note]:
    """Notes on the answers of the rows that the rules will judge; Invalid if a rule cannot judge some of them.

    Rows whose evaluation nobody asked to judge so, because the spec names no rewards, are only warned of.
    """
    trained = dict(enumerate(rows)) if isinstance(spec.algorithm, PolicySpec) else {}
    asked = {i: row for i, row in enumerate(held_out) if None not in (row.get("prompt"), row.get("answer"))}
    return [
        *check(pool, trained, "dataset"),
        *(check if spec.rewards else warn)(pool, asked, "eval_dataset"),
    ]


def check(pool: RewardPool, rows: Mapping[int, Row], field: str) -> list[Note]:
    """Notes on answers that are compared as text; Invalid (param: the field) if a rule cannot judge some rows."""
    problems, as_text = examine(pool, rows)
    if problems:
        message = f"{_told(problems, field)}; correct these rows, leave them out, or take another reward"
        raise Invalid(message, param=field)
    return _notes(as_text, field)


def warn(pool: RewardPool, rows: Mapping[int, Row], field: str) -> list[Note]:
    """As `check`, but rows that cannot be judged get a note too."""
    problems, as_text = examine(pool, rows)
    remedy = "correct these rows, or choose a reward"
    notes = [Note("answers_unreadable", _told(problems, field), remedy, field)] if problems else []
    return [*notes, *_notes(as_text, field)]


def examine(pool: RewardPool, rows: Mapping[int, Row]) -> tuple[dict[int, str], list[int]]:
    """What is wrong with rows, by index, with the rule that says so; and the rows that are compared as text."""
    places: dict[str, list[int]] = {}
    for index, row in rows.items() if pool.columns else ():
        places.setdefault(_needed(pool, row), []).append(index)
    outcomes = _read(pool, list(places), parse=False)
    unparsed = [each for each in places if any(value == Legibility.UNPARSED for value, _ in outcomes[each])]
    chosen = unparsed[:: max(1, -(-len(unparsed) // MAX_PARSED))]
    outcomes |= _read(pool, chosen, parse=True)
    problems: dict[int, str] = {}
    as_text: list[int] = []
    for each, found in outcomes.items():
        errors = [error for _, error in found if error]
        if errors:
            problems |= dict.fromkeys(places[each], errors[0])
        elif any(value == Legibility.TEXT for value, _ in found):
            as_text += places[each]
    return dict(sorted(problems.items())), sorted(as_text)


def _read(pool: RewardPool, needed: Sequence[str], *, parse: bool) -> dict[str, list[Outcome]]:
    return dict(zip(needed, pool.read([json.loads(each) for each in needed], parse=parse), strict=True))


def _told(problems: Mapping[int, str], field: str) -> str:
    first = next(iter(problems))
    return f"{field}: {row_numbers(list(problems))} cannot be judged. Row {first + 1:,}: {problems[first]}"


def _needed(pool: RewardPool, row: Row) -> str:
    """What the rules read of a row; of other columns only that they exist, which a message lists."""
    return json.dumps({name: row[name] if name in pool.columns else None for name in sorted(row)})


def _notes(as_text: list[int], field: str) -> list[Note]:
    if not as_text:
        return []
    what = f"{field}: the parser does not read the answers of {row_numbers(as_text)}"
    message = f"{what}, so only the same text answers with them"
    return [Note("answers_as_text", message, "write them otherwise if other notations should count", field)]
