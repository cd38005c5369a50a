"""The class of presets."""

from typing import Any, NamedTuple

Fields = dict[str, Any]
"""A part of a spec."""


class Stage(NamedTuple):
    """One job of a recipe of several; it starts from the model of an earlier one."""

    title: str
    fields: Fields


class Preset(NamedTuple):
    """A named set of spec fields, and its source."""

    title: str
    source: str
    """The paper or the configuration that the values are from."""
    fields: Fields
    """They always include `algorithm.type`."""
    notes: str = ""
    """What differs from the source, and what the user must add."""
    stages: tuple[Stage, ...] = ()
    """The whole recipe, where this preset is one of its stages."""

    @property
    def algorithm(self) -> str:
        """The type of the preset's algorithm."""
        return str(self.fields["algorithm"]["type"])
