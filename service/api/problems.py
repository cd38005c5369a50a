"""Turns errors into answers: one shape for all errors, one table of statuses."""

import errno

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from hone import errors
from hone.documents import ErrorBody, ErrorRead
from service.api.methods import allowed
from service.domain.sentences import dotted, sentence
from service.logs import get

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


def answer(status: int, kind: str, message: str, param: str | None = None, code: str | None = None) -> JSONResponse:
    """The answer for an error. OpenAI's SDKs retry a 409 and a 429 unless a header forbids it."""
    body = ErrorRead(error=ErrorBody(message=message, type=kind, param=param, code=code))
    headers = {"x-should-retry": "false"} if status in (409, 429) else {}
    if status == 503:
        headers["retry-after"] = "1"
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.HoneError)
    if isinstance(error, errors.Unavailable) and error.detail is not None:  # which the client must not see
        log.warning("a request was refused", path=request.url.path, request_id=_id(request), reason=str(error))
    status, kind = next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)
    return answer(status, kind, error.message, error.param, error.code)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, OSError):  # FastAPI calls every failure to read a form an error of the client
        return await _disk(request, error.__cause__)
    if error.status_code == 204:
        return Response(status_code=204)
    if error.status_code == 404:
        message = f"no endpoint {request.method} {request.url.path}; /docs lists all endpoints"
        return answer(404, "invalid_request_error", message, code="unknown_url")
    if error.status_code == 405:
        return _not_allowed(request)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    code = {408: "timeout", 413: "too_large"}.get(error.status_code, "http_error")
    return answer(error.status_code, kind, str(error.detail), code=code)


def _not_allowed(request: Request) -> JSONResponse:
    methods = ", ".join(allowed(request))
    message = f"{request.url.path} has no method {request.method}; it has {methods}"
    response = answer(405, "invalid_request_error", message, code="method_not_allowed")
    response.headers["allow"] = methods
    return response


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = list(error.errors())
    first = problems[0]
    if first["type"] == "json_invalid":
        position = first["loc"][-1]
        message = f"the body is not JSON: {first['ctx']['error']} at character {position}"
        return answer(400, "invalid_request_error", message, code="invalid_json")
    sentences = [sentence(problem, error.body) for problem in problems[:10]]
    param = dotted(first["loc"], error.body)
    return answer(422, "invalid_request_error", "; ".join(sentences), param, first["type"])


async def _disk(request: Request, error: Exception) -> JSONResponse:
    """The storage, a local disk, or another server of this one failed: never the client's fault."""
    assert isinstance(error, OSError)
    log.error("the storage failed", path=request.url.path, request_id=_id(request), error=str(error))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return answer(507, "server_error", "the server's storage is full", code="storage_full")
    message = "the server's storage does not answer at the moment; try again"
    return answer(503, "server_error", message, code="storage_unavailable")


async def _overlooked(request: Request, error: Exception) -> JSONResponse:
    """No check at the door has found what the database then refused."""
    assert isinstance(error, errors.Unstorable)
    log.warning("a value could not be stored", path=request.url.path, exc_info=error)
    return answer(422, "invalid_request_error", f"a value cannot be stored: {error}", code="invalid_value")


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("a request failed", request_id=_id(request), path=request.url.path, exc_info=error)
    message = f"internal error (request id {_id(request)})"
    return answer(500, "server_error", message, code="internal_error")


def _id(request: Request) -> str:
    return str(request.scope.get("request_id", "-"))


def install(app: FastAPI) -> None:
    """Register the handlers, so that every error is answered in the same shape."""
    app.add_exception_handler(errors.HoneError, _refused)
    app.add_exception_handler(errors.Unstorable, _overlooked)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(Exception, _unexpected)
