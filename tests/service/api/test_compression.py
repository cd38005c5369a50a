"""What is compressed, what is cached, and what must be neither."""

import gzip
import re
from typing import Any

import httpx2
import pytest

PLAIN = {"accept-encoding": "identity"}
GZIP = {"accept-encoding": "gzip"}


def wire_bytes(http: httpx2.Client, path: str, headers: dict[str, str]) -> tuple[httpx2.Response, bytes]:
    """An answer, and its body as it travelled."""
    with http.stream("GET", path, headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


def test_a_list_of_jobs_travels_small_and_is_the_same(http: httpx2.Client, waiting: Any) -> None:
    for number in range(10):
        waiting(name=f"number {number}")
    _, plain = wire_bytes(http, "/v1/jobs?limit=10", PLAIN)
    answer, packed = wire_bytes(http, "/v1/jobs?limit=10", GZIP)
    assert answer.headers["content-encoding"] == "gzip" and "Accept-Encoding" in answer.headers["vary"]
    assert gzip.decompress(packed) == plain
    assert len(packed) < len(plain) / 5


def test_an_etag_still_answers_304(http: httpx2.Client, waiting: Any) -> None:
    """Also one that a proxy in between has made weak, as those that compress do."""
    url = f"/v1/jobs/{waiting()['id']}"
    http.post(f"{url}/cancel")
    first, _ = wire_bytes(http, url, GZIP)
    for etag in (first.headers["etag"], f"W/{first.headers['etag']}"):
        again, body = wire_bytes(http, url, GZIP | {"if-none-match": etag})
        assert (again.status_code, body) == (304, b"")


def test_an_event_stream_is_not_compressed(http: httpx2.Client, waiting: Any) -> None:
    with http.stream("GET", f"/v1/jobs/{waiting()['id']}/stream", headers=GZIP) as answer:
        assert "content-encoding" not in answer.headers
        assert b"status" in next(answer.iter_raw())


@pytest.fixture
def checkpoint(server: Any, http: httpx2.Client) -> dict[str, Any]:
    job = server.wait(server.submit(steps=1)["id"])
    return dict(http.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"][0])


def test_downloads_are_not_compressed_and_keep_their_length(http: httpx2.Client, checkpoint: dict[str, Any]) -> None:
    """Also those that would count as text: transformers' JSON, and weights, whose type nobody knows."""
    for file in checkpoint["files"]:
        answer, body = wire_bytes(http, f"/v1/checkpoints/{checkpoint['id']}/files/{file['name']}", GZIP)
        assert "content-encoding" not in answer.headers and len(body) == file["bytes"]
        assert answer.headers["content-length"] == str(file["bytes"])
        assert answer.headers["cache-control"].startswith("private")
    answer, _ = wire_bytes(http, f"/v1/checkpoints/{checkpoint['id']}/archive", GZIP)
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("document", ["/", "/docs"])
def test_assets_are_kept_for_good_and_the_documents_that_name_them_are_not(http: httpx2.Client, document: str) -> None:
    page = http.get(document)
    assert page.headers["cache-control"] == "no-cache"
    assets = re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page.text)
    if not assets:
        pytest.skip("the page is not built: run `make page`")
    for path in assets:
        answer, packed = wire_bytes(http, path, GZIP)
        assert "immutable" in answer.headers["cache-control"] and "max-age=31536000" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed) == wire_bytes(http, path, PLAIN)[1]
        assert http.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304


def test_a_missing_asset_is_not_kept(http: httpx2.Client) -> None:
    """An old document asks for what a newer release no longer has; after a step back it is there again."""
    answer = http.get("/assets/index-gone.js")
    assert answer.status_code == 404 and "immutable" not in answer.headers["cache-control"]
