"""Presets."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class StageRead(BaseModel):
    """One job of a recipe of several jobs; it starts from the model of an earlier one."""

    title: str
    fields: dict[str, Any]


class PresetRead(BaseModel):
    """A named set of spec fields. `algorithm: {preset: NAME}` stands for them; fields that the spec sets itself win."""

    object: Literal["preset"] = "preset"
    name: str
    algorithm: str = Field(description="the type of the preset's algorithm")
    title: str
    source: str = Field(description="the paper or configuration that the values come from")
    notes: str = Field(description="what differs from the source, and what a spec must add")
    fields: dict[str, Any] = Field(description="a part of a spec")
    stages: list[StageRead] = Field(description="the whole recipe, if this preset is one of its stages")
