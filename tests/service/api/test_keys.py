"""Keys over HTTP: listed without secrets, limited, revoked."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest

from hone.client import ApiError, Client
from hone.documents.limits import Limits
from service.api.dependencies import Identities, Identity


def test_a_key_has_limits_and_is_listed_without_its_secret(server: Any, http: httpx2.Client) -> None:
    with Client(server.url, server.key) as admin:
        created = admin.keys.create("ada", limits=Limits(max_running=2, max_queued=10, max_gpus=0))
        newest = admin.keys.list(limit=1)
        assert newest.has_more and newest.data[0].id == created.id
        assert (newest.data[0].max_running, newest.data[0].max_queued, newest.data[0].max_gpus) == (2, 10, 0)
        assert admin.keys.list(after=created.id, limit=1).data[0].id < created.id
    assert created.secret not in http.get("/v1/keys").text


def test_a_revoked_key_works_no_more(server: Any) -> None:
    with Client(server.url, server.key) as admin:
        created = admin.keys.create("ada")
        with Client(server.url, created.secret) as ada:
            ada.jobs.list()
            assert admin.keys.revoke(created.id).revoked_at is not None
            with pytest.raises(ApiError) as refused:
                ada.jobs.list()
        assert refused.value.status == 401
        again = admin.keys.revoke(created.id)
        assert again.revoked_at is not None
        with pytest.raises(ApiError) as unknown:
            admin.keys.revoke("key_nobody")
    assert unknown.value.status == 404


def test_only_an_admin_sees_and_revokes_keys(server: Any) -> None:
    with Client(server.url, server.another_key("ada")) as ada:
        for attempt in (ada.keys.list, lambda: ada.keys.revoke("key_nobody"), lambda: ada.keys.create("ada")):
            with pytest.raises(ApiError) as refused:
                attempt()
            assert refused.value.status == 403


@pytest.mark.parametrize("limit", [{"max_running": 0}, {"max_gpus": -1}, {"max_queued": "many"}, {"max_jobs": 1}])
def test_a_limit_that_cannot_be_is_refused(http: httpx2.Client, limit: dict[str, Any]) -> None:
    answer = http.post("/v1/keys", json={"owner": "ada", **limit})
    assert answer.status_code == 422 and answer.json()["error"]["param"] == next(iter(limit))


def test_who_has_a_key_is_asked_once_and_again_once_it_was_revoked(in_a_loop: Callable[[Any], None]) -> None:
    asked: list[str] = []

    async def ada() -> Identity:
        asked.append("hone-1")
        await anyio.sleep(0.01)
        return Identity("ada", "member", "key_1", None)

    async def run() -> None:
        known = Identities()
        together = await asyncio.gather(*(known.find("hone-1", ada) for _ in range(100)))
        assert {identity.key_id for identity in together} == {"key_1"} and len(asked) == 1
        known.forget("key_other")
        await known.find("hone-1", ada)
        assert len(asked) == 1
        known.forget("key_1")
        await known.find("hone-1", ada)
        assert len(asked) == 2

    in_a_loop(run)
