"""Answers of several parts: sets, tuples, intervals, vectors, matrices, lists without brackets, and unions."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Equal = Callable[[str, str], bool]
"""Whether two expressions without groups, or two parts of groups, have the same value; the gold one is first."""
Kind = Literal["set", "tuple", "list", "half-open", "bare", "matrix", "union"]
OPENING, CLOSING = "([{", ")]}"
MATRIX = re.compile(
    r"(?P<bracket>\[|\()?\s*\\begin\s*\{(?P<name>[pbB]?(?:small)?matrix|array)\}\s*(?:(?<=array\})\s*\{[clr| ]*\})?"
    r"(?P<rows>(?:(?!\\begin|\\end).)*)\\end\s*\{(?P=name)\}\s*[\])]?",
    re.DOTALL,
)
WORDS = re.compile(r"\s*(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])\s*")
ELLIPSIS = re.compile(r"\.\.\.|\\[lcd]?dots")
MAX_ITEMS = 200


@dataclass(frozen=True, slots=True)
class Group:
    """The parts of an answer; those of a matrix are its rows."""

    kind: Kind
    items: tuple[str, ...]
    brackets: str = ""


def group(text: str) -> Group | None:
    """The parts of an expression, or None if it has one part only."""
    text = text.replace(r"\langle", "(").replace(r"\rangle", ")").strip()
    matrix = MATRIX.fullmatch(text)
    if matrix:
        return Group("matrix", tuple(row.strip() for row in re.split(r"\\\\", matrix["rows"]) if row.strip()))
    unions = split(text, r"\cup")
    if len(unions) > 1:
        return Group("union", tuple(unions))
    items = _items(text)
    if len(items) > 1:
        return Group("bare", tuple(items))
    return _bracketed(text)


def same_groups(gold: Group, other: Group, equal: Equal) -> bool:
    """Whether two answers have the same parts, in any order where order does not matter."""
    if max(len(gold.items), len(other.items)) > MAX_ITEMS or any(map(ELLIPSIS.search, gold.items + other.items)):
        return False
    kinds = {gold.kind, other.kind}
    if "matrix" in kinds:
        return _same_matrices(gold, other, equal)
    if "union" in kinds:
        return len(kinds) == 1 and _same_in_any_order(gold.items, other.items, equal)
    if kinds <= {"set", "bare"}:
        if kinds == {"set"}:
            gold, other = (Group("set", _distinct(each.items, equal)) for each in (gold, other))
        return _same_in_any_order(gold.items, other.items, equal)
    if "set" in kinds or ("half-open" in kinds and gold.brackets != other.brackets):
        return False
    if kinds == {"tuple", "list"} and len(gold.items) == 2:
        return False  # open and closed intervals
    return _same_in_order(gold.items, other.items, equal)


def split(text: str, *separators: str) -> list[str]:
    """The parts between separators that no bracket encloses."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(text):
        found = next((each for each in separators if depth == 0 and text.startswith(each, at)), None)
        if found and not (found[-1].isalpha() and text[at + len(found) : at + len(found) + 1].isalpha()):
            parts.append(text[start:at].strip())
            start = at = at + len(found)
            continue
        if text[at] == "\\" and text[at + 1 : at + 2] not in ("{", "}"):
            at += 1 if text[at + 1 : at + 2].isalpha() else 2
            continue
        depth += (text[at] in OPENING) - (text[at] in CLOSING)
        at += 1
    return [*parts, text[start:].strip()]


def balanced(text: str) -> bool:
    """Whether each brace and environment is closed; parentheses need not be, intervals mix them."""
    depth = 0
    for match in re.finditer(r"\\\\|\\[{}]|[{}]", text):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth < 0:
            return False
    brackets = sum(map(text.count, "([")) == sum(map(text.count, ")]"))
    return depth == 0 and brackets and text.count(r"\begin") == text.count(r"\end")


def _items(text: str) -> list[str]:
    parts = [part for each in split(text, ",", ";") for part in _apart(each)]
    return [part for part in parts if part] if len(parts) > 1 else parts


def _apart(text: str) -> list[str]:
    """The parts between `and` and `or` that no bracket encloses."""
    if not WORDS.search(text):
        return [text]
    return [part.strip() for part in split(WORDS.sub(lambda match: f" {match[0].strip()} ", text), " and ", " or ")]


def _bracketed(text: str) -> Group | None:
    escaped = text.startswith(r"\{") and text.endswith(r"\}")
    opening, closing = (r"\{", r"\}") if escaped else (text[:1], text[-1:])
    if not escaped and (opening not in OPENING or closing not in CLOSING or not opening or not closing):
        return None
    inside = text[len(opening) : -len(closing)].strip()
    if len(text) < 2 or not _encloses(inside):
        return None
    items = tuple(_items(inside))
    if escaped or opening == "{":
        kind: Kind = "set" if escaped else "bare"
        return Group(kind, items) if kind == "set" or len(items) > 1 else group(inside)
    if opening == "(" and closing == ")":
        return Group("tuple", items) if len(items) > 1 else group(inside)
    if opening == "[" and closing == "]":
        return Group("list", items)
    return Group("half-open", items, opening + closing) if len(items) == 2 else None


def _encloses(inside: str) -> bool:
    """Whether the brackets around are a pair: those of `(1) + (2)` are none."""
    depth = 0
    for character in inside:
        depth += (character in OPENING) - (character in CLOSING)
        if depth < 0:
            return False
    return depth == 0


def _distinct(items: Iterable[str], equal: Equal) -> tuple[str, ...]:
    kept: list[str] = []
    for item in items:
        if not any(equal(each, item) for each in kept):
            kept.append(item)
    return tuple(kept)


def _same_in_order(gold: tuple[str, ...], other: tuple[str, ...], equal: Equal) -> bool:
    return len(gold) == len(other) and all(map(equal, gold, other))


def _same_in_any_order(gold: tuple[str, ...], other: tuple[str, ...], equal: Equal) -> bool:
    if len(gold) != len(other):
        return False
    left = list(other)
    for item in gold:
        match = next((each for each in left if equal(item, each)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_matrices(gold: Group, other: Group, equal: Equal) -> bool:
    """Entry by entry; a vector has the entries of a matrix of one column or one row."""
    first, second = _rows(gold), _rows(other)
    if gold.kind != other.kind and (_is_flat(gold) or _is_flat(other)):
        entries = tuple(entry for row in first for entry in row), tuple(entry for row in second for entry in row)
        thin = all(len(rows) == 1 or all(len(row) == 1 for row in rows) for rows in (first, second))
        return thin and _same_in_order(entries[0], entries[1], equal)
    return len(first) == len(second) and all(
        _same_in_order(row, other_row, equal) for row, other_row in zip(first, second, strict=True)
    )


def _is_flat(each: Group) -> bool:
    return each.kind != "matrix" and all(group(item) is None for item in each.items)


def _rows(each: Group) -> list[tuple[str, ...]]:
    if each.kind == "matrix":
        return [tuple(split(row, "&")) for row in each.items]
    inner = [group(item) for item in each.items]
    return [part.items if part else (item,) for part, item in zip(inner, each.items, strict=True)]
