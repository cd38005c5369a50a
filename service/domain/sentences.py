"""Pydantic's errors as sentences that name the dotted field."""

from typing import Any

PLAIN = {
    "union_tag_not_found": "needs a {discriminator}, which selects its kind",
    "union_tag_invalid": "{discriminator} is '{tag}', but must be one of {expected_tags}",
    "model_attributes_type": "must be a block of fields",
    "model_type": "must be a block of fields",
}
"""Sentences for errors whose text names the insides of pydantic."""


LONGEST = 60
"""Characters of a value that are repeated in a sentence."""


class _Absent:
    """In place of a value that the document lacks."""


def sentence(error: Any, document: Any) -> str:
    """Field, what is wrong with it, and the value if it is short."""
    where = dotted(error["loc"], document)
    value = error.get("input")
    got = (
        f" (got {_short(value)})"
        if isinstance(value, str | int | float | bool) and error["type"] != "unknown_field"
        else ""
    )
    message = _message(error)
    return f"{where}: {message}{got}" if where else f"{message}{got}"


def _message(error: Any) -> str:
    template = PLAIN.get(error["type"])
    if template:
        context = error.get("ctx", {})
        return template.format(**{**context, "tag": str(context.get("tag"))[:LONGEST]})
    return str(error["msg"]).removeprefix("Value error, ")


def _short(value: object) -> str:
    """The value as it would be written, cut: some have hundreds of digits."""
    written = repr(value)
    return written if len(written) <= LONGEST else f"{written[:LONGEST]}..."


def dotted(location: tuple[Any, ...], body: Any) -> str | None:
    """The dotted field, such as `algorithm.num_generations`, from pydantic's location.

    A location also names the union members that pydantic tried. Such a name follows a field and is no key of the
    document at that place. It is the last part only where the document has no block for the member.
    """
    parts = list(location[1:]) if location and location[0] in ("body", "query", "path", "header") else list(location)
    fields: list[str] = []
    value, member_may_follow = body, False
    for index, part in enumerate(parts):
        is_key = isinstance(value, dict) and part in value
        if is_key or (isinstance(part, int) and isinstance(value, list) and part < len(value)):
            value = value[part]
        elif member_may_follow and (index < len(parts) - 1 or not isinstance(value, dict | _Absent)):
            member_may_follow = False
            continue
        else:
            value = _Absent()  # the document lacks the field: it is missing, or the preset has it
        fields.append(str(part))
        member_may_follow = True
    return ".".join(fields) or None
