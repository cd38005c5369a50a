"""Hone below a prefix of its host, behind a proxy that removes the prefix or leaves it."""

import re
from typing import Any

import httpx2
import pytest
from rig.reverse_proxy import reverse_proxy
from starlette.testclient import TestClient
from typer.testing import CliRunner

from hone import Client
from hone.cli import app as cli
from service.api.root_path import RootPath
from service.app import described
from service.domain.root_paths import root_path

KEPT_OR_STRIPPED = pytest.mark.parametrize("strip", [True, False], ids=["stripped", "kept"])
PREFIXES = pytest.mark.parametrize("prefix", ["/hone", "/a/b.c/v1"])


def application(prefix: str = "", *, trust_forwarded: bool = False) -> TestClient:
    """The application behind the setting HONE_ROOT_PATH, without a database."""
    return TestClient(RootPath(described(), prefix, trust_forwarded=trust_forwarded))


@KEPT_OR_STRIPPED
@PREFIXES
def test_everything_is_below_the_prefix(server: Any, prefix: str, strip: bool, waiting: Any) -> None:
    job = waiting(name="below")
    with reverse_proxy(server.url, prefix, strip=strip) as url:
        for page in (url, f"{url}/", f"{url}/docs"):
            document = httpx2.get(page)
            assert document.status_code == 200
            for link in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', document.text):
                assert httpx2.get(str(document.url.join(link))).status_code == 200, link
        described = httpx2.get(f"{url}/openapi.json").json()
        assert described["servers"] == [{"url": prefix}]
        with Client(url, server.key) as client:
            assert client.jobs.get(job["id"]).name == "below"
            assert next(iter(client.jobs.stream(job["id"]))).kind == "status"
            assert client.login_link().startswith(f"{url}/#/login/")
        shown = CliRunner().invoke(cli, ["show", job["id"], "--url", f"{url}/", "--key", server.key])
        assert shown.exit_code == 0 and "below" in shown.output
        assert httpx2.get(f"{url}/docs/").status_code == httpx2.get(f"{url}/nowhere").status_code == 404


@PREFIXES
def test_the_setting_needs_no_header_whether_the_proxy_removes_the_prefix_or_not(prefix: str) -> None:
    http = application(prefix)
    for path in ("", prefix):
        assert http.get(f"{path}/healthz").json() == {"status": "ok"}
        assert http.get(f"{path}/openapi.json").json()["servers"] == [{"url": prefix}]
        page = http.get(f"{path}/")
        assert page.status_code == 200 and '="./' not in page.text
    assert http.get(prefix).text == http.get("/").text


def test_a_path_that_only_begins_with_the_same_letters_is_another(server: Any) -> None:
    assert application("/hone").get("/honest/healthz").status_code == 404


def test_a_stranger_cannot_choose_the_prefix() -> None:
    for header in ("/evil", "//evil.example"):
        answer = application().get("/openapi.json", headers={"x-forwarded-prefix": header})
        assert "servers" not in answer.json()


@pytest.mark.parametrize("header", ["//evil.example", "hone", '/"><script>', "/a, /b", "/..", "/v1"])
def test_a_forwarded_prefix_that_is_none_is_refused(header: str) -> None:
    answer = application(trust_forwarded=True).get("/", headers={"x-forwarded-prefix": header})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "x-forwarded-prefix") and header in error["message"]


def test_the_prefix_of_uvicorn_gives_way_to_ours() -> None:
    """uvicorn --root-path puts its own before every path."""
    http = TestClient(RootPath(described(), "/hone", trust_forwarded=False), root_path="/old")
    assert http.get("/old/healthz").status_code == 200
    assert http.get("/old/openapi.json").json()["servers"] == [{"url": "/hone"}]


@pytest.mark.parametrize(("text", "path"), [("", ""), ("/", ""), ("/hone/", "/hone"), ("/a/b", "/a/b")])
def test_a_root_path_loses_its_last_slash(text: str, path: str) -> None:
    assert root_path(text) == path


@pytest.mark.parametrize("text", ["hone", "/a b", "/a//b", "/v1", "/docs/x", "/..", "http://host/hone", "/a?b"])
def test_a_root_path_that_is_none_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        root_path(text)
