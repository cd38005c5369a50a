"""Presets."""

from typing import Any, Literal

from pydantic import Field

from service.schemas.page import Read


class StageRead(Read):
    """One job of a recipe of several; it starts from the model of an earlier one."""

    title: str
    fields: dict[str, Any]


class PresetRead(Read):
    """A named set of spec fields: `algorithm: {preset: NAME}` stands for them, and what the spec has itself wins."""

    object: Literal["preset"] = "preset"
    name: str
    algorithm: str = Field(description="the type of the algorithm that it sets up")
    title: str
    source: str = Field(description="the paper or the configuration that the values are from")
    notes: str = Field(description="what differs from the source, and what you must add")
    fields: dict[str, Any] = Field(description="a part of a spec")
    stages: list[StageRead] = Field(description="the whole recipe, where this is one of its stages")
