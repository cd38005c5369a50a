"""What is looked at in every request before its endpoint sees it: text and numbers that no column can hold, very deep
nesting, parameters that nobody reads.
"""

import json
from collections.abc import Callable, Coroutine, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from fastapi import Request, Response, UploadFile
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from hone.errors import Invalid, NotFound
from service.domain import jsonl
from service.domain.storable import problem_of_text, unstorable

SHOWN = 10
"""Problems of a body that one answer names."""


class JsonRequest(Request):
    """Its JSON is read once, by rules that hold for every endpoint."""

    async def json(self) -> Any:
        """The body; JSONDecodeError if it is none, _Unusable if it cannot be used."""
        body = await self.body()
        try:
            return read(body)
        except (Invalid, RequestValidationError) as refusal:
            raise _Unusable(refusal) from None


class _Unusable(HTTPException):
    """Carries a refusal through FastAPI, which makes 'error parsing the body' of any other exception."""

    def __init__(self, refusal: Exception) -> None:
        super().__init__(422)
        self.refusal = refusal


class Route(APIRoute):
    """A route that looks at path, query and body first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As in FastAPI."""
        handle = super().get_route_handler()
        known = query_parameters(self.dependant)

        async def checked(request: Request) -> Response:
            check_path(request.path_params)
            check_query(request, known)
            try:
                return await handle(JsonRequest(request.scope, request.receive))
            except _Unusable as error:
                raise error.refusal from None

        return checked


def read(body: bytes) -> Any:
    """The value of a JSON text."""
    try:
        document = json.loads(body, object_pairs_hook=_object)
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}"
        raise HTTPException(400, message) from None
    except RecursionError:
        raise Invalid(f"the body {jsonl.TOO_DEEP}") from None
    except ValueError:  # Python reads whole numbers of some thousand digits at most
        raise Invalid("the body has a number of thousands of digits, which cannot be stored") from None
    if jsonl.is_too_deep(document):
        raise Invalid(f"the body {jsonl.TOO_DEEP}")
    problems = [
        {"type": "invalid_value", "loc": ("body", *map(_printable, place)), "msg": problem, "input": None}
        for place, problem in unstorable(document)
    ]
    if problems:
        raise RequestValidationError(problems[:SHOWN], body=document)
    return document


def check_path(values: Mapping[str, Any]) -> None:
    """NotFound for an id that nothing can have."""
    for name, value in values.items():
        if isinstance(value, str) and problem_of_text(value):
            noun = name.removesuffix("_id")
            raise NotFound(f"no {noun} {value!r}", param=name, code=f"{noun}_not_found")


def check_query(request: Request, known: Mapping[str, bool]) -> None:
    """Invalid for a parameter that nobody reads, that is there twice, or that cannot be stored."""
    counts: dict[str, int] = {}
    for name, value in request.query_params.multi_items():
        counts[name] = counts.get(name, 0) + 1
        if name not in known:
            raise Invalid(_unknown(name, list(known)), param=name, code="unknown_parameter")
        if counts[name] > 1 and not known[name]:
            raise Invalid(f"the query parameter {name} is there twice; give it once", param=name)
        if problem := problem_of_text(value):
            raise Invalid(f"{name} {problem}", param=name)


def check_form(values: Mapping[str, Any]) -> None:
    """Invalid for a text of a form, or a name of a file, that cannot be stored."""
    for name, value in values.items():
        text = value.filename if isinstance(value, UploadFile) else value
        if isinstance(text, str) and (problem := problem_of_text(text)):
            raise Invalid(f"{name} {problem}", param=name)


def query_parameters(dependant: Dependant) -> dict[str, bool]:
    """The names of an endpoint's query parameters, with those of what it depends on; and whether each is a list."""
    known = {field.alias: _is_list(field.field_info.annotation) for field in dependant.query_params}
    for inner in dependant.dependencies:
        known |= query_parameters(inner)
    return known


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(get_origin(member) is list for member in get_args(annotation))


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    remedy = f"did you mean {near[0]!r}?" if near else f"those here are {', '.join(sorted(known)) or 'none'}"
    return f"unknown query parameter {name!r}; {remedy}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; readers differ in which of two values of the same name they take, so neither is taken."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise Invalid(f"the body has {twice!r} twice in one object; remove one of them", param=_printable(twice))
    return value


def _printable(part: str | int) -> Any:
    """A name that UTF-8 can hold."""
    return part.encode(errors="backslashreplace").decode() if isinstance(part, str) else part
