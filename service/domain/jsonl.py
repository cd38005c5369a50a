"""The one reader of JSON Lines, for uploads and for jobs: a line reads the same in both, or is refused in both.

Rows are separated by line feeds. A carriage return is white space, as in JSON; a byte order mark may begin the file.
Values that readers of JSON take differently are refused: a name twice in one object, NaN and infinities, numbers beyond
a double, halves of surrogate pairs, very deep nesting.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from json import JSONDecodeError, JSONDecoder, dumps
from math import isinf
from typing import Any, NamedTuple

MAX_LINE_BYTES = 8 << 20
MAX_DEPTH = 100
"""Lists and objects within each other; Python's own limit depends on who calls, so that a job could not read what was
accepted when it was uploaded."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Refused(ValueError):
    """Why a text cannot be used as JSON; the message continues 'line 3 ...'."""


class Line(NamedTuple):
    """A line of a file; its value, or why it has none."""

    number: int
    """From 1."""
    value: Any
    problem: str | None
    is_blank: bool = False


def read(lines: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a file that was opened in binary mode."""
    for number, line in enumerate(lines, 1):
        content = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        if not content.strip():
            yield Line(number, None, None, is_blank=True)
            continue
        try:
            yield Line(number, _value(content), None)
        except Refused as problem:
            yield Line(number, None, str(problem))


def decoded(text: str) -> Any:
    """The value of a JSON text; Refused if it has none or an ambiguous one."""
    try:
        value = _decode(text)
    except JSONDecodeError as error:
        raise Refused(f"is not JSON: {error.msg} at column {error.colno}{_hint(text, error)}") from None
    except RecursionError:
        raise Refused(TOO_DEEP) from None
    except Refused:
        raise
    except ValueError:
        raise Refused(
            f"has a number of more than {sys.get_int_max_str_digits()} digits; write it as a string"
        ) from None
    _check_depth(text, value)
    if _HALF_PAIR.search(text):
        _check_characters(value)
    return value


def _value(line: bytes) -> Any:
    if len(line) > MAX_LINE_BYTES:
        size, limit = len(line) / (1 << 20), MAX_LINE_BYTES >> 20
        raise Refused(f"is {size:.1f} MiB long; at most {limit} MiB are allowed")
    if line.startswith(BYTE_ORDER_MARK):
        raise Refused("starts with a byte order mark, which only the first line may have; remove it")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise Refused(f"is not UTF-8: byte {byte:#04x} at column {error.start + 1}; convert the file") from None
    return decoded(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, unless readers would differ in which of two values they take."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise Refused(f"has {twice!r} twice in one object; remove one of them")
    return value


def _float(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise Refused(f"has the number {text[:30]}, which is beyond what a double can hold; write it as a string")
    return value


def _constant(name: str) -> Any:
    raise Refused(f"is not JSON: it contains {name}; write it as a string or leave it out")


_decode = JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant).decode
_HALF_PAIR = re.compile(r"\\u[dD]")
TOO_DEEP = f"is nested too deeply: more than {MAX_DEPTH} lists and objects within each other; flatten it"


def _check_characters(value: Any) -> None:
    try:
        dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is valid JSON, but not text
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise Refused(f"has half of a surrogate pair, {half!a}, which is not a character") from None


def is_too_deep(value: Any) -> bool:
    """Whether more than MAX_DEPTH lists and objects are within each other."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for each in level if isinstance(each, dict | list) for item in _items(each)]
        if not level:
            return False
    return True


def _check_depth(text: str, value: Any) -> None:
    if text.count("[") + text.count("{") > MAX_DEPTH and is_too_deep(value):
        raise Refused(TOO_DEEP)


def _items(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _hint(text: str, error: JSONDecodeError) -> str:
    """What may have been meant by a line that is not JSON."""
    content = text.strip()
    if "\x00" in text:
        return "; it has NUL bytes, as UTF-16 does: save the file as UTF-8"
    if error.msg == "Extra data" and "\r" in text[: error.pos]:
        return "; rows must be separated by line feeds, not by carriage returns"
    if content in ("[", "{", "]", "}", "],", "},") or (error.msg == "Extra data" and content.endswith(",")):
        return "; write one object on each line, not one list or object over several lines"
    return ""
