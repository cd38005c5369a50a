"""The models that a job has loaded, in words."""

from typing import Any

from hone.documents import EventRead


def sentence(data: dict[str, Any]) -> str:
    """One line about a model that was loaded."""
    model = data["model"]
    size = f"{model['parameters']:,} parameters, {model['dtype']}"
    return f"{data['role']} {data['name']}: {model['architecture']}, {size}, {_room(model)}"


def facts(events: list[EventRead]) -> list[tuple[str, str]]:
    """What each model is; where a job was started again, as the last attempt found it."""
    latest = {event.data["role"]: event.data for event in events}
    return [(role, fact) for role, data in latest.items() for fact in _facts(data)]


def _facts(data: dict[str, Any]) -> list[str]:
    model = data["model"]
    special = ", ".join(f"{name.removesuffix('_token')} {token}" for name, token in model["special_tokens"].items())
    stops = ", ".join(f"{stop['text'] or 'unknown'} ({stop['id']})" for stop in model["stops"])
    return [
        f"{data['name']}: {model['architecture']}, {model['parameters']:,} parameters, {model['dtype']}",
        f"{model['tokens']:,} tokens, {model['embedding_rows']:,} rows in the embedding, {_room(model)}",
        f"special tokens: {special or 'none'}; a response ends with {stops}",
        "chat template" if model["chat_template"] else "no chat template",
        *(f"note: {note}" for note in model["notes"]),
    ]


def _room(model: dict[str, Any]) -> str:
    return f"context {model['context']:,}" if model["context"] else "context without a limit"
