"""The refusals that an endpoint may answer, for the OpenAPI document: what its parameters bring, and what it names."""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.params import Form
from starlette.routing import compile_path

from service.api.dependencies import CHECKS_OF_ROLES, check_key

MEANINGS = {
    400: "The body, or a header, cannot be read",
    401: "The request has no API key, or one that is not valid",
    403: "The key's role does not allow the request",
    404: "There is no such thing, or the key may not see it",
    408: "The body stopped to arrive",
    409: "The current state forbids the request",
    413: "The body is too long",
    416: "The file has no such range",
    422: "A value cannot be used: `param` names it",
    429: "A limit of the key is reached",
    503: "The service is overloaded, or a server that it needs does not answer; `Retry-After` says when to try again",
    507: "The server's storage is full",
}
REFUSAL = "#/components/schemas/ErrorRead"
Responses = dict[int | str, dict[str, Any]]


def refusals(*statuses: int) -> Responses:
    """As FastAPI's `responses`."""
    content = {"application/json": {"schema": {"$ref": REFUSAL}}}  # a `model` would have the media type of the endpoint
    return {status: {"description": MEANINGS[status], "content": content} for status in statuses}


def brought(path: str, endpoint: Callable[..., Any]) -> Responses:
    """The refusals that the parameters of an endpoint bring with them."""
    whole = list(_flat(get_dependant(path=path, call=endpoint)))
    calls = {part.call for part in whole}
    statuses = {422}  # an unknown query parameter, at least
    if check_key in calls:
        statuses |= {401}
    if calls & CHECKS_OF_ROLES:
        statuses |= {403}
    if compile_path(path)[2]:
        statuses |= {404}
    if any(part.body_params for part in whole):
        statuses |= {400, 408, 413}
    if any(isinstance(field.field_info, Form) for part in whole for field in part.body_params):
        statuses |= {507}
    if len(whole) > 1:
        statuses |= {503}
    return refusals(*sorted(statuses))


def _flat(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for part in dependant.dependencies:
        yield from _flat(part)
