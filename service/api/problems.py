"""From refusals to answers: one error shape, one table of statuses."""

import errno
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service.domain import errors
from service.logs import get
from service.schemas import ErrorBody, ErrorRead

log = get(__name__)
STATUSES: dict[type[errors.HoneError], tuple[int, str]] = {
    errors.Invalid: (422, "invalid_request_error"),
    errors.NotFound: (404, "invalid_request_error"),
    errors.LimitReached: (429, "rate_limit_error"),
    errors.Conflict: (409, "invalid_request_error"),
    errors.Unauthorized: (401, "authentication_error"),
    errors.Forbidden: (403, "permission_error"),
    errors.Unavailable: (503, "server_error"),
}
PLAIN = {
    "union_tag_not_found": "needs a {discriminator}, which says what kind it is",
    "union_tag_invalid": "{discriminator} is '{tag}', but must be one of {expected_tags}",
    "model_attributes_type": "must be a block of fields",
    "model_type": "must be a block of fields",
}
"""Where pydantic's own sentence speaks of its insides."""
DOCUMENTED: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorRead, "description": "A refusal"}}


def answer(status: int, kind: str, message: str, param: str | None = None, code: str | None = None) -> JSONResponse:
    """An error in the one shape. SDKs retry a 409 and a 429 unless they are told not to."""
    body = ErrorRead(error=ErrorBody(message=message, type=kind, param=param, code=code))
    headers = {"x-should-retry": "false"} if status in (409, 429) else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.HoneError)
    status, kind = next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)
    return answer(status, kind, error.message, error.param, error.code)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    return answer(error.status_code, kind, str(error.detail), code=codes.get(error.status_code, "http_error"))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = list(error.errors())
    first = found[0]
    if first["type"] == "json_invalid":
        where = first["loc"][-1]
        message = f"the body is not JSON: {first['ctx']['error']} at character {where}"
        return answer(400, "invalid_request_error", message, code="invalid_json")
    sentences = [_sentence(one, error.body) for one in found[:10]]
    param = dotted(first["loc"], error.body)
    return answer(422, "invalid_request_error", "; ".join(sentences), param, first["type"])


def _sentence(error: Any, body: Any) -> str:
    where = dotted(error["loc"], body)
    value = error.get("input")
    told = (
        f" (got {value!r})" if isinstance(value, str | int | float | bool) and error["type"] != "unknown_field" else ""
    )
    message = _message(error)
    return f"{where}: {message}{told}" if where else f"{message}{told}"


def _message(error: Any) -> str:
    ours = PLAIN.get(error["type"])
    return ours.format(**error.get("ctx", {})) if ours else str(error["msg"]).removeprefix("Value error, ")


def dotted(location: tuple[Any, ...], body: Any) -> str | None:
    """`algorithm.num_generations` from pydantic's location, which also names the members of unions it went through.

    Such a member stands right behind a field, is no key of the document there, and is not the last.
    """
    parts = list(location[1:]) if location and location[0] in ("body", "query", "path", "header") else list(location)
    kept: list[str] = []
    here, member_may_follow = body, False
    for place, part in enumerate(parts):
        inside = isinstance(here, dict) and part in here
        if inside or (isinstance(part, int) and isinstance(here, list) and part < len(here)):
            here = here[part]
        elif member_may_follow and place < len(parts) - 1:
            member_may_follow = False
            continue
        else:
            here = None  # the field is absent: a preset's, or one that is missing
        kept.append(str(part))
        member_may_follow = True
    return ".".join(kept) or None


async def _disk(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return answer(507, "server_error", f"the server's storage is full: {error}", code="storage_full")
    return await _unexpected(_, error)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    request_id = request.scope.get("request_id", "-")
    log.error("a request failed", request_id=request_id, path=request.url.path, exc_info=error)
    message = f"an error of ours, logged with the request id {request_id}"
    return answer(500, "server_error", message, code="internal_error")


def install(app: FastAPI) -> None:
    """Have every error of an application answered in the one shape."""
    app.add_exception_handler(errors.HoneError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(Exception, _unexpected)
