"""The base of every document that a user writes: unknown keys are refused, and the closest known key is suggested.

The same models also read the documents in rows. With the context LENIENT they drop unknown keys, which `stored.py`
lists.
"""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

LENIENT = {"lenient": True}
"""The validation context for a document from a row."""


def is_lenient(info: ValidationInfo) -> bool:
    """Whether a document from a row is read, not a request."""
    return info.context is LENIENT


class Strict(BaseModel):
    """A model that refuses unknown keys; the error suggests the closest known key."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

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
        return data


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
