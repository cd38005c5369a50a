"""Columns beside those that are read, which change what a row says.

The message of the system is read. What cannot be read (choices, images, a context, `label: false`) is refused, unless
the texts of the row contain it: a model would learn something else than the row says.
"""

from collections.abc import Iterator
from typing import Any

from service.domain.message_forms import Ambiguous, is_conversation

Row = dict[str, Any]
SYSTEMS = ("system", "system_prompt")
ADDITIONS = ("input", "context")
"""Columns that belong to an `instruction`, and make every other prompt incomplete."""
CHOICES = ("choices", "options")
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thoughts")
MEDIA = ("image", "images", "audio", "audios", "video", "videos")
SAID = ("prompt", "completion", "messages", "chosen", "rejected", "text")
LEAVE_OUT = "name what is asked in dataset.columns, e.g. {prompt: COLUMN}, to leave the rest out"


def has(row: Row, name: str) -> bool:
    """Whether a column says anything."""
    return row.get(name) not in (None, "", [], {})


def with_system(row: Row, forms: list[str]) -> Row:
    """With the system's prompt as the first message of what the row asks."""
    targets = [name for name in ("prompt", "messages", "chosen", "rejected") if _is_asked(row, name)]
    found = next((name for name in SYSTEMS if has(row, name)), None)
    if found is None or not targets or (isinstance(row[found], str) and not row[found].strip()):
        return row
    if not isinstance(row[found], str):
        raise Ambiguous(f"has `{found}`, which is no text; write it as a message of the system, or {LEAVE_OUT}")
    said = {"role": "system", "content": row[found]}
    forms.append(f"`{found}` is read as the message of the system")
    rest = {name: value for name, value in row.items() if name != found}
    return rest | {name: _behind(said, row[name], found) for name in targets}


def refuse_meanings(row: Row) -> None:
    """Ambiguous for a column that says what the texts of the row do not say."""
    media = next((name for name in MEDIA if has(row, name)), None)
    if media is not None:
        raise Ambiguous(f"has `{media}`, but only text is read; {LEAVE_OUT}")
    if row.get("label") is False and "completion" in row:
        raise Ambiguous(
            "has `label: false`, which says that its completion is not wanted, but a completion is learned; leave such "
            "rows out, or make pairs of `chosen` and `rejected`"
        )
    thoughts = [name for name in THOUGHTS if isinstance(row.get(name), str) and has(row, "completion")]
    for name in (*CHOICES, *ADDITIONS, "history", *thoughts):
        if has(row, name) and not _contains(row, row[name]):
            remedy = f"write it into them, or {LEAVE_OUT}"
            raise Ambiguous(f"has `{name}`, and it is not clear whether its other texts contain it; {remedy}")


def _contains(row: Row, value: Any) -> bool:
    """Whether the texts that are read contain all texts of a value."""
    said = _flat(*(text for name in SAID for text in _texts(row.get(name))))
    return all(_flat(text) in said for text in _texts(value))


def _is_asked(row: Row, name: str) -> bool:
    """Whether a column has what is asked: the prompt, or whole conversations."""
    if name == "prompt":
        return has(row, "prompt") and isinstance(row["prompt"], str | list)
    return is_conversation(row.get(name)) and (name == "messages" or not has(row, "prompt"))


def _behind(said: Row, asked: Any, name: str) -> list[Any]:
    """What is asked as messages, behind the one of the system."""
    messages = [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked)
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("role", first.get("from")) not in ("system", "developer"):
        return [said, *messages]
    if first.get("content", first.get("value")) == said["content"]:
        return messages
    raise Ambiguous(f"has `{name}`, and its messages begin with another message of the system; keep one of the two")


def _texts(value: Any) -> Iterator[str]:
    """The texts and numbers of a value, also those within lists and objects."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _flat(*texts: str) -> str:
    """One text, in which white space does not matter."""
    return " ".join(" ".join(texts).split())
