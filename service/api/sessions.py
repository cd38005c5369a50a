"""The sessions of browsers over HTTP: the page logs in, asks who it is, logs out. It never sees the key itself."""

from anyio import from_thread
from fastapi import Request, Response
from fastapi.security.utils import get_authorization_scheme_param

from hone.documents import SessionCreate, SessionRead
from service import commands
from service.api import cookies
from service.api.answers import refusals
from service.api.dependencies import ServicesDep, SessionDep
from service.api.routing import Router
from service.persistence import keys
from service.persistence.tables import Key

router = Router(prefix=cookies.SESSION, tags=["keys"])


@router.post("", status_code=201, responses=refusals(401, 403))
def log_in(document: SessionCreate, request: Request, response: Response, session: SessionDep) -> SessionRead:
    """Log a browser in: its key is set as a cookie that no script can read, and is not in the answer."""
    started = commands.start_session(session, document.token, document.key)
    cookies.put(response, request, started.secret, started.expires_at)
    return _document(started.key)


@router.get("")
def who_am_i(request: Request, session: SessionDep) -> SessionRead:
    """Show whose key this request has, in its cookie or its header; nulls without a valid one."""
    scheme, secret = get_authorization_scheme_param(request.headers.get("authorization"))
    return _document(keys.find(session, secret) if scheme.lower() == "bearer" else None)


@router.delete("", status_code=204, responses=refusals(403))
def log_out(request: Request, response: Response, session: SessionDep, parts: ServicesDep) -> None:
    """Log a browser out. The key that a login link made for it is revoked; one that was typed stays valid elsewhere."""
    secret = cookies.secret_of(request.headers)
    ended = commands.end_session(session, secret) if secret else None
    if ended is not None:
        from_thread.run_sync(parts.forget_key, ended.id)
    cookies.remove(response, request)


def _document(key: Key | None) -> SessionRead:
    return SessionRead() if key is None else SessionRead(owner=key.owner, role=key.role, expires_at=key.expires_at)
