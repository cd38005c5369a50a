"""The base of every document that a user writes: unknown keys are refused, and the closest known key is suggested.

The same models also read the documents in rows. With the context LENIENT they drop unknown keys, which `stored.py`
lists.
"""

from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

LENIENT = {"lenient": True}
"""The validation context for a document from a row."""


def is_lenient(info: ValidationInfo) -> bool:
    """Whether a document from a row is read, not a request."""
    return info.context is LENIENT


@dataclass(frozen=True)
class AtMost:
    """The largest length of a text, list or map in a request. A stored one may be longer: earlier versions took it."""

    length: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = handler(schema)
        bound = {"array": "maxItems", "object": "maxProperties"}.get(described["type"], "maxLength")
        return {**described, bound: self.length}

    def _check(self, value: Any, info: ValidationInfo) -> Any:
        if len(value) > self.length and not is_lenient(info):
            what = "characters" if isinstance(value, str) else "entries"
            message = "has {count} {what}; at most {length} are allowed"
            raise PydanticCustomError("too_long", message, {"count": len(value), "what": what, "length": self.length})
        return value


ShortText = Annotated[str, AtMost(200)]
"""A name or an id."""
Tags = dict[Annotated[str, AtMost(100)], Annotated[str, AtMost(500)]]


class Strict(BaseModel):
    """A model that refuses values of another type (false is not 0) and unknown keys, with the closest known key."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any, info: ValidationInfo) -> Any:
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, dict) else []
        if unknown and is_lenient(info):
            return {key: value for key, value in data.items() if key in cls.model_fields}
        if unknown:
            # A ValidationError raised here keeps its locations: pydantic puts the location of this model in front.
            raise ValidationError.from_exception_data(
                cls.__name__, [_unknown(key, data[key], list(cls.model_fields)) for key in unknown]
            )
        return _with_numbers(cls, data) if isinstance(data, dict) else data


def _with_numbers(model: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    """JSON has one kind of number, so 100.0 is a whole one; and to YAML 1.1, which many write, `1e-3` is a text."""
    return {name: _number(model.model_fields[name].annotation, value) for name, value in data.items()}


def _number(annotation: Any, value: Any) -> Any:
    types = (annotation, *get_args(annotation))
    if isinstance(value, float) and value.is_integer() and int in types and float not in types:
        return int(value)
    if isinstance(value, str) and float in types and str not in types:
        with suppress(ValueError):
            return float(value)
    return value


def refusal(field: str, message: str, value: Any) -> ValidationError:
    """An error at `field` (dotted), for a validator that compares several fields."""
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return ValidationError.from_exception_data(
        "refused", [InitErrorDetails(type=error, loc=tuple(field.split(".")), input=value)]
    )


def _unknown(key: Any, value: Any, known: list[str]) -> InitErrorDetails:
    near = get_close_matches(str(key), known, n=1, cutoff=0.6)
    remedy = f"did you mean '{near[0]}'?" if near else f"the fields here are {', '.join(sorted(known))}"
    error = PydanticCustomError("unknown_field", "unknown field '{key}'; {remedy}", {"key": str(key), "remedy": remedy})
    return InitErrorDetails(type=error, loc=(str(key),), input=value)
