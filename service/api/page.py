"""The built page, and the documentation of the API: both from this server's own files."""

import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.staticfiles import PathLike
from starlette.types import Scope

DIST = Path(__file__).parents[1] / "dashboard" / "dist"
NOT_BUILT = (
    "<!doctype html><title>Hone</title>"
    '<p>The page is not built: run <code>make page</code>. <a href="./openapi.json">openapi.json</a> describes the API.'
)


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and Swagger UI at `/docs`."""

    @app.get("/", include_in_schema=False)
    def page(request: Request) -> Response:
        return _document("index.html", request)

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        return _document("docs.html", request)

    app.mount("/assets", _Assets(directory=DIST / "assets", check_dir=False), name="assets")


class _Assets(StaticFiles):
    """Files with a hash in their name: a browser needs to ask for each only once."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """An answer with a whole file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def _document(name: str, request: Request) -> Response:
    """A built document, which names its assets by their hashes and so must be asked for each time.

    Its references begin with `./`, which a browser at `/hone` without a slash would look for one folder too high.
    """
    file, root = DIST / name, request.scope.get("root_path", "")
    text = file.read_text() if file.exists() else NOT_BUILT
    return HTMLResponse(text.replace('="./', f'="{root}/'), headers={"cache-control": "no-cache"})
