"""Webhooks over HTTP, in Python and on the command line, against a running service."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook as Verifier

from hone.cli import app
from hone.client import ApiError, Client
from hone.documents.webhook_events import body


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    """As the admin."""
    with Client(server.url, server.key) as made:
        yield made
        for webhook in made.webhooks.list(limit=100).data:
            made.webhooks.delete(webhook.id)


@pytest.fixture
def stranger(server: Any) -> Iterator[Client]:
    """As somebody else."""
    with Client(server.url, server.another_key("grace")) as made:
        yield made


def wait(holds: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_webhook_hears_of_a_job_and_its_log_says_so(server: Any, client: Client, receiver: Any) -> None:
    made = client.webhooks.create(receiver.url, events=["fine_tuning.job.running", "fine_tuning.job.succeeded"])
    job = server.submit(steps=1)
    running, succeeded = receiver.wait(2, seconds=60)
    types = [message.payload["type"] for message in (running, succeeded)]
    assert types == ["fine_tuning.job.running", "fine_tuning.job.succeeded"]
    assert Verifier(made.secret).verify(succeeded.body, succeeded.headers)["data"] == {"id": job["id"]}
    wait(lambda: all(one.status == "delivered" for one in client.webhooks.deliveries(made.id).data))
    newest, oldest = client.webhooks.deliveries(made.id).data
    assert (newest.id, oldest.id) == (succeeded.id, running.id)
    assert newest.job_id == job["id"] and newest.attempts == 1 and newest.status_code == 204


def test_the_log_is_paged_newest_first_and_a_delivery_can_be_repeated(client: Client, receiver: Any) -> None:
    made = client.webhooks.create(receiver.url)
    sent = [client.webhooks.test(made.id).id for _ in range(3)]
    receiver.wait(3)
    first = client.webhooks.deliveries(made.id, limit=2)
    rest = client.webhooks.deliveries(made.id, after=str(first.last_id), limit=2)
    assert [one.id for one in first.data + rest.data] == sent[::-1] and first.has_more and not rest.has_more
    assert client.webhooks.redeliver(made.id, sent[0]).status == "pending"
    assert receiver.wait(4)[-1].id == sent[0] and receiver.messages[-1].payload["type"] == "webhook.test"


def test_a_delivery_shows_the_message_as_it_was_sent_and_each_attempt(client: Client, receiver: Any) -> None:
    receiver.answer = lambda _: 500
    made = client.webhooks.create(receiver.url)
    sent = client.webhooks.test(made.id)
    assert sent.attempt_log == [] and sent.attempts == 0
    wait(lambda: client.webhooks.delivery(made.id, sent.id).error)
    receiver.answer = lambda _: 204
    client.webhooks.redeliver(made.id, sent.id)
    found = wait(lambda: (one := client.webhooks.delivery(made.id, sent.id)).delivered_at and one)
    assert body(found.payload).encode() == receiver.messages[0].body
    assert [(each.attempt, each.status_code) for each in found.attempt_log] == [(1, 500), (2, 204)]
    assert found.attempt_log[0].at < found.attempt_log[1].at <= found.delivered_at
    assert client.webhooks.deliveries(made.id).data == [found]


def test_a_delivery_belongs_to_one_webhook(client: Client, receiver: Any) -> None:
    made, other = (client.webhooks.create(receiver.url) for _ in range(2))
    sent = client.webhooks.test(made.id).id
    for webhook_id, delivery_id in ((other.id, sent), (made.id, "msg_none")):
        with pytest.raises(ApiError) as refused:
            client.webhooks.delivery(webhook_id, delivery_id)
        assert refused.value.status == 404 and refused.value.code == "delivery_not_found"


def test_a_webhook_is_changed_disabled_and_removed(client: Client, receiver: Any) -> None:
    made = client.webhooks.create("http://127.0.0.1:1/")
    assert made.events == [f"fine_tuning.job.{end}" for end in ("succeeded", "failed", "cancelled")]
    assert not client.webhooks.change(made.id, url=receiver.url, enabled=False).enabled
    with pytest.raises(ApiError) as refused:
        client.webhooks.test(made.id)
    assert refused.value.status == 409
    changed = client.webhooks.change(made.id, enabled=True, events=["fine_tuning.job.failed"])
    assert changed.url == receiver.url and changed.events == ["fine_tuning.job.failed"]
    client.webhooks.delete(made.id)
    with pytest.raises(ApiError) as gone:
        client.webhooks.get(made.id)
    assert gone.value.status == 404


def test_the_secret_is_shown_once(client: Client, http: httpx2.Client) -> None:
    made = client.webhooks.create("http://127.0.0.1:1/")
    assert made.secret.startswith("whsec_")
    for path in ("/v1/webhooks", f"/v1/webhooks/{made.id}"):
        assert made.secret not in http.get(path).text


def test_another_owner_sees_nothing(server: Any, client: Client, stranger: Client, receiver: Any) -> None:
    made = client.webhooks.create(receiver.url)
    delivery = client.webhooks.test(made.id).id
    assert stranger.webhooks.list().data == []
    for attempt in (
        lambda: stranger.webhooks.get(made.id),
        lambda: stranger.webhooks.change(made.id, enabled=False),
        lambda: stranger.webhooks.delete(made.id),
        lambda: stranger.webhooks.test(made.id),
        lambda: stranger.webhooks.deliveries(made.id),
        lambda: stranger.webhooks.delivery(made.id, delivery),
        lambda: stranger.webhooks.redeliver(made.id, delivery),
    ):
        with pytest.raises(ApiError) as refused:
            attempt()
        assert refused.value.status == 404


def test_a_viewer_looks_but_makes_none(server: Any) -> None:
    with Client(server.url, server.another_key("admin", "viewer")) as viewer:
        assert viewer.webhooks.list().object == "list"
        with pytest.raises(ApiError) as refused:
            viewer.webhooks.create("https://example.com/")
    assert refused.value.status == 403


def test_what_cannot_work_is_refused_with_its_reason(http: httpx2.Client) -> None:
    for wanted, param in (
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "https://example.com/", "events": ["job.done"]}, "events.0"),
        ({"url": "https://example.com/", "events": []}, "events"),
        ({"url": "https://example.com/", "event": []}, "event"),
    ):
        answer = http.post("/v1/webhooks", json=wanted)
        assert answer.status_code == 422 and answer.json()["error"]["param"] == param, answer.text


def test_an_owner_has_at_most_twenty(server: Any) -> None:
    with Client(server.url, server.another_key("collector")) as collector:
        made = [collector.webhooks.create("https://example.com/") for _ in range(20)]
        with pytest.raises(ApiError) as refused:
            collector.webhooks.create("https://example.com/")
        for webhook in made:
            collector.webhooks.delete(webhook.id)
    assert refused.value.status == 409 and refused.value.code == "too_many_webhooks"


def test_the_command_line_adds_lists_tries_and_removes_a_webhook(
    server: Any, client: Client, receiver: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HONE_DATA_DIR", str(server.data_dir))

    def hone(*arguments: str) -> list[str]:
        with pytest.raises(SystemExit) as ended:
            app(list(arguments), prog_name="hone")
        assert not ended.value.code
        return capsys.readouterr().out.strip().split("\t")

    webhook_id, secret = hone("add-webhook", receiver.url, "--event", "fine_tuning.job.failed")
    assert secret.startswith("whsec_")
    assert hone("webhooks") == [webhook_id, "enabled", receiver.url, "fine_tuning.job.failed"]
    [delivery] = hone("test-webhook", webhook_id)
    assert receiver.wait(1)[0].id == delivery
    wait(lambda: hone("webhook-log", webhook_id) == [delivery, "delivered", "webhook.test", "", "1", "204"])
    hone("webhook-log", webhook_id, "--again", delivery)
    receiver.wait(2)
    wait(lambda: client.webhooks.delivery(webhook_id, delivery).status == "delivered")
    shown = "\t".join(hone("webhook-log", webhook_id, delivery)).splitlines()
    assert shown[:3] == [f"delivery\t{delivery}", "status\tdelivered", "type\twebhook.test"]
    attempts = [line.split("\t") for line in shown[4:6]]
    assert [(number, answer) for number, _, _, answer in attempts] == [("1", "204"), ("2", "204")]
    assert shown[-1] == receiver.messages[0].body.decode()
    hone("remove-webhook", webhook_id)
    assert webhook_id not in {one.id for one in client.webhooks.list().data}
