"""Named sets of spec fields: the settings of papers and other trainers.

`algorithm: {preset: dapo}` stands for the preset's fields; fields that the document sets itself win.
"""

from difflib import get_close_matches
from typing import Any

from hone.documents.validation import refusal
from hone.errors import NotFound
from service.domain.presets.objectives import OBJECTIVES
from service.domain.presets.preset import Fields, Preset
from service.domain.presets.systems import SYSTEMS
from service.domain.presets.trainers import TRAINERS

PRESETS: dict[str, Preset] = OBJECTIVES | SYSTEMS | TRAINERS


def find(name: str) -> Preset:
    """The preset of a name, or NotFound."""
    if name not in PRESETS:
        raise NotFound(f"no preset '{name}'; {_remedy(name)}", param="name", code="preset_not_found")
    return PRESETS[name]


def expand(document: Fields) -> Fields:
    """The document with the fields of the preset that it names; ValidationError for one that does not exist."""
    algorithm = document.get("algorithm")
    if not isinstance(algorithm, dict):
        return document
    name = algorithm.get("preset")
    if name is None:
        _refuse_preset_as_type(algorithm.get("type"))
        return document
    if not isinstance(name, str) or name not in PRESETS:
        raise refusal("algorithm.preset", f"there is no such preset; {_remedy(str(name))}", name)
    wanted = PRESETS[name].algorithm
    if (kind := algorithm.get("type", wanted)) != wanted:
        raise refusal("algorithm.type", f"'{name}' is a preset of {wanted}; change one of them", kind)
    return _merged(PRESETS[name].fields, document)


def _refuse_preset_as_type(kind: Any) -> None:
    preset = PRESETS.get(kind) if isinstance(kind, str) else None
    if preset and preset.algorithm != kind:
        message = f"is not an algorithm but a preset of {preset.algorithm}; write {{preset: {kind}}}"
        raise refusal("algorithm.type", message, kind)


def _remedy(name: str) -> str:
    near = get_close_matches(name, PRESETS, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(PRESETS)}"


def _merged(under: Fields, over: Fields) -> Fields:
    """Merge two documents block by block; `over` wins, and its blocks of another `type` replace those of `under`."""
    merged = dict(under)
    for name, value in over.items():
        below = under.get(name)
        mixes = isinstance(below, dict) and isinstance(value, dict) and not _other_type(below, value)
        merged[name] = _merged(below, value) if mixes else value  # type: ignore[arg-type]
    return merged


def _other_type(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return "type" in one and "type" in other and one["type"] != other["type"]
