"""The built page, and the documentation of the API: both from this server's own files."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

DIST = Path(__file__).parents[1] / "dashboard" / "dist"
NOT_BUILT = (
    "<!doctype html><title>Hone</title>"
    "<p>The page is not built: run <code>make page</code>. <a href=openapi.json>openapi.json</a> describes the API."
)


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and Swagger UI at `/docs`."""

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _document("index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return _document("docs.html")

    app.mount("/assets", StaticFiles(directory=DIST / "assets", check_dir=False), name="assets")


def _document(name: str) -> Response:
    """A built document, which names its assets by their hashes and so must be asked for each time."""
    file = DIST / name
    text = file.read_text() if file.exists() else NOT_BUILT
    return HTMLResponse(text, headers={"cache-control": "no-cache"})
