"""Shows a stored spec without the defaults of this version."""

from typing import Any

from pydantic import BaseModel

from hone.errors import UnreadableSpec

KINDS = ("type", "source")  # they say which kind of block it is, so they are always shown


def without_defaults(document: dict[str, Any], version: int) -> dict[str, Any]:
    """The fields that differ from the defaults; submitting them again gives the same spec.

    A document of another version is shown whole if this version would lose a part of it.
    """
    from service.domain.presets import PRESETS
    from service.domain.stored import StoredSpec

    try:
        spec = StoredSpec(document, version).exact()
    except UnreadableSpec:
        return document
    preset = PRESETS.get(spec.algorithm.preset or "")
    shown: dict[str, Any] = _chosen(spec, preset.fields if preset else {})
    return shown


def _chosen(value: Any, preset: Any = None) -> Any:
    """The fields to show. A field that the preset names is always shown: without it, the preset's value would count."""
    if isinstance(value, list):
        return [_chosen(item) for item in value]
    if not isinstance(value, BaseModel):
        return value
    named = preset if isinstance(preset, dict) else {}
    fields = type(value).model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    return {
        name: _chosen(item, named.get(name))
        for name, item in value
        if name in KINDS or name in named or item != defaults[name]
    }
