"""The base of every document that a user writes: unknown keys are refused, with the nearest known one."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError


class Strict(BaseModel):
    """A model whose unknown keys are errors that name the key and the likely intention."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, dict) else []
        if unknown:
            # A ValidationError raised here keeps its locations: pydantic puts ours in front of them.
            raise ValidationError.from_exception_data(
                cls.__name__, [_unknown(key, data[key], list(cls.model_fields)) for key in unknown]
            )
        return data


def refusal(field: str, message: str, value: Any) -> ValidationError:
    """An error at `field` (dotted), for a validator that looks at several fields at once."""
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return ValidationError.from_exception_data(
        "refused", [InitErrorDetails(type=error, loc=tuple(field.split(".")), input=value)]
    )


def _unknown(key: Any, value: Any, known: list[str]) -> InitErrorDetails:
    near = get_close_matches(str(key), known, n=1, cutoff=0.6)
    remedy = f"did you mean '{near[0]}'?" if near else f"the fields here are {', '.join(sorted(known))}"
    error = PydanticCustomError("unknown_field", "unknown field '{key}'; {remedy}", {"key": str(key), "remedy": remedy})
    return InitErrorDetails(type=error, loc=(str(key),), input=value)
