"""Tables of named things: algorithms, presets, rewards, tools, metrics, settings, events."""

import inspect
from typing import Any, get_args

from pydantic import BaseModel

from hone.documents.webhook_events import ENDS
from service.domain.algorithms import Algorithm
from service.domain.health_notes import CODES
from service.domain.jobs import EVENT_MEANINGS, FAILURE_MEANINGS, MOVES, STATUS_MEANINGS, TERMINAL, JobEvent
from service.domain.metrics import METRICS
from service.domain.presets import PRESETS
from service.domain.rewards import AnyReward
from service.domain.tools import DESCRIPTIONS
from service.domain.webhooks import EVENT_OF_STATUS, WARNING
from service.reference.fields import default, kind, written
from service.reference.markdown import BREAK, code, table
from service.settings import Settings

BETTER = {"up": "higher", "down": "lower", None: ""}


def members(union: Any) -> dict[str, type[BaseModel]]:
    """The models of a union by the value of their `type`."""
    models = get_args(get_args(union)[0])
    return {model.model_fields["type"].default: model for model in models}


def algorithms() -> str:
    """Each algorithm with its sentence."""
    return table(("algorithm", "what it is"), [(code(name), _doc(model)) for name, model in members(Algorithm).items()])


def presets() -> str:
    """Each preset with its algorithm and its source."""
    rows = [(code(name), code(preset.algorithm), preset.title, preset.source) for name, preset in PRESETS.items()]
    return table(("preset", "algorithm", "what it is", "source"), rows)


def preset_notes() -> str:
    """What differs from each preset's source."""
    return "\n".join(f"- {code(name)}: {preset.notes}" for name, preset in PRESETS.items() if preset.notes)


def rewards() -> str:
    """Each reward: the score, and its own fields."""
    rows = []
    for name, model in members(AnyReward).items():
        own = {field: info for field, info in model.model_fields.items() if field not in ("type", "weight")}
        shown = BREAK.join(f"{code(f'{field}: {default(info)}')} {info.description}" for field, info in own.items())
        rows.append((code(name), _doc(model), shown))
    return table(("reward", "score", "fields and defaults"), rows)


def tools() -> str:
    """Each tool with its sentence."""
    return table(("tool", "result"), [(code(name), meaning) for name, meaning in DESCRIPTIONS.items()])


def metrics() -> str:
    """Each metric, or family of metrics."""
    rows = [
        (code(f"{name}...") if name[-1] in "/@" else code(name), metric.unit, BETTER[metric.better], metric.meaning)
        for name, metric in METRICS.items()
    ]
    return table(("metric", "unit", "better", "meaning"), rows)


def settings() -> str:
    """Each environment variable."""
    properties = Settings.model_json_schema(by_alias=False)["properties"]
    rows = []
    for name, field in Settings.model_fields.items():
        value = "required" if field.is_required() else field.get_default(call_default_factory=True)
        shown = "empty" if value is None or value == [] else written(value)
        rows.append((code(field.alias or name.upper()), kind(properties[name]), shown, field.description or ""))
    return table(("variable", "type", "default", "meaning"), rows)


def statuses() -> str:
    """Each status of a job, and which events lead out of it."""
    rows = []
    for status, meaning in STATUS_MEANINGS.items():
        ways = [f"{code(after)} by {event}" for (before, event), after in MOVES.items() if before == status]
        rows.append((code(status), meaning, "none: final" if status in TERMINAL else ", ".join(ways)))
    return table(("status", "meaning", "ways out"), rows)


def job_events() -> str:
    """What each event that moves a job means."""
    return table(("event", "meaning"), [(event, EVENT_MEANINGS[event]) for event in JobEvent])


def life_of_a_job() -> str:
    """The table of moves as a diagram."""
    arrows = [f"    {before} --> {after}: {event}" for (before, event), after in MOVES.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> queued", *arrows, "```"])


def failures() -> str:
    """Each category of failure."""
    return table(("category", "meaning"), [(code(name), meaning) for name, meaning in FAILURE_MEANINGS.items()])


def health_notes() -> str:
    """Each code of a health note."""
    rows = [(code(name), meaning.severity, meaning.sentence) for name, meaning in CODES.items()]
    return table(("code", "severity", "meaning"), rows)


def webhook_events() -> str:
    """Each event that a webhook can receive."""
    rows = [
        (code(event), STATUS_MEANINGS[status], "yes" if event in ENDS else "")
        for status, event in EVENT_OF_STATUS.items()
    ]
    rows.append((code(WARNING), "it has a new health note that is more than information", ""))
    return table(("event", "sent when", "by default"), rows)


def _doc(model: type[BaseModel]) -> str:
    """The docstring of a model in one line."""
    return " ".join((inspect.getdoc(model) or "").split())
