"""What PostgreSQL and UTF-8 can hold: no U+0000, no half of a surrogate pair, no whole number beyond 64 bits.

JSON can say all three, so whatever comes from outside is looked at before anything is done with it.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

LARGEST = 2**63 - 1
"""The largest whole number that a column can hold."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Unstorable(NamedTuple):
    """A value that cannot be stored."""

    place: tuple[str | int, ...]
    """Names and indices that lead to it."""
    problem: str
    """Continues the name of its field: 'has the character ...'."""


def problem_of_text(text: str) -> str | None:
    """Why a text cannot be stored, or None."""
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    if found[0] == "\x00":
        return f"has the character U+0000 at position {found.start()}, which cannot be stored; leave it out"
    return f"has half of a surrogate pair, U+{ord(found[0]):04X}, which is no character; leave it out"


def problem_of_number(number: int) -> str | None:
    """Why a whole number cannot be stored, or None."""
    if -LARGEST - 1 <= number <= LARGEST:
        return None
    return "is beyond the whole numbers of 64 bits"


def unstorable(document: Any) -> Iterator[Unstorable]:
    """What in a JSON document cannot be stored, at any depth."""
    return _unstorable(document, ())


def _unstorable(value: Any, place: tuple[str | int, ...]) -> Iterator[Unstorable]:
    problem = None
    if isinstance(value, str):
        problem = problem_of_text(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        problem = problem_of_number(value)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, (*place, index))
    elif isinstance(value, dict):
        for name, item in value.items():
            wrong = problem_of_text(name)
            if wrong:
                yield Unstorable((*place, name), f"is a name that {wrong}")
            yield from _unstorable(item, (*place, name))
    if problem:
        yield Unstorable(place, problem)
