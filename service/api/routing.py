"""A router whose functions run in one thread each: transaction, work, answer and commit."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, TypeAdapter

from service.api.answers import brought
from service.api.dependencies import Services, services
from service.api.requests import Route, check_form
from service.failpoints import failpoint
from service.persistence.database import Session

Endpoint = Callable[..., Any]
ADDED, ASKED = "admitted_by", "asked"
"""The parameters that the wrapper adds to those of the endpoint."""


class Router(APIRouter):
    """FastAPI would spread a plain function, the validation of its answer and the commit over three threads, and a
    connection would wait for each of them. Coroutines are left as they are.
    """

    def __init__(self, *, prefix: str = "", tags: list[str]) -> None:
        super().__init__(prefix=prefix, tags=list(tags), route_class=Route)

    def add_api_route(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        """As in FastAPI. The refusals that the parameters bring are documented; `responses` has further ones."""
        options["responses"] = {**brought(self.prefix + path, endpoint), **(options.get("responses") or {})}
        if not inspect.iscoroutinefunction(endpoint) and not inspect.isasyncgenfunction(endpoint):
            endpoint = in_one_thread(endpoint, options.get("status_code") or 200)
        super().add_api_route(path, endpoint, **options)


def in_one_thread(endpoint: Endpoint, status: int) -> Endpoint:
    """The endpoint as a coroutine. With a parameter `session` it is a short transaction; without it, it moves files."""
    signature = inspect.signature(endpoint)
    with_session = "session" in signature.parameters
    own = [inspect.Parameter(ADDED, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Services, Depends(services)])]
    if "request" not in signature.parameters:  # FastAPI fills only one parameter with the request
        own.append(inspect.Parameter(ASKED, inspect.Parameter.KEYWORD_ONLY, annotation=Request))

    @functools.wraps(endpoint)
    async def run(**values: Any) -> Response:
        parts: Services = values.pop(ADDED)
        request: Request = values["request"] if "request" in values else values.pop(ASKED)
        check_form(values)
        work = functools.partial(_answer, endpoint, values, status)
        gone = None if request.method == "GET" else request.is_disconnected
        if not with_session:
            return await parts.admissions.transfers.run(work, gone)
        whole = functools.partial(_in_transaction, parts, values["session"], work)
        return await parts.admissions.requests.run(whole, gone)

    del run.__wrapped__  # FastAPI would look through it at the plain function
    parameters: Sequence[inspect.Parameter] = [*signature.parameters.values(), *own]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what FastAPI reads
    return run


def _in_transaction(parts: Services, session: Session, work: Callable[[], Response]) -> Response:
    with parts.database.transaction(session):
        response = work()
        failpoint("request.committing")
    failpoint("request.committed")
    return response


def _answer(endpoint: Endpoint, values: dict[str, Any], status: int) -> Response:
    result = endpoint(**values)
    if isinstance(result, Response):
        response = result
    elif result is None:
        response = Response(status_code=status)
    else:
        response = Response(_json(result), status, media_type="application/json")
    injected = values.get("response")
    if isinstance(injected, Response):  # in which the endpoint has set headers or another status
        response.headers.update(injected.headers)
        response.status_code = injected.status_code or response.status_code
    return response


def _json(result: object) -> bytes:
    if isinstance(result, BaseModel):
        return result.model_dump_json().encode()
    return TypeAdapter(type(result)).dump_json(result)
